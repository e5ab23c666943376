"""Masks measured by pyradiomics or MIRP; run in that tool's own environment.

python other_tool.py diameters pyradiomics|mirp FILE.npz  ->  a JSON list of in-plane diameters in mm
python other_tool.py marks pyradiomics|mirp FILE.npz      ->  for each line of standard input, a number of
    marks and a time limit, a line of JSON: how many were measured, in how many seconds, and their values
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

import numpy as np

MIRP_NAMES = {
    "volume of the mesh": "morph_volume",
    "volume of the voxels": "morph_vol_approx",
    "mean": "stat_mean",
    "variance": "stat_var",
    "minimum": "stat_min",
    "maximum": "stat_max",
    "median": "stat_median",
    "10th percentile": "stat_p10",
    "90th percentile": "stat_p90",
}


def diameter_by_pyradiomics(mask: np.ndarray, pixel_mm: float, step_mm: float) -> float:
    import SimpleITK
    from radiomics.shape import RadiomicsShape

    image = SimpleITK.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    image.SetSpacing((pixel_mm, pixel_mm, step_mm))
    return float(RadiomicsShape(image, image, label=1).getMaximum2DDiameterSliceFeatureValue())


def diameter_by_mirp(mask: np.ndarray, pixel_mm: float, step_mm: float) -> float:
    """MIRP has no in-plane diameter: the 3D diameter of the slice that has the longest one alone."""
    from mirp import extract_features

    spans = [np.ptp(np.argwhere(plane), axis=0) if plane.any() else (0, 0) for plane in mask]
    plane = np.pad(mask[int(np.argmax([np.hypot(*span) for span in spans]))], 2).astype(int)
    stack = np.stack([0 * plane, plane, 0 * plane])
    features = extract_features(image=stack * 100.0, mask=stack, base_feature_families="morphology")
    return float(features[0]["morph_diam"].iloc[0]) * pixel_mm


def mark_by_pyradiomics(mask: np.ndarray, hu: np.ndarray, pixel_mm: float, step_mm: float) -> dict:
    import SimpleITK
    from radiomics.firstorder import RadiomicsFirstOrder
    from radiomics.shape import RadiomicsShape

    label = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image = SimpleITK.GetImageFromArray(hu)
    for one in (label, image):
        one.SetSpacing((pixel_mm, pixel_mm, step_mm))
    found = {}
    for features in (RadiomicsShape(image, label, label=1), RadiomicsFirstOrder(image, label, label=1)):
        features.enableAllFeatures()
        found.update(features.execute())
    return {
        "volume of the mesh": float(found["MeshVolume"]),
        "volume of the voxels": float(found["VoxelVolume"]),
        "3D diameter": float(found["Maximum3DDiameter"]),
        "mean": float(found["Mean"]),
        "variance": float(found["Variance"]),
        "minimum": float(found["Minimum"]),
        "maximum": float(found["Maximum"]),
        "median": float(found["Median"]),
        "10th percentile": float(found["10Percentile"]),
        "90th percentile": float(found["90Percentile"]),
    }


def mark_by_mirp(mask: np.ndarray, hu: np.ndarray, pixel_mm: float, step_mm: float) -> dict:
    """MIRP takes an array's voxels for cubes of 1 mm: its volumes are scaled here, its diameter left out."""
    from mirp import extract_features

    families = ["morphology", "statistics"]
    features = extract_features(image=hu, mask=mask.astype(int), base_feature_families=families)[0]
    found = {name: float(features[column].iloc[0]) for name, column in MIRP_NAMES.items()}
    for name in ("volume of the mesh", "volume of the voxels"):
        found[name] *= pixel_mm * pixel_mm * step_mm
    return found


def serve_marks(measure, marks: list[tuple]) -> None:
    measure(*marks[0])  # libraries are loaded, once
    for line in sys.stdin:
        count, limit_s = line.split()
        found, began = [], time.perf_counter()
        for mark in marks[: int(count)]:
            found.append(measure(*mark))
            if time.perf_counter() - began > float(limit_s):
                break
        seconds = time.perf_counter() - began
        sys.stdout.write(json.dumps({"done": len(found), "seconds": seconds, "values": found}) + "\n")
        sys.stdout.flush()


def main() -> None:
    what, tool, path = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with np.load(path) as stored:
        spacing = stored["spacing"].tolist()
        masks = [stored[f"mask{i}"] for i in range(len(spacing))]
        if what == "diameters":
            measure = {"pyradiomics": diameter_by_pyradiomics, "mirp": diameter_by_mirp}[tool]
            found = [measure(mask, *mm) for mask, mm in zip(masks, spacing, strict=True)]
            sys.stdout.write(json.dumps(found) + "\n")
            return
        hu = [stored[f"hu{i}"] for i in range(len(spacing))]
    measure_mark = {"pyradiomics": mark_by_pyradiomics, "mirp": mark_by_mirp}[tool]
    serve_marks(measure_mark, [(m, h, *mm) for m, h, mm in zip(masks, hu, spacing, strict=True)])


if __name__ == "__main__":
    main()
