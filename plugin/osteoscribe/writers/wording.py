"""What a report says in words, the same in every kind of document."""

from __future__ import annotations

from collections.abc import Iterable

from osteoscribe.core.answers import Provenance
from osteoscribe.core.facts import StatedFact
from osteoscribe.core.report import Finding, Ignored, Lesion, Problem, Report
from osteoscribe.core.serial import SerialCourse, SerialMeasurement, SerialStep
from osteoscribe.core.series import Acquisition
from osteoscribe.core.size import Doubt, NotMeasurable, Size
from osteoscribe.core.units import round_half_up
from osteoscribe.writers.content import decimal_string

DISCLAIMER = (
    "For research use, not for clinical decisions. Unverified suggestion of a program, for a radiologist to "
    "accept, change or reject. HU values are for reference only: no rule uses them."
)
READER_ERROR = (
    "Two readers of the same nodule differ by up to about 1.7 mm (95 % limits, Revel 2004, lung nodules; no "
    "figure for bone lesions was found)."
)


def place(lesion: Lesion) -> str:
    """Where a lesion is, in words: side and site, then series and image."""
    site, side = lesion.mark.finding_site, lesion.mark.laterality
    named = " ".join(
        code.meaning.lower() if code is side else _lower(code.meaning) for code in (side, site) if code
    )
    return "; ".join(part for part in (named, lesion.image_label) if part)


def _lower(meaning: str) -> str:
    """A site's name inside a sentence; ``L4 vertebra`` keeps its capital."""
    return meaning if meaning[1:2].isdigit() else meaning[:1].lower() + meaning[1:]


def summary(report: Report) -> str:
    """All sentences, one a line, each with the lesions it is about."""
    lines: list[tuple[str, list[Lesion], bool]] = []
    for finding in report.findings:
        shared = finding.decision.scope == "examination"
        for sentence, lesions, is_shared in lines:
            if shared and is_shared and sentence == finding.phrase.text:
                lesions.append(finding.lesion)
                break
        else:
            lines.append((finding.phrase.text, [finding.lesion], shared))
    return "\n".join(
        f"{', '.join(f'{lesion.name} ({place(lesion)})' for lesion in lesions)}: {sentence}"
        for sentence, lesions, _ in lines
    )


def language(report: Report) -> str:
    """The language of the sentences; all are of one table."""
    return next((finding.phrase.language for finding in report.findings), "en")


def measurement_line(lesion: Lesion) -> str:
    """Size and HU of a lesion in one line."""
    parts = [size_words(lesion)]
    hu = lesion.intensity
    if hu is not None:
        parts.append(
            f"HU mean {hu.mean_hu:.0f}, SD {hu.standard_deviation_hu:.0f}, min {hu.minimum_hu:.0f}, "
            f"max {hu.maximum_hu:.0f}, median {hu.median_hu:.0f}, {hu.voxel_count} voxels"
        )
    return f"{lesion.name} ({place(lesion)}): {'; '.join(parts)}"


def size_words(lesion: Lesion) -> str:
    """The size of a lesion in words."""
    size = lesion.size
    if isinstance(size, NotMeasurable):
        return f"size not measurable: {size.reason}"
    words = [axes_words(size)]
    if size.maximum_3d_diameter_mm is not None:
        words.append(f"3D diameter {decimal_string(size.maximum_3d_diameter_mm, decimals=1)} mm")
    if size.volume_mm3 is not None:
        words.append(f"volume {decimal_string(size.volume_mm3, decimals=0)} mm3")
    return ", ".join(words)


def axes_words(size: Size) -> str:
    """Long x short axis to a tenth of a millimetre, finer where a tenth would contradict the sentence."""
    axes = [decimal_string(size.long_axis_mm, whole=size.whole_mm, decimals=1)]
    if size.short_axis_mm is not None:
        axes.append(decimal_string(size.short_axis_mm, decimals=1))
    return " x ".join(axis if "." in axis else f"{axis}.0" for axis in axes) + " mm"


def together(said: Iterable[tuple[str, str]]) -> str:
    r"""What is said of each lesion, one line for all lesions it is said of.

    Examples
    --------
    >>> together([("Lesion 1", "none"), ("Lesion 2", "MRI"), ("Lesion 3", "none")])
    'Lesions 1, 3: none\nLesion 2: MRI'
    """
    names: dict[str, list[str]] = {}
    for name, words in said:
        names.setdefault(words, []).append(name)
    return "\n".join(f"{_joined(of)}: {words}" for words, of in names.items())


def _joined(names: list[str]) -> str:
    numbers = [name.removeprefix("Lesion ") for name in names]
    if len(names) > 1 and all(number.isdigit() for number in numbers):
        return f"Lesions {', '.join(numbers)}"
    return ", ".join(names)


def rule_words(finding: Finding) -> str:
    """The row that held, and its analogue where it has one."""
    decision = finding.decision
    analogue = "" if decision.analogue in ("", "n/a", "-") else f", {decision.analogue}"
    return f"rule {decision.rule_id}{analogue}. {decision.why}".rstrip()


def acquisition_words(acquisition: Acquisition) -> str:
    """How the CT was made, as it matters for HU."""
    thickness, kvp = acquisition.slice_thickness_mm, acquisition.kvp_kv
    contrast = {None: "contrast not stated", True: "contrast given", False: "no contrast"}[
        acquisition.contrast
    ]
    return ", ".join(
        (
            "slice thickness " + ("not stated" if thickness is None else f"{decimal_string(thickness)} mm"),
            "tube voltage not stated" if kvp is None else f"{decimal_string(kvp)} kV",
            f"kernel {acquisition.convolution_kernel}"
            if acquisition.convolution_kernel
            else "kernel not stated",
            contrast,
        )
    )


def not_recorded(finding: Finding) -> tuple[str, ...]:
    """The inputs of a finding that nobody stated, in words."""
    return tuple(
        _input_name(fact)
        for fact in finding.facts.stated
        if fact.provenance is Provenance.NOT_RECORDED or fact.value == "unknown"
    )


def _input_name(fact: StatedFact) -> str:
    return fact.name.replace("_", " ")


def _input_words(fact: StatedFact) -> str:
    unit = " mm" if fact.name == "size" and fact.value.isdigit() else ""
    origin = fact.provenance.value + (f": {fact.where}" if fact.where else "")
    return f"{_input_name(fact)} {fact.value.replace('_', ' ')}{unit} ({origin})"


def inputs(finding: Finding) -> str:
    """The inputs of a finding that are recorded, each with its source."""
    missing = not_recorded(finding)
    known = [_input_words(fact) for fact in finding.facts.stated if _input_name(fact) not in missing]
    return "; ".join(known) or "none"


def remarks(lesion: Lesion) -> tuple[str, ...]:
    """What is to be said about a mark and where it lies."""
    return (*lesion.mark.remarks, *lesion.placement.remarks)


def why(finding: Finding, report: Report) -> str:
    """Why this suggestion: row, inputs with their origin, what is missing, how it was measured, sources."""
    lesion, decision = finding.lesion, finding.decision
    lines = [f"{lesion.name}: {rule_words(finding)}"]
    lines.append(f"Inputs: {inputs(finding)}.")
    lines.append(f"Not recorded: {', '.join(not_recorded(finding)) or 'nothing'}.")
    lines += [f"In conflict: {conflict.message}" for conflict in finding.facts.conflicts]
    lines += _comparison_lines(lesion)
    lines += _measuring_lines(lesion, report, finding.phrase.remark)
    lines.append(f"Rule table {decision.table_id} {decision.table_version}, SHA-256 {decision.table_sha256}.")
    lines += [f"Source: {source}" for source in decision.sources]
    return "\n".join(lines)


def _comparison_lines(lesion: Lesion) -> list[str]:
    comparison = lesion.comparison
    if comparison is None:
        return []
    line = (
        f"Compared with {comparison.prior_date.isoformat()}: "
        f"{decimal_string(comparison.prior_long_axis_mm)} mm then, difference "
        f"{decimal_string(comparison.difference_mm)} mm, growth {comparison.growth.value.replace('_', ' ')}."
    )
    return [line if comparison.comparable else f"{line} Not comparable: {comparison.why_not}"]


def _measuring_lines(lesion: Lesion, report: Report, borderline: str) -> list[str]:
    lines = [f"Mark: {lesion.mark.dialect}, {lesion.mark.item}."]
    size = lesion.size
    if not isinstance(size, NotMeasurable):
        error = (
            ""
            if size.uncertainty_mm is None
            else f"; expected error {decimal_string(size.uncertainty_mm)} mm"
        )
        lines.append(f"Measured: {size.method}{error}.")
        lines += [
            borderline
            if borderline and doubt is Doubt.BORDERLINE
            else f"Take the size with care: {doubt.value}."
            for doubt in size.doubts
        ]
    lines += [f"Remark: {remark}" for remark in remarks(lesion)]
    if lesion.intensity is not None:
        lines.append(f"HU for reference only: {acquisition_words(report.acquisition)}.")
        lines += [f"HU remark: {remark}" for remark in lesion.intensity.remarks]
    return lines


def serial(lesion: Lesion, course: SerialCourse) -> str:
    """A lesion over its examinations: measurements and differences, nothing concluded, one line each."""
    lines = [
        f"{lesion.name}:",
        *map(_serial_measurement, course.measurements),
        *map(_serial_step, course.steps),
        course.sentence,
    ]
    return "\n".join(lines)


def _serial_measurement(one: SerialMeasurement) -> str:
    length = "not measurable"
    if one.long_axis_mm is not None:
        whole = round_half_up(one.long_axis_mm)
        length = f"{decimal_string(one.long_axis_mm, whole=whole, decimals=1)} mm"
    hu = "not stated" if one.mean_hu is None else f"{one.mean_hu:.0f}"
    protocol = acquisition_words(one.acquisition)
    return f"{one.study_date.isoformat()}: long axis {length}; mean HU {hu}; {protocol}"


def _serial_step(step: SerialStep) -> str:
    mm = "not known" if step.difference_mm is None else f"{step.difference_mm:+.1f} mm"
    hu = "not known" if step.difference_hu is None else f"{step.difference_hu:+.0f}"
    protocol = {True: "matched", False: "did not match", None: "not known to match"}[step.protocol_matched]
    details = f" ({'; '.join(step.protocol)})" if step.protocol else ""
    days = f"{step.earlier.study_date.isoformat()} to {step.later.study_date.isoformat()}"
    return f"{days}: difference of the long axis {mm}; of the mean HU {hu}; protocol {protocol}{details}"


def problem_line(problem: Problem) -> str:
    """A problem in one line."""
    return f"{problem.code}: {problem.message}" + (f" ({problem.where})" if problem.where else "")


def ignored_line(ignored: Ignored) -> str:
    """A mark that was left out, in one line."""
    return f"{ignored.label or 'no label'} ({ignored.item}): {ignored.reason}"
