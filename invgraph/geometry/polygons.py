"""Triangles that cover polygons."""

import numpy as np
from jaxtyping import Float64, Int64

_MOST_CORNERS = 1024  # of a polygon that no fan covers
_MOST_TRIES = 10  # times the corners: ears are found much sooner in polygons that are none of spite
_FLAT = 1e-9  # turns that are rounding, relative to the polygon's area


def triangulate(
    vertices: Float64[np.ndarray, "v 3"],
    corners: Int64[np.ndarray, " c"],
    counts: Int64[np.ndarray, " p"],
) -> tuple[Int64[np.ndarray, "f 3"], Int64[np.ndarray, " f"]]:
    """Split polygons, flat or nearly so, into triangles of the same orientation and area.

    Args:
        vertices: positions.
        corners: vertex indices, polygon after polygon.
        counts: corners of each polygon; one of fewer than three has no triangles.

    Returns:
        Places in ``corners`` of the triangles' corners, and which polygon each triangle is of, in
        the order of the polygons.

    Raises:
        ValueError: a polygon that no fan covers has very many corners, or crosses itself often.
    """
    starts = np.cumsum(counts) - counts
    triangles, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(counts[counts >= 3]).tolist():
        owner = np.flatnonzero(counts == size)
        places = starts[owner, None] + np.arange(size)
        local = np.tile(_fan(size, 0), (len(owner), 1, 1))
        if size > 3:
            _mend(local, vertices[corners[places]])
        triangles.append((local + starts[owner, None, None]).reshape(-1, 3))
        owners.append(np.repeat(owner, size - 2))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(triangles)[order], owner[order]


def _fan(size: int, first: int) -> np.ndarray:
    """Triangles of a polygon that share its corner ``first``."""
    around = (first + np.arange(size)) % size
    return np.stack([np.full(size - 2, first), around[1:-1], around[2:]], -1)


def _mend(local: np.ndarray, points: np.ndarray) -> None:
    """Replace the fans that leave their polygon: from another corner, else ear by ear."""
    size = points.shape[1]
    left = np.arange(len(points))
    with np.errstate(invalid="ignore", over="ignore"):
        normals = _crosses(points, _fan(size, 0)).sum(1)
        least = -_FLAT * (normals * normals).sum(1)
        for first in range(size if size <= _MOST_CORNERS else 1):
            fan = _fan(size, first)
            turns = (_crosses(points[left], fan) * normals[left, None]).sum(-1)
            good = ~(turns < least[left, None]).any(1)
            local[left[good]] = fan
            left = left[~good]
            if not len(left):
                return
    if size > _MOST_CORNERS:
        raise ValueError(f"a face of {size} corners is not convex; export triangles")
    for which in left:
        local[which] = _ears(points[which], normals[which])


def _crosses(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[:, triangles[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)


def _ears(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Triangles of one polygon: a corner that no other lies in is cut off, and so on.

    Source:
        Meisters, Polygons have ears (1975).
    """
    across = np.eye(3)[np.argmin(np.abs(normal))]
    right = np.cross(across, normal)
    flat = points @ np.stack([right, np.cross(normal, right)], -1)
    ring, found = list(range(len(points))), []
    at, tries, misses = 0, 0, 0
    while len(ring) > 3:
        at, tries = at % len(ring), tries + 1
        if tries > _MOST_TRIES * len(points):
            raise ValueError(f"a face of {len(points)} corners crosses itself; export triangles")
        if misses < len(ring) and not _is_ear(flat, ring, at):
            at, misses = at + 1, misses + 1
            continue
        found.append((ring[at - 1], ring[at], ring[(at + 1) % len(ring)]))
        del ring[at]
        misses = 0
    return np.array([*found, tuple(ring)])


def _is_ear(flat: np.ndarray, ring: list[int], at: int) -> bool:
    ends = ring[at - 1], ring[at], ring[(at + 1) % len(ring)]
    a, b, c = flat[list(ends)]
    if _turn(a, b, c) <= 0:
        return False
    others = flat[[k for k in ring if k not in ends]]
    inside = (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
    # Corners that bridge to a hole stand twice in the polygon.
    same = np.any([(others == end).all(1) for end in (a, b, c)], axis=0)
    return not bool((inside & ~same).any())


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    cross = (b[0] - a[0]) * (c[..., 1] - a[1]) - (b[1] - a[1]) * (c[..., 0] - a[0])
    return np.asarray(cross)
