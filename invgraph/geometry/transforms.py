"""Rigid motions: rotations and poses as matrices, their exponential and their logarithm.

A pose is a 4x4 matrix that acts on column vectors and is named ``b_from_a``: it maps coordinates of
frame ``a`` to coordinates of frame ``b``, so equal names meet in ``c_from_b @ b_from_a``.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

# Below this squared angle the power series below are exact to float64 rounding, and the closed
# forms start to lose digits by cancellation.
_SERIES_BELOW = 1.0
_SERIES_TERMS = 10


def _angle_factors(angle2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin(a)/a, (1-cos(a))/a^2 and (a-sin(a))/a^3 from a^2, smooth through zero."""
    small = angle2 < _SERIES_BELOW
    x = torch.where(small, angle2, torch.zeros_like(angle2))
    series = []
    for first in (1, 2, 3):
        total = torch.zeros_like(x)
        for k in reversed(range(_SERIES_TERMS)):
            total = total * x + (-1.0) ** k / math.factorial(2 * k + first)
        series.append(total)
    # Evaluating the closed form away from zero keeps the unused branch's gradient finite.
    safe2 = torch.where(small, torch.ones_like(angle2), angle2)
    angle = safe2.sqrt()
    sine, cosine = angle.sin(), angle.cos()
    closed = (sine / angle, (1 - cosine) / safe2, (angle - sine) / (safe2 * angle))
    a, b, c = (torch.where(small, s, f) for s, f in zip(series, closed, strict=True))
    return a, b, c


def cross_matrix(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The matrix of ``x -> vector cross x``."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))


def _cross_polynomial(phi: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """1 + first k + second k^2 of the cross matrix k of ``phi``."""
    k = cross_matrix(phi)
    eye = torch.eye(3, dtype=phi.dtype, device=phi.device)
    return eye + first[..., None, None] * k + second[..., None, None] * (k @ k)


def exp_so3(phi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a rotation vector.

    Args:
        phi: axis times angle, radians.

    Gradients:
        Finite everywhere, also at zero, to any order.

    Source:
        Rodrigues' formula; Sola, Deray & Atchuthan, A micro Lie theory (2018), eq. 144.
    """
    a, b, _ = _angle_factors((phi * phi).sum(-1))
    return _cross_polynomial(phi, a, b)


def quat_wxyz_from_matrix(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w, x, y, z) with w >= 0 of a rotation matrix.

    Gradients:
        Finite for every rotation; the sign flips where w = 0 (half turns).

    Source:
        The matrix 4 q q^T is linear in the rotation (Bar-Itzhack 2000); its row with the largest
        diagonal is a safe multiple of q (Shepperd 1978).
    """
    r = rotation
    wx = r[..., 2, 1] - r[..., 1, 2]
    wy = r[..., 0, 2] - r[..., 2, 0]
    wz = r[..., 1, 0] - r[..., 0, 1]
    xy = r[..., 0, 1] + r[..., 1, 0]
    xz = r[..., 0, 2] + r[..., 2, 0]
    yz = r[..., 1, 2] + r[..., 2, 1]
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    outer = torch.stack(
        (
            torch.stack((1 + xx + yy + zz, wx, wy, wz), -1),
            torch.stack((wx, 1 + xx - yy - zz, xy, xz), -1),
            torch.stack((wy, xy, 1 - xx + yy - zz, yz), -1),
            torch.stack((wz, xz, yz, 1 - xx - yy + zz), -1),
        ),
        -2,
    )
    largest = outer.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    index = largest[..., None, None].expand(*largest.shape, 1, 4)
    row = outer.gather(-2, index).squeeze(-2)
    quat = row / row.norm(dim=-1, keepdim=True)
    return torch.where(quat[..., :1] < 0, -quat, quat)


def matrix_from_quat_wxyz(quat_wxyz: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a quaternion (w, x, y, z) of any length but zero.

    Raises:
        ValueError: a quaternion is zero or not finite.
    """
    norm = quat_wxyz.norm(dim=-1, keepdim=True)
    if not bool(((norm > 0) & norm.isfinite()).all()):
        raise ValueError("quat_wxyz holds a zero or non-finite quaternion; give a rotation.")
    w, x, y, z = (quat_wxyz / norm).unbind(-1)
    return torch.stack(
        (
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ),
        -1,
    ).unflatten(-1, (3, 3))


def log_so3(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector, of length at most pi, of a rotation matrix.

    Gradients:
        Finite everywhere, also at the identity and near half turns. The value itself jumps
        between ``phi`` and ``-phi`` at exactly half a turn.

    Source:
        Through the quaternion: phi = 2 atan2(|v|, w) v / |v|; Sola et al. (2018), section 4.3.
    """
    quat = quat_wxyz_from_matrix(rotation)
    w, v = quat[..., 0], quat[..., 1:]
    length2 = (v * v).sum(-1)
    small = length2 < 0.01
    # atan(t)/t with t = |v|/w <= 0.1: twelve terms reach float64 rounding.
    w_near_one = torch.where(small, w, torch.ones_like(w))
    tangent2 = torch.where(small, length2, torch.zeros_like(length2)) / w_near_one**2
    series = torch.zeros_like(tangent2)
    for k in reversed(range(12)):
        series = series * tangent2 + (-1.0) ** k / (2 * k + 1)
    length = torch.where(small, torch.ones_like(length2), length2).sqrt()
    factor = torch.where(small, series / w_near_one, torch.atan2(length, w) / length)
    return 2 * factor[..., None] * v


def pose(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """The 4x4 matrix of ``x -> rotation x + translation``."""
    top = torch.cat((rotation, translation[..., None]), -1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device)
    return torch.cat((top, bottom.expand(*top.shape[:-2], 1, 4)), -2)


def _left_jacobian(phi: Tensor) -> Tensor:
    _, b, c = _angle_factors((phi * phi).sum(-1))
    return _cross_polynomial(phi, b, c)


def exp_se3(xi: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """Pose of a twist.

    Args:
        xi: (rho, phi): three numbers of translation, then the rotation vector in radians.

    Gradients:
        Finite everywhere, also at zero.

    Source:
        Sola et al. (2018), eq. 172.
    """
    rho, phi = xi[..., :3], xi[..., 3:]
    return pose(exp_so3(phi), (_left_jacobian(phi) @ rho[..., None])[..., 0])


def log_se3(transform: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 6"]:
    """Twist (rho, phi) of a pose; the inverse of :func:`exp_se3` for angles below pi."""
    phi = log_so3(transform[..., :3, :3])
    rho = torch.linalg.solve(_left_jacobian(phi), transform[..., :3, 3:])[..., 0]
    return torch.cat((rho, phi), -1)


def perturb(
    transform: Float[Tensor, "*#batch 4 4"], twist: Float[Tensor, "*#batch 6"]
) -> Float[Tensor, "*batch 4 4"]:
    """Move poses ``b_from_a`` by ``(rho, phi)`` in b's axes: ``t + rho`` and ``exp(phi) R``.

    Every small motion that is stored or public is of this kind.
    """
    rotation = exp_so3(twist[..., 3:]) @ transform[..., :3, :3]
    return pose(rotation, transform[..., :3, 3] + twist[..., :3])


def difference(
    transform: Float[Tensor, "*#batch 4 4"], other: Float[Tensor, "*#batch 4 4"]
) -> Float[Tensor, "*batch 6"]:
    """The ``(rho, phi)`` that moves ``transform`` to ``other``; the inverse of :func:`perturb`."""
    turn = log_so3(other[..., :3, :3] @ transform[..., :3, :3].mT)
    return torch.cat([other[..., :3, 3] - transform[..., :3, 3], turn], -1)


def invert(transform: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """``a_from_b`` of a rigid ``b_from_a``; exact for rotations only, not for scaled poses."""
    back = transform[..., :3, :3].transpose(-1, -2)
    return pose(back, -(back @ transform[..., :3, 3:])[..., 0])


def apply(
    transform: Float[Tensor, "*#batch 4 4"], points: Float[Tensor, "*#batch n 3"]
) -> Float[Tensor, "*#batch n 3"]:
    """Move points: ``b_from_a`` applied to points of frame a; batch axes broadcast."""
    return points @ transform[..., :3, :3].transpose(-1, -2) + transform[..., None, :3, 3]


def rotate(
    transform: Float[Tensor, "*#batch 4 4"], directions: Float[Tensor, "*#batch n 3"]
) -> Float[Tensor, "*#batch n 3"]:
    """Turn directions: the rotation of ``b_from_a`` without its translation."""
    return directions @ transform[..., :3, :3].transpose(-1, -2)


def look_at(
    eye: Float[Tensor, "*#batch 3"],
    target: Float[Tensor, "*#batch 3"],
    up: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*batch 4 4"]:
    """``camera_from_world`` of a camera at ``eye`` that looks at ``target``.

    Args:
        eye: the camera's centre, world frame.
        target: the point that appears on the optical axis.
        up: the world direction that points up in the image.

    Raises:
        ValueError: ``eye`` equals ``target``, or ``up`` is parallel to the viewing direction.
    """
    eye, target, up = torch.broadcast_tensors(eye, target, up)
    forward = target - eye
    right = torch.linalg.cross(forward, up)
    tiny = 1e-6 * forward.norm(dim=-1) * up.norm(dim=-1)
    if not bool((right.norm(dim=-1) > tiny).all()):
        raise ValueError(
            "look_at needs eye and target apart and up not parallel to the viewing direction; "
            "move one of them."
        )
    z = torch.nn.functional.normalize(forward, dim=-1)
    x = torch.nn.functional.normalize(right, dim=-1)
    rotation = torch.stack((x, torch.linalg.cross(z, x), z), -2)
    return pose(rotation, -(rotation @ eye[..., None])[..., 0])
