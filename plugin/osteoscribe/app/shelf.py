"""The CT series at hand, each with what is worked out of its headers once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import attrgetter

from pydicom import Dataset

from osteoscribe.core.marks import RoiMark
from osteoscribe.core.report import Problem
from osteoscribe.core.series import ReadBytes, SeriesIndex
from osteoscribe.errors import InputError
from osteoscribe.readers.ct import CT_SOP_CLASSES, index_series, prepare_decoding
from osteoscribe.readers.datasets import read_context
from osteoscribe.readers.headers import InstanceHeader, StoredInstance, StoredSeries
from osteoscribe.writers.copying import KeptHeader
from osteoscribe.writers.document import Evidence, EvidenceRef, EvidenceSeries, hierarchy

KEPT_SERIES = 12
"""Series of which everything worked out is kept for the next mark on them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CtSeries:
    """The received instances of one CT series, at least one.

    Whatever grows with their number is worked out once: a second mark on a series does not pay for it again.
    """

    instances: tuple[StoredInstance, ...]
    _contexts: list[Dataset] = field(default_factory=list, repr=False)

    @property
    def study_instance_uid(self) -> str:
        """The study that it belongs to."""
        return self.instances[0].header.study_instance_uid

    @cached_property
    def sop_instance_uids(self) -> frozenset[str]:
        """Its instances by UID."""
        return frozenset(one.header.sop_instance_uid for one in self.instances)

    @cached_property
    def frames_of_reference(self) -> frozenset[str | None]:
        """The frames of reference that its instances name."""
        return frozenset(one.header.frame_of_reference_uid for one in self.instances)

    @cached_property
    def evidence(self) -> tuple[Evidence, ...]:
        """All its instances, as a report cites them: as a whole, but where they name several studies."""
        refs = tuple(evidence_of(one.header) for one in self.instances)
        return refs if len({ref.study_instance_uid for ref in refs}) > 1 else (EvidenceSeries(refs=refs),)

    @cached_property
    def overlay_problem(self) -> Problem | None:
        """States marks that were saved as overlay bitmaps of the images, which have no outline to measure."""
        marked = [one.header.sop_instance_uid for one in self.instances if one.header.roi_overlays]
        if not marked:
            return None
        return Problem(
            code="roi.overlay-bitmap",
            message=f"found marks as overlay bitmaps in {len(marked)} CT images; expected outlines or"
            " lengths; please save the marks as vector graphics, RT Structure Set or SEG",
            where=min(marked),
        )

    @cached_property
    def _usual_index(self) -> SeriesIndex | InputError:
        try:
            return index_series(self.instances)
        except InputError as error:
            return error

    def index(self, referenced: frozenset[str]) -> SeriesIndex:
        """The grid of its slices.

        Parameters
        ----------
        referenced
            SOP Instance UIDs that marks refer to; they matter only where not every image is a slice.

        Raises
        ------
        InputError
            As `osteoscribe.readers.ct.index_series`.
        """
        usual = self._usual_index
        if isinstance(usual, InputError):
            raise usual.with_traceback(None)
        return index_series(self.instances, referenced=referenced) if usual.left_out else usual

    def prepare(self, read: ReadBytes) -> None:
        """Work out what every mark on the series needs.

        Raises
        ------
        InputError
            It has no usable geometry, or its header cannot be read.
        """
        prepare_decoding(self.index(self.sop_instance_uids))
        self.context(read)
        hierarchy(self.evidence)
        _ = self.overlay_problem

    def context(self, read: ReadBytes) -> Dataset:
        """Header of its first instance, without the pixels; to be read only, for it is kept.

        Raises
        ------
        InputError
            As `osteoscribe.readers.datasets.read_context`.
        """
        if not self._contexts:
            first, blob = self.instances[0].header, self.instances[0].blob
            pixels_at = first.pixel_data_offset
            encoded = read(blob, 0, blob.length if pixels_at is None else pixels_at)
            syntax = first.transfer_syntax_uid
            header = read_context(encoded, transfer_syntax_uid=syntax, pixels_at=pixels_at)
            self._contexts.append(KeptHeader(header))
        return self._contexts[0]


def evidence_of(header: InstanceHeader) -> EvidenceRef:
    """An instance as a report cites it."""
    return EvidenceRef(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        series_instance_uid=header.series_instance_uid,
        study_instance_uid=header.study_instance_uid,
    )


@lru_cache(maxsize=KEPT_SERIES)
def parted(series: StoredSeries) -> tuple[CtSeries | None, tuple[StoredInstance, ...]]:
    """The CT images of a series, if it has any, and what else was filed in it.

    Kept for the next job on the series, to which the ledger gives out the same object.
    """
    ordered = sorted(series.instances, key=_UID)
    ct = tuple(one for one in ordered if one.header.sop_class_uid in CT_SOP_CLASSES)
    others = tuple(one for one in ordered if one.header.sop_class_uid not in CT_SOP_CLASSES)
    return CtSeries(instances=ct) if ct else None, others


_UID = attrgetter("header.sop_instance_uid")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesShelf:
    """The CT series at hand, and the images that are no CT.

    Parameters
    ----------
    series
        By Series Instance UID.
    other_images
        Modality by SOP Instance UID of every image that is no CT.
    """

    series: Mapping[str, CtSeries]
    other_images: Mapping[str, str]

    def series_of(self, sop_instance_uids: Sequence[str]) -> str | None:
        """The series that holds most of these instances, or None."""
        wanted = frozenset(sop_instance_uids)
        held = {uid: len(wanted & series.sop_instance_uids) for uid, series in self.series.items()}
        best = max(held, key=lambda uid: (held[uid], uid), default=None)
        return best if best is not None and held[best] else None

    def series_named_by(self, mark: RoiMark) -> str | None:
        """The series that a mark names by its images, or else by its UID, where it is here."""
        return self._named(
            [ref.sop_instance_uid for ref in mark.referenced_images], mark.referenced_series_uid
        )

    def series_meant_by(self, header: InstanceHeader) -> str:
        """The series whose report is to speak of a mark object that cannot be used, or the empty UID.

        It is the one that the object names, else the only one of its study.
        """
        named = self._named(header.referenced_instances, header.referenced_series_uid)
        if named is not None:
            return named
        in_study = [
            uid
            for uid, series in self.series.items()
            if series.study_instance_uid == header.study_instance_uid
        ]
        return in_study[0] if len(in_study) == 1 else ""

    def _named(self, sop_instance_uids: Sequence[str], series_instance_uid: str | None) -> str | None:
        uid = self.series_of(sop_instance_uids)
        return series_instance_uid if uid is None and series_instance_uid in self.series else uid


def shelve(
    ct: Sequence[StoredInstance],
    other_images: Sequence[StoredInstance],
    kept: Sequence[CtSeries] = (),
) -> SeriesShelf:
    """CT instances by series, in an order that does not depend on the order of arrival.

    Parameters
    ----------
    kept
        Series besides, whole as they are: none of the instances is of one of them.
    """
    grouped: dict[str, list[StoredInstance]] = defaultdict(list)
    for instance in sorted(ct, key=_UID):
        grouped[instance.header.series_instance_uid].append(instance)
    series = {uid: CtSeries(instances=tuple(members)) for uid, members in grouped.items()}
    series |= {one.instances[0].header.series_instance_uid: one for one in kept}
    return SeriesShelf(
        series=dict(sorted(series.items())),
        other_images={one.header.sop_instance_uid: one.header.modality for one in other_images},
    )
