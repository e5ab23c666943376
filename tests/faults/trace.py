"""What a trace of system calls (strace -f -y -xx) proves about answers and synced bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CALLS = "openat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fdatasync,fsync,sendto,sendmsg"
"""System calls that the proof needs."""

_LINE = re.compile(r"(\d+) +(.*)")
_UNFINISHED = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)")
_PATH = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_CREATED = re.compile(r"O_CREAT.*= \d+<([^>]*)>")

_STORE_ANSWER = bytes.fromhex("00000001020000000180")
"""Command Field (0000,0100) with C-STORE-RSP (PS3.7 E.1)."""
_SUCCESS = bytes.fromhex("00000009020000000000")
"""Status (0000,0900) with success."""
_AFFECTED = bytes.fromhex("00000010")
"""Affected SOP Instance UID (0000,1000)."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One system call.

    Parameters
    ----------
    began, ended
        Numbers of its lines; other threads may act between them.
    """

    name: str
    text: str
    began: int
    ended: int

    @cached_property
    def path(self) -> str:
        """File or socket of the first argument."""
        found = _PATH.search(_hex_free(self.text))
        return found[1] if found else ""

    @cached_property
    def data(self) -> bytes:
        """What was written, as far as the trace shows it."""
        return b"".join(bytes.fromhex(one.replace("\\x", "")) for one in _TEXT.findall(self.text))

    @property
    def failed(self) -> bool:
        """Whether it gave an error."""
        return " = -1 " in self.text


def _hex_free(text: str) -> str:
    """Text in which a path that strace wrote in hexadecimal is readable."""
    return re.sub(
        r"<((?:\\x[0-9a-f]{2})+)>",
        lambda found: "<" + bytes.fromhex(found[1].replace("\\x", "")).decode() + ">",
        text,
    )


def calls_of(lines: Iterable[str]) -> list[Call]:
    """Calls of a trace, in the order of their beginning."""
    return sorted(_calls(lines), key=lambda call: call.began)


def _calls(lines: Iterable[str]) -> Iterator[Call]:
    open_calls: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if not found:
            continue
        thread, rest = found.groups()
        if unfinished := _UNFINISHED.match(rest):
            open_calls[thread, unfinished[1]] = (number, unfinished[2])
        elif resumed := _RESUMED.match(rest):
            began, text = open_calls.pop((thread, resumed[1]), (number, ""))
            yield Call(name=resumed[1], text=text + resumed[2], began=began, ended=number)
        elif whole := _WHOLE.match(rest):
            yield Call(name=whole[1], text=whole[2], began=number, ended=number)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Answers of a trace, and those that came before the bytes were synced."""

    successes: int
    too_early: tuple[str, ...]


def check_trace(calls: Sequence[Call]) -> Proof:
    """Compare each success with the sync of its instance's segment, and of the names of new files.

    A success counts as too early unless the last write of its instance ended before an ``fdatasync`` of the
    same file began that ended before the answer was sent; the same for the folder of a new file.
    """
    successes, too_early = 0, []
    for answer in calls:
        if answer.name not in ("sendto", "sendmsg") or _STORE_ANSWER not in answer.data:
            continue
        if _SUCCESS not in answer.data:
            continue
        successes += 1
        uid = _affected_uid(answer.data)
        before = [call for call in calls if call.began < answer.began and not call.failed]
        writes = [
            call
            for call in before
            if call.path.endswith(".seg")
            and call.name.startswith(("write", "pwrite"))
            and uid.encode() + b"\0" in call.data + b"\0"
        ]
        if not writes or not _synced(before, writes[-1], answer):
            too_early.append(uid)
    return Proof(successes=successes, too_early=tuple(too_early))


def _affected_uid(data: bytes) -> str:
    start = data.index(_AFFECTED) + 4
    length = int.from_bytes(data[start : start + 4], "little")
    return data[start + 4 : start + 4 + length].rstrip(b"\0").decode()


def _synced(before: Sequence[Call], first: Call, answer: Call) -> bool:
    """Whether file and folder of a write, continuation writes included, are synced before the answer."""
    path = first.path
    last = max(
        (call for call in before if call.path == path and call.name.startswith(("write", "pwrite"))),
        key=lambda call: call.ended,
    )
    created = [call for call in before if call.name == "openat" and _created(call) == path]
    file_synced = _between(before, "fdatasync", path, last, answer)
    folder = str(Path(path).parent)
    return file_synced and bool(created) and _between(before, "fsync", folder, created[-1], answer)


def _created(call: Call) -> str:
    found = _CREATED.search(_hex_free(call.text))
    return found[1] if found else ""


def _between(calls: Sequence[Call], name: str, path: str, after: Call, before: Call) -> bool:
    return any(
        call.name == name and call.path == path and call.began > after.ended and call.ended < before.began
        for call in calls
    )
