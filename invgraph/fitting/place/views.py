"""Source images for a reference image, and over which range of depths to search."""

import numpy as np

from invgraph.geometry.camera import Camera
from invgraph.geometry.tensor_tree import map_tensors

_GRID = 12  # probes per side
_SEEN = 0.35  # share of the image that another photo has to see
_ALIGNED = 0.7  # cosine of the angle between optical axes
_SPREAD = (0, 1, 3, 5)  # ranks by distance: nearest photos of a video hardly move
_CANDIDATES = 200  # views looked at, of those by distance: all near ones, some far ones
_WANTED_DEG, _BELOW_DEG, _ABOVE_DEG = 6.0, 3.0, 10.0  # angle between rays that suits matching


def exact(camera: Camera) -> Camera:
    """A camera without distortion as the functions below want it: double precision, on the CPU."""
    return map_tensors(lambda tensor: tensor.detach().cpu().double(), camera.straight())


def rotation(view: Camera) -> np.ndarray:
    """Of ``camera_from_world``, 3 x 3."""
    return view.camera_from_world.numpy()[:3, :3]


def translation(view: Camera) -> np.ndarray:
    """Of ``camera_from_world``."""
    return view.camera_from_world.numpy()[:3, 3]


def centre(view: Camera) -> np.ndarray:
    """Position, world frame."""
    return -rotation(view).T @ translation(view)


def matrix(view: Camera) -> np.ndarray:
    """Intrinsic 3 x 3 matrix."""
    (fx, fy), (cx, cy) = view.focal.tolist(), view.principal.tolist()
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def transfer(reference: Camera, source: Camera) -> np.ndarray:
    """The 3 x 4 matrix from (u, v, 1, inverse depth) of one view to pixels of another.

    Source:
        Hartley & Zisserman, Multiple View Geometry (2004), section 13.1.
    """
    turn = rotation(source) @ rotation(reference).T
    shift = translation(source) - turn @ translation(reference)
    homography = matrix(source) @ turn @ np.linalg.inv(matrix(reference))
    return np.concatenate((homography, (matrix(source) @ shift)[:, None]), 1)


def _probes(view: Camera) -> np.ndarray:
    u = (np.arange(_GRID) + 0.5) * view.width / _GRID
    v = (np.arange(_GRID) + 0.5) * view.height / _GRID
    grid = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    return np.concatenate((grid, np.ones((len(grid), 1))), 1)


def _land(reference: Camera, source: Camera, inverse_depth: np.ndarray) -> tuple:
    """Pixels of the reference's probes in the source, and whether they are inside."""
    probes = _probes(reference)
    moving = transfer(reference, source)
    moved = probes @ moving[:, :3].T + inverse_depth[:, None] * moving[:, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = moved[:, :2] / moved[:, 2:]
        inside = (
            (moved[:, 2] > 0)
            & (pixels > 0).all(1)
            & (pixels[:, 0] < source.width)
            & (pixels[:, 1] < source.height)
        )
    return pixels, inside


def overlap(reference: Camera, source: Camera, inverse_depth: float) -> float:
    """Share of an image that another view sees, were it a plane facing the camera."""
    count = _GRID * _GRID
    return float(_land(reference, source, np.full(count, inverse_depth))[1].mean())


def motion(reference: Camera, source: Camera, inverse_depth: float) -> float:
    """Pixels that the reference's content moves in a source per unit of inverse depth."""
    count = _GRID * _GRID
    step = 1e-3 * max(inverse_depth, 1e-3 / max(_baseline(reference, source), 1e-12))
    before, inside = _land(reference, source, np.full(count, inverse_depth))
    after, also = _land(reference, source, np.full(count, inverse_depth + step))
    both = inside & also
    if not both.any():
        return 0.0
    return float(np.median(np.linalg.norm((after - before)[both], axis=1)) / step)


def _baseline(a: Camera, b: Camera) -> float:
    return float(np.linalg.norm(centre(a) - centre(b)))


def neighbours(index: int, views: list[Camera]) -> list[int]:
    """Views near and not so near that look the same way, before anything is known about depth."""
    here = views[index]
    distance = np.linalg.norm(np.stack([centre(view) for view in views]) - centre(here), axis=1)
    aligned = np.stack([rotation(view)[2] for view in views]) @ rotation(here)[2]
    useful = np.flatnonzero((distance > 1e-6 * distance.max()) & (aligned > _ALIGNED))
    ranked = useful[np.argsort(distance[useful], kind="stable")]
    return [int(ranked[place]) for place in _SPREAD if place < len(ranked)]


def _candidates(index: int, views: list[Camera]) -> list[int]:
    """Others by distance, thinned out far away so that many photos do not take forever."""
    here = centre(views[index])
    distance = np.linalg.norm(np.stack([centre(view) for view in views]) - here, axis=1)
    ranked = [int(other) for other in np.argsort(distance, kind="stable") if other != index]
    if len(ranked) <= _CANDIDATES:
        return ranked
    places = np.geomspace(1, len(ranked), _CANDIDATES).astype(int) - 1
    return [ranked[place] for place in np.unique(places)]


def search_range(reference: Camera, sources: list[Camera]) -> tuple[float, float] | None:
    """Inverse depths at which sources see enough of the reference; None if there are none."""
    seen = []
    nearest = min(_baseline(reference, source) for source in sources)
    candidates = np.concatenate(([0.0], 2.0 ** np.arange(-12, 3, 0.25) / nearest))
    for inverse_depth in candidates:
        shares = [overlap(reference, source, float(inverse_depth)) for source in sources]
        if max(shares) >= _SEEN:
            seen.append(float(inverse_depth))
    return (seen[0], seen[-1]) if len(seen) > 1 else None


def choose(index: int, views: list[Camera], inverse_depths: np.ndarray, count: int) -> list[int]:
    """The source images that help most: they see the same, from an angle that suits matching.

    Args:
        index: the reference among ``views``.
        views: all of them.
        inverse_depths: quantiles of the reference's inverse depth.
        count: how many to choose at most.

    Source:
        The score of a pair is that of Yao et al., MVSNet (2018), section 4.1, weighted by overlap.
    """
    here = views[index]
    levels = np.resize(inverse_depths, _GRID * _GRID)
    rays = (_probes(here) @ np.linalg.inv(matrix(here)).T) @ rotation(here)
    points = centre(here) + rays / np.maximum(levels, 1e-9)[:, None]
    ranked = []
    for other in _candidates(index, views):
        view = views[other]
        inside = _land(here, view, levels)[1]
        if inside.mean() < 0.1:
            continue
        a, b = points - centre(here), points - centre(view)
        cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        width = np.where(angle < _WANTED_DEG, _BELOW_DEG, _ABOVE_DEG)
        score = np.exp(-((angle - _WANTED_DEG) ** 2) / (2 * width**2))
        ranked.append((-float((score * inside).mean()), other))
    return [other for score, other in sorted(ranked)[:count] if score < 0]
