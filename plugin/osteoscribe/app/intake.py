"""Take one received instance: check it, store it, record it. Success is answered only after that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from osteoscribe.app.ports import Envelope, InstanceLedger, SegmentAppender, Stored, StoredRecord
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import WrongClassError
from osteoscribe.readers.headers import InstanceHeader, read_header
from osteoscribe.readers.marks import MARK_SOP_CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An accepted instance; ``is_new`` is False where the very same bytes were there already."""

    header: InstanceHeader
    is_new: bool


def accept(
    encoded: bytes | memoryview, envelope: Envelope, *, segment: SegmentAppender, ledger: InstanceLedger
) -> Accepted:
    """Check, store and record one instance; it is on disk when this returns.

    Parameters
    ----------
    encoded
        The data set as received, without preamble and file meta group.
    envelope
        What its sender said about it.
    segment
        Where the bytes of this association go.

    Raises
    ------
    InputError
        The bytes are no usable data set; nothing is kept.
    WrongClassError
        ``dimse.uid-differs``: they are not what the C-STORE request announced.
    StoreError
        They could not be stored; the sender keeps its copy.
    """
    header = read_header(encoded, transfer_syntax_uid=envelope.transfer_syntax_uid)
    _check_announced(header, envelope)
    digest = hashlib.sha256(encoded)
    if ledger.has_instance(header.sop_instance_uid, digest.hexdigest()):
        return Accepted(header=header, is_new=False)
    blob = segment.append([encoded], envelope, digest.digest())
    ledger.add([_stored(header, envelope, blob, digest.hexdigest())])
    return Accepted(header=header, is_new=True)


def recover(encoded: bytes, record: StoredRecord) -> Stored:
    """Describe an instance that is on disk but was not recorded before the process ended.

    Raises
    ------
    InputError
        The bytes are no usable data set.
    """
    header = read_header(encoded, transfer_syntax_uid=record.envelope.transfer_syntax_uid)
    return _stored(header, record.envelope, record.blob, record.sha256)


def _stored(header: InstanceHeader, envelope: Envelope, blob: BlobRef, sha256: str) -> Stored:
    return Stored(
        header=header,
        blob=blob,
        sha256=sha256,
        envelope=envelope,
        is_mark=header.sop_class_uid in MARK_SOP_CLASSES,
    )


def _check_announced(header: InstanceHeader, envelope: Envelope) -> None:
    """Whether request and data set name the same instance (PS3.7 9.1.1)."""
    for name, announced, found in (
        ("SOP Class UID", envelope.sop_class_uid, header.sop_class_uid),
        ("SOP Instance UID", envelope.sop_instance_uid, header.sop_instance_uid),
    ):
        if announced != found:
            raise WrongClassError(
                "dimse.uid-differs",
                f"found {name} {found} in the data set, expected that of the C-STORE request; "
                "correct the sender",
            )
