"""In-plane diameters of masks by pyradiomics or MIRP; run by `diameters.py` in that tool's own environment.

python other_tool.py pyradiomics|mirp FILE.npz    ->  a JSON list of mm on standard output
"""

from __future__ import annotations

import json
import logging
import sys
import warnings

import numpy as np


def by_pyradiomics(mask: np.ndarray, pixel_mm: float, step_mm: float) -> float:
    import SimpleITK
    from radiomics.shape import RadiomicsShape

    image = SimpleITK.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    image.SetSpacing((pixel_mm, pixel_mm, step_mm))
    return float(RadiomicsShape(image, image, label=1).getMaximum2DDiameterSliceFeatureValue())


def by_mirp(mask: np.ndarray, pixel_mm: float, step_mm: float) -> float:
    """MIRP has no in-plane diameter: the 3D diameter of the slice that has the longest one alone."""
    from mirp import extract_features

    spans = [np.ptp(np.argwhere(plane), axis=0) if plane.any() else (0, 0) for plane in mask]
    plane = np.pad(mask[int(np.argmax([np.hypot(*span) for span in spans]))], 2).astype(int)
    stack = np.stack([0 * plane, plane, 0 * plane])
    features = extract_features(image=stack * 100.0, mask=stack, base_feature_families="morphology")
    return float(features[0]["morph_diam"].iloc[0]) * pixel_mm


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    measure = {"pyradiomics": by_pyradiomics, "mirp": by_mirp}[sys.argv[1]]
    with np.load(sys.argv[2]) as stored:
        masks = [(stored[f"mask{i}"], *stored["spacing"][i].tolist()) for i in range(len(stored["spacing"]))]
    sys.stdout.write(json.dumps([measure(*one) for one in masks]) + "\n")
