"""How far the pose of a known object is from the true one."""

import math

from jaxtyping import Float
from torch import Tensor

from invgraph.geometry.transforms import apply, log_so3


def add_distance(
    points: Float[Tensor, "n 3"], pose: Float[Tensor, "4 4"], reference: Float[Tensor, "4 4"]
) -> float:
    """Mean distance between a model's points under two poses (ADD), in the points' unit.

    Args:
        points: of the model's surface, object frame.
        pose: the estimate, camera_from_object.
        reference: the truth.

    Raises:
        ValueError: there are no points.

    Source:
        Hinterstoisser et al., Model Based Training, Detection and Pose Estimation of Texture-Less
        3D Objects in Heavily Cluttered Scenes (2012), equation 7.
    """
    estimated, true = _under_both(points, pose, reference)
    return (estimated - true).norm(dim=-1).mean().item()


def adds_distance(
    points: Float[Tensor, "n 3"], pose: Float[Tensor, "4 4"], reference: Float[Tensor, "4 4"]
) -> float:
    """Mean distance from a model's points to the nearest of them under another pose (ADD-S).

    For objects that look the same in several poses.

    Args:
        points: of the model's surface, object frame; dense, as distances are between points.
        pose: the estimate, camera_from_object.
        reference: the truth.

    Raises:
        ValueError: there are no points.

    Source:
        Hinterstoisser et al. (2012), equation 8, from the truth to the estimate.
    """
    from scipy.spatial import KDTree

    estimated, true = _under_both(points, pose, reference)
    return float(KDTree(estimated.numpy()).query(true.numpy())[0].mean())


def pose_error(pose: Float[Tensor, "4 4"], reference: Float[Tensor, "4 4"]) -> tuple[float, float]:
    """Distance between the origins of two poses, and the angle between them in degrees."""
    estimated, true = pose.detach().double(), reference.detach().double()
    shift = (estimated[:3, 3] - true[:3, 3]).norm().item()
    turn = log_so3(estimated[:3, :3] @ true[:3, :3].T)
    return shift, math.degrees(turn.norm().item())


def _under_both(points: Tensor, pose: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    if not len(points):
        raise ValueError("points are empty but distances are between points; give a model's.")
    points = points.detach().double()
    return apply(pose.detach().double(), points), apply(reference.detach().double(), points)
