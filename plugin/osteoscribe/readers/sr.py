"""Structured reports: each measurement group with coordinates is one mark.

Two forms are read: the region at group level (TID 1410), and coordinates that a number is INFERRED FROM
(TID 300 and 1501, which OHIF and cornerstone write). Where a group has both, the region is preferred.

References
----------
PS3.16 TID 1500, 1410, 1411, 1501, 300; PS3.3 C.18.6 (SCOORD), C.18.9 (SCOORD3D)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset

from osteoscribe.core.codes import Code
from osteoscribe.core.marks import IgnoredMark, InstanceRef, RoiMark, UnreadableMark
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import (
    code,
    evidence,
    first,
    image_refs,
    items,
    person,
    quiet,
    series_of,
    source_of,
    text,
    uid,
)
from osteoscribe.readers.content import Node, Tree, read_tree
from osteoscribe.readers.coordinates import Drawing, drawing, images_of, referenced_images, shape_of

SOP_CLASSES = frozenset(
    (
        "1.2.840.10008.5.1.4.1.1.88.11",
        "1.2.840.10008.5.1.4.1.1.88.22",
        "1.2.840.10008.5.1.4.1.1.88.33",
        "1.2.840.10008.5.1.4.1.1.88.34",
        "1.2.840.10008.5.1.4.1.1.88.35",
    )
)
"""Basic Text, Enhanced, Comprehensive, Comprehensive 3D and Extensible SR Storage."""

COORDINATES = ("SCOORD", "SCOORD3D")
GROUP = "DCM:125007"
TRACKING_IDENTIFIER = "DCM:112039"
TRACKING_UID = "DCM:112040"
FINDING = "DCM:121071"
FINDING_CATEGORY = "SCT:276214006"
FINDING_SITE = "SCT:363698007"
LATERALITY = "SCT:272741003"
COMMENT = "DCM:121106"
SHORT_LABEL = "DCM:125309"
OBSERVER = "DCM:121008"
REFERENCED_SEGMENT = ("DCM:121191", "DCM:121214", "DCM:121231")
"""Referenced Segment, Referenced Segmentation Frame, Segmented Surface."""
NOT_ABOUT_THE_LESION = ("DCM:111701", "SCT:370129005", "DCM:121058")
"""Processing type, measurement method, procedure reported: codes that say nothing about the lesion."""

FREE_TEXT = frozenset(("CORNERSTONEFREETEXT",))
TOOL_NAME = re.compile(r"cornerstone(3D)?Tools?@", re.IGNORECASE)
"""A viewer's tool in place of a lesion's name."""
POINTER = re.compile(r"arrow|(?<![a-z])angle|cobb", re.IGNORECASE)
"""Tools and numbers of open lines that have no size."""
PLACEHOLDER = re.compile(r"\{[^{}]*\}")
"""dwv's label templates, for example ``{surface}``."""
OSIRIX_SCHEME = "99HUG"
"""Codes of OsiriX and Horos."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Group:
    """One measurement group and the items in it."""

    source: InstanceRef
    top: Node
    nodes: tuple[Node, ...]
    item: str
    dialect: str

    def said(self, *concepts: str) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.has_concept(*concepts))

    def text(self, *concepts: str) -> str:
        return next((found for node in self.said(*concepts) if (found := text(node.ds, "TextValue"))), "")

    def coded(self, *concepts: str) -> tuple[Code, ...]:
        found = (code(node.ds, "ConceptCodeSequence") for node in self.said(*concepts))
        return tuple(one for one in found if one is not None)


def read(ds: Dataset) -> tuple[RoiMark | UnreadableMark | IgnoredMark, ...]:
    """One mark for each measurement group of the report.

    Raises
    ------
    InputError
        `sr.too-large`; `sr.osirix-roi` for the archived ROIs of OsiriX and Horos.
    """
    with quiet():
        source = source_of(ds)
        family = _osirix(ds, source)
        if family is not None:
            return (family,)
        tree = read_tree(ds)
        tops = _tops(tree)
        if not tops:
            return (
                IgnoredMark(
                    label="",
                    source=source,
                    item="report",
                    dialect="SR",
                    reason="a report without measurement groups or spatial coordinates",
                ),
            )
        observer = _observer(tree)
        known = evidence(ds)
        return tuple(_mark(group, tree, observer, known) for group in _groups(source, tree, tops))


def _osirix(ds: Dataset, source: InstanceRef) -> IgnoredMark | None:
    """Objects of OsiriX and Horos: archived ROIs are refused, their archived reports and views ignored."""
    title = code(ds, "ConceptNameCodeSequence")
    if title is None or title.scheme != OSIRIX_SCHEME:
        return None
    if "ROI" in f"{title.meaning} {text(ds, 'SeriesDescription')}".upper():
        raise InputError(
            "sr.osirix-roi",
            "found ROIs of OsiriX or Horos in their own archive format, which is not read; please export the"
            " ROI as RT Structure Set or as DICOM SEG",
        )
    reason = "an archive of OsiriX or Horos that holds no ROI"
    return IgnoredMark(label="", source=source, item="report", dialect="SR (OsiriX)", reason=reason)


def _tops(tree: Tree) -> list[Node]:
    """The measurement groups; in a report of another form the smallest parts that hold coordinates."""
    tops = [node for node in tree.nodes if node.has_concept(GROUP) and node.value_type == "CONTAINER"]
    if tops:
        return tops
    found: dict[Node, None] = {}
    for node in tree.nodes:
        if node.value_type in COORDINATES and not _is_decoration(node):
            path = (*node.ancestors[1:], node)
            containers = [one for one in path if one.value_type == "CONTAINER"]
            found[containers[-1] if containers else path[0]] = None
    return list(found)


def _groups(source: InstanceRef, tree: Tree, tops: list[Node]) -> list[_Group]:
    members: dict[Node, list[Node]] = {top: [] for top in tops}
    for node in tree.nodes:
        owner = next((one for one in (node, *reversed(node.ancestors)) if one in members), None)
        if owner is not None:
            members[owner].append(node)
    groups: list[_Group] = []
    for number, top in enumerate(tops, start=1):
        parts = [tuple(members[top])]
        # Before TID 1500, dwv put all regions into one group and said of each what it is.
        named = [node for node in members[top] if node.parent is top and _says_its_name(node, tree)]
        if named:
            parts = [(node, *tree.below(node)) for node in named]
        for n, part in enumerate(parts, start=1):
            item = f"group {number}" + (f", region {n}" if named else "")
            groups.append(_Group(source=source, top=top, nodes=part, item=item, dialect=_dialect(tree, part)))
    return groups


def _says_its_name(node: Node, tree: Tree) -> bool:
    said = tree.children.get(node, ()) if node.value_type in COORDINATES else ()
    return any(child.has_concept(TRACKING_IDENTIFIER, TRACKING_UID, SHORT_LABEL) for child in said)


def _dialect(tree: Tree, own: tuple[Node, ...]) -> str:
    template = text(first(tree.root.ds, "ContentTemplateSequence"), "TemplateIdentifier")
    name = "SR TID 1500" if template == "1500" or tree.root.has_concept("DCM:126000") else "SR"
    tracking = next((text(node.ds, "TextValue") for node in own if node.has_concept(TRACKING_IDENTIFIER)), "")
    return f"{name} (OHIF)" if TOOL_NAME.match(tracking) else name


def _mark(
    group: _Group, tree: Tree, observer: str | None, known: dict[str, str | None]
) -> RoiMark | UnreadableMark | IgnoredMark:
    label = _label(group)
    if not any(node.value_type in COORDINATES for node in group.nodes):
        ignored = _segment_reference(group, label) or _whole_image(group, label)
        if ignored is not None:
            return ignored
    try:
        drawings = _drawings(group, tree)
        shape, remarks = shape_of(drawings)
    except InputError as error:
        return UnreadableMark(
            label=label,
            source=group.source,
            item=group.item,
            dialect=group.dialect,
            code=error.code,
            message=error.message,
        )
    images = images_of(shape)
    tracking_uid = next((found for n in group.said(TRACKING_UID) if (found := uid(n.ds, "UID"))), None)
    return RoiMark(
        tracking_uid=tracking_uid,
        label=label,
        shape=shape,
        source=group.source,
        item=group.item,
        dialect=group.dialect,
        referenced_images=images,
        referenced_series_uid=series_of(known, images),
        frame_of_reference_uid=next(
            (one.frame_of_reference_uid for one in drawings if one.frame_of_reference_uid), None
        ),
        observer_name=observer,
        finding_site=next((one for one in group.coded(FINDING_SITE) if one.value not in FREE_TEXT), None),
        laterality=next(iter(group.coded(LATERALITY)), None),
        property_codes=_property_codes(group),
        evaluations=_evaluations(group),
        remarks=remarks,
    )


def _drawings(group: _Group, tree: Tree) -> tuple[Drawing, ...]:
    """The drawn regions of a group: those at its own level, else those that numbers are inferred from."""
    images = referenced_images(node for node in group.nodes if node.value_type == "IMAGE")
    found = [
        drawing(node, tree, images)
        for node in group.nodes
        if node.value_type in COORDINATES and not _is_decoration(node)
    ]
    _refuse_pointer(group, found)
    at_group_level = [one for one in found if one.node is group.top or one.node.parent is group.top]
    areas = [one for one in at_group_level if one.encloses_area]
    chosen = areas or at_group_level or found
    unlike: dict[tuple[object, ...], Drawing] = {}
    for one in chosen:
        # Several numbers may be inferred from the same drawing, written again for each.
        unlike.setdefault((one.graphic_type, one.image, one.points.tobytes()), one)
    return tuple(unlike.values())


def _refuse_pointer(group: _Group, found: list[Drawing]) -> None:
    """Arrows and angles draw open lines that are neither outline nor length, whatever their names say."""
    tool = group.text(TRACKING_IDENTIFIER)
    said = [tool.rpartition(":")[2]] if TOOL_NAME.match(tool) else []
    said += [node.concept.meaning for node in group.nodes if node.value_type == "NUM" and node.concept]
    named = next((one for one in said if POINTER.search(one)), None)
    if named is not None and any(one.is_open_line for one in found):
        raise InputError(
            "roi.unsupported-shape",
            f"found {named[:32]!r}, which points or measures an angle but has no size;"
            " please mark the lesion with an outline or a length",
        )


def _is_decoration(node: Node) -> bool:
    """Control points of a spline (cornerstone) and the place of a label (dwv) are not the mark."""
    concept = node.concept
    if concept is not None and (concept.scheme == "99CS3D" or node.has_concept("DCM:122438")):
        return True
    return node.parent is not None and node.parent.value_type == "TEXT"


def _segment_reference(group: _Group, label: str) -> IgnoredMark | None:
    """A group that only points to a segmentation: the segmentation itself is the mark, and is not doubled."""
    for node in group.said(*REFERENCED_SEGMENT):
        for reference in items(node.ds, "ReferencedSOPSequence"):
            named = image_refs(reference)
            target = named[0].sop_instance_uid if named else "unknown"
            segment = text(reference, "ReferencedSegmentNumber") or "?"
            return IgnoredMark(
                label=label,
                source=group.source,
                item=group.item,
                dialect=group.dialect,
                reason=f"refers to segment {segment} of segmentation {target}: it is measured when that"
                " object itself is sent",
            )
    return None


def _whole_image(group: _Group, label: str) -> IgnoredMark | None:
    """A group that measures whole images is no mark; a drawing tool's without coordinates is a lost one."""
    drawn = TOOL_NAME.match(group.text(TRACKING_IDENTIFIER))
    if drawn or not any(node.value_type == "IMAGE" for node in group.nodes):
        return None
    return IgnoredMark(
        label=label,
        source=group.source,
        item=group.item,
        dialect=group.dialect,
        reason="a measurement of whole images, without a region",
    )


def _label(group: _Group) -> str:
    """The lesion's name as a person wrote it; a viewer's tool name or placeholder is none."""
    free = (one.meaning for one in group.coded(FINDING, FINDING_SITE) if one.value in FREE_TEXT)
    tracking = group.text(TRACKING_IDENTIFIER)
    coded = (one.meaning for one in group.coded(FINDING) if one.value not in FREE_TEXT)
    candidates = (*free, group.text(COMMENT), group.text(SHORT_LABEL), tracking, *coded)
    named = (one for one in candidates if one and not TOOL_NAME.match(one) and not PLACEHOLDER.fullmatch(one))
    return next(named, "")


def _property_codes(group: _Group) -> tuple[Code, ...]:
    found = []
    for node in group.nodes:
        about = node.relationship == "CONTAINS" or node.has_concept(FINDING, FINDING_CATEGORY)
        if node.value_type != "CODE" or not about or node.has_concept(*NOT_ABOUT_THE_LESION):
            continue
        one = code(node.ds, "ConceptCodeSequence")
        if one is not None and one.value not in FREE_TEXT:
            found.append(one)
    return tuple(dict.fromkeys(found))


def _evaluations(group: _Group) -> tuple[tuple[Code, Code], ...]:
    """Concept and value of the coded items that the group contains."""
    found = []
    for node in group.nodes:
        if node.value_type != "CODE" or node.relationship != "CONTAINS" or node.concept is None:
            continue
        one = code(node.ds, "ConceptCodeSequence")
        if one is not None:
            found.append((node.concept, one))
    return tuple(dict.fromkeys(found))


def _observer(tree: Tree) -> str | None:
    names = (person(node.ds, "PersonName") for node in tree.nodes if node.has_concept(OBSERVER))
    return next((name for name in names if name is not None), None)
