"""Meshes of PLY files.

trimesh, which reads simpler files for us, refuses binary files that mix triangles with polygons,
and loses the colours of faces where there are polygons.

Source:
    Turk, The PLY polygon file format (1994); textures as MeshLab writes them.
"""

from pathlib import Path

import numpy as np

from invgraph.geometry.polygons import triangulate
from invgraph.scene.mesh_parts import MeshPart, linear_colors, with_face_colors
from invgraph.scene.ply_tables import Table, read_tables
from invgraph.scene.textures import Texture, file_beside, quoted

# Names that programs give to the same thing.
_CORNERS = ("vertex_indices", "vertex_index")
_RGB = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_UV = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))


def read_ply(path: Path, notes: list[str]) -> list[MeshPart]:
    """The triangles of a file, a part for each texture; polygons are split.

    Of colours a texture comes before those of vertices, and these before those of faces.

    Args:
        path: of the file.
        notes: gets a line for each texture that is missing.

    Raises:
        ValueError: the file is cut off, or of no valid form.
    """
    comments, tables = read_tables(path)
    vertex, face = tables.get("vertex"), tables.get("face")
    lists = (
        None if face is None else next((face.lists[k] for k in _CORNERS if k in face.lists), None)
    )
    if vertex is None or face is None or lists is None:
        return []
    vertices = np.stack([vertex.columns[axis].astype(np.float64) for axis in "xyz"], -1)
    counts, corners = lists[0], lists[1].astype(np.int64)
    if len(corners) and not 0 <= corners.min() <= corners.max() < len(vertices):
        raise ValueError(
            f"faces have indices from {corners.min()} to {corners.max()}, but there are "
            f"{len(vertices)} vertices"
        )
    places, owner = triangulate(vertices, corners, counts)
    uv = _corner_uv(vertex, face, counts, corners)
    vertex_colors, face_colors = _colors(vertex), _colors(face)
    names = [
        words[1]
        for words in (line.split(maxsplit=1) for line in comments)
        if len(words) == 2 and words[0].lower() == "texturefile"
    ]
    number = face.columns.get("texnumber", np.zeros(len(counts)))[owner]
    if len(names) == 1:
        number = np.minimum(number, 0)  # it is the one texture, by whatever number
    parts = []
    for index, name in [*enumerate(names), (-1, "")]:
        # Faces of no texture have a number that none has, such as -1.
        mine = number == index if name else (number < 0) | (number >= len(names))
        if not mine.any():
            continue
        texture = _texture(path, name, uv is not None, notes) if name else None
        lost = bool(name) and texture is None
        part = _part(vertices, corners, uv, places[mine], None if lost else vertex_colors, texture)
        if face_colors is not None and vertex_colors is None and texture is None and not lost:
            part = with_face_colors(part, face_colors[owner[mine]])
        parts.append(part)
    return parts


def _part(
    vertices: np.ndarray,
    corners: np.ndarray,
    uv: np.ndarray | None,
    places: np.ndarray,
    colors: np.ndarray | None,
    texture: Texture | None,
) -> MeshPart:
    """Triangles; vertices are repeated where their corners have several texture coordinates."""
    if uv is None:
        return MeshPart(vertices, corners[places], vertex_colors=colors)
    flat = places.reshape(-1)
    keys = np.concatenate([corners[flat, None], uv[flat]], 1)
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    old = corners[flat[first]]
    colors = None if colors is None or texture is not None else colors[old]
    return MeshPart(
        vertices[old], index.reshape(-1, 3), uv[flat[first]], texture, vertex_colors=colors
    )


def _texture(path: Path, name: str, placed: bool, notes: list[str]) -> Texture | None:
    if not placed:
        notes.append(
            f"{path.name}: it has no texture coordinates for its texture {quoted(name)}, and so no "
            "colour."
        )
        return None
    file = file_beside(path.parent, name)
    if file is None:
        notes.append(
            f"{path.name}: its texture {quoted(name)} is not in {path.parent}, so it has no "
            "colour: put it there."
        )
        return None
    return Texture(file, quoted(name))


def _corner_uv(
    vertex: Table, face: Table, counts: np.ndarray, corners: np.ndarray
) -> np.ndarray | None:
    """Texture coordinates of each corner, v = 0 on top; of the faces, else of the vertices."""
    found = None
    if "texcoord" in face.lists and (face.lists["texcoord"][0] == 2 * counts).all():
        found = face.lists["texcoord"][1].astype(np.float64).reshape(-1, 2)
    else:
        names = next((pair for pair in _UV if all(k in vertex.columns for k in pair)), None)
        if names is not None:
            found = np.stack([vertex.columns[k].astype(np.float64) for k in names], -1)[corners]
    return None if found is None else np.stack([found[:, 0], 1 - found[:, 1]], -1)


def _colors(table: Table) -> np.ndarray | None:
    """Linear RGB of the rows."""
    names = next((rgb for rgb in _RGB if all(k in table.columns for k in rgb)), None)
    if names is None or not table.count:
        return None
    levels = [table.columns[name] for name in names]
    largest = [1 if column.dtype.kind == "f" else 255 for column in levels]
    if any(column.dtype == np.uint16 for column in levels):
        largest = [65535] * 3
    srgb = np.stack([a / b for a, b in zip(levels, largest, strict=True)], -1).astype(np.float64)
    if not (srgb.min() >= 0 and srgb.max() <= 1):
        raise ValueError(
            f"colours are from {srgb.min():.4g} to {srgb.max():.4g} of their range, which should "
            "be 0 to 1 where they are float, 0 to 255 where they are whole numbers"
        )
    return linear_colors(srgb)
