"""Mesh files: OBJ, PLY, STL, OFF, GLB."""

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.files.atomic import write_atomically
from invgraph.geometry.mesh import Mesh, check_indices, face_areas
from invgraph.geometry.subdivision import split_long_edges
from invgraph.scene.gltf_files import read_gltf
from invgraph.scene.mesh_parts import MeshPart
from invgraph.scene.obj_files import read_obj
from invgraph.scene.off_files import read_off
from invgraph.scene.ply_files import read_ply

_WRITE = (".glb", ".obj", ".off", ".ply", ".stl")
_SINGLE = (".glb", ".ply", ".stl")  # have positions of 32 bits
_FARTHEST = 1e12  # squares of it fit into float32
_LOST = 1e-4  # of the extent: more than that is not lost to float32
_UNLIKE = 0.01  # difference between two colours


def load_mesh(path: str | os.PathLike) -> Mesh:
    """Read the triangles of a file, of all its parts joined, with their texture coordinates.

    Vertices are merged where the file's are one and texture coordinates agree, not otherwise, so
    that texture seams are open edges; STL's loose triangles are joined by position. Vertices of no
    triangle are left out.

    Args:
        path: .obj, .ply, .stl, .off, .glb or .gltf; textures are not decoded.

    Returns:
        Vertices in the file's units and frame, poses of parts applied: float32, or float64 where
        float32 would spoil the shape, far from the origin. ``uv`` only when every part has texture
        coordinates, and no two parts have different textures.

    Raises:
        ValueError: the file is missing, broken, of another kind, or holds no triangles.
    """
    path = Path(path)
    parts = _parts(path, [])
    mesh = _joined(parts, path)
    one = len({part.texture.source for part in parts if part.texture is not None}) <= 1
    return mesh if one else Mesh(mesh.vertices, mesh.faces)


def load_colored_mesh(
    path: str | os.PathLike, fine: float, most_faces: int, notes: list[str] | None = None
) -> tuple[Mesh, Float[Tensor, "v 3"] | None]:
    """Read the triangles of a file and a colour for each vertex: all materials in one mesh.

    Args:
        path: as for :func:`load_mesh`.
        fine: where colours change within a triangle or from one to the next, edges are split until
            they are this short, relative to the diagonal of the bounding box, so that vertices can
            carry the colours,
        most_faces: or as short as is possible with this many triangles; a mesh of nearly as many,
            or more, may get a quarter of this number in addition.
        notes: gets a line for each texture or material that is missing.

    Returns:
        The mesh without texture coordinates, vertices as :func:`load_mesh` gives them; and linear
        RGB per vertex, what the file states: base colour times texture times vertex colours. A row
        is NaN where it states none; None if it states none at all.

    Raises:
        ValueError: as for :func:`load_mesh`, or a texture cannot be read.
    """
    path = Path(path)
    notes = [] if notes is None else notes
    parts = _parts(path, notes)
    mesh = _joined(parts, path)
    # What follows the vertices that are added: texture coordinates, colours, the part.
    carried = torch.cat([_carried(part, index) for index, part in enumerate(parts)])
    if any(part.texture for part in parts) or _change_at_places(mesh.vertices, carried[:, 2:5]):
        longest = fine * float((mesh.vertices.amax(0) - mesh.vertices.amin(0)).norm())
        # As many as if all were split alike; of large meshes a few large triangles.
        most = len(mesh.faces)
        while 4 * most <= most_faces:
            most *= 4
        most = max(most, len(mesh.faces) + most_faces // 4)
        mesh, carried = split_long_edges(mesh, carried, longest, most)
    uv, colors, owner = carried[:, :2], carried[:, 2:5].float(), carried[:, 5]
    centres = _centres(uv, mesh.faces)
    for index, part in enumerate(parts):
        if part.texture is not None:
            mine = owner == index
            try:
                colors[mine] *= part.texture.colors(uv[mine], centres[mine])
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    known = bool(colors.isfinite().any())
    return Mesh(mesh.vertices, mesh.faces), colors if known else None


def _carried(part: MeshPart, index: int) -> Tensor:
    """Per vertex its texture coordinates, its linear RGB without the texture, and the part.

    Where there is no colour at all it is NaN.
    """
    count = len(part.vertices)
    uv = np.zeros((count, 2)) if part.uv is None else part.uv
    stated = any(each is not None for each in (part.texture, part.factor, part.vertex_colors))
    colors = np.full((count, 3), 1.0 if stated else np.nan)
    for factor in (part.factor, part.vertex_colors):
        colors = colors if factor is None else colors * factor
    return torch.from_numpy(np.concatenate([uv, colors, np.full((count, 1), index)], 1))


def _change_at_places(vertices: Tensor, colors: Tensor) -> bool:
    """Whether vertices at one place differ in colour, so that faces meet there unlike."""
    if colors.isnan().all():
        return False
    places, index = torch.unique(vertices, dim=0, return_inverse=True)
    rows = index[:, None].expand(-1, 3)
    filled = colors.nan_to_num(-1.0)
    low = filled.new_zeros(len(places), 3).scatter_reduce(
        0, rows, filled, "amin", include_self=False
    )
    high = filled.new_zeros(len(places), 3).scatter_reduce(
        0, rows, filled, "amax", include_self=False
    )
    return bool((high - low > _UNLIKE).any())


def _centres(uv: Tensor, faces: Tensor) -> Tensor:
    """Per vertex, the mean of its faces' centres in the texture."""
    corners = faces.long().flatten()
    centre = uv[faces.long()].mean(1).repeat_interleave(3, 0)
    total = torch.zeros_like(uv).index_add(0, corners, centre)
    return total / torch.bincount(corners, minlength=len(uv))[:, None]


def _parts(path: Path, notes: list[str]) -> list[MeshPart]:
    """All parts that have triangles."""
    if path.suffix.lower() not in _READ:
        raise ValueError(f"{path} is not a mesh file this reads; use one of {', '.join(_READ)}.")
    if not path.is_file():
        raise ValueError(f"{path} does not exist or is not a file.")
    try:
        with np.errstate(all="ignore"):  # whether numbers are finite is asked later
            parts = _READ[path.suffix.lower()](path, notes)
    except Exception as error:  # untrusted files trip parsing in more ways than can be listed
        reason = (str(error).splitlines() or [""])[0].strip(" .") or type(error).__name__
        if isinstance(error, KeyError):
            reason = f"it lacks {reason}"
        raise ValueError(f"{path} is not a readable mesh ({reason}); export it again.") from error
    parts = [_compact(part) for part in parts if len(part.faces)]
    if not parts:
        raise ValueError(f"{path} holds no triangles; export it as a mesh.")
    return parts


def _read_stl(path: Path, _notes: list[str]) -> list[MeshPart]:
    """The triangles of an STL file, joined where their corners are one; colours are not read."""
    import trimesh

    data = path.read_bytes()
    size = 84 + 50 * int.from_bytes(data[80:84], "little")
    if len(data) != size:
        if b"solid" not in data[:80].lower():
            raise ValueError(f"it has {len(data)} bytes, but {size} by the triangles it promises")
        # A text: bytes that are no ASCII are in names alone.
        text = data.decode("ascii", "replace").replace("\r\n", "\n").replace("\r", "\n")
        data = text.encode("ascii", "replace")
    loaded: Any = trimesh.load_mesh(io.BytesIO(data), file_type="stl", process=False)
    vertices = np.asarray(loaded.vertices, np.float64) + 0.0  # -0 becomes 0
    places, index = np.unique(vertices, axis=0, return_inverse=True)
    return [MeshPart(places, index.reshape(-1)[np.asarray(loaded.faces, np.int64)])]


_READ: dict[str, Callable[[Path, list[str]], list[MeshPart]]] = {
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".obj": read_obj,
    ".off": read_off,
    ".ply": read_ply,
    ".stl": _read_stl,
}


def _compact(part: MeshPart) -> MeshPart:
    """The part without vertices of no triangle."""
    used, faces = np.unique(part.faces, return_inverse=True)
    if len(used) == len(part.vertices) or used[0] < 0 or used[-1] >= len(part.vertices):
        return part
    return replace(
        part,
        vertices=part.vertices[used],
        faces=faces.reshape(-1, 3),
        uv=None if part.uv is None else part.uv[used],
        vertex_colors=None if part.vertex_colors is None else part.vertex_colors[used],
    )


def _joined(parts: list[MeshPart], path: Path) -> Mesh:
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    faces = np.concatenate([part.faces + k for part, k in zip(parts, offsets, strict=False)])
    positions = _positions(np.concatenate([part.vertices for part in parts]), path)
    uv = None
    whole = all(part.uv is not None for part in parts)
    needed = [part.uv for part in parts if part.uv is not None and (whole or part.texture)]
    with np.errstate(over="ignore"):
        needed = [torch.from_numpy(each.astype(np.float32)) for each in needed]
    if not all(bool(each.isfinite().all()) for each in needed):
        raise ValueError(f"{path} holds texture coordinates that are not finite; export it again.")
    if whole:
        uv = torch.cat(needed)
    mesh = Mesh(positions, torch.from_numpy(faces.astype(np.int32)), uv)
    try:
        check_indices(mesh)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid mesh: {error}") from error
    if not bool((face_areas(mesh) > 0).any()):
        raise ValueError(f"{path} holds no triangle with an area; export it again.")
    return mesh


def _positions(vertices: np.ndarray, path: Path) -> Tensor:
    """In float32 if that keeps the shape, else in float64."""
    with np.errstate(over="ignore"):
        single = vertices.astype(np.float32)
    bad = int((~np.isfinite(single)).any(1).sum())
    if bad:
        raise ValueError(
            f"{path} holds vertices that are not finite, {bad} of {len(vertices)}; remove them, or "
            "export it again."
        )
    farthest = float(np.abs(vertices).max())
    if farthest >= _FARTHEST:
        raise ValueError(f"{path} holds vertices at {farthest:g}, too far away; scale it down.")
    rounding = farthest * 2**-24
    far = rounding > _LOST * _extent(vertices)
    return torch.from_numpy(vertices if far else single)


def _extent(vertices: np.ndarray) -> float:
    return float(np.linalg.norm(np.ptp(vertices, axis=0)))


def save_mesh(mesh: Mesh, path: str | os.PathLike) -> None:
    """Write a mesh's triangles, and its texture coordinates where the format has them.

    Vertices are repeated along texture seams. The file appears whole or not at all.

    Args:
        mesh: one mesh, without batch axes.
        path: .obj, .ply, .stl, .off or .glb. Materials: see ``save_scene``.

    Raises:
        ValueError: another ending, batch axes, indices out of range, or no triangles; or the file
            would hold float32 where that spoils the shape.
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
    lost = float(np.abs(vertices.astype(np.float32) - vertices).max())
    if kind in _SINGLE and lost > _LOST * _extent(vertices):
        raise ValueError(
            f"{path}: the mesh is so far from its origin that the float32 of {kind} files would "
            "spoil it; write .obj or .off, or move it."
        )
    visual = None
    if split.uv is not None:
        uv = split.uv.detach().cpu().numpy().copy()
        uv[:, 1] = 1 - uv[:, 1]
        # Of a material that is made up, others would take the colour.
        material = trimesh.visual.material.PBRMaterial()
        visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    written = trimesh.Trimesh(vertices, faces, visual=visual, process=False)
    data: Any = written.export(file_type=kind[1:])
    if kind == ".obj":
        lines = data.splitlines(keepends=True)
        data = "".join(line for line in lines if not line.startswith(("mtllib", "usemtl")))
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
