"""How far depth, with its uncertainty, is from measured depth: one function per number.

Depth is along the optical axis. :mod:`invgraph.evaluate.depth_score` puts the numbers together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

NEAR, FAR = 1e-3, 80.0  # metres: truth outside is not scored, estimates are clamped to it
STEPS = 50  # of a sparsification curve
_GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)  # top, bottom, left, right


@dataclass(frozen=True)
class DepthErrors:
    """The seven numbers of a depth table.

    Attributes:
        abs_rel: mean of |error| over truth.
        sq_rel: mean of error squared over truth, metres.
        rmse: root mean square of the error, metres.
        rmse_log: root mean square of the difference of natural logarithms.
        d1: share of pixels whose depth is within a factor 1.25 of the truth.
        d2: the same within 1.25 squared.
        d3: the same within 1.25 cubed.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    d1: float
    d2: float
    d3: float


@dataclass(frozen=True, eq=False)
class Sparsification:
    """An error over the share of pixels that were left out, the most uncertain first.

    Attributes:
        removed: shares from 0 to 1.
        error: of the pixels that are left; 0 by definition where none is.
        oracle: the same, had they been left out by their true error.
    """

    removed: Float[Tensor, " n"]
    error: Float[Tensor, " n"]
    oracle: Float[Tensor, " n"]

    @property
    def ause(self) -> float:
        """Area under the sparsification error, between the curve and the oracle's."""
        return float(torch.trapezoid(self.error - self.oracle, self.removed))

    @property
    def aurg(self) -> float:
        """Area under the random gain: what is won over leaving out pixels at random."""
        return float(self.error[0] - torch.trapezoid(self.error, self.removed))


def resize_map(values: Float[Tensor, "h w"], height: int, width: int) -> Float[Tensor, "rh rw"]:
    """A map of another size, resampled bilinearly: pixel centres are at +0.5."""
    if tuple(values.shape) == (height, width):
        return values
    return torch.nn.functional.interpolate(
        values[None, None], (height, width), mode="bilinear", align_corners=False
    )[0, 0]


def resize_depth(depth: Float[Tensor, "h w"], height: int, width: int) -> Float[Tensor, "rh rw"]:
    """A depth map of another size, float64: inverse depth is interpolated bilinearly.

    Raises:
        ValueError: a depth is not finite or not positive.
    """
    _refuse_bad("depth", depth)
    return 1 / resize_map(1 / depth.double(), height, width)


def scored_pixels(
    truth: Float[Tensor, "h w"],
    *,
    near: float = NEAR,
    far: float = FAR,
    garg_crop: bool = False,
) -> Bool[Tensor, "h w"]:
    """Where truth is strictly between ``near`` and ``far`` metres, and inside the crop if asked.

    Raises:
        ValueError: the truth is empty or holds NaN or infinity, or the range is none.

    Source:
        Garg et al., Unsupervised CNN for single view depth estimation (2016), the crop.
    """
    if truth.numel() == 0 or not bool(truth.isfinite().all()):
        raise ValueError("measured depth is empty or holds NaN or infinity; mark holes by 0.")
    if not 0 < near < far:
        raise ValueError(f"expected 0 < near < far but got {near:g} and {far:g} m.")
    counts = (truth > near) & (truth < far)
    if garg_crop:
        height, width = truth.shape
        top, bottom = int(_GARG[0] * height), int(_GARG[1] * height)
        left, right = int(_GARG[2] * width), int(_GARG[3] * width)
        inside = torch.zeros_like(counts)
        inside[top:bottom, left:right] = True
        counts &= inside
    return counts


def median_ratio(depth: Float[Tensor, " n"], truth: Float[Tensor, " m"]) -> float:
    """Median of the truth over median of the estimate.

    Raises:
        ValueError: as for :func:`depth_errors`.
    """
    _refuse_mismatch(depth, truth)
    return float(np.median(_array(truth)) / np.median(_array(depth)))


def ratio_spread(ratios: Sequence[float]) -> float:
    """Standard deviation, over images, of scale ratios divided by their median.

    Zero when one scale fits all images, as it should for depth of one video.

    Raises:
        ValueError: no ratios, or one that is not positive.
    """
    values = np.array(ratios, dtype=np.float64)
    if not values.size or not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError("scale ratios should be positive numbers, at least one.")
    return float(np.std(values / np.median(values)))


def depth_errors(depth: Float[Tensor, " n"], truth: Float[Tensor, " m"]) -> DepthErrors:
    """The usual errors over some pixels, as they are: nothing is scaled or clamped.

    Args:
        depth: metres.
        truth: metres.

    Raises:
        ValueError: no pixels, not as many of both, NaN, infinity, or a depth that is not positive.

    Source:
        Eigen, Puhrsch & Fergus, Depth map prediction from a single image (2014), section 4.3.
    """
    _refuse_mismatch(depth, truth)
    estimate, measured = _array(depth), _array(truth)
    error = estimate - measured
    factor = np.maximum(estimate / measured, measured / estimate)
    return DepthErrors(
        abs_rel=float(np.mean(np.abs(error) / measured)),
        sq_rel=float(np.mean(error**2 / measured)),
        rmse=math.sqrt(np.mean(error**2)),
        rmse_log=math.sqrt(np.mean((np.log(estimate) - np.log(measured)) ** 2)),
        d1=float(np.mean(factor < 1.25)),
        d2=float(np.mean(factor < 1.25**2)),
        d3=float(np.mean(factor < 1.25**3)),
    )


def sparsification(
    depth: Float[Tensor, " n"], truth: Float[Tensor, " m"], uncertainty: Float[Tensor, " k"]
) -> dict[str, Sparsification]:
    """How errors fall when the most uncertain pixels are left out, in 50 steps.

    Args:
        depth: metres.
        truth: metres.
        uncertainty: any number that grows with it; only its order counts.

    Returns:
        Curves of abs_rel, rmse and d1, the last as the share of pixels that are not within 1.25.

    Raises:
        ValueError: as for :func:`depth_errors`.

    Source:
        Poggi et al., On the uncertainty of self-supervised monocular depth estimation (2020),
        section 4.2; thresholds are percentiles, as in the authors' code.
    """
    _refuse_mismatch(depth, truth)
    _refuse_other_size("uncertainty", uncertainty, truth)
    if not bool(uncertainty.isfinite().all()):
        raise ValueError("uncertainty holds NaN or infinity; give finite numbers.")
    estimate, measured, unsure = _array(depth), _array(truth), _array(uncertainty)
    relative = np.abs(estimate - measured) / measured
    square = (estimate - measured) ** 2
    factor = np.maximum(estimate / measured, measured / estimate)
    outlier = (factor >= 1.25).astype(np.float64)
    removed = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
    curves = {}
    for name, error, order in (
        ("abs_rel", relative, relative),
        ("rmse", square, square),
        ("d1", outlier, factor),
    ):
        pair = [_curve(error, by, root=name == "rmse") for by in (unsure, order)]
        curves[name] = Sparsification(removed, *(torch.from_numpy(curve) for curve in pair))
    return curves


def interval_coverage(
    depth: Float[Tensor, " n"],
    truth: Float[Tensor, " m"],
    sigma: Float[Tensor, " k"],
    share: float = 0.9,
) -> float:
    """Share of pixels whose truth lies in the central interval of a normal distribution of log.

    For uncertainty that means what it says this equals ``share``.

    Args:
        depth: metres.
        truth: metres.
        sigma: standard deviation of the natural logarithm of ``depth``.
        share: of the distribution that the interval holds.

    Raises:
        ValueError: as for :func:`depth_errors`, or ``sigma`` is negative, or ``share`` is none.
    """
    _refuse_mismatch(depth, truth)
    _refuse_other_size("sigma", sigma, truth)
    if not bool((sigma.isfinite() & (sigma >= 0)).all()) or not 0 < share < 1:
        raise ValueError("sigma should be finite and not negative, and share between 0 and 1.")
    reach = NormalDist().inv_cdf(0.5 + share / 2) * sigma.double()
    error = (depth.double().log() - truth.double().log()).abs()
    return (error <= reach).double().mean().item()


def _curve(error: np.ndarray, order_by: np.ndarray, *, root: bool) -> np.ndarray:
    """Mean error of what is left after leaving out the largest of ``order_by``, and 0 at last."""
    thresholds = -np.percentile(-order_by, 100 / STEPS * np.arange(STEPS))
    order = np.argsort(order_by, kind="stable")
    left = np.searchsorted(order_by[order], thresholds, side="right")
    means = np.cumsum(error[order])[left - 1] / left
    return np.append(np.sqrt(means) if root else means, 0.0)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().double().numpy()


def _refuse_mismatch(depth: Tensor, truth: Tensor) -> None:
    _refuse_other_size("depth", depth, truth)
    _refuse_bad("depth", depth)
    _refuse_bad("truth", truth)


def _refuse_other_size(name: str, values: Tensor, truth: Tensor) -> None:
    if values.shape != truth.shape:
        raise ValueError(
            f"{name} has shape {tuple(values.shape)} but truth has {tuple(truth.shape)}; "
            "pick the same pixels of both."
        )


def _refuse_bad(name: str, values: Tensor) -> None:
    if values.numel() == 0:
        raise ValueError(f"{name} is empty; give at least one pixel.")
    bad = ~(values.isfinite() & (values > 0))
    if bool(bad.any()):
        raise ValueError(
            f"{name} holds {int(bad.sum())} of {values.numel()} values that are not finite and "
            "positive; give a depth everywhere."
        )
