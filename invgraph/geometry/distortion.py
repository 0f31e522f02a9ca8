"""How lenses bend: the distortion polynomials, their slopes and the radius they are trusted to."""

import math
from typing import Literal

import torch
from torch import Tensor

Model = Literal["brown", "rational", "fisheye"]

COEFFICIENTS: dict[Model, tuple[str, ...]] = {
    "brown": ("k1", "k2", "p1", "p2", "k3"),
    "rational": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "fisheye": ("k1", "k2", "k3", "k4"),
}

# A polynomial is trusted up to the smallest of the radius where its slope (or its denominator) has
# fallen to _MIN_SLOPE and, on the plane z = 1, tan(84 degrees).
_MIN_SLOPE = 0.05
_MAX_RADIUS = 10.0
_MAX_ANGLE = 4.0  # beyond straight back
_NEWTON_STEPS = 20
_HALVINGS = 30
_PIECE = 8192
_SERIES = 1e-3  # below this squared radius atan(r) / r comes from its series


def trusted_radius(distortion: Tensor, model: Model) -> Tensor:
    """Radius, in units of the image plane at z = 1, up to which distortion is applied.

    The slope of r N(s) / D(s) with s = r^2 has the sign of N D + 2 s (N' D - N D'); Brown's
    denominator is 1. A fisheye's radius is the tangent of the angle it is trusted to.
    """
    if model == "fisheye":
        return _trusted_angle(distortion).clamp_max(math.atan(_MAX_RADIUS)).tan()
    k = distortion.detach().double()
    one = torch.ones_like(k[..., 0])
    above = [one, k[..., 0], k[..., 1], k[..., 4]]
    if model == "brown":
        slope = [(2 * i + 1) * part for i, part in enumerate(above)]
        slope[0] = slope[0] - _MIN_SLOPE
        largest = _smallest_root(slope)
    else:
        below = [one, k[..., 5], k[..., 6], k[..., 7]]
        slope = [torch.zeros_like(one) for _ in range(7)]
        for i in range(4):
            for j in range(4):
                weight = (1 + 2 * i - 2 * j) * above[i] - _MIN_SLOPE * below[i]
                slope[i + j] = slope[i + j] + weight * below[j]
        below[0] = below[0] - _MIN_SLOPE
        largest = torch.minimum(_smallest_root(slope), _smallest_root(below))
    return largest.clamp_max(_MAX_RADIUS**2).sqrt().to(distortion.dtype)


def _trusted_angle(distortion: Tensor) -> Tensor:
    """Angle from the optical axis up to which a fisheye's polynomial is applied."""
    k = distortion.detach().double()
    slope = [torch.full_like(k[..., 0], 1 - _MIN_SLOPE)]
    slope += [(2 * i + 3) * k[..., i] for i in range(4)]
    return _smallest_root(slope).clamp_max(_MAX_ANGLE**2).sqrt().to(distortion.dtype)


def _smallest_root(coefficients: list[Tensor]) -> Tensor:
    """Smallest positive root of c0 + c1 s + c2 s^2 + ... with c0 > 0; infinite if there is none.

    In t = 1/s the polynomial is monic but for c0, whatever the other coefficients, and its largest
    positive real root is an eigenvalue of the companion matrix.
    """
    first, *rest = coefficients
    degree = len(rest)
    companion = first.new_zeros(*first.shape, degree, degree)
    companion[..., 0, :] = -torch.stack(rest, -1) / first[..., None]
    for row in range(1, degree):
        companion[..., row, row - 1] = 1
    roots = torch.linalg.eigvals(companion)
    real = roots.imag.abs() <= 1e-9 * roots.abs()
    return torch.where(real, roots.real, 0.0).amax(-1).clamp_min(0.0).reciprocal()


def distort(xy: Tensor, z: Tensor, distortion: Tensor, model: Model, limit: Tensor) -> Tensor:
    """Camera-frame x, y moved so that x/z, y/z are distorted; finite for every z.

    Beyond ``limit`` the magnification of that radius goes on.

    Args:
        xy: ``*batch n 2``.
        z: ``*batch n 1``.
        distortion: in the order of ``COEFFICIENTS``.
        model: of which kind.
        limit: :func:`trusted_radius`.

    Source:
        Brown, Decentering distortion of lenses (1966), in OpenCV's parameters. Kannala & Brandt, A
        generic camera model and calibration method (2006), as in OpenCV's fisheye module.
    """
    limit = limit[..., None]
    x, y, z = xy[..., 0].contiguous(), xy[..., 1].contiguous(), z[..., 0]
    length2 = x * x + y * y
    inside = (z > 0) & (length2 < (limit * z) ** 2)
    # Image-plane coordinates q, pulled back to the limit where they are beyond it.
    shrink = limit * torch.where(inside | (length2 == 0), 1.0, length2).rsqrt()
    scale = torch.where(inside, 1 / torch.where(inside, z, 1.0), shrink)
    qx, qy = x * scale, y * scale
    r2 = qx * qx + qy * qy
    magnified = _radial(r2, distortion, model)
    if model == "fisheye":
        return torch.stack((x * magnified, y * magnified), -1)
    p1, p2 = distortion[..., None, 2], distortion[..., None, 3]
    cross = 2 * qx * qy
    return torch.stack(
        (
            x * magnified + z * (p1 * cross + p2 * (r2 + 2 * qx * qx)),
            y * magnified + z * (p1 * (r2 + 2 * qy * qy) + p2 * cross),
        ),
        -1,
    )


def _radial(r2: Tensor, distortion: Tensor, model: Model) -> Tensor:
    """How much farther from the axis a point at a squared radius of the plane z = 1 appears."""
    if model == "fisheye":
        ratio = _angle_ratio(r2)[0]
        return ratio * _angular(r2 * ratio * ratio, distortion)[0]
    k1, k2, _, _, k3 = distortion[..., None, :5].unbind(-1)
    above = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    if model == "brown":
        return above
    k4, k5, k6 = distortion[..., None, 5:].unbind(-1)
    return above / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))


def _radial_slope(r2: Tensor, distortion: Tensor, model: Model) -> tuple[Tensor, Tensor]:
    """:func:`_radial` and its derivative by the squared radius."""
    if model == "fisheye":
        ratio, ratio_slope = _angle_ratio(r2)
        bend, bend_slope = _angular(r2 * ratio * ratio, distortion)
        return ratio * bend, ratio_slope * bend + ratio * ratio * bend_slope / (1 + r2)
    k1, k2, _, _, k3 = distortion[..., None, :5].unbind(-1)
    above = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    above_slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)
    if model == "brown":
        return above, above_slope
    k4, k5, k6 = distortion[..., None, 5:].unbind(-1)
    below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    below_slope = k4 + r2 * (2 * k5 + r2 * 3 * k6)
    return above / below, (above_slope - above / below * below_slope) / below


def _angle_ratio(r2: Tensor) -> tuple[Tensor, Tensor]:
    """atan(r) / r and its derivative by r^2, smooth at 0."""
    small = r2 < _SERIES
    safe = torch.where(small, 1.0, r2)
    r = safe.sqrt()
    near = torch.where(small, r2, 0.0)
    series = 1 + near * (-1 / 3 + near * (1 / 5 + near * (-1 / 7 + near * (1 / 9 - near / 11))))
    series_slope = -1 / 3 + near * (2 / 5 + near * (-3 / 7 + near * (4 / 9 - near * 5 / 11)))
    ratio = torch.where(small, series, r.atan() / r)
    slope = torch.where(small, series_slope, (1 / (1 + safe) - ratio) / (2 * safe))
    return ratio, slope


def _angular(angle2: Tensor, distortion: Tensor) -> tuple[Tensor, Tensor]:
    """A fisheye's 1 + k1 a + k2 a^2 + ... at squared angles a, and its derivative by them."""
    k1, k2, k3, k4 = distortion[..., None, :].unbind(-1)
    bend = 1 + angle2 * (k1 + angle2 * (k2 + angle2 * (k3 + angle2 * k4)))
    return bend, k1 + angle2 * (2 * k2 + angle2 * (3 * k3 + angle2 * 4 * k4))


def undistort(distorted: Tensor, distortion: Tensor, model: Model) -> Tensor:
    """Undo :func:`distort` at z = 1 by Newton's method.

    The iteration runs without gradients; one more step with the Jacobian held fixed carries the
    exact first derivatives (implicit function theorem).
    """
    limit = trusted_radius(distortion, model)
    one = torch.ones_like(distorted[..., :1])
    solved = []
    with torch.no_grad():
        # Pieces that stay in the cache: several times faster than whole images.
        for target in distorted.split(_PIECE, -2):
            xy, done = _newton(target, target, distortion, model, limit)
            if not done:  # the kink at the limit sends steps to and fro, but not from near by
                start = _without_tangential(target, distortion, model, limit)
                xy, _ = _newton(target, start, distortion, model, limit)
            solved.append(xy)
        xy = torch.cat(solved, -2)
        if not (distorted.requires_grad or distortion.requires_grad):
            return xy
        jacobian = plane_jacobian(xy, distortion, model, limit)
    return xy - _solve(jacobian, distort(xy, one, distortion, model, limit) - distorted)


def _newton(
    target: Tensor, xy: Tensor, distortion: Tensor, model: Model, limit: Tensor
) -> tuple[Tensor, bool]:
    """What is distorted to ``target``, from a start, and whether the last step was tiny."""
    # Rounding errors grow by the inverse of the smallest slope.
    tolerance = 5 / _MIN_SLOPE * torch.finfo(target.dtype).eps
    one = torch.ones_like(target[..., :1])
    for _ in range(_NEWTON_STEPS):
        error = distort(xy, one, distortion, model, limit) - target
        change = _solve(plane_jacobian(xy, distortion, model, limit), error)
        xy = xy - change
        if bool((change.abs() <= tolerance * (1 + xy.abs())).all()):
            return xy, True
    return xy, False


def _without_tangential(target: Tensor, distortion: Tensor, model: Model, limit: Tensor) -> Tensor:
    """Undo the radial part alone: radii grow with it, so halving finds them wherever they are."""
    limit = limit[..., None]
    radius = (target * target).sum(-1).sqrt()
    low = torch.zeros_like(radius)
    high = torch.maximum(limit, radius / _radial(limit**2, distortion, model)).expand_as(radius)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = middle * _radial(middle.minimum(limit) ** 2, distortion, model) > radius
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return target * ((low + high) / 2 / torch.where(radius > 0, radius, 1.0))[..., None]


def plane_jacobian(
    xy: Tensor, distortion: Tensor, model: Model, limit: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Derivatives of :func:`distort` at z = 1, row by row."""
    limit = limit[..., None]
    x, y = (part.contiguous() for part in xy.unbind(-1))
    length2 = x * x + y * y
    inside = length2 < limit**2
    r2 = torch.where(inside, length2, limit**2)
    magnified, slope = _radial_slope(r2, distortion, model)
    slope2 = torch.where(inside, 2 * slope, 0.0)
    cross = slope2 * x * y
    if model == "fisheye":
        return magnified + slope2 * x * x, cross, cross, magnified + slope2 * y * y
    scale = torch.where(inside, 1.0, limit * length2.clamp_min(1e-30).rsqrt())
    qx, qy = x * scale, y * scale
    # Tangential part: its Jacobian times that of the pull-back to the limit, which is
    # scale (I - q q^T / |q|^2) beyond it.
    p1, p2 = distortion[..., None, 2], distortion[..., None, 3]
    a, b, d = 2 * p1 * qy + 6 * p2 * qx, 2 * p1 * qx + 2 * p2 * qy, 6 * p1 * qy + 2 * p2 * qx
    inverse = torch.where(inside, 0.0, scale / r2.clamp_min(1e-30))
    xx, xyq, yy = scale - inverse * qx * qx, -inverse * qx * qy, scale - inverse * qy * qy
    return (
        magnified + slope2 * x * x + a * xx + b * xyq,
        cross + a * xyq + b * yy,
        cross + b * xx + d * xyq,
        magnified + slope2 * y * y + b * xyq + d * yy,
    )


def _solve(jacobian: tuple[Tensor, Tensor, Tensor, Tensor], error: Tensor) -> Tensor:
    """The step that undoes ``error``; bounded where the Jacobian nearly loses rank."""
    a, b, c, d = jacobian
    determinant = (a * d - b * c).clamp_min(1e-6)
    ex, ey = error.unbind(-1)
    return torch.stack((d * ex - b * ey, a * ey - c * ex), -1) / determinant[..., None]


# A fisheye sees beyond 90 degrees, where there is no image plane at z = 1.


def bend_all_round(points: Tensor, distortion: Tensor) -> Tensor:
    """Where a fisheye images camera-frame points at any angle, in units of its focal length.

    Beyond the angle where the polynomial stops increasing its magnification goes on.

    Args:
        points: ``*batch n 3``.
        distortion: k1 to k4.
    """
    per_length, angle2 = _angles(points)
    return points[..., :2] * (per_length * _bend(angle2, distortion))[..., None]


def bend_all_round_jacobian(points: Tensor, distortion: Tensor) -> Tensor:
    """Derivatives of :func:`bend_all_round` by the points, ``*batch n 2 3``."""
    xy, z = points[..., :2], points[..., 2]
    # Within 45 degrees those of the plane, which are smooth on the axis.
    front = _is_within_45(points)
    ahead = torch.where(front, z, 1.0)[..., None]
    q = torch.where(front[..., None], xy / ahead, 0.0)
    a, b, c, d = plane_jacobian(q, distortion, "fisheye", trusted_radius(distortion, "fisheye"))
    near = torch.stack((torch.stack((a, b), -1), torch.stack((c, d), -1)), -2)
    near = torch.cat((near, -(near @ q[..., None])), -1) / ahead[..., None]
    per_length, angle2 = _angles(points)
    bend = _bend(angle2, distortion)
    square = (xy * xy).sum(-1)
    square = torch.where(front | (square == 0), 1.0, square)
    forward = (bend + _bend_growth(angle2, distortion)) / (square + z * z)
    along = (forward * z - per_length * bend) / square
    eye = torch.eye(2, dtype=points.dtype, device=points.device)
    far = (per_length * bend)[..., None, None] * eye
    far = far + along[..., None, None] * xy[..., :, None] * xy[..., None, :]
    far = torch.cat((far, -(forward[..., None] * xy)[..., None]), -1)
    return torch.where(front[..., None, None], near, far)


def unbend_all_round(bent: Tensor, distortion: Tensor) -> Tensor:
    """Unit directions that a fisheye images at given places; undoes :func:`bend_all_round`.

    Places farther out than the direction straight back get that direction.

    Args:
        bent: ``*batch n 2``, in units of the focal length.
        distortion: k1 to k4.
    """
    square = (bent * bent).sum(-1)
    centre = square == 0
    safe = torch.where(centre, 1.0, square).sqrt()
    length = torch.where(centre, 0.0, safe)
    tolerance = 5 / _MIN_SLOPE * torch.finfo(bent.dtype).eps
    with torch.no_grad():
        angle = length.clamp_max(math.pi)
        # Between these; where a step leaves them, which kinks make it do, halve.
        low, high = torch.zeros_like(angle), torch.full_like(angle, math.pi)
        outside = length >= math.pi * _bend(high**2, distortion)
        for _ in range(_NEWTON_STEPS):
            bend, growth = _bend(angle**2, distortion), _bend_growth(angle**2, distortion)
            error = angle * bend - length
            low, high = torch.where(error < 0, angle, low), torch.where(error > 0, angle, high)
            moved = angle - error / (bend + growth)
            moved = torch.where((moved >= low) & (moved <= high), moved, (low + high) / 2)
            done = bool((((moved - angle).abs() <= tolerance) | outside).all())
            angle = moved
            if done:
                break
        slope = _bend(angle**2, distortion) + _bend_growth(angle**2, distortion)
    # One more step carries the exact first derivatives, as in undistort.
    step = (angle * _bend(angle**2, distortion) - length) / slope
    angle = torch.where(outside, math.pi, angle - step)
    sideways = torch.where(centre, 1.0, angle.sin() / safe)
    return torch.cat((bent * sideways[..., None], angle.cos()[..., None]), -1)


def _is_within_45(points: Tensor) -> Tensor:
    xy, z = points[..., :2], points[..., 2]
    return (z > 0) & ((xy * xy).sum(-1) < z * z)


def _angles(points: Tensor) -> tuple[Tensor, Tensor]:
    """Angle from the optical axis by distance from it, and squared angle; smooth ahead."""
    xy, z = points[..., :2], points[..., 2]
    square = (xy * xy).sum(-1)
    front = _is_within_45(points)
    ahead = torch.where(front, z, 1.0)
    plane = torch.where(front, square, 0.0) / (ahead * ahead)
    ratio = _angle_ratio(plane)[0]
    length = torch.where(front | (square == 0), 1.0, square).sqrt()
    wide = torch.where(square == 0, math.pi, torch.atan2(length, z))
    per_length = torch.where(front, ratio / ahead, wide / length)
    return per_length, torch.where(front, plane * ratio * ratio, wide * wide)


def _bend(angle2: Tensor, distortion: Tensor) -> Tensor:
    limit = _trusted_angle(distortion)[..., None]
    return _angular(torch.minimum(angle2, limit * limit), distortion)[0]


def _bend_growth(angle2: Tensor, distortion: Tensor) -> Tensor:
    """Angle times the derivative of :func:`_bend` by the angle."""
    limit = _trusted_angle(distortion)[..., None]
    growth = 2 * angle2 * _angular(angle2, distortion)[1]
    return torch.where(angle2 < limit * limit, growth, 0.0)
