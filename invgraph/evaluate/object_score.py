"""How well a known object was found in photos: poses, their covariances, and where it is not."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.object_pose_files import PoseRow
from invgraph.evaluate.calibration_metrics import auroc
from invgraph.evaluate.pose_metrics import add_distance, pose_error
from invgraph.scene.belief import PoseBelief

SUCCESS = 0.1  # ADD of a pose that counts as right, of the diameter
SHARE = 0.9  # of the truths that should be inside what the covariances tell

Poses = Mapping[str, np.ndarray | None]  # camera_from_object by photo; None where it is not


def score_objects(
    rows: Sequence[PoseRow],
    truth: Poses,
    points: Float[Tensor, "n 3"] | None = None,
    diameter: float = math.nan,
) -> dict[str, float]:
    """Scores of the photos whose truth is known; those that need what is missing are left out.

    Args:
        rows: what was found.
        truth: by photo.
        points: of the object's surface, metres, for the average distance.
        diameter: of the object, metres.

    Returns:
        ``found_pct``: of the photos with the object, those in which it is said to be;
        ``found_of_absent_pct``: of those without it; ``found_auroc``: how often the score of the
        former is above that of the latter, %. Medians ``translation_mm`` and ``rotation_deg`` over
        the photos in which it was found and is. ``coverage_90_pct``: how often their truths are in
        the ellipsoid that should hold them in 90 %. ``success_pct``: of the photos with the object,
        those in which it is said to be found and its points are off by less than a tenth of the
        diameter on average (ADD).

    Raises:
        ValueError: no photo has a truth.
    """
    there = [(row, truth[row.frame]) for row in rows if truth.get(row.frame) is not None]
    absent = [row for row in rows if row.frame in truth and truth[row.frame] is None]
    if not there and not absent:
        raise ValueError("none of the photos has a truth; their names should be those of the run.")
    scores: dict[str, float] = {}
    if there:
        scores["found_pct"] = _share([row.found for row, _ in there])
    if absent:
        scores["found_of_absent_pct"] = _share([row.found for row in absent])
    if there and absent:
        both = [row.score for row, _ in there], [row.score for row in absent]
        scores["found_auroc"] = 100 * auroc(*both)
    pairs = [(row, torch.from_numpy(true)) for row, true in there if row.found]
    if pairs:
        errors = [pose_error(torch.from_numpy(row.pose), true) for row, true in pairs]
        scores["translation_mm"] = 1e3 * median(shift for shift, _ in errors)
        scores["rotation_deg"] = median(turn for _, turn in errors)
        scores["coverage_90_pct"] = _share([_held(row, true) for row, true in pairs])
    if points is not None and there:
        right = [
            add_distance(points, torch.from_numpy(row.pose), true) < SUCCESS * diameter
            for row, true in pairs
        ]
        scores["success_pct"] = 100 * sum(right) / len(there)
    return scores


def _held(row: PoseRow, true: Tensor) -> bool:
    belief = PoseBelief(
        torch.from_numpy(row.pose)[None].float(),
        torch.ones(1),
        torch.from_numpy(row.covariance)[None].float(),
        row.score,
        row.found,
    )
    return belief.contains(true.float(), SHARE)


def _share(flags: Sequence[bool]) -> float:
    return 100 * sum(flags) / len(flags)
