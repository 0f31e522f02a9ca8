"""A glazed bird whistle: its shape as a distance function, its paint as a function of place.

Design units are decimetres; x is forward, y up, the bird is symmetric in z but for nothing.
"""

import numpy as np

_FEATHER_ROWS = 4


def _unit(vector) -> np.ndarray:
    vector = np.asarray(vector, dtype=np.float64)
    return vector / np.linalg.norm(vector)


def _length(v: np.ndarray) -> np.ndarray:
    return np.sqrt((v * v).sum(-1))


def _smooth_step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _join(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Smooth union (polynomial of degree 2, blend width k)."""
    h = np.maximum(k - np.abs(a - b), 0) / k
    return np.minimum(a, b) - h * h * k / 4


def _cut(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """a without b, with rounded rims."""
    return -_join(-a, b, k)


def _ellipsoid(p: np.ndarray, radii) -> np.ndarray:
    """First-order distance to an ellipsoid at the origin; exact at its surface."""
    radii = np.asarray(radii)
    k0, k1 = _length(p / radii), _length(p / radii**2)
    return k0 * (k0 - 1) / np.maximum(k1, 1e-9)


def _cone(p: np.ndarray, a, b, ra: float, rb: float) -> np.ndarray:
    """A segment from a to b whose radius changes from ra to rb, with round ends."""
    a, b = np.asarray(a), np.asarray(b)
    t = np.clip(((p - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    return _length(p - a - t[..., None] * (b - a)) - (ra + (rb - ra) * t)


def _turned(p: np.ndarray, degrees: float) -> np.ndarray:
    """Coordinates in a frame pitched up by an angle about z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y = c * p[..., 0] + s * p[..., 1], -s * p[..., 0] + c * p[..., 1]
    return np.stack([x, y, p[..., 2]], -1)


def _tail_curve() -> np.ndarray:
    """Points of the tail, which rises, curls over and rests on the back: a handle to hang it by."""
    knots = np.array(
        [
            [-0.42, 0.10], [-0.62, 0.12], [-0.80, 0.23], [-0.90, 0.42], [-0.86, 0.63],
            [-0.68, 0.76], [-0.46, 0.72], [-0.30, 0.58], [-0.20, 0.38],
        ]
    )  # fmt: skip
    points = []
    for i in range(1, len(knots) - 2):
        p0, p1, p2, p3 = knots[i - 1 : i + 3]
        for t in np.linspace(0, 1, 6, endpoint=False):
            quadratic = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t * t
            cubic = (3 * p1 - p0 - 3 * p2 + p3) * t**3
            points.append((2 * p1 + (p2 - p0) * t + quadratic + cubic) / 2)
    points.append(knots[-2])
    points.append(knots[-1])
    return np.array([[x, y, 0.0] for x, y in points])


_TAIL = _tail_curve()


def _tail(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the tail, and the fraction of its length at the closest point."""
    best = np.full(p.shape[:-1], np.inf)
    along = np.zeros(p.shape[:-1])
    count = len(_TAIL) - 1
    for i in range(count):
        a, b = _TAIL[i], _TAIL[i + 1]
        t = np.clip(((p - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        s = (i + t) / count
        distance = _length(p - a - t[..., None] * (b - a)) - (0.105 - 0.035 * s)
        along = np.where(distance < best, s, along)
        best = np.minimum(best, distance)
    return best, along


def _wing_place(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place on the wing: 0 shoulder to 1 tip; across in design units, up positive; its outline.

    The outline is negative inside the wing, about in design units.
    """
    q = _turned(np.stack([p[..., 0] + 0.08, p[..., 1] - 0.05, np.abs(p[..., 2])], -1), -8)
    along, across = (0.33 - q[..., 0]) / 0.78, q[..., 1]
    t = np.clip(along, 0, 1)
    half = 0.215 * np.sqrt(np.sin(np.pi * t**0.62)) * (1 - 0.35 * t)
    outline = np.maximum(np.abs(across) - half, np.maximum(-along, along - 1) * 0.78)
    return along, across, np.where(q[..., 2] > 0.1, outline, 1.0)


def _feathers(along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the feather row (shoulder first) and the place in it, 0 to 1."""
    scallop = np.abs(np.cos(across * np.pi / 0.105))
    place = (along + 0.07 * scallop * np.clip(along * 4, 0, 1)) * _FEATHER_ROWS
    return np.floor(place), place - np.floor(place)


def _wing_relief(p: np.ndarray) -> np.ndarray:
    """How far the wing stands out from the flank: a raised plate with overlapping feathers."""
    along, across, outline = _wing_place(p)
    _, place = _feathers(along, across)
    feather = _smooth_step(0, 0.8, place) * _smooth_step(1, 0.9, place)
    return (0.060 + 0.022 * feather) * _smooth_step(0.012, -0.03, outline)


def _neck(p: np.ndarray) -> np.ndarray:
    """Signed distance from the collar's plane, positive on the head's side."""
    return (p - [0.33, 0.30, 0]) @ _unit([0.52, 0.85, 0])


def _collar(p: np.ndarray) -> np.ndarray:
    """Distance from the collar's middle line (large away from the neck)."""
    return np.where(_length(p - [0.33, 0.30, 0]) < 0.5, np.abs(_neck(p)), 1.0)


def distance(p: np.ndarray) -> np.ndarray:
    """Approximate signed distance to the bird's surface, negative inside."""
    mirrored = np.stack([p[..., 0], p[..., 1], np.abs(p[..., 2])], -1)
    body = _ellipsoid(_turned(p, 14), (0.64, 0.45, 0.45)) - _wing_relief(p)
    head = _length(p - [0.47, 0.50, 0]) - 0.265
    bird = _join(body, head, 0.26) - 0.024 * np.exp(-((_collar(p) / 0.024) ** 2))
    bird = _join(bird, _cone(p, (0.68, 0.50, 0), (0.92, 0.43, 0), 0.095, 0.022), 0.06)
    for x, y, tall in ((0.50, 0.74, 0.13), (0.40, 0.73, 0.16), (0.30, 0.69, 0.13)):
        tip = (x - 0.35 * tall, y + tall, 0)
        bird = _join(bird, _cone(p, (x, y, 0), tip, 0.055, 0.028), 0.05)
    bird = _join(bird, _tail(p)[0], 0.07)
    spout = _cone(p, (-0.50, -0.12, 0), (-0.86, -0.20, 0), 0.135, 0.10)
    spout = np.maximum(spout, -(p @ _unit([1, 0.2, 0])) - 0.86)
    bird = _join(bird, spout, 0.08)
    foot = np.abs(p[..., 1] + 0.52) - 0.10
    flare = 0.25 + 0.10 * _smooth_step(-0.42, -0.60, p[..., 1])
    around = np.hypot(p[..., 0] - 0.02, p[..., 2]) - flare
    outside = np.hypot(np.maximum(around, 0), np.maximum(foot, 0))
    bird = _join(bird, outside + np.minimum(np.maximum(around, foot), 0) - 0.02, 0.10)
    bird = _join(bird, _length(mirrored - [0.60, 0.565, 0.205]) - 0.058, 0.015)
    bird = _cut(bird, _ellipsoid(p - [0.02, -0.68, 0], (0.26, 0.12, 0.26)), 0.04)
    window = np.abs(p - [-0.70, -0.05, 0]) - [0.045, 0.05, 0.05]
    bird = _cut(bird, window.max(-1), 0.03)
    for x, y, z in ((0.52, -0.08, 0.19), (0.36, -0.26, 0.24)):
        bird = _cut(bird, _length(mirrored - [x, y, z]) - 0.058, 0.025)
    return bird


# Paint, linear RGB.
_CREAM = np.array([0.70, 0.60, 0.44])
_WHITE = np.array([0.76, 0.72, 0.64])
_COBALT = np.array([0.03, 0.115, 0.34])
_TEAL = np.array([0.05, 0.32, 0.32])
_LEAF = np.array([0.13, 0.30, 0.07])
_RUST = np.array([0.50, 0.12, 0.045])
_OCHRE = np.array([0.66, 0.36, 0.05])
_BROWN = np.array([0.16, 0.075, 0.035])
_BLACK = np.array([0.02, 0.02, 0.022])

_SOFT = 0.006  # half the width of a brush stroke's edge


def _inside(signed: np.ndarray) -> np.ndarray:
    return _smooth_step(_SOFT, -_SOFT, signed)


def _over(color: np.ndarray, paint: np.ndarray, cover: np.ndarray) -> np.ndarray:
    return color + cover[..., None] * (paint - color)


def _leaf(x: np.ndarray, y: np.ndarray, length: float, width: float) -> np.ndarray:
    """Signed distance (about) to a pointed leaf from the origin along x."""
    t = np.clip(x / length, 0, 1)
    half = width * np.sin(np.pi * t**0.8)
    return np.maximum(np.abs(y) - half, np.maximum(-x, x - length))


def paint(p: np.ndarray) -> np.ndarray:
    """Albedo of surface points (design units)."""
    mirrored = np.stack([p[..., 0], p[..., 1], np.abs(p[..., 2])], -1)
    x, y, z = p[..., 0], p[..., 1], mirrored[..., 2]
    local = _turned(p, 14)
    lon, height = local[..., 0], np.degrees(np.arctan2(local[..., 1], z))
    color = np.broadcast_to(_CREAM, p.shape).copy()
    # Warm breast with rows of scales.
    breast = _smooth_step(0.16, 0.30, lon) * _smooth_step(25, 5, height)
    color = _over(color, np.array([0.62, 0.30, 0.13]), 0.85 * breast)
    around = np.degrees(np.arctan2(p[..., 2], -(y - 0.1)))
    row = np.floor((lon + 0.1) / 0.085)
    u = (around / 24 + 0.5 * (row % 2)) % 1 - 0.5
    v = ((lon + 0.1) / 0.085) % 1
    scale = np.abs(np.hypot(u * 1.15, v - 0.15) - 0.50) - 0.09
    mask = (
        _smooth_step(0.24, 0.27, lon) * _smooth_step(0.57, 0.54, lon) * _smooth_step(8, 2, height)
    )
    color = _over(color, _RUST, _inside(scale * 0.085) * mask)
    # A vine with leaves along each flank, below the wing.
    vine = height + 36 + 6 * np.sin(lon * 11)
    reach = _smooth_step(-0.53, -0.50, lon) * _smooth_step(0.22, 0.19, lon)
    color = _over(color, _LEAF, _inside(np.abs(vine) * 0.0075 - 0.010) * reach)
    for k in range(8):
        start, sign = -0.50 + 0.10 * k, 1 if k % 2 else -1
        base = -36 - 6 * np.sin(start * 11)
        du, dv = lon - start, (height - base) * 0.0075
        c, s = np.cos(sign * 0.95), np.sin(sign * 0.95)
        leaf = _leaf(c * du + s * dv, c * dv - s * du, 0.125, 0.030)
        color = _over(color, _TEAL if k % 2 else _LEAF, _inside(leaf))
    # Dots in rings on the back.
    row = np.floor(lon / 0.105)
    u = ((height - 90 - 9 * (row % 2)) / 18 % 1 - 0.5) * 0.14
    v = (lon / 0.105 % 1 - 0.5) * 0.105
    back = _smooth_step(42, 46, height) * _smooth_step(-0.55, -0.52, lon)
    back = back * _smooth_step(0.26, 0.22, lon)
    color = _over(color, _COBALT, _inside(np.hypot(u, v) - 0.024) * back)
    color = _paint_wing(color, p)
    color = _paint_head(color, p, mirrored)
    # Tail: bands of three colours.
    tail, along = _tail(p)
    near = _smooth_step(0.035, 0.015, tail) * _smooth_step(0.03, 0.05, along)
    color = _over(color, _WHITE, near)
    beat = along * 13 % 3
    for k, tint in enumerate((_COBALT, _TEAL)):
        color = _over(color, tint, _inside((np.abs(beat - 0.6 - 1.1 * k) - 0.33) * 0.12) * near)
    # Mouthpiece and foot.
    spout = _cone(p, (-0.50, -0.12, 0), (-0.86, -0.20, 0), 0.135, 0.10)
    near = _smooth_step(0.03, 0.015, spout) * _smooth_step(-0.55, -0.58, x)
    color = _over(color, _OCHRE, near)
    color = _over(color, _BROWN, _inside(np.abs(x + 0.62) - 0.018) * near)
    color = _over(color, _BROWN, _inside(x + 0.82) * near)
    turn = np.degrees(np.arctan2(p[..., 2], x - 0.02))
    below = _inside(y + 0.44)
    color = _over(color, _OCHRE, below)
    below = below * (np.hypot(x - 0.02, z) > 0.26)
    zigzag = np.abs(np.abs(turn / 20 % 1 - 0.5) * 0.14 - 0.035 + (y + 0.53)) - 0.016
    color = _over(color, _COBALT, _inside(zigzag) * below)
    color = _over(color, _BROWN, _inside(np.abs(y + 0.445) - 0.014))
    color = _over(color, _BROWN, _inside(y + 0.605))
    for cx, cy, cz in ((0.52, -0.08, 0.19), (0.36, -0.26, 0.24)):
        gap = _length(mirrored - [cx, cy, cz])
        color = _over(color, _WHITE, _inside(gap - 0.094))
        color = _over(color, _BROWN, _inside(gap - 0.066))
    return np.clip(color, 0.015, 0.8)


def _paint_wing(color: np.ndarray, p: np.ndarray) -> np.ndarray:
    along, across, outline = _wing_place(p)
    cover = _inside(outline - 0.004)
    row, place = _feathers(along, across)
    mix = np.clip((row - 1) / (_FEATHER_ROWS - 2), 0, 1)[..., None]
    tint = np.where((row <= 0)[..., None], _RUST, _TEAL + mix * (_COBALT - _TEAL))
    color = _over(color, tint, cover)
    rim = _inside((np.abs(place - 0.90) - 0.10) * 0.19)
    color = _over(color, _WHITE, rim * cover * (row < _FEATHER_ROWS))
    shaft = (0.5 - np.abs(across / 0.105 % 1 - 0.5)) * 0.105 - 0.006
    color = _over(color, _OCHRE, _inside(shaft) * cover * (place < 0.70) * (row > 0))
    return _over(color, _BROWN, _inside(np.abs(outline + 0.002) - 0.010))


def _paint_head(color: np.ndarray, p: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    x, y = p[..., 0], p[..., 1]
    head = _inside(-_neck(p)) * (_length(p - [0.52, 0.58, 0]) < 0.55)
    color = _over(color, _WHITE, head)
    crown = 0.56 - y + 0.42 * (x - 0.60) + 0.02 * np.cos(x * 45)
    color = _over(color, _COBALT, _inside(crown) * head)
    color = _over(color, _RUST, _inside(_collar(p) - 0.028))
    color = _over(color, _OCHRE, _inside(np.abs(_collar(p) - 0.050) - 0.011))
    cheek = _length(mirrored - [0.50, 0.44, 0.25])
    color = _over(color, _RUST, _inside(cheek - 0.062))
    eye = _length(mirrored - [0.60, 0.565, 0.205])
    color = _over(color, _OCHRE, _inside(eye - 0.092))
    color = _over(color, _BLACK, _inside(eye - 0.066))
    beak = _cone(p, (0.68, 0.50, 0), (0.92, 0.43, 0), 0.095, 0.022)
    near = _inside(beak - 0.02) * _smooth_step(0.70, 0.72, x)
    color = _over(color, _OCHRE, near)
    gape = np.abs(y - 0.50 + 0.29 * (x - 0.68)) - 0.007
    return _over(color, _BROWN, _inside(gape) * near * _smooth_step(0.74, 0.76, x))
