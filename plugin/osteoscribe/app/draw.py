"""The picture of a report: its findings on the slices that carry their outlines."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from osteoscribe.core.marks import InstanceRef
from osteoscribe.core.report import Report
from osteoscribe.core.series import ReadBytes, SeriesIndex
from osteoscribe.readers.ct import CT_SOP_CLASSES, index_series, read_box
from osteoscribe.readers.headers import StoredInstance
from osteoscribe.writers.picture import panel_of, render


def picture_of(report: Report, instances: Sequence[StoredInstance], read: ReadBytes) -> Image.Image:
    """Draw the findings of a report.

    Parameters
    ----------
    report
        At least one finding.
    instances
        Where its CT series is among.
    read
        Gives stored bytes.

    Raises
    ------
    InputError
        The pixels of a slice cannot be read.
    """
    index = index_series(
        [
            one
            for one in instances
            if one.header.series_instance_uid == report.series_instance_uid
            and one.header.sop_class_uid in CT_SOP_CLASSES
        ]
    )
    _, rows, columns = index.grid.shape
    panels = []
    for finding in report.findings:
        k = _slice_of(index, finding.lesion.image)
        box = read_box(index, (slice(k, k + 1), slice(0, rows), slice(0, columns)), read)
        panels.append(panel_of(finding, index.grid, k, box.voxels_hu[0]))
    return render(panels)


def _slice_of(index: SeriesIndex, image: InstanceRef) -> int:
    return next(
        k
        for k, source in enumerate(index.slices)
        if source.ref.sop_instance_uid == image.sop_instance_uid
        and source.ref.frame_number == image.frame_number
    )
