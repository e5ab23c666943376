"""Headers of instances that come one after the other: the slices of a series differ in a few values only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from osteoscribe.readers.elements import encoding_of
from osteoscribe.readers.headers import Found, InstanceHeader, find, header_of, read_header, three
from osteoscribe.readers.marks import MARK_SOP_CLASSES
from osteoscribe.readers.values import DEFLATED_SYNTAXES, Span, Values

LAYOUTS = 4
"""How many different headers are remembered: values of other lengths lie at other places."""

_SOP_INSTANCE_UID, _INSTANCE_NUMBER, _IMAGE_POSITION_PATIENT = 0x00080018, 0x00200013, 0x00200032
_READ_AGAIN = frozenset({_SOP_INSTANCE_UID, _INSTANCE_NUMBER, _IMAGE_POSITION_PATIENT})
_SHARED = {field.name for field in dataclasses.fields(InstanceHeader)} - {
    "sop_instance_uid", "instance_number", "image_position_patient",
}  # fmt: skip


class HeaderReader:
    """Reads as `read_header`, faster where an instance resembles one of the last. For one thread."""

    def __init__(self) -> None:
        self._layouts: list[_Layout] = []

    def read(self, encoded: bytes, *, transfer_syntax_uid: str, whole: bool = True) -> InstanceHeader:
        """Read what is needed to store, sort and place an instance.

        Parameters and errors are those of `osteoscribe.readers.headers.read_header`.
        """
        for layout in self._layouts:
            if layout.fits(encoded, transfer_syntax_uid):
                return layout.header_of(encoded)
        if transfer_syntax_uid in DEFLATED_SYNTAXES:
            return read_header(encoded, transfer_syntax_uid=transfer_syntax_uid, whole=whole)
        found = find(encoded, transfer_syntax_uid)
        found.spans = asked = _Asked(found.spans)
        header = header_of(encoded, transfer_syntax_uid, found, whole=whole)
        if found.pixels is not None and not found.frames and header.sop_class_uid not in MARK_SOP_CLASSES:
            self._layouts.insert(0, _Layout.of(encoded, header, found, asked.tags))
            del self._layouts[LAYOUTS:]
        return header


class _Asked(dict[int, Span]):
    """Where values lie, and which of them were asked for."""

    def __init__(self, spans: dict[int, Span]) -> None:
        super().__init__(spans)
        self.tags: set[int] = set()

    def get(self, tag: int, default: Any = None) -> Any:
        self.tags.add(tag)
        return super().get(tag, default)


@dataclass(frozen=True, slots=True)
class _Layout:
    """A header, and all bytes that another must share with it to have the same values in the same places.

    Parameters
    ----------
    values
        The header's values, without those that are read again.
    fixed
        Where these bytes lie: everything before the pixels but the values that are read again, and those that
        nobody asked for.
    content
        These bytes.
    spans
        Where the values lie that are read again.
    """

    values: dict[str, Any]
    little: bool
    pixels: int
    fixed: tuple[slice, ...]
    content: bytes
    spans: dict[int, Span]

    @classmethod
    def of(cls, encoded: bytes, header: InstanceHeader, found: Found, asked: set[int]) -> _Layout:
        """Take the layout of a header that was read."""
        pixels = found.pixels[0] if found.pixels is not None else 0
        free = sorted(span for tag, span in found.spans.items() if tag in _READ_AGAIN or tag not in asked)
        ends = [0, *(stop for _, stop in free)]
        starts = [*(start for start, _ in free), pixels]
        fixed = tuple(slice(end, start) for end, start in zip(ends, starts, strict=True) if start > end)
        return cls(
            values={name: getattr(header, name) for name in _SHARED},
            little=encoding_of(header.transfer_syntax_uid, encoded).little,
            pixels=pixels,
            fixed=fixed,
            content=b"".join([encoded[one] for one in fixed]),
            spans={tag: span for tag, span in found.spans.items() if tag in _READ_AGAIN},
        )

    def fits(self, encoded: bytes, transfer_syntax_uid: str) -> bool:
        """Whether a data set differs only in values that are read again or that nobody asks for."""
        return (
            len(encoded) >= self.pixels
            and transfer_syntax_uid == self.values["transfer_syntax_uid"]
            and b"".join([encoded[one] for one in self.fixed]) == self.content
        )

    def header_of(self, encoded: bytes) -> InstanceHeader:
        """Give the header of a data set that fits."""
        values = Values(encoded, self.little, self.spans)
        return InstanceHeader(
            **self.values,
            sop_instance_uid=values.uid(_SOP_INSTANCE_UID, "SOPInstanceUID"),
            instance_number=values.integer(_INSTANCE_NUMBER),
            image_position_patient=three(values.decimals(_IMAGE_POSITION_PATIENT, 3)),
        )
