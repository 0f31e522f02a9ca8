"""The known objects of the pose experiments: what is photographed, and what is told of it."""

from dataclasses import replace
from pathlib import Path

import torch

from invgraph import Material, Mesh, Object, Scene
from invgraph.data.images import load_image
from invgraph.files.atomic import write_atomically
from invgraph.geometry.primitives import cube
from invgraph.scene.glb import glb_from_scene
from invgraph.scene.mesh_files import load_mesh

NAMES = ("spot", "bob", "dragon", "cube")
_LYING = {"dragon": ((1.0, 0, 0), (0, 0, -1), (0, 1, 0))}  # in its file -z is up; in others +y
_SIZE = 0.12  # m, diameter of spot and bob
_YELLOW = (0.75, 0.5, 0.04)
_FACES = ((0.7, 0.1, 0.08), (0.1, 0.4, 0.12), (0.1, 0.15, 0.6), (0.8, 0.65, 0.1), (0.7, 0.7, 0.7),
          (0.5, 0.15, 0.5))  # fmt: skip


def known_object(name: str, data: Path) -> Object:
    """An object as it is photographed, at the origin, in metres.

    ``spot`` and ``bob`` have their textures, ``dragon`` is yellow all over, ``cube`` has a colour
    and a spot on each side.

    Args:
        name: one of ``NAMES``.
        data: the folder of recorded data, with ``meshes`` and ``desk_objects``.

    Raises:
        ValueError: another name, or data that is missing.
    """
    if name == "cube":
        mesh, albedo = _painted_cube(0.0425)
    elif name == "dragon":
        mesh = _joined(load_mesh(data / "desk_objects/models/dragon/dragon.obj"))
        albedo = torch.tensor(_YELLOW)
    elif name in ("spot", "bob"):
        shape, picture = {
            "spot": ("meshes/spot/spot.obj", "meshes/spot/spot_texture.png"),
            "bob": ("meshes/bob/bob_tri.obj", "meshes/bob/bob_diffuse.png"),
        }[name]
        mesh = load_mesh(data / shape)
        mesh = replace(mesh, vertices=mesh.vertices * (_SIZE / diameter(mesh.vertices)))
        albedo = load_image(data / picture)[0]
    else:
        raise ValueError(f"{name!r} is not a known object; choose among {', '.join(NAMES)}.")
    kind = "constant" if albedo.ndim == 1 else "texture"
    return Object(mesh, torch.eye(4), Material(albedo, torch.tensor([0.5]), torch.zeros(1), kind))


def upright(name: str) -> torch.Tensor:
    """The rotation after which an object's up is +y: it stands as it was modelled to stand."""
    return torch.tensor(_LYING[name]) if name in _LYING else torch.eye(3)


def model_file(name: str, data: Path, folder: Path) -> Path:
    """Write what is told about an object: its shape and its colours.

    Raises:
        ValueError: as for ``known_object``.
    """
    item = known_object(name, data)
    path = folder / f"{name}.glb"
    write_atomically(path, glb_from_scene(Scene((item,))))
    return path


def diameter(points: torch.Tensor) -> float:
    """The largest distance between two of the points ``n 3``."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    points = points.double()
    return float(pdist(points[ConvexHull(points.numpy()).vertices].numpy()).max())


def _joined(mesh: Mesh) -> Mesh:
    """Equal positions made one vertex, so that the surface is smooth."""
    vertices, index = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    return Mesh(vertices, index[mesh.faces.long()].int())


def _painted_cube(half: float) -> tuple[Mesh, torch.Tensor]:
    """A cube with sharp edges and its texture: six tiles in a row, each with a disk off its centre.

    Disks differ in place and size, so that no two sides look alike when turned.
    """
    mesh = cube()
    corner = mesh.texture_faces.flatten().long()
    assert mesh.uv is not None
    side = torch.arange(6).repeat_interleave(6)
    uv = mesh.uv[corner] * 0.98 + 0.01  # texels of the next tile stay out
    uv = torch.stack(((uv[:, 0] + side) / 6, uv[:, 1]), -1)
    faces = torch.arange(36, dtype=torch.int32).reshape(-1, 3)
    v, u = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    tiles = []
    for number, color in enumerate(_FACES):
        away = (u - 24).square() + (v - 20 - 3 * number).square()
        tile = torch.tensor(color).expand(64, 64, 3)
        tiles.append(torch.where((away < (10 + 2 * number) ** 2)[..., None], 0.8 - tile, tile))
    texture = torch.cat(tiles, 1).clamp(0.03, 0.9)
    return Mesh(half * mesh.vertices[mesh.faces.flatten().long()], faces, uv), texture
