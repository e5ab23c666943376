"""The form of a record in a segment: a header that describes it, and the data set as it came."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from osteoscribe.app.ports import Envelope
from osteoscribe.core.series import BlobRef

MAGIC = b"OSTEOSG2"
_FIELDS = struct.Struct("<8sQ64s64s64s32s16sq")
_CRC = struct.Struct("<I")
HEADER_LENGTH = _FIELDS.size + _CRC.size
"""Bytes in front of each data set: magic, length, three UIDs, digest, AE title, time in us, CRC-32."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a segment, as its own header describes it."""

    envelope: Envelope
    blob: BlobRef
    digest: str

    @property
    def end(self) -> int:
        """Byte offset behind the record."""
        return self.blob.offset + self.blob.length


def pack_header(envelope: Envelope, length: int, digest: bytes) -> bytes:
    """Header of a record, `HEADER_LENGTH` bytes."""
    fields = _FIELDS.pack(
        MAGIC,
        length,
        envelope.sop_class_uid.encode("ascii"),
        envelope.sop_instance_uid.encode("ascii"),
        envelope.transfer_syntax_uid.encode("ascii"),
        digest,
        envelope.calling_ae.encode("ascii", "replace"),
        (envelope.received_at - EPOCH) // MICROSECOND,
    )
    return fields + _CRC.pack(zlib.crc32(fields))


def unpack_header(header: bytes, name: str, start: int) -> Record | None:
    """Record of a header that stands at an offset of a segment; None where it is none."""
    fields, (crc,) = header[: _FIELDS.size], _CRC.unpack(header[_FIELDS.size :])
    if zlib.crc32(fields) != crc or not fields.startswith(MAGIC):
        return None
    _, length, sop_class, sop_instance, syntax, digest, calling, stamp = _FIELDS.unpack(fields)
    sop_class_uid, sop_instance_uid, transfer_syntax_uid, calling_ae = (
        text.rstrip(b"\0").decode("ascii") for text in (sop_class, sop_instance, syntax, calling)
    )
    envelope = Envelope(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        calling_ae=calling_ae,
        received_at=EPOCH + stamp * MICROSECOND,
    )
    blob = BlobRef(segment=name, offset=start + HEADER_LENGTH, length=length)
    return Record(envelope=envelope, blob=blob, digest=digest.hex())
