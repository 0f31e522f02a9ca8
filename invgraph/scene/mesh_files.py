"""Mesh files: OBJ, PLY, STL, OFF, GLB through trimesh."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from invgraph.files.atomic import write_atomically
from invgraph.geometry.color import linear_from_srgb
from invgraph.geometry.mesh import Mesh, check_indices, face_areas
from invgraph.geometry.subdivision import split_finely

_READ = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
_FARTHEST = 1e12  # squares of it fit into float32
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


def load_colored_mesh(
    path: str | os.PathLike, fine: float, most_faces: int
) -> tuple[Mesh, Float[torch.Tensor, "v 3"] | None]:
    """Read the triangles of a file and a colour for each vertex.

    Args:
        path: as for :func:`load_mesh`.
        fine: triangles with a texture are split until their edges are this short, relative to the
            diagonal of the bounding box, so that vertices can carry the texture,
        most_faces: or until there would be more than this many.

    Returns:
        The mesh without texture coordinates, and linear RGB per vertex from its texture, its
        material's base colour or its vertex colours; None if no part has any.

    Raises:
        ValueError: as for :func:`load_mesh`.
    """
    path = Path(path)
    parts = _parts(path)
    _checked(Mesh(*_joined(parts, path)), path)
    diagonal = float(np.linalg.norm(np.ptp(np.concatenate([p.vertices for p in parts]), axis=0)))
    vertices, faces, colors, count = [], [], [], 0
    for part in parts:
        mesh = Mesh(*_joined([part], path))
        color = _plain_color(part)
        picture = _picture(part)
        if picture is not None:
            uv = torch.from_numpy(np.asarray(part.visual.uv, np.float32))
            mesh = split_finely(Mesh(mesh.vertices, mesh.faces, uv), fine * diagonal, most_faces)
            assert mesh.uv is not None
            color = _looked_up(picture, mesh.uv)
        vertices.append(mesh.vertices)
        faces.append(mesh.faces + count)
        colors.append(color)
        count += len(mesh.vertices)
    whole = Mesh(torch.cat(vertices), torch.cat(faces))
    if all(color is None for color in colors):
        return whole, None
    filled = [
        torch.full((len(there), 3), 0.2) if color is None else color.expand(len(there), 3)
        for there, color in zip(vertices, colors, strict=True)
    ]
    return whole, torch.cat(filled)


def _picture(part: Any) -> Any | None:
    """The picture of a part's texture, if it has one and says where it goes."""
    material = getattr(part.visual, "material", None)
    if part.visual.kind != "texture" or getattr(part.visual, "uv", None) is None:
        return None
    picture = getattr(material, "image", None)
    return picture if picture is not None else getattr(material, "baseColorTexture", None)


def _looked_up(picture: Any, uv: torch.Tensor) -> Float[torch.Tensor, "v 3"]:
    """Linear RGB of a picture at texture coordinates with v = 0 at the bottom."""
    from trimesh.visual.color import uv_to_interpolated_color

    srgb = np.asarray(uv_to_interpolated_color(uv.numpy(), picture), np.float32)[:, :3] / 255
    return linear_from_srgb(torch.from_numpy(srgb))


def _plain_color(part: Any) -> Float[torch.Tensor, "n 3"] | None:
    """Linear RGB of the vertices, one row if all are alike; None where the file states none."""
    if part.visual.kind == "vertex":
        srgb = np.asarray(part.visual.vertex_colors, np.float32)[:, :3] / 255
        return linear_from_srgb(torch.from_numpy(srgb))
    factor = getattr(getattr(part.visual, "material", None), "baseColorFactor", None)
    return None if factor is None else torch.tensor(np.asarray(factor, np.float32)[None, :3] / 255)


def _parts(path: Path) -> list[Any]:
    """All parts that have triangles, their poses applied."""
    import trimesh

    if path.suffix.lower() not in _READ:
        raise ValueError(f"{path} is not a mesh file this reads; use one of {', '.join(_READ)}.")
    if not path.is_file():
        raise ValueError(f"{path} does not exist or is not a file.")
    try:
        # `process` would drop vertices that are not finite, merge, and lose the exporter's order.
        with np.errstate(all="ignore"):  # numbers that are not finite are refused below
            loaded = trimesh.load_scene(path, process=False)
            parts = [part for part in loaded.dump() if isinstance(part, trimesh.Trimesh)]
    except Exception as error:  # trimesh's readers raise whatever their parsing trips over
        reason = _first_line(error)
        raise ValueError(f"{path} is not a readable mesh ({reason}); export it again.") from error
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise ValueError(f"{path} holds no triangles; export it as a mesh.")
    for part in parts:
        _check_numbers(part, path)
        if path.suffix.lower() == ".stl":
            part.merge_vertices()
    return parts


def _check_numbers(part: Any, path: Path) -> None:
    if not (np.abs(part.vertices) < _FARTHEST).all():
        raise ValueError(f"{path} holds vertices that are not finite, or too far away; mend it.")
    uv = getattr(part.visual, "uv", None)
    if uv is None:
        return
    if np.ndim(uv) != 2 or np.shape(uv)[1] < 2:
        raise ValueError(
            f"{path}: its texture coordinates are {np.shape(uv)}, expected two numbers each; "
            "export it again."
        )
    if not (np.abs(uv) < _FARTHEST).all():
        raise ValueError(f"{path} holds texture coordinates that are not finite; export it again.")


def _joined(parts: list[Any], path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    vertices = np.concatenate([part.vertices for part in parts]).astype(np.float32)
    faces = np.concatenate([part.faces + k for part, k in zip(parts, offsets, strict=False)])
    return torch.from_numpy(vertices), torch.from_numpy(faces.astype(np.int32))


def _checked(mesh: Mesh, path: Path) -> Mesh:
    try:
        check_indices(mesh)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid mesh: {error}") from error
    if not bool((face_areas(mesh) > 0).any()):
        raise ValueError(f"{path} holds no triangle with an area; export it again.")
    return mesh


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
