"""Values of single elements from their bytes: text, numbers, UIDs. Unreadable is absent, UIDs excepted."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from osteoscribe.errors import InputError
from osteoscribe.readers.elements import Encoded

DEFLATED_SYNTAXES = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
"""Transfer syntaxes whose whole data set is deflated (PS3.5 A.5, A.7, A.11)."""

MAX_TEXT = 1024
"""Longest text value that is looked at, in bytes; every attribute wanted here is far shorter."""

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")

Span = tuple[int, int]
"""Where a value lies: [start, stop) of the data set."""


@dataclass(frozen=True, slots=True)
class Values:
    """Values of some elements of one data set.

    Parameters
    ----------
    data
        The encoded, inflated data set.
    little
        Whether its numbers are little endian.
    spans
        Where the value of each element lies.
    """

    data: Encoded
    little: bool
    spans: Mapping[int, Span]

    def bytes_of(self, tag: int) -> bytes:
        """Give the value's bytes, empty where it is absent or absurdly long."""
        start, stop = self.spans.get(tag, (0, 0))
        return bytes(self.data[start:stop]) if stop - start <= MAX_TEXT else b""

    def text(self, tag: int) -> str:
        """Give the value as printable ASCII text without padding; empty where absent."""
        text = self.bytes_of(tag).decode("ascii", "ignore")
        if not text.isprintable():
            text = "".join(c for c in text if c.isprintable())
        return text.strip()

    def texts(self, tag: int) -> tuple[str, ...]:
        """Give the values of a multi-valued text; none where absent."""
        text = self.text(tag)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def decimals(self, tag: int, number: int) -> tuple[float, ...] | None:
        """Give exactly so many finite decimal numbers, or None."""
        try:
            values = tuple(float(part) for part in self.bytes_of(tag).strip(b" \0").split(b"\\"))
        except ValueError:
            return None
        return values if len(values) == number and all(map(math.isfinite, values)) else None

    def decimal(self, tag: int) -> float | None:
        """Give one finite decimal number, or None."""
        values = self.decimals(tag, 1)
        return values[0] if values else None

    def integer(self, tag: int) -> int | None:
        """Give a whole number written as decimal text, or None."""
        text = self.bytes_of(tag).strip(b" \0")
        try:
            return int(text) if len(text) <= 12 else None
        except ValueError:
            return None

    def unsigned(self, tag: int) -> int | None:
        """Give a whole number written in 2 or 4 bytes, or None."""
        value = self.bytes_of(tag)
        code = {2: "H", 4: "L"}.get(len(value))
        return int(struct.unpack(("<" if self.little else ">") + code, value)[0]) if code else None

    def uid(self, tag: int, name: str) -> str:
        """Give a checked UID.

        Raises
        ------
        InputError
            ``instance.missing-uid`` where it is absent or blank, ``instance.bad-uid`` where it is no UID.
        """
        start, stop = self.spans.get(tag, (0, 0))
        if stop - start > MAX_TEXT:
            raise _bad_uid(name)
        uid = bytes(self.data[start:stop]).decode("latin-1").rstrip(" \0")
        if not uid:
            raise InputError(
                "instance.missing-uid",
                f"{name} is absent or blank; the object cannot be identified without it",
            )
        if not is_uid(uid):
            raise _bad_uid(name)
        return uid


def _bad_uid(name: str) -> InputError:
    return InputError(
        "instance.bad-uid",
        f"{name} is no UID; expected at most 64 digits and dots, no empty component",
    )


def is_uid(text: str) -> bool:
    """Whether a text can be a UID.

    Zeros in front of a component are forbidden too, but real scanners write them and they harm nobody.

    References
    ----------
    PS3.5 section 9.1

    Examples
    --------
    >>> [is_uid(uid) for uid in ("1.2.840.10008.1.2", ".1.2", "1..2", "../../x", "1." + 63 * "2")]
    [True, False, False, False, False]
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def inflate(encoded: Encoded, *, max_bytes: int, whole: bool = True) -> tuple[bytes, bool]:
    """Inflate a deflated data set up to a limit.

    Parameters
    ----------
    encoded
        The deflated data set, without zlib header (RFC 1951).
    max_bytes
        Where to stop; a small file can hold gigabytes of zeros.
    whole
        False where `encoded` is the beginning of something longer.

    Returns
    -------
    tuple[bytes, bool]
        At most `max_bytes` bytes, and whether that is all of it.

    Raises
    ------
    InputError
        ``instance.bad-deflate`` where the bytes are damaged or incomplete.

    References
    ----------
    PS3.5 A.5
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(encoded, max_bytes)
        more = not whole or len(data) == max_bytes
    except zlib.error:
        data, more = b"", False
    if not inflater.eof and not more:
        raise InputError(
            "instance.bad-deflate", "the deflated data set is damaged or incomplete; please send it again"
        )
    return data, inflater.eof
