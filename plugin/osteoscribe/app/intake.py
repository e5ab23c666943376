"""Take one received instance: check it, store it, record it. Success is answered only after that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from osteoscribe.app.ports import (
    Envelope,
    InstanceLedger,
    OpenRecord,
    Stored,
    StoredRecord,
    WrittenMark,
)
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import InputError, WrongClassError
from osteoscribe.readers.headers import InstanceHeader, read_header
from osteoscribe.readers.marks import MARK_SOP_CLASSES
from osteoscribe.readers.repeated import HeaderReader

HEAD_LENGTH = 1 << 16
"""Bytes of a data set that are kept in memory; the pixels of nearly every image begin within them."""

TOLD_WHEN_SAFE = 1 << 20
"""Bytes up to which a mark object is told of when it is on disk, which takes a millisecond: read before that,
it would wait for its job, and a core that waits forgets what it was about."""

ROOM_CHECKED_EVERY = 1 << 24
"""Bytes between two looks at the free disk space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An accepted instance; ``is_new`` is False where the very same bytes were there already."""

    header: InstanceHeader
    is_new: bool


class Incoming:
    """One instance on its way in: written as it comes, checked and synced at its end.

    Parameters
    ----------
    record
        Where its bytes go.
    ledger
        Where it is recorded.
    check_room
        Raises StoreError where nothing more can be stored.
    headers
        Reads the headers of the association's instances.
    transfer_syntax_uid
        What was announced: the header is read while the rest still comes. Empty: at the end.
    on_mark
        Told of a mark object that came whole; of a large one before it is checked and safe: it may be read
        meanwhile.

    Raises
    ------
    StoreError
        As `check_room`.
    """

    def __init__(
        self,
        record: OpenRecord,
        ledger: InstanceLedger,
        *,
        check_room: Callable[[], None] = lambda: None,
        headers: HeaderReader | None = None,
        transfer_syntax_uid: str = "",
        on_mark: Callable[[WrittenMark], None] = lambda _mark: None,
    ) -> None:
        self._record = record
        self._ledger = ledger
        self._check_room = check_room
        self._headers = headers or HeaderReader()
        self._transfer_syntax_uid = transfer_syntax_uid
        self._on_mark = on_mark
        self._head = bytearray()
        self._header: InstanceHeader | None = None
        self._room_known_to = ROOM_CHECKED_EVERY
        check_room()

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next pieces of the data set; their memory stays as it is until `let_go`, or the end.

        Raises
        ------
        StoreError
            They could not be stored.
        """
        for piece in pieces:
            if len(self._head) == HEAD_LENGTH:
                break
            self._head += piece[: HEAD_LENGTH - len(self._head)]
        self._record.write(pieces)
        if self._transfer_syntax_uid and self._record.length > HEAD_LENGTH:
            self._read_ahead()
        if self._record.length > self._room_known_to:
            self._room_known_to = self._record.length + ROOM_CHECKED_EVERY
            self._check_room()

    def let_go(self) -> None:
        """Need the memory of what was taken no more.

        Raises
        ------
        StoreError
            It could not be stored.
        """
        self._record.let_go()

    def finish(self, envelope: Envelope) -> Accepted:
        """Check, store and record the instance; it is on disk when this returns.

        Parameters
        ----------
        envelope
            What its sender said about it.

        Raises
        ------
        InputError
            The bytes are no usable data set; nothing is kept.
        WrongClassError
            ``dimse.uid-differs``: they are not what the C-STORE request announced.
        StoreError
            They could not be stored; the sender keeps its copy.
        """
        try:
            is_mark = envelope.sop_class_uid in MARK_SOP_CLASSES
            is_early = is_mark and self._record.length > TOLD_WHEN_SAFE
            is_told = is_early and self._tell(self._record.readable(), self._record.digest().hex(), envelope)
            header = self._header or self._read_header(envelope.transfer_syntax_uid)
            _check_announced(header, envelope)
            digest = self._record.digest().hex()
            if self._ledger.has_instance(header, digest):
                self.abandon()
                return Accepted(header=header, is_new=False)
        except BaseException:
            self.abandon()
            raise
        blob = self._record.commit(envelope)
        if is_mark and not is_told:
            self._tell(blob, digest, envelope)
        self._ledger.add([_stored(header, envelope, blob, digest)])
        return Accepted(header=header, is_new=True)

    def abandon(self) -> None:
        """Keep nothing of it."""
        self._record.abandon()

    def _tell(self, place: BlobRef | None, digest: str, envelope: Envelope) -> bool:
        """Tell of a mark object; whether it can be read there."""
        if place is not None:
            syntax = envelope.transfer_syntax_uid
            self._on_mark(WrittenMark(blob=place, digest=digest, transfer_syntax_uid=syntax))
        return place is not None

    def _read_ahead(self) -> None:
        """Read the header while the sender is busy with the rest; its faults are stated at the end."""
        syntax, self._transfer_syntax_uid = self._transfer_syntax_uid, ""
        with suppress(InputError):
            self._header = self._headers.read(bytes(self._head), transfer_syntax_uid=syntax, whole=False)

    def _read_header(self, transfer_syntax_uid: str) -> InstanceHeader:
        """Read the header from the beginning that is in memory, else from all that was written."""
        head, whole = bytes(self._head), self._record.length <= len(self._head)
        try:
            return self._headers.read(head, transfer_syntax_uid=transfer_syntax_uid, whole=whole)
        except InputError:
            if whole:
                raise
            return read_header(self._record.content(), transfer_syntax_uid=transfer_syntax_uid)


def recover(encoded: bytes, record: StoredRecord) -> Stored:
    """Describe an instance that is on disk but was not recorded before the process ended.

    Raises
    ------
    InputError
        The bytes are no usable data set.
    """
    header = read_header(encoded, transfer_syntax_uid=record.envelope.transfer_syntax_uid)
    return _stored(header, record.envelope, record.blob, record.digest)


def _stored(header: InstanceHeader, envelope: Envelope, blob: BlobRef, digest: str) -> Stored:
    return Stored(
        header=header,
        blob=blob,
        digest=digest,
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
