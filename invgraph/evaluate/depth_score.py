"""How good depth maps are over a test set, by the protocol of monocular depth networks.

An estimate may have any scale: it is multiplied by the ratio of the medians, image by image. What
that hides is reported too: the spread of the ratios, and the same errors without it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.evaluate.depth_metrics import (
    FAR,
    NEAR,
    DepthErrors,
    Sparsification,
    depth_errors,
    interval_coverage,
    median_ratio,
    ratio_spread,
    resize_depth,
    resize_map,
    scored_pixels,
    sparsification,
)


@dataclass(frozen=True, eq=False)
class DepthScore:
    """One image, scored.

    Attributes:
        pixels: how many have a measured depth that counts.
        ratio: median of the truth over median of the estimate.
        scaled: errors of the estimate times ``ratio``.
        unscaled: errors of the estimate as it is.
        sparsification: by name of the error (abs_rel, rmse, d1: the share that is not within
            1.25), of the scaled estimate; None without uncertainty.
        coverage_90: share of pixels whose truth is inside the predicted 90 % interval about the
            scaled estimate; None without uncertainty.
    """

    pixels: int
    ratio: float
    scaled: DepthErrors
    unscaled: DepthErrors
    sparsification: dict[str, Sparsification] | None = None
    coverage_90: float | None = None


def score_depth(
    depth: Float[Tensor, "ph pw"],
    truth: Float[Tensor, "h w"],
    sigma: Float[Tensor, "sh sw"] | None = None,
    *,
    near: float = NEAR,
    far: float = FAR,
    garg_crop: bool = False,
) -> DepthScore:
    """Score one depth map.

    Args:
        depth: metres or any other scale, positive everywhere; of another size than the truth, its
            inverse is resized bilinearly.
        truth: metres; 0 where nothing was measured.
        sigma: standard deviation of the natural logarithm of ``depth``, of any size.
        near: metres; truth must be above to count.
        far: metres; truth must be below to count. Scaled estimates are clamped to both.
        garg_crop: count only the part of the image that is usual for KITTI.

    Raises:
        ValueError: NaN, infinity or a depth that is not positive, or no pixel counts.

    Source:
        Eigen, Puhrsch & Fergus, Depth map prediction from a single image (2014), the errors; Zhou
        et al., Unsupervised learning of depth and ego-motion from video (2017), median scaling;
        Godard et al., Digging into self-supervised monocular depth estimation (2019), the rest of
        the protocol.
    """
    height, width = truth.shape
    counts = scored_pixels(truth, near=near, far=far, garg_crop=garg_crop)
    if not bool(counts.any()):
        where = " inside the Garg crop" if garg_crop else ""
        raise ValueError(
            f"no pixel has a measured depth between {near:g} and {far:g} m{where}; "
            "give a frame with some."
        )
    estimate = resize_depth(depth, height, width)[counts]
    measured = truth.double()[counts]
    ratio = median_ratio(estimate, measured)
    scaled = (ratio * estimate).clamp(near, far)
    unscaled = depth_errors(estimate.clamp(near, far), measured)
    score = DepthScore(len(measured), ratio, depth_errors(scaled, measured), unscaled)
    if sigma is None:
        return score
    if not bool((sigma.isfinite() & (sigma >= 0)).all()):
        raise ValueError("sigma holds NaN, infinity or negative numbers; give deviations of log.")
    spread = resize_map(sigma.double(), height, width)[counts]
    return replace(
        score,
        sparsification=sparsification(scaled, measured, spread),
        coverage_90=interval_coverage(ratio * estimate, measured, spread),
    )


def summarise(scores: Sequence[DepthScore]) -> dict[str, float]:
    """Numbers of a whole test set: means over its images, and the spread of their ratios.

    Returns:
        ``abs_rel`` to ``d3`` with and, as ``unscaled/abs_rel``, without median scaling;
        ``scale_ratio_median`` and ``scale_ratio_spread``; where all images have uncertainty also
        ``ause/abs_rel``, ``aurg/abs_rel``, ... and ``coverage_90_pct``.

    Raises:
        ValueError: no images.
    """
    if not scores:
        raise ValueError("no image was scored; give at least one.")
    names = [field.name for field in fields(DepthErrors)]
    found = {name: _mean([getattr(score.scaled, name) for score in scores]) for name in names}
    ratios = [score.ratio for score in scores]
    found["scale_ratio_median"] = float(np.median(ratios))
    found["scale_ratio_spread"] = ratio_spread(ratios)
    for name in names:
        found[f"unscaled/{name}"] = _mean([getattr(score.unscaled, name) for score in scores])
    curves = [score.sparsification for score in scores if score.sparsification is not None]
    covered = [score.coverage_90 for score in scores if score.coverage_90 is not None]
    if len(curves) == len(covered) == len(scores):
        for name in curves[0]:
            found[f"ause/{name}"] = _mean([curve[name].ause for curve in curves])
            found[f"aurg/{name}"] = _mean([curve[name].aurg for curve in curves])
        found["coverage_90_pct"] = 100 * _mean(covered)
    return found


def mean_sparsification(scores: Sequence[DepthScore], name: str) -> Sparsification:
    """The mean curve of one error over images that have uncertainty.

    Args:
        scores: of the images.
        name: abs_rel, rmse or d1.

    Raises:
        ValueError: no image has uncertainty.
    """
    curves = [score.sparsification[name] for score in scores if score.sparsification is not None]
    if not curves:
        raise ValueError("no image has uncertainty, so there is no sparsification curve.")
    error = torch.stack([curve.error for curve in curves]).mean(0)
    oracle = torch.stack([curve.oracle for curve in curves]).mean(0)
    return Sparsification(curves[0].removed, error, oracle)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
