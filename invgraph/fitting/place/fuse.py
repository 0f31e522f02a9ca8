"""One coloured surface from the depth maps of many photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invgraph.fitting.place.depth import DepthMap
from invgraph.fitting.place.images import RECENT, Recent
from invgraph.fitting.place.views import exact, matrix
from invgraph.geometry.mesh import Mesh, vertex_normals
from invgraph.geometry.subdivision import subdivide
from invgraph.runs.progress import Progress
from invgraph.scene import Object, unlit

_BLOCK = 64  # voxels per side that are in memory at once
_REACH = 4.0  # voxels
_MOST_BLOCKS = 20_000
_COARSER = 4  # times: voxels far away, where a pixel covers so much more
_LEVELS = 4  # of voxels; the horizon takes those of the last
_SMALLEST = 200  # triangles; smaller pieces are noise
_SAMPLE = 3  # every so many pixels one is looked at to find the blocks
_FINEST = 0.1  # pixels a voxel has to cover, so that the pixels looked at miss no block
_MOST_FACES = 1_500_000  # that are still made finer
_SHOWS = 2.0  # voxels, or pixels where those are larger, between a vertex and a map showing it


def fuse(
    maps: Sequence[DepthMap],
    images: Sequence[Tensor],
    *,
    voxel: float | None = None,
    confidence: float = 0.5,
    progress: Progress | None = None,
) -> Object:
    """Fuse depth maps into one mesh with a colour per vertex.

    Lights are not separated from the surface: its material is unlit.

    Args:
        maps: depth maps in one world.
        images: linear RGB, one per map, of the resolution of its camera or a multiple of it.
        voxel: spacing of the grid that carries the surface, world units; the size of a pixel at
            the median depth by default. Where pixels cover 4, 16 or 64 of them, the grid is coarser
            by as much; the surface has fine cracks where grids meet.
        confidence: depths below it do not count.
        progress: hears the stages.

    Returns:
        The surface where at least one photo is confident, open where none is.

    Raises:
        ValueError: no maps, images that do not fit, no confident depth, or a voxel far smaller
            than a pixel.

    Source:
        Curless & Levoy, A volumetric method for building complex models from range images (1996);
        Lewiner et al., Efficient implementation of marching cubes' cases (2003).
    """
    if not maps or len(maps) != len(images):
        raise ValueError(
            f"there are {len(images)} images for {len(maps)} depth maps; give one image per map."
        )
    footprints = []
    for item in maps:
        trusted = item.depth[_trusted(item, confidence)]
        footprints.append((trusted[::_SAMPLE] / item.camera.focal.mean()).numpy())
    if not sum(len(part) for part in footprints):
        raise ValueError(f"no depth has a confidence of {confidence}; lower it or add photos.")
    footprint = float(np.median(np.concatenate(footprints)))
    voxel = footprint if voxel is None else voxel
    if not (np.isfinite(voxel) and voxel >= _FINEST * footprint):
        raise ValueError(
            f"voxel is {voxel:.3g} but a pixel covers {footprint:.3g}; use at least "
            f"{_FINEST:.2g} of that."
        )
    blocks = _blocks(maps, confidence, voxel, max(voxel, footprint))
    progress = progress or Progress()
    progress.stage("fusing depth maps", 0.7)
    mesh = _surface(maps, confidence, voxel, blocks, progress)
    progress.stage("colours of the surface")
    albedo, mesh = _colors(mesh, maps, images, voxel, progress)
    return Object(mesh, torch.eye(4), unlit(albedo, "vertex"))


def _trusted(item: DepthMap, confidence: float) -> Tensor:
    return (item.confidence >= confidence) & (item.depth > 0)


@dataclass(frozen=True)
class _Layer:
    """A depth map as the kernel takes it."""

    depth: np.ndarray
    weight: np.ndarray
    matrix: np.ndarray

    @staticmethod
    def of(item: DepthMap, confidence: float) -> "_Layer":
        # The error of a depth grows with its square.
        weight = item.confidence * (item.camera.focal.mean() / item.depth.clamp_min(1e-9)) ** 2
        view = exact(item.camera)
        onto = matrix(view) @ view.camera_from_world.numpy()[:3]
        weight = torch.where(_trusted(item, confidence), weight, 0.0)
        return _Layer(item.depth.numpy(), weight.numpy(), onto)


def _surface(
    maps: Sequence[DepthMap],
    confidence: float,
    voxel: float,
    blocks: Sequence["_Block"],
    progress: Progress,
) -> Mesh:
    from skimage.measure import marching_cubes

    layers = Recent(lambda index: _Layer.of(maps[index], confidence))
    vertices, faces, count = [], [], 0
    for done, block in enumerate(blocks):
        progress.update(done / len(blocks), f"{done} of {len(blocks)} blocks")
        # A few maps all carve; of many, those count that show most of the block's surface.
        chosen = range(len(maps)) if len(maps) <= RECENT else block.shown
        corner, scale = np.array(block.place) * _BLOCK, _COARSER**block.level
        distance, total = _integrated(
            [layers[index] for index in chosen], corner * (scale * voxel), scale * voxel
        )
        known = _all_corners(total > 0)
        if not (known & ~_all_corners(distance > 0) & ~_all_corners(distance <= 0)).any():
            continue
        corners, triangles, _, _ = marching_cubes(
            distance, 0.0, mask=known, gradient_direction="descent", allow_degenerate=False
        )
        vertices.append((corners + corner) * scale)
        faces.append(triangles + count)
        count += len(corners)
    if not vertices:
        raise ValueError("the depth maps hold no surface at this voxel size; use smaller voxels.")
    return _welded(np.concatenate(vertices), np.concatenate(faces), voxel)


def _integrated(
    layers: list[_Layer], origin: np.ndarray, voxel: float
) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances of one block, and the sum of weights."""
    from invgraph.fitting.place import fuse_cpu
    from invgraph.kernels.threads import launch

    sizes = np.array([layer.depth.shape for layer in layers])
    depths = np.zeros((len(layers), *sizes.max(0)), np.float32)
    weights = np.zeros_like(depths)
    for n, layer in enumerate(layers):
        height, width = sizes[n]
        depths[n, :height, :width] = layer.depth
        weights[n, :height, :width] = layer.weight
    shape = (_BLOCK + 1,) * 3
    distance, total = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    launch(
        fuse_cpu.integrate,
        origin,
        voxel,
        _REACH * voxel,
        depths,
        weights,
        sizes,
        np.stack([layer.matrix for layer in layers]),
        distance,
        total,
    )
    return distance, total


def _all_corners(inside: np.ndarray) -> np.ndarray:
    """Whether all eight corners of a cell are inside; a cell goes by its last corner."""
    cells = np.zeros_like(inside)
    both = inside[1:] & inside[:-1]
    both = both[:, 1:] & both[:, :-1]
    cells[1:, 1:, 1:] = both[:, :, 1:] & both[:, :, :-1]
    return cells


@dataclass(frozen=True)
class _Block:
    """A cube of voxels to look for surface in.

    Attributes:
        level: of its voxels, which are ``_COARSER ** level`` times the finest.
        place: its lowest corner, in sides of a block of this level.
        shown: the maps with most depths there.
    """

    level: int
    place: tuple[int, ...]
    shown: list[int]


def _blocks(
    maps: Sequence[DepthMap], confidence: float, voxel: float, usual: float
) -> list[_Block]:
    """Blocks of voxels near which a trusted depth lies.

    A block is split into finer ones if most of its depths come from pixels too fine for it: those
    of the size ``usual`` are for the finest voxels.
    """
    # Per level and block: depths in it, those for which its voxels are fine enough, and the map.
    found: list[dict[tuple[int, ...], list[tuple[int, int, int]]]] = [{} for _ in range(_LEVELS)]
    for index, item in enumerate(maps):
        step = slice(None, None, _SAMPLE)
        mask = _trusted(item, confidence)[step, step]
        points = item.camera.unproject(item.depth)[step, step][mask].double().numpy()
        footprint = (item.depth[step, step][mask] / item.camera.focal.mean()).numpy()
        for level, blocks in enumerate(found):
            size, coarse = voxel * _COARSER**level, footprint >= usual * _COARSER**level
            side, reach = _BLOCK * size, (_REACH + 1) * size
            low = np.floor((points - reach) / side).astype(np.int64)
            high = np.floor((points + reach) / side).astype(np.int64)
            corners = [np.where(corner, high, low) for corner in np.ndindex(2, 2, 2)]
            ids, inverse, counts = np.unique(
                np.concatenate(corners), axis=0, return_inverse=True, return_counts=True
            )
            content = np.bincount(inverse.reshape(-1), np.tile(coarse, 8), len(ids))
            rows = zip(map(tuple, ids.tolist()), counts.tolist(), content.tolist(), strict=True)
            for place, count, enough in rows:
                blocks.setdefault(place, []).append((count, enough, index))
    chosen: list[_Block] = []
    split = set(found[-1])
    for level in reversed(range(_LEVELS)):
        inner: set[tuple[int, ...]] = set()
        for place in sorted(found[level]):
            if level < _LEVELS - 1 and tuple(n // _COARSER for n in place) not in split:
                continue
            seen = found[level][place]
            if level and 2 * sum(row[1] for row in seen) < sum(row[0] for row in seen):
                inner.add(place)
                continue
            shown = [index for _, _, index in sorted(seen, reverse=True)[:RECENT]]
            chosen.append(_Block(level, place, shown))
        split = inner
    if len(chosen) > _MOST_BLOCKS:
        raise ValueError(
            f"voxels of {voxel:.3g} need more than {_MOST_BLOCKS} blocks of {_BLOCK}^3; "
            "use larger voxels."
        )
    return chosen


def _welded(vertices: np.ndarray, faces: np.ndarray, voxel: float) -> Mesh:
    """One mesh from blocks that repeat the vertices on their borders, without tiny pieces."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    keys, first, inverse = np.unique(
        np.rint(vertices * 1024).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    faces = inverse.reshape(-1)[faces]
    vertices = vertices[first]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    ends = np.concatenate((faces[:, :2], faces[:, 1:]))
    links = coo_matrix((np.ones(len(ends), bool), ends.T), shape=(len(keys), len(keys)))
    piece = connected_components(links, directed=False)[1][faces[:, 0]]
    faces = faces[np.bincount(piece)[piece] >= _SMALLEST]
    if not len(faces):
        raise ValueError("the depth maps agree on no piece of surface; check the cameras.")
    used, index = np.unique(faces, return_inverse=True)
    points = torch.from_numpy((vertices[used] * voxel).astype(np.float32))
    return Mesh(points, torch.from_numpy(index.reshape(-1, 3).astype(np.int32)))


def _colors(
    mesh: Mesh,
    maps: Sequence[DepthMap],
    images: Sequence[Tensor],
    voxel: float,
    progress: Progress,
) -> tuple[Tensor, Mesh]:
    """Mean colour of every vertex over the photos that show it, the frontal and near ones most.

    Where the photos are finer than the depth maps, so are the triangles that carry their colours.
    """
    total = weights = normals = torch.zeros(0)
    for index, item in enumerate(maps):
        progress.update(index / len(maps), f"{index} of {len(maps)} photos")
        camera, image = item.camera, images[index].float()
        rows, columns = image.shape[0] // camera.height, image.shape[1] // camera.width
        if image.ndim != 3 or image.shape[2] != 3 or rows != columns or rows < 1:
            raise ValueError(
                f"image {index} has shape {tuple(image.shape)} but its depth map is "
                f"{camera.height}x{camera.width} (h x w); give the photo of the map."
            )
        if index == 0:
            if rows > 1 and len(mesh.faces) < _MOST_FACES:
                mesh = subdivide(mesh)
            normals = vertex_normals(mesh)
            total, weights = torch.zeros(len(mesh.vertices), 3), torch.zeros(len(mesh.vertices), 1)
        pixels, z = camera.project(mesh.vertices)
        # A photo may have some rows and columns more than its map, which were cut off.
        size = pixels.new_tensor([image.shape[1] / rows, image.shape[0] / rows])
        near = (2 * pixels / pixels.new_tensor([camera.width, camera.height]) - 1)[None, None]
        depth = _sample(item.depth[..., None], near, "nearest")[:, 0]
        inside = (z > camera.near) & (near[0, 0].abs() <= 1).all(-1)
        ray = torch.nn.functional.normalize(camera.centre - mesh.vertices, dim=-1)
        facing = (ray * normals).sum(-1).clamp_min(0.0)
        fine = (z / camera.focal.mean()).clamp_min(voxel)
        shows = inside & ((depth - z).abs() < _SHOWS * fine)
        sharp = torch.where(inside, (facing * camera.focal.mean() / z) ** 4, 0.0)
        # A vertex that no photo shows for certain takes what there is.
        weight = torch.where(shows, sharp, 1e-6 * sharp)[:, None]
        total += weight * _sample(image, (2 * pixels / size - 1)[None, None], "bilinear")
        weights += weight
    return total / weights.clamp_min(1e-20), mesh


def _sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    sampled = torch.nn.functional.grid_sample(
        image.movedim(-1, 0)[None], grid, mode=mode, padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T
