"""The similarity transform that brings points closest to where they belong."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.evaluate.input_checks import check_same


def align_similarity(
    points: Float[Tensor, "n 3"], reference: Float[Tensor, "m 3"]
) -> tuple[float, Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """Scale, rotation and translation that bring points closest to others, in least squares.

    ``scale * points @ rotation.T + translation`` is near ``reference``.

    Args:
        points: to move.
        reference: where each of them belongs.

    Raises:
        ValueError: different numbers of points, fewer than three, or all in one place.

    Source:
        Umeyama, Least-squares estimation of transformation parameters (1991).
    """
    check_same("points", points, "reference", reference)
    if len(points) < 3:
        raise ValueError(f"{len(points)} points do not fix a similarity; give at least 3.")
    source, target = points.double(), reference.double()
    source_mean, target_mean = source.mean(0), target.mean(0)
    source, target = source - source_mean, target - target_mean
    spread = source.square().sum().item()
    if spread == 0:
        raise ValueError("all points are in one place, so no scale fits; give different ones.")
    u, s, vt = torch.linalg.svd(target.T @ source)
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.linalg.det(u @ vt))
    rotation = u @ torch.diag(sign) @ vt
    scale = (s * sign).sum().item() / spread
    return scale, rotation, target_mean - scale * rotation @ source_mean


def camera_centre_pct(centres: Float[Tensor, "n 3"], reference: Float[Tensor, "m 3"]) -> float:
    """Mean distance between camera centres after the best similarity, in percent.

    Of the diagonal of the reference centres' bounding box.

    Args:
        centres: the estimate, in any frame and scale.
        reference: the truth.

    Raises:
        ValueError: as for ``align_similarity``, or the reference is a single place.

    Source:
        Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems (2012), absolute error
        after alignment, here with scale.
    """
    scale, rotation, translation = align_similarity(centres, reference)
    extent = (reference.amax(0) - reference.amin(0)).double().norm().item()
    if extent == 0:
        raise ValueError("all reference cameras are in one place; there is no extent to compare.")
    moved = scale * centres.double() @ rotation.T + translation
    return 100 * (moved - reference.double()).norm(dim=-1).mean().item() / extent
