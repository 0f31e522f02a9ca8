"""Visual hulls: the largest shape that agrees with the object masks of a capture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from invgraph.fitting.object.views import thick_parts
from invgraph.geometry.camera import Camera
from invgraph.geometry.mesh import Mesh
from invgraph.raster import rasterize

COARSE_CELLS = 96
MASK_SIDE = 432  # longest side of carving masks; finer ones move the hull by less than a cell
OUTLIER_RATIO = 5.0
FEW_PHOTOS = 8  # below, no photo may err
NEEDED = 0.1  # share of photos whose gaps a cell must fill to be given back
MISSING = 1e-3  # share of silhouettes that a hull may leave out in thick parts


@dataclass(frozen=True)
class Hull:
    """A carved shape.

    Attributes:
        mesh: watertight surface in world units.
        outliers: indices of the outliers: their masks contradict the others and were left out.
    """

    mesh: Mesh
    outliers: tuple[int, ...]


def visual_hull(
    masks: Sequence[Bool[np.ndarray, "h w"]], cameras: Sequence[Camera], cells: int = 160
) -> Hull:
    """Carve the visual hull of an object as a smooth surface.

    Every grid point takes the second smallest of its signed distances to the silhouettes, in world
    units, so that one wrong photo cannot cut a hole (the smallest when photos are few). A mask says
    nothing of points outside its frame, and points outside most frames count as empty. The zero
    level is triangulated by marching cubes.

    Args:
        masks: one per photo, true on the object.
        cameras: one unbatched camera per photo, with the resolution of its mask.
        cells: grid cells along the longest side of the object.

    Returns:
        The hull and the photos that were not believed. A photo is not believed when it alone
        vetoes several times more of the volume than any but the worst few others do. When the hull
        lacks thick parts of the silhouettes, something moved during the capture: the longest run
        of photos that agree, from the first on or up to the last, is believed then, if it is half
        of them.

    Raises:
        ValueError: fewer than two photos, or the masks have no common volume.

    Source:
        Laurentini, The Visual Hull Concept for Silhouette-Based Image Understanding (1994).
    """
    if len(masks) < 2:
        raise ValueError(
            f"a shape from masks needs at least 2 photos but there is {len(masks)}; add photos."
        )
    views = _Silhouettes.gather(masks, cameras)
    centre, radius = _bounding_ball(views, cameras)
    low, high = centre - radius, centre + radius
    field, vetoes, step = _carve(views, low, high, COARSE_CELLS)
    rest = np.setdiff1d(np.arange(len(masks)), _outliers(vetoes))
    views = views.only(rest)
    agreeing = _agreeing_run(views, low, high)
    field, _, step = _carve(views.only(agreeing), low, high, COARSE_CELLS)
    inside = np.argwhere(field > 0)[:, ::-1]
    if not len(inside):
        raise ValueError(
            "the masks have no volume in common: the cameras or the masks are wrong, or the object "
            "moved; check that the poses belong to these photos."
        )
    low, high = low + (inside.min(0) - 3) * step, low + (inside.max(0) + 3) * step
    field, _, step = _carve(views, low, high, cells)
    if len(agreeing) < len(rest):
        field = _restore(views.only(agreeing), field, low, high, cells)
    outliers = np.setdiff1d(np.arange(len(masks)), rest[agreeing])
    return Hull(_surface(field, low, step), tuple(outliers.tolist()))


@dataclass(frozen=True)
class _Silhouettes:
    """Undistorted signed distances (px, positive inside, NaN if unknown), 3x4 projections."""

    distance: np.ndarray
    projection: np.ndarray
    focal: np.ndarray

    @staticmethod
    def gather(masks: Sequence[np.ndarray], cameras: Sequence[Camera]) -> "_Silhouettes":
        views = [
            _signed_distance(mask, camera) for mask, camera in zip(masks, cameras, strict=True)
        ]
        height = max(d.shape[0] for d, _, _ in views)
        width = max(d.shape[1] for d, _, _ in views)
        distance = np.full((len(views), height, width), np.nan, np.float32)
        for row, (d, _, _) in zip(distance, views, strict=True):
            row[: d.shape[0], : d.shape[1]] = d
        return _Silhouettes(
            distance, np.stack([p for _, p, _ in views]), np.array([f for _, _, f in views])
        )

    def only(self, photos: np.ndarray) -> "_Silhouettes":
        return _Silhouettes(self.distance[photos], self.projection[photos], self.focal[photos])


def _signed_distance(mask: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray, float]:
    from scipy.ndimage import distance_transform_edt

    scale = min(1.0, MASK_SIDE / max(mask.shape))
    straight = camera.straight().resize(round(camera.height * scale), round(camera.width * scale))
    small = torch.nn.functional.interpolate(
        torch.from_numpy(np.asarray(mask, np.float32))[None, None],
        size=(straight.height, straight.width),
        mode="area",
    )[0, 0].numpy()
    inside, outside = (np.asarray(distance_transform_edt(m)) for m in (small > 0.5, small <= 0.5))
    centres = straight.lens.pixel_centres
    rays = straight.lens.unproject(centres, torch.ones(len(centres), dtype=centres.dtype))
    pixels, _ = camera.lens.project(rays.to(camera.focal.dtype))
    pixels = pixels.reshape(1, straight.height, straight.width, 2)
    size = torch.tensor([camera.width, camera.height])
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(inside - outside).float()[None, None],
        pixels / size * 2 - 1,
        align_corners=False,
        padding_mode="border",
    )[0, 0]
    sampled[((pixels[0] < 0) | (pixels[0] > size)).any(-1)] = torch.nan
    projection = straight.K.double() @ straight.camera_from_world[:3].double()
    return sampled.numpy(), projection.numpy(), float(straight.focal.mean())


def _bounding_ball(
    views: _Silhouettes, cameras: Sequence[Camera]
) -> tuple[Float[np.ndarray, "3"], float]:
    """Where the optical axes meet, with a radius that the frames can just contain."""
    poses = torch.stack([camera.camera_from_world for camera in cameras]).double().numpy()
    axes, centres = poses[:, 2, :3], np.stack([c.centre.double().numpy() for c in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    centre = np.linalg.lstsq(
        across.sum(0), (across @ centres[:, :, None]).sum(0)[:, 0], rcond=None
    )[0]
    depth = np.linalg.norm(centres - centre, axis=1)
    half_frame = max(views.distance.shape[1:]) / 2 / views.focal
    return centre, 1.3 * float(np.median(depth * half_frame))


def _carve(
    views: _Silhouettes, low: np.ndarray, high: np.ndarray, cells: int
) -> tuple[np.ndarray, np.ndarray, float]:
    from invgraph.fitting.object import hull_cpu
    from invgraph.kernels.threads import launch

    step = float((high - low).max()) / cells
    nx, ny, nz = (np.ceil((high - low) / step).astype(int) + 1).tolist()
    field = np.empty((nz, ny, nx), np.float32)
    vetoes = np.zeros((nz, len(views.focal)), np.int64)
    launch(hull_cpu.carve, low, step, views.projection, views.focal, views.distance, field, vetoes)
    return field, vetoes.sum(0), step


def _outliers(vetoes: np.ndarray) -> tuple[int, ...]:
    """Photos that alone veto far more than the fourth worst photo does."""
    if len(vetoes) < FEW_PHOTOS:
        return ()
    usual = max(int(np.sort(vetoes)[-4]), 20)
    return tuple(np.flatnonzero(vetoes > OUTLIER_RATIO * usual).tolist())


def _agreeing_run(views: _Silhouettes, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The longest run of photos, from the first on or up to the last, whose hull fills them.

    All photos when they agree, or when no half of them does.
    """
    everything = np.arange(len(views.focal))

    def agree(run: np.ndarray) -> bool:
        part = views.only(run)
        field, _, step = _carve(part, low, high, COARSE_CELLS)
        if not (field > 0).any():
            return False
        gaps = _gaps(part, _surface(field, low, step))
        shares = gaps.sum((1, 2)) / (part.distance > 0).sum((1, 2)).clip(1)
        return float(shares.mean()) < MISSING

    def longest(order: np.ndarray) -> np.ndarray:
        good, bad = len(order) // 2, len(order)
        if not agree(order[:good]):
            return order[:0]
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if agree(order[:middle]) else (good, middle)
        return np.sort(order[:good])

    if len(everything) < 2 * FEW_PHOTOS or agree(everything):
        return everything
    best = max(longest(everything), longest(everything[::-1]), key=len)
    return best if len(best) else everything


def _gaps(views: _Silhouettes, mesh: Mesh) -> Bool[np.ndarray, "n h w"]:
    """Thick parts of the silhouettes that a shape leaves out."""
    height, width = views.distance.shape[1:]
    points = torch.cat([mesh.vertices, torch.ones(len(mesh.vertices), 1)], 1).double()
    gaps = []
    for distance, projection in zip(views.distance, views.projection, strict=True):
        silhouette = torch.from_numpy(distance > 0)
        screen = (points @ torch.from_numpy(projection).T).float()
        covered = rasterize(screen[None], mesh.topology, height, width).face[0] >= 0
        gaps.append(thick_parts(silhouette & ~covered, silhouette).numpy())
    return np.stack(gaps)


def _restore(
    views: _Silhouettes, field: np.ndarray, low: np.ndarray, high: np.ndarray, cells: int
) -> np.ndarray:
    """Give a hull back what others carved away but photos that agree need."""
    from scipy.ndimage import maximum_filter

    ours, _, step = _carve(views, low, high, cells)
    gaps = _gaps(views, _surface(field, low, step))
    lost = np.argwhere((ours > 0) & (field <= 0))
    places = np.concatenate([low + lost[:, ::-1] * step, np.ones((len(lost), 1))], 1)
    seen = np.zeros(len(lost), int)
    for gap, projection in zip(gaps, views.projection, strict=True):
        x, y, z = projection @ places.T
        column, row = (np.floor(pixel / z).astype(int) for pixel in (x, y))
        inside = (row >= 0) & (row < gap.shape[0]) & (column >= 0) & (column < gap.shape[1])
        seen[inside] += gap[row[inside], column[inside]]
    needed = np.zeros(field.shape, bool)
    needed[tuple(lost[seen > NEEDED * len(gaps)].T)] = True
    return np.where(maximum_filter(needed, 3), ours, np.minimum(ours, field))


def _surface(field: np.ndarray, low: np.ndarray, step: float) -> Mesh:
    """Triangulate the zero level and keep the largest piece."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from skimage.measure import marching_cubes

    padded = np.pad(field, 1, constant_values=field.min())
    vertices, faces, _, _ = marching_cubes(padded, 0.0, gradient_direction="ascent")
    links = coo_array(
        (np.ones(len(faces) * 2), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())),
        shape=(len(vertices),) * 2,
    )
    _, piece = connected_components(links, directed=False)
    faces = faces[piece[faces[:, 0]] == np.bincount(piece).argmax()]
    used, faces = np.unique(faces, return_inverse=True)
    world = (vertices[used][:, ::-1] - 1) * step + low
    faces = faces.reshape(-1, 3)[:, ::-1].copy()
    a, b, c = (world[faces[:, i]] for i in range(3))
    if np.einsum("ij,ij->", a, np.cross(b, c)) < 0:
        faces = faces[:, ::-1].copy()
    return Mesh(
        torch.from_numpy(world.astype(np.float32)), torch.from_numpy(faces.astype(np.int32))
    )
