"""Typed, checked access to the elements of a received instance, and `InstanceHeader`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from osteoscribe.core.series import BlobRef
from osteoscribe.errors import InputError
from osteoscribe.readers.datasets import read_dataset
from osteoscribe.readers.elements import Encoded, Encoding, Kind, encoding_of, walk
from osteoscribe.readers.part10 import Part10, split_part10
from osteoscribe.readers.references import referred_images
from osteoscribe.readers.values import DEFLATED_SYNTAXES, Span, Values, inflate, is_uid

__all__ = [
    "FramePlane",
    "InstanceHeader",
    "Part10",
    "StoredInstance",
    "read_dataset",
    "read_header",
    "split_part10",
]

NATIVE_SYNTAXES = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})
"""Transfer syntaxes whose pixels lie in the data set as they are (PS3.5 A.1 to A.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePlane:
    """Plane of one frame of a multi-frame image (PS3.3 C.7.6.16.2.3, C.7.6.16.2.4).

    Parameters
    ----------
    rescale_type
        What slope and intercept lead to (PS3.3 C.11.1.1.2); None where the frame has none of them, and
        slope 1 and intercept 0 are no more than placeholders.
    image_type
        FrameType of the frame.
    """

    image_position_patient: tuple[float, float, float]
    image_orientation_patient: tuple[float, float, float, float, float, float]
    pixel_spacing: tuple[float, float]
    slice_thickness_mm: float | None
    rescale_slope: float
    rescale_intercept: float
    rescale_type: str | None = "HU"
    image_type: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeader:
    """What is known of an instance without its pixels. No patient data.

    Values that are absent are None. UIDs are checked (PS3.5 section 9).

    Parameters
    ----------
    referenced_instances
        SOP Instance UIDs that a mark object refers to; empty for an image.
    referenced_series_uid
        The series that a mark object names, or None.
    pixel_data_offset
        Byte offset of the Pixel Data element's value in the encoded data set, or None where compressed,
        deflated or absent.
    modality_lut
        Whether a Modality LUT Sequence takes the place of slope and intercept (PS3.3 C.11.1).
    frames
        One for each frame of a multi-frame image with functional groups, else empty.
    roi_overlays
        Overlay planes of type ROI (PS3.3 C.9.2): marks that are bitmaps.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    instance_number: int | None = None
    series_number: int | None = None
    image_type: tuple[str, ...] = ()
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int | None = None
    image_position_patient: tuple[float, float, float] | None = None
    image_orientation_patient: tuple[float, float, float, float, float, float] | None = None
    pixel_spacing: tuple[float, float] | None = None
    slice_thickness_mm: float | None = None
    frame_of_reference_uid: str | None = None
    rescale_slope: float | None = None
    rescale_intercept: float | None = None
    kvp_kv: float | None = None
    convolution_kernel: str | None = None
    contrast: bool | None = None
    pixel_data_offset: int | None = None
    frames: tuple[FramePlane, ...] = ()
    referenced_instances: tuple[str, ...] = ()
    referenced_series_uid: str | None = None
    bits_allocated: int | None = None
    bits_stored: int | None = None
    high_bit: int | None = None
    pixel_representation: int | None = None
    samples_per_pixel: int | None = None
    rescale_type: str | None = None
    modality_lut: bool = False
    roi_overlays: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredInstance:
    """An instance's header and where its bytes are. It is equal to itself alone."""

    header: InstanceHeader
    blob: BlobRef
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredSeries:
    """The instances of one series, at least one.

    It is equal to itself alone: while the series is the same the ledger gives out the same object, and what
    was worked out of it once is found by it, whatever the number of its instances.
    """

    instances: tuple[StoredInstance, ...]


MAX_FRAMES = 20_000
"""Frames of a multi-frame image; the largest CT have a few thousand."""
_SOP_CLASS_UID = 0x00080016
_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230
_FRAMES = frozenset({_SHARED_GROUPS, _FRAME_GROUPS})
_OVERLAY_TYPES = tuple((group << 16) | 0x0040 for group in range(0x6000, 0x6020, 2))
"""Overlay Type of the sixteen overlay planes (PS3.5 section 7.6)."""
_CONTRAST_SEQUENCE, _MODALITY_LUT_SEQUENCE = 0x00180012, 0x00283000
_ENTERED = frozenset({_SHARED_GROUPS, _FRAME_GROUPS, _CONTRAST_SEQUENCE, _MODALITY_LUT_SEQUENCE})
_PLANE_POSITION, _PLANE_ORIENTATION = (0x00209113, 0x00200032), (0x00209116, 0x00200037)
_PIXEL_SPACING, _SLICE_THICKNESS = (0x00289110, 0x00280030), (0x00289110, 0x00180050)
_INTERCEPT, _SLOPE, _RESCALE_TYPE = (
    (0x00289145, 0x00281052),
    (0x00289145, 0x00281053),
    (0x00289145, 0x00281054),
)
_FRAME_TYPE, _KVP, _KERNEL = (0x00189329, 0x00089007), (0x00189325, 0x00180060), (0x00189314, 0x00181210)
_WANTED_OF_FRAMES = {
    _PLANE_POSITION, _PLANE_ORIENTATION, _PIXEL_SPACING, _SLICE_THICKNESS, _INTERCEPT, _SLOPE, _RESCALE_TYPE,
    _FRAME_TYPE, _KVP, _KERNEL,
}  # fmt: skip
_MARK_CLASSES = tuple("1.2.840.10008.5.1.4.1.1." + kind for kind in ("66.", "481.3", "88.", "11."))
_INFLATED_BYTES = (1 << 16, 1 << 20, 1 << 24, 1 << 28)

GroupKey = tuple[int, int]
"""Functional group sequence and element."""


@dataclass(slots=True)
class Found:
    """Where the wanted values of a data set lie."""

    spans: dict[int, Span] = field(default_factory=dict)
    shared: dict[GroupKey, Span] = field(default_factory=dict)
    frames: list[dict[GroupKey, Span]] = field(default_factory=list)
    entered: set[int] = field(default_factory=set)
    pixels: Span | None = None

    def new_frame(self) -> None:
        """Begin the groups of the next frame."""
        if len(self.frames) == MAX_FRAMES:
            raise InputError("instance.too-many-elements", f"the image has more than {MAX_FRAMES} frames")
        self.frames.append({})


def read_header(encoded: Encoded, *, transfer_syntax_uid: str, whole: bool = True) -> InstanceHeader:
    """Read what is needed to store, sort and place an instance; no pixels.

    Parameters
    ----------
    encoded
        The encoded data set, without file meta group. It may end anywhere after the beginning of the pixel
        data's value.
    transfer_syntax_uid
        As negotiated, or from the file meta group.
    whole
        False where `encoded` is the beginning of a longer data set. If the pixel data does not begin in it,
        that is ``instance.truncated``, even where it ends between two elements.

    Raises
    ------
    InputError
        ``instance.missing-uid``, ``instance.bad-uid``, ``instance.truncated``, ``instance.malformed``,
        ``instance.nested-too-deep``, ``instance.too-many-elements``, ``instance.bad-deflate``,
        ``instance.too-large``.

    References
    ----------
    PS3.5 sections 7 and 9
    """
    if transfer_syntax_uid not in DEFLATED_SYNTAXES:
        return _header(encoded, transfer_syntax_uid, whole)
    for max_bytes in _INFLATED_BYTES:
        data, complete = inflate(encoded, max_bytes=max_bytes, whole=whole)
        try:
            return _header(data, transfer_syntax_uid, complete)
        except InputError as error:
            if complete or len(data) < max_bytes or error.code != "instance.truncated":
                raise
    raise InputError(
        "instance.too-large",
        f"the header inflates to more than {_INFLATED_BYTES[-1]} bytes; expected an image or a mark object",
    )


def _header(data: Encoded, transfer_syntax_uid: str, whole: bool) -> InstanceHeader:
    return header_of(data, transfer_syntax_uid, find(data, transfer_syntax_uid), whole=whole)


def header_of(data: Encoded, transfer_syntax_uid: str, found: Found, *, whole: bool) -> InstanceHeader:
    """Make the header from the values that a walk has found; as `read_header`, of a data set as it is."""
    encoding = encoding_of(transfer_syntax_uid, data)
    if not whole and found.pixels is None:
        raise InputError("instance.truncated", "the data set ends before its pixel data; expected more of it")
    values = Values(data, encoding.little, found.spans)
    sop_class_uid = values.uid(0x00080016, "SOPClassUID")
    is_mark = sop_class_uid.startswith(_MARK_CLASSES)
    referenced, series = referred_images(data, encoding) if is_mark else ((), None)
    frames = _planes(data, encoding.little, found)
    acquisition = _Acquired.of(values, found)
    return InstanceHeader(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=values.uid(0x00080018, "SOPInstanceUID"),
        study_instance_uid=values.uid(0x0020000D, "StudyInstanceUID"),
        series_instance_uid=values.uid(0x0020000E, "SeriesInstanceUID"),
        transfer_syntax_uid=transfer_syntax_uid,
        modality=values.text(0x00080060),
        instance_number=values.integer(0x00200013),
        series_number=values.integer(0x00200011),
        image_type=values.texts(0x00080008),
        rows=values.unsigned(0x00280010),
        columns=values.unsigned(0x00280011),
        number_of_frames=values.integer(0x00280008),
        image_position_patient=three(values.decimals(0x00200032, 3)),
        image_orientation_patient=_six(values.decimals(0x00200037, 6)),
        pixel_spacing=_two(values.decimals(0x00280030, 2)),
        slice_thickness_mm=_positive(values.decimal(0x00180050)),
        frame_of_reference_uid=_lenient_uid(values, 0x00200052),
        rescale_slope=values.decimal(0x00281053),
        rescale_intercept=values.decimal(0x00281052),
        rescale_type=values.text(0x00281054) or None,
        modality_lut=_MODALITY_LUT_SEQUENCE in found.entered,
        kvp_kv=acquisition.kvp_kv,
        convolution_kernel=acquisition.convolution_kernel,
        contrast=acquisition.contrast,
        pixel_data_offset=_pixel_data_offset(found, transfer_syntax_uid),
        frames=frames,
        referenced_instances=referenced,
        referenced_series_uid=series,
        bits_allocated=values.unsigned(0x00280100),
        bits_stored=values.unsigned(0x00280101),
        high_bit=values.unsigned(0x00280102),
        pixel_representation=values.unsigned(0x00280103),
        samples_per_pixel=values.unsigned(0x00280002),
        roi_overlays=sum(values.text(tag) == "R" for tag in _OVERLAY_TYPES if tag in found.spans),
    )


def find(data: Encoded, transfer_syntax_uid: str) -> Found:
    """Walk once over the data set and note where the wanted values lie."""
    found = Found()
    spans, path = found.spans, list[int]()
    element_kind = Kind.ELEMENT  # enum members are slow to look up
    encoding = encoding_of(transfer_syntax_uid, data)
    is_mark = _class_of(data, encoding).startswith(_MARK_CLASSES)
    entered = _ENTERED - _FRAMES if is_mark else _ENTERED
    for kind, tag, _, start, stop in walk(data, encoding, descend=entered):
        if kind is element_kind:
            if not path:
                spans[tag] = (start, stop)
            elif len(path) == 2 and (path[1], tag) in _WANTED_OF_FRAMES:
                group = (
                    found.shared if path[0] == _SHARED_GROUPS else found.frames[-1] if found.frames else {}
                )
                group[(path[1], tag)] = (start, stop)
        elif kind is Kind.SEQUENCE:
            path.append(tag)
        elif kind is Kind.SEQUENCE_END:
            path.pop()
        elif kind is Kind.ITEM and len(path) == 1:
            found.entered.add(tag)
            if tag == _FRAME_GROUPS and not is_mark:
                found.new_frame()
        elif kind is Kind.PIXELS:
            found.pixels = (start, stop)
    return found


def _class_of(data: Encoded, encoding: Encoding) -> str:
    """SOP class, as far as it says what to look for; or empty."""
    for event in walk(data, encoding, descend=frozenset()):
        if event.tag == _SOP_CLASS_UID:
            return bytes(data[event.start : event.stop][:64]).decode("latin-1")
        if event.tag > _SOP_CLASS_UID:
            break
    return ""


def _pixel_data_offset(found: Found, transfer_syntax_uid: str) -> int | None:
    if found.pixels is None or found.pixels[1] < 0 or transfer_syntax_uid not in NATIVE_SYNTAXES:
        return None
    return found.pixels[0]


def _planes(data: Encoded, little: bool, found: Found) -> tuple[FramePlane, ...]:
    """Give the plane of each frame; none at all where a frame has no plane of its own."""
    planes = []
    for frame in found.frames:
        plane = _plane(_group_values(data, little, found.shared, frame))
        if plane is None:
            return ()
        planes.append(plane)
    return tuple(planes)


def _group_values(
    data: Encoded, little: bool, shared: dict[GroupKey, Span], frame: dict[GroupKey, Span]
) -> Values:
    return Values(data, little, {tag: span for (_, tag), span in {**shared, **frame}.items()})


def _plane(values: Values) -> FramePlane | None:
    position = three(values.decimals(_PLANE_POSITION[1], 3))
    orientation = _six(values.decimals(_PLANE_ORIENTATION[1], 6))
    spacing = _two(values.decimals(_PIXEL_SPACING[1], 2))
    slope, intercept = values.decimal(_SLOPE[1]), values.decimal(_INTERCEPT[1])
    if position is None or orientation is None or spacing is None:
        return None
    rescaled = slope is not None and intercept is not None
    return FramePlane(
        image_position_patient=position,
        image_orientation_patient=orientation,
        pixel_spacing=spacing,
        slice_thickness_mm=_positive(values.decimal(_SLICE_THICKNESS[1])),
        rescale_slope=slope if slope is not None and rescaled else 1.0,
        rescale_intercept=intercept if intercept is not None and rescaled else 0.0,
        rescale_type=(values.text(_RESCALE_TYPE[1]) or "US") if rescaled else None,
        image_type=values.texts(_FRAME_TYPE[1]),
    )


class _Acquired(NamedTuple):
    """How a CT was made."""

    kvp_kv: float | None
    convolution_kernel: str | None
    contrast: bool | None

    @classmethod
    def of(cls, values: Values, found: Found) -> _Acquired:
        """Take it from the data set, or from the functional groups of a multi-frame image."""
        first = found.frames[0] if found.frames else {}
        group = _group_values(values.data, values.little, found.shared, first)
        agent = values.text(0x00180010).upper()
        contrast = True if agent or _CONTRAST_SEQUENCE in found.entered else None
        return cls(
            kvp_kv=_positive(values.decimal(0x00180060)) or _positive(group.decimal(_KVP[1])),
            convolution_kernel=(values.text(0x00181210) or group.text(_KERNEL[1]))[:64] or None,
            contrast=False if agent in ("NONE", "NO") else contrast,
        )


def _lenient_uid(values: Values, tag: int) -> str | None:
    """Give a UID that is only ever compared, or None where it is absent or none."""
    uid = values.text(tag)
    return uid if is_uid(uid) else None


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _two(values: Sequence[float] | None) -> tuple[float, float] | None:
    return (values[0], values[1]) if values is not None else None


def three(values: Sequence[float] | None) -> tuple[float, float, float] | None:
    """Give three values as they are typed."""
    return (values[0], values[1], values[2]) if values is not None else None


def _six(values: Sequence[float] | None) -> tuple[float, float, float, float, float, float] | None:
    return (values[0], values[1], values[2], values[3], values[4], values[5]) if values is not None else None
