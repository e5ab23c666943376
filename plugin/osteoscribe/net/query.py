"""Ask a destination whether it has objects in the study and series that they belong to.

References
----------
PS3.4 C.4.1 (C-FIND), PS3.18 10.6 (search transaction)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from osteoscribe.app.ports import Place
from osteoscribe.app.settings import Destination
from osteoscribe.errors import PeerError
from osteoscribe.net.exchange import DICOM_JSON, Endpoint, endpoint_of, exchange, http_error
from osteoscribe.net.native_model import read_json, uid
from osteoscribe.net.scu import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, associate

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""Study Root Query/Retrieve Information Model - FIND (PS3.4 C.3)."""

_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000
_MOST_MATCHES = 1000
"""A destination that disregards the keys is not listened to for longer."""

_SILENCES = 4
"""How many times the patience with a silent destination all matches of a query may take."""

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"


class QueryProver:
    """Asks by C-FIND, or a DICOMweb destination by QIDO-RS (`app.ports.Prover`).

    Parameters
    ----------
    ae_title
        How this node calls itself.
    timeout_s
        Patience with a silent destination.
    """

    def __init__(self, *, ae_title: str, timeout_s: float) -> None:
        self._ae_title = ae_title
        self._timeout_s = timeout_s

    def found(self, destination: Destination, places: Sequence[Place]) -> frozenset[str]:
        """SOP Instance UIDs of the objects that are in their place.

        Raises
        ------
        PeerError
            ``peer.query-refused``, and those of `associate` and `exchange`: nothing is known.
        RefusedError
            ``peer.rejected-permanently``, ``peer.no-context``, ``peer.http-refused``, ``peer.redirected``: it
            answers no queries.
        """
        if destination.url:
            endpoint = endpoint_of(destination, self._timeout_s)
            return frozenset(one.sop_instance_uid for one in places if _shows(endpoint, one))
        association = associate(
            destination,
            [(STUDY_ROOT_FIND, (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN))],
            ae_title=self._ae_title,
            timeout_s=self._timeout_s,
        )
        try:
            found = frozenset(
                one.sop_instance_uid
                for one in places
                if _has(association, destination, one, self._timeout_s * _SILENCES)
            )
        except BaseException:
            association.abort()
            raise
        association.release()
        return found


def _has(association: Association, destination: Destination, place: Place, allowed_s: float) -> bool:
    """Whether a C-FIND at IMAGE level with all three keys finds the object."""
    keys = Dataset()
    keys.QueryRetrieveLevel = "IMAGE"
    keys.StudyInstanceUID = place.study_instance_uid
    keys.SeriesInstanceUID = place.series_instance_uid
    keys.SOPInstanceUID = place.sop_instance_uid
    try:
        replies = association.send_c_find(keys, STUDY_ROOT_FIND)
        in_time = _until(time.monotonic() + allowed_s, replies, destination)
        return _listed(itertools.islice(in_time, _MOST_MATCHES), destination, place)
    except (RuntimeError, ValueError) as error:
        raise PeerError(
            "peer.aborted", f"found the association aborted by {destination}; tried again"
        ) from error


def _until(
    deadline: float, replies: Iterable[tuple[Dataset, Dataset | None]], destination: Destination
) -> Iterator[tuple[Dataset, Dataset | None]]:
    """Listen to no more replies after a time: each may come just before the patience with it ends."""
    for reply in replies:
        yield reply
        if time.monotonic() > deadline:
            raise PeerError(
                "peer.silent", f"found no end of the answers of {destination} to a C-FIND; tried again"
            )


def _listed(
    replies: Iterable[tuple[Dataset, Dataset | None]], destination: Destination, place: Place
) -> bool:
    found = False
    for answer, match in replies:
        if "Status" not in answer:
            raise PeerError("peer.silent", f"found no answer of {destination} to a C-FIND; tried again")
        status = int(answer.Status)
        if status == _SUCCESS:
            return found
        if status not in _PENDING:
            raise PeerError(
                "peer.query-refused",
                f"found status 0x{status:04X} of {destination} to a C-FIND, expected 0x0000; ask its "
                "administrator, or turn prove_by_query off for it",
            )
        found = found or (match is not None and _is_at(match, place))
    raise PeerError(
        "peer.query-refused",
        f"found over {_MOST_MATCHES} matches of {destination} for one SOP Instance UID; ask its "
        "administrator, or turn prove_by_query off for it",
    )


def _is_at(match: Dataset, place: Place) -> bool:
    """Whether a match is the object; the keys above it are believed where they are not returned."""

    def agrees(keyword: str, expected: str, *, required: bool) -> bool:
        value: Any = match.get(keyword)
        return str(value) == expected if value else not required

    return (
        agrees("SOPInstanceUID", place.sop_instance_uid, required=True)
        and agrees("SeriesInstanceUID", place.series_instance_uid, required=False)
        and agrees("StudyInstanceUID", place.study_instance_uid, required=False)
    )


def _shows(endpoint: Endpoint, place: Place) -> bool:
    """Whether a search below study and series shows the object."""
    study, series, instance = (
        quote(one, safe="")
        for one in (place.study_instance_uid, place.series_instance_uid, place.sop_instance_uid)
    )
    path = f"/studies/{study}/series/{series}/instances?SOPInstanceUID={instance}"
    answer = exchange(endpoint, "GET", path, headers={"Accept": DICOM_JSON})
    # 404 where the study itself is not there.
    if answer.status in (204, 404):
        return False
    if answer.status != 200:
        raise http_error(answer, endpoint)
    try:
        matches = read_json(answer.body) if answer.body.strip() else []
    except ValueError as error:
        raise PeerError(
            "peer.answer-unreadable",
            f"found HTTP 200 of {endpoint.url} without a readable search result, expected {DICOM_JSON}; "
            "check that the address is a DICOMweb service; tried again",
        ) from error
    return any(
        uid(one, _INSTANCE) == place.sop_instance_uid
        and uid(one, _SERIES) in ("", place.series_instance_uid)
        and uid(one, _STUDY) in ("", place.study_instance_uid)
        for one in matches
    )
