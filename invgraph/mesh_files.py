"""Mesh files: OBJ, PLY, STL, OFF, GLB through trimesh."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from invgraph.color import linear_from_srgb
from invgraph.files import write_atomically
from invgraph.mesh import Mesh, check_indices

_READ = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
_WRITE = (".glb", ".obj", ".off", ".ply", ".stl")


def load_mesh(path: str | os.PathLike) -> Mesh:
    """Read the triangles of a file, of all its parts joined, with their texture coordinates.

    Vertices are merged where both position and texture coordinate agree, not otherwise, so that
    texture seams are open edges; STL's loose triangles are joined by position.

    Args:
        path: .obj, .ply, .stl, .off, .glb or .gltf; textures and materials are not read.

    Returns:
        float32 vertices in the file's units and frame, poses of parts applied. ``uv`` only when
        every part has texture coordinates.

    Raises:
        ValueError: the file is missing, broken, of another kind, or holds no triangles.
    """
    path = Path(path)
    parts = _parts(path)
    vertices, faces = _joined(parts, path)
    coordinates = [_uv(part) for part in parts]
    uv = None
    if all(part_uv is not None for part_uv in coordinates):
        uv = torch.from_numpy(np.concatenate(coordinates))  # type: ignore[arg-type]
    return _checked(Mesh(vertices, faces, uv), path)


def load_colored_mesh(path: str | os.PathLike) -> tuple[Mesh, Float[torch.Tensor, "v 3"] | None]:
    """Read the triangles of a file and a colour for each vertex.

    Args:
        path: as for :func:`load_mesh`.

    Returns:
        The mesh without texture coordinates, and linear RGB per vertex from its texture, its
        material's base colour or its vertex colours; None if no part has any.

    Raises:
        ValueError: as for :func:`load_mesh`.
    """
    path = Path(path)
    parts = _parts(path)
    colors = [_colors(part) for part in parts]
    mesh = _checked(Mesh(*_joined(parts, path)), path)
    if all(color is None for color in colors):
        return mesh, None
    filled = [
        np.full((len(part.vertices), 3), 0.5, np.float32) if color is None else color
        for part, color in zip(parts, colors, strict=True)
    ]
    return mesh, linear_from_srgb(torch.from_numpy(np.concatenate(filled)))


def _parts(path: Path) -> list[Any]:
    """All parts that have triangles, their poses applied."""
    import trimesh

    if path.suffix.lower() not in _READ:
        raise ValueError(f"{path} is not a mesh file this reads; use one of {', '.join(_READ)}.")
    if not path.is_file():
        raise ValueError(f"{path} does not exist or is not a file.")
    try:
        # The exporter's vertex order is kept: merging is what `process` would add, but for STL.
        loaded = trimesh.load_scene(path, process=path.suffix.lower() == ".stl")
        parts = [part for part in loaded.dump() if isinstance(part, trimesh.Trimesh)]
    except Exception as error:  # trimesh's readers raise whatever their parsing trips over
        raise ValueError(f"{path} is not a readable mesh: {_first_line(error)}") from error
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise ValueError(f"{path} holds no triangles.")
    return parts


def _joined(parts: list[Any], path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    vertices = np.concatenate([part.vertices for part in parts]).astype(np.float32)
    faces = np.concatenate([part.faces + k for part, k in zip(parts, offsets, strict=False)])
    if not np.isfinite(vertices).all():
        raise ValueError(f"{path} holds vertices that are not finite.")
    return torch.from_numpy(vertices), torch.from_numpy(faces.astype(np.int32))


def _checked(mesh: Mesh, path: Path) -> Mesh:
    try:
        check_indices(mesh)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid mesh: {error}") from error
    return mesh


def _colors(part: Any) -> np.ndarray | None:
    """sRGB of each vertex in [0, 1], or None where the file states none."""
    visual = part.visual
    if not visual.defined:
        return None
    try:
        colored = visual.to_color() if visual.kind == "texture" else visual
        colors = np.asarray(colored.vertex_colors, np.float32)
    except Exception:  # a material without a usable picture; trimesh raises whatever it trips over
        return None
    return colors[:, :3] / 255 if colors.shape == (len(part.vertices), 4) else None


def _uv(part: Any) -> np.ndarray | None:
    uv = getattr(part.visual, "uv", None)
    if uv is None or len(uv) != len(part.vertices):
        return None
    flipped = np.asarray(uv, dtype=np.float32)[:, :2].copy()
    # trimesh puts v = 0 at the bottom.
    flipped[:, 1] = 1 - flipped[:, 1]
    return flipped


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def save_mesh(mesh: Mesh, path: str | os.PathLike) -> None:
    """Write a mesh's triangles, and its texture coordinates where the format has them.

    Vertices are repeated along texture seams. The file appears whole or not at all.

    Args:
        mesh: one mesh, without batch axes.
        path: .obj, .ply, .stl, .off or .glb. Materials: see ``save_scene``.

    Raises:
        ValueError: another ending, batch axes, indices out of range, or no triangles.
    """
    import trimesh
    import trimesh.visual

    path = Path(path)
    kind = path.suffix.lower()
    if kind not in _WRITE:
        raise ValueError(f"{path} is not a mesh file this writes; use one of {', '.join(_WRITE)}.")
    if mesh.batch_shape:
        raise ValueError(f"mesh has batch axes {tuple(mesh.batch_shape)}; save one mesh at a time.")
    if not len(mesh.faces):
        raise ValueError(f"the mesh for {path} has no triangles.")
    check_indices(mesh)
    split, _ = split_seams(mesh)
    vertices, faces = split.vertices.detach().cpu().numpy(), split.faces.cpu().numpy()
    visual = None
    if split.uv is not None:
        uv = split.uv.detach().cpu().numpy().copy()
        uv[:, 1] = 1 - uv[:, 1]
        visual = trimesh.visual.TextureVisuals(uv=uv)
    written = trimesh.Trimesh(vertices, faces, visual=visual, process=False)
    data: Any = written.export(file_type=kind[1:])
    write_atomically(path, data.encode() if isinstance(data, str) else data)


def split_seams(mesh: Mesh) -> tuple[Mesh, torch.Tensor]:
    """One vertex per pair of position and texture coordinate, as file formats want it.

    Returns:
        A mesh whose ``uv`` is per vertex, and for each of its vertices the index of the old one.
    """
    count = mesh.vertices.shape[-2]
    if mesh.uv is None or mesh.uv_faces is None:
        return mesh, torch.arange(count, device=mesh.vertices.device)
    rows = mesh.uv.shape[0]
    keys, corner = torch.unique(
        mesh.faces.long() * rows + mesh.uv_faces.long(), return_inverse=True
    )
    old = keys // rows
    split = Mesh(
        mesh.vertices[..., old, :], corner.to(mesh.faces.dtype), mesh.uv[keys % rows], None
    )
    return split, old
