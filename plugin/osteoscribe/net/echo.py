"""Try a destination before it matters: is it there, does it know us, what does it take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from osteoscribe.app.settings import Destination
from osteoscribe.errors import PeerError
from osteoscribe.net.commitment import PUSH_MODEL
from osteoscribe.net.exchange import DICOM_JSON, endpoint_of, exchange, http_error
from osteoscribe.net.query import STUDY_ROOT_FIND
from osteoscribe.net.scu import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, associate

VERIFICATION = "1.2.840.10008.1.1"
_SUCCESS = 0x0000


def echo(
    destination: Destination, reports: Mapping[str, str], *, ae_title: str, timeout_s: float
) -> dict[str, Any]:
    """Say how a destination answers: by C-ECHO and what it accepts, or by an empty search (QIDO-RS).

    Parameters
    ----------
    reports
        SOP Class UIDs of what is sent there, by name.

    Returns
    -------
    dict
        ``seconds``; ``accepts`` and ``refuses``: names of services.

    Raises
    ------
    PeerError
        As `associate` or `exchange`; ``peer.echo-failed``.
    """
    began = time.monotonic()
    accepts: list[str] = []
    refuses: list[str] = []
    if destination.url:
        accepts = _search(destination, timeout_s)
    else:
        offered = {
            "verification": VERIFICATION,
            **reports,
            "storage commitment": PUSH_MODEL,
            "query": STUDY_ROOT_FIND,
        }
        accepts, refuses = _associate(destination, offered, ae_title, timeout_s)
    return {"seconds": round(time.monotonic() - began, 3), "accepts": accepts, "refuses": refuses}


def _associate(
    destination: Destination, offered: Mapping[str, str], ae_title: str, timeout_s: float
) -> tuple[list[str], list[str]]:
    syntaxes: Sequence[str] = (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN)
    association = associate(
        destination, [(uid, syntaxes) for uid in offered.values()], ae_title=ae_title, timeout_s=timeout_s
    )
    taken = {str(one.abstract_syntax) for one in association.accepted_contexts}
    try:
        if VERIFICATION in taken:
            answer = association.send_c_echo()
            status = int(answer.Status) if "Status" in answer else None
            if status != _SUCCESS:
                shown = "no answer" if status is None else f"status 0x{status:04X}"
                raise PeerError("peer.echo-failed", f"found {shown} of {destination} to a C-ECHO")
    except RuntimeError as error:
        raise PeerError("peer.echo-failed", f"found the association aborted by {destination}") from error
    finally:
        association.release()
    return (
        [name for name, uid in offered.items() if uid in taken],
        [name for name, uid in offered.items() if uid not in taken],
    )


def _search(destination: Destination, timeout_s: float) -> list[str]:
    endpoint = endpoint_of(destination, timeout_s)
    answer = exchange(endpoint, "GET", "/studies?limit=1", headers={"Accept": DICOM_JSON})
    if answer.status not in (200, 204):
        raise http_error(answer, endpoint)
    return ["query"]
