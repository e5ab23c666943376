"""One report to the encoded objects that are sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from PIL import Image
from pydicom import Dataset

from osteoscribe.app.gather import MarkObject
from osteoscribe.app.ports import RefusedObject
from osteoscribe.app.shelf import CtSeries, evidence_of
from osteoscribe.core.report import FIRST, Predecessor, Problem, Report, Revision
from osteoscribe.core.serial import StoredLesion
from osteoscribe.errors import InputError
from osteoscribe.writers.companion import build_companion
from osteoscribe.writers.document import Evidence, encode
from osteoscribe.writers.gate import check
from osteoscribe.writers.key_image import build_key_image
from osteoscribe.writers.notice import build_notice
from osteoscribe.writers.profiles import STANDARD, Profile
from osteoscribe.writers.sr import build_sr

Draw = Callable[[Report], Image.Image]
"""Gives the picture of a report with findings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenObject:
    """One encoded DICOM object of a report, as a Part 10 file.

    ``role`` is ``sr``, ``text``, ``key-image`` or ``notice``.
    """

    profile: str
    role: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    instance_number: int
    encoded: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Written:
    """A report and the objects it was written as: by profile, the one that carries the result first.

    ``quarantined`` are those that could not be built, or that the gate refused.
    ``patient_key`` and ``lesions`` are what later examinations are compared with.
    """

    report: Report
    objects: tuple[WrittenObject, ...]
    quarantined: tuple[RefusedObject, ...] = ()
    patient_key: str = ""
    lesions: tuple[StoredLesion, ...] = ()


def write_report(
    report: Report,
    series: CtSeries,
    context: Dataset,
    objects: Sequence[MarkObject],
    profiles: Sequence[Profile] = (STANDARD,),
    draw: Draw | None = None,
    revision: Revision = FIRST,
) -> Written:
    """Build and check the objects of one report.

    Parameters
    ----------
    context
        Header of one CT instance of the series.
    objects
        The mark objects of the request; those that the report speaks of are its evidence.
    profiles
        The forms to write.
    draw
        Gives the picture of a report; without it there is no key image.
    revision
        Which report on the series this is.

    Returns
    -------
    Written
        What passed the gate, and what did not (``gate.*``, or what drawing the picture raises).
    """
    evidence = _evidence(report, series, objects)
    picture = None if draw is None else cache(partial(draw, report))
    passed: list[WrittenObject] = []
    refused: list[RefusedObject] = []
    for profile in profiles:
        own = _revised(report, revision.number, revision.predecessors.get(profile.name))
        for role, build in _builders(own, profile, picture):
            dataset, encoded = None, b""
            try:
                dataset = build(own, context, evidence, profile)
                encoded = encode(dataset)
                check(encoded, own, context, evidence, profile)
            except InputError as error:
                refused.append(_refused(dataset, encoded, profile, role, report, error))
            else:
                passed.append(_written(dataset, encoded, profile, role))
    return Written(report=report, objects=tuple(passed), quarantined=tuple(refused))


def _revised(report: Report, number: int, predecessor: Predecessor | None) -> Report:
    """The report as this revision; the report itself where it is that already, for its key is kept."""
    if (report.revision, report.predecessor) == (number, predecessor):
        return report
    return replace(report, revision=number, predecessor=predecessor)


def _written(dataset: Dataset, encoded: bytes, profile: Profile, role: str) -> WrittenObject:
    return WrittenObject(
        profile=profile.name,
        role=role,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        instance_number=int(dataset.InstanceNumber),
        encoded=encoded,
    )


def _refused(
    dataset: Dataset | None, encoded: bytes, profile: Profile, role: str, report: Report, error: InputError
) -> RefusedObject:
    uid = "" if dataset is None else str(dataset.SOPInstanceUID)
    return RefusedObject(
        profile=profile.name,
        role=role,
        sop_class_uid="" if dataset is None else str(dataset.SOPClassUID),
        sop_instance_uid=uid,
        encoded=encoded,
        problem=Problem(
            code=error.code, message=error.message, where=uid or f"{role} of {report.series_instance_uid}"
        ),
    )


_Build = Callable[[Report, Dataset, Sequence[Evidence], Profile], Dataset]


def _builders(
    report: Report, profile: Profile, picture: Callable[[], Image.Image] | None
) -> list[tuple[str, _Build]]:
    """Which objects a report is written as in one form, by role."""
    builders: list[tuple[str, _Build]] = []
    if report.findings and profile.measurement_report:
        builders.append(("sr", build_sr))
    if report.findings and profile.text_companion:
        builders.append(("text", build_companion))
    if report.findings and profile.key_image and picture is not None:
        builders.append(("key-image", lambda r, c, e, p: build_key_image(r, c, e, picture(), p)))
    if report.problems and profile.notice:
        builders.append(("notice", build_notice))
    return builders


def _evidence(report: Report, series: CtSeries, objects: Sequence[MarkObject]) -> tuple[Evidence, ...]:
    """Every CT instance of the series, and the objects that the report speaks of."""
    spoken_of = {
        *(finding.lesion.mark.source.sop_instance_uid for finding in report.findings),
        *(ignored.source.sop_instance_uid for ignored in report.ignored),
        *(problem.where.split(" ")[0] for problem in report.problems),
    }
    marked = (one.instance.header for one in objects)
    return (
        *series.evidence,
        *(evidence_of(header) for header in marked if header.sop_instance_uid in spoken_of),
    )
