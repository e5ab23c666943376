"""Send report objects by STOW-RS: one request for a batch, and what its answer says of each object.

References
----------
PS3.18 10.5 (store transaction), annex I (store instances response module)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from osteoscribe.app.ports import EncodedObject, StoreReply
from osteoscribe.app.settings import Destination
from osteoscribe.errors import PeerError
from osteoscribe.net.exchange import DICOM_JSON, Answer, Endpoint, endpoint_of, exchange, http_error
from osteoscribe.net.native_model import items, number, read_json, read_xml, uid

_REFERENCED, _FAILED = "00081199", "00081198"
_INSTANCE_UID, _WARNING, _FAILURE = "00081155", "00081196", "00081197"

_ANSWERED = (200, 202, 409)
"""All stored; some refused or stored with warnings; none stored. Each object's own status is in the body."""
_ABOUT_OBJECTS = (400, 413, 415, 422)
"""Of the 4xx: this body, not this node. One object of a batch can be the reason."""
_PROCESSING_FAILURE = 0x0110
"""PS3.18 table I.2-2; also for a failure without a reason."""


class StowSender:
    """Sends by STOW-RS (`app.ports.Sender`).

    Parameters
    ----------
    timeout_s
        Patience with a silent destination.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> tuple[StoreReply, ...]:
        """Send the objects in one request; one reply for each.

        Raises
        ------
        PeerError
            ``peer.unreachable``, ``peer.silent``, ``peer.aborted``, ``peer.tls``, ``peer.answer-too-large``,
            ``peer.answer-unreadable``, ``peer.http-error``: to be tried again; `BusyError` where the server
            says when.
        RefusedError
            ``peer.http-refused``, ``peer.redirected``: a person must act.
        """
        endpoint = endpoint_of(destination, self._timeout_s)
        answer = _post(endpoint, objects)
        if answer.status in _ANSWERED:
            return _replies(answer, endpoint, objects)
        if answer.status in _ABOUT_OBJECTS:
            if len(objects) == 1:
                return (_refused(answer, endpoint, objects[0]),)
            half = len(objects) // 2
            return (*self.send(destination, objects[:half]), *self.send(destination, objects[half:]))
        raise http_error(answer, endpoint)


def _post(endpoint: Endpoint, objects: Sequence[EncodedObject]) -> Answer:
    boundary = hashlib.sha256(b"".join(one.encoded for one in objects)).hexdigest()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": DICOM_JSON,
    }
    return exchange(endpoint, "POST", "/studies", headers=headers, body=_multipart(boundary, objects))


def _multipart(boundary: str, objects: Sequence[EncodedObject]) -> list[bytes]:
    """Body of a multipart/related message (RFC 2046 5.1), each part a DICOM file.

    The boundary is a digest of all of it, so no part can hold it.
    """
    pieces = []
    for one in objects:
        pieces += [
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii"),
            _file_head(one),
            one.encoded,
            b"\r\n",
        ]
    return [*pieces, f"--{boundary}--\r\n".encode("ascii")]


def _file_head(one: EncodedObject) -> bytes:
    """Preamble and file meta information (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(one.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(one.sop_instance_uid)
    meta.TransferSyntaxUID = UID(one.transfer_syntax_uid)
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return bytes(128) + b"DICM" + bytes(buffer.getvalue())


def _replies(answer: Answer, endpoint: Endpoint, objects: Sequence[EncodedObject]) -> tuple[StoreReply, ...]:
    statuses = _statuses(_documents(answer, endpoint))
    return tuple(_reply(one.sop_instance_uid, statuses, answer, endpoint) for one in objects)


def _reply(uid_: str, statuses: Mapping[str, int], answer: Answer, endpoint: Endpoint) -> StoreReply:
    if uid_ in statuses:
        return StoreReply(sop_instance_uid=uid_, status=statuses[uid_])
    # A proxy's page has status 200 too: only an object that is named was stored.
    return StoreReply(
        sop_instance_uid=uid_,
        status=None,
        code="peer.no-word",
        message=f"found HTTP {answer.status} of {endpoint.url} without a word on {uid_}, expected it in "
        "Referenced SOP Sequence or Failed SOP Sequence; ask the administrator of the destination",
        passing=True,
    )


def _documents(answer: Answer, endpoint: Endpoint) -> list[Any]:
    try:
        # Some servers call their JSON application/json.
        if answer.media_type.endswith("xml"):
            return read_xml(answer.body)
        return read_json(answer.body) if answer.body.strip() else []
    except ValueError as error:
        raise PeerError(
            "peer.answer-unreadable",
            f"found HTTP {answer.status} of {endpoint.url} without a readable store response, expected "
            f"{DICOM_JSON}; check that the address is a DICOMweb service; tried again",
        ) from error


def _statuses(documents: Sequence[Any]) -> dict[str, int]:
    """C-STORE status of each object that the response names; one that failed anywhere has failed."""
    statuses: dict[str, int] = {}
    for ds in documents:
        for item in items(ds, _REFERENCED):
            statuses.setdefault(uid(item, _INSTANCE_UID), number(item, _WARNING) or 0)
    for ds in documents:
        for item in items(ds, _FAILED):
            statuses[uid(item, _INSTANCE_UID)] = number(item, _FAILURE) or _PROCESSING_FAILURE
    return statuses


def _refused(answer: Answer, endpoint: Endpoint, one: EncodedObject) -> StoreReply:
    return StoreReply(
        sop_instance_uid=one.sop_instance_uid,
        status=None,
        code="peer.http-refused",
        message=f"found HTTP {answer.status} of {endpoint.url} to {one.sop_instance_uid}, expected 200; ask "
        "the administrator of the destination, then run osteoscribe jobs retry",
    )
