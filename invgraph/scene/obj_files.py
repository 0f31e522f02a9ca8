"""Meshes of OBJ files.

Readers on PyPI miss rules of the format: trimesh counts negative indices from the end of the file
and paints grey what has no material, meshio has no materials, and tinyobjloader, of which there
are release candidates alone, follows any path that a file names.

Source:
    Wavefront, Object files (.obj), version 3.0 (1995); colours behind positions as MeshLab writes
    them.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from invgraph.geometry.polygons import triangulate
from invgraph.scene.mesh_parts import MeshPart, linear_colors
from invgraph.scene.mtl_files import MtlMaterial, obj_lines, read_mtl
from invgraph.scene.textures import file_beside, quoted


def read_obj(path: Path, notes: list[str]) -> list[MeshPart]:
    """The triangles of a file: parts of one material each, faces without texture coordinates apart.

    Polygons are split into triangles; lines, points, normals and free-form surfaces are passed
    over. A texture is multiplied by ``Kd``, but for a ``Kd`` of zeros, which some programs write
    beside every texture. Where there is no texture, colours of vertices come before ``Kd``.

    Args:
        path: of the file.
        notes: gets a line for each material or texture that is missing.

    Raises:
        ValueError: a line that is no valid statement, or an index out of range.
    """
    read = _Statements(path)
    vertices = np.array(read.positions, np.float64).reshape(-1, 3)
    corners = read.checked_corners()
    triangles, owner = triangulate(vertices, corners[:, 0], np.array(read.counts, np.int64))
    corners, used = corners[triangles], np.array(read.used, np.int64)[owner]
    colors = _vertex_colors(read, len(vertices))
    uv = np.array(read.uv, np.float64).reshape(-1, 2)
    materials = _materials(read, notes)
    parts = []
    for name, index in read.names.items():
        mine = corners[used == index]
        material = _material(materials, name, path, notes) if len(mine) else MtlMaterial()
        mapped = (mine[..., 1] >= 0).all(1)
        if mapped.any():
            parts.append(_part(vertices, uv, colors, mine[mapped], material))
        if not mapped.all():
            if material.texture is not None:
                material = MtlMaterial()
                notes.append(
                    f"{path.name}: {(~mapped).sum()} triangles of the material {quoted(name)} have "
                    "no texture coordinates, and so no colour."
                )
            parts.append(_part(vertices, None, colors, mine[~mapped], material))
    return parts


def _materials(read: "_Statements", notes: list[str]) -> dict[str, MtlMaterial]:
    """Of all libraries that the file names."""
    found: dict[str, MtlMaterial] = {}
    folder = read.path.parent
    for library in read.libraries:
        # A name may have spaces, and a line may have many names.
        names = [library] if file_beside(folder, library) else library.split()
        for name in names:
            file = file_beside(folder, name)
            if file is None:
                notes.append(f"{read.path.name}: its materials {quoted(name)} are not in {folder}.")
            else:
                found.update(read_mtl(file, folder))
    return found


def _material(
    materials: dict[str, MtlMaterial], name: str, path: Path, notes: list[str]
) -> MtlMaterial:
    """One of them; where it is missing, or not all of it is known, without colour."""
    material = materials.get(name)
    if material is None:
        if name:
            notes.append(f"{path.name}: no file defines its material {quoted(name)}: no colour.")
        return MtlMaterial()
    if material.lacks is not None:
        notes.append(f"{path.name}: the material {quoted(name)} has no colour: {material.lacks}.")
        return MtlMaterial()
    return material


def _vertex_colors(read: "_Statements", count: int) -> np.ndarray | None:
    """Linear RGB; NaN where there is none. Some programs write levels up to 255."""
    if not read.colors:
        return None
    srgb = np.full((count, 3), np.nan)
    srgb[list(read.colors)] = list(read.colors.values())
    largest = np.nanmax(srgb)
    srgb = srgb / 255 if largest > 1 else srgb
    if not (np.nanmin(srgb) >= 0 and np.nanmax(srgb) <= 1):
        raise ValueError(f"colours of vertices reach {largest:.4g}, expected 0 to 1, or to 255")
    return linear_colors(srgb)


def _part(
    vertices: np.ndarray,
    uv: np.ndarray | None,
    colors: np.ndarray | None,
    corners: np.ndarray,
    material: MtlMaterial,
) -> MeshPart:
    """Triangles whose corners are pairs of vertex and texture coordinate; each pair once."""
    columns = 1 if uv is None else 2
    keys, index = np.unique(
        corners[..., :columns].reshape(-1, columns), axis=0, return_inverse=True
    )
    factor = material.diffuse
    if uv is not None:
        uv = uv[keys[:, 1]] * material.scale + material.offset
        uv[:, 1] = 1 - uv[:, 1]
    if material.texture is not None:
        colors, factor = None, factor if factor is not None and any(factor) else None
    elif colors is not None:
        colors, factor = colors[keys[:, 0]], None
    return MeshPart(
        vertices[keys[:, 0]],
        index.reshape(-1, 3),
        uv,
        material.texture,
        None if factor is None else np.array(factor),
        colors,
    )


@dataclass
class _Statements:
    """What a file says, line by line; indices count from 0, -1 where there is none."""

    path: Path
    positions: list[float] = field(default_factory=list)
    colors: dict[int, list[float]] = field(default_factory=dict)  # of vertices that have one
    uv: list[tuple[float, float]] = field(default_factory=list)
    corners: list[tuple[int, int]] = field(default_factory=list)  # of faces: vertex and uv
    counts: list[int] = field(default_factory=list)  # corners per face
    used: list[int] = field(default_factory=list)  # material per face, an index into names
    lines: list[int] = field(default_factory=list)  # line per face
    names: dict[str, int] = field(default_factory=lambda: {"": 0})
    libraries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        material = 0
        for number, line in enumerate(obj_lines(self.path), 1):
            words = line.split(maxsplit=1)
            if len(words) < 2 or words[0].startswith("#"):
                continue
            key, rest = words[0].lower(), words[1].strip()
            if key == "usemtl":
                material = self.names.setdefault(rest, len(self.names))
            elif key == "mtllib":
                self.libraries.append(rest)
            elif key in ("v", "vt", "f"):
                words = rest.partition("#")[0].split()
                try:
                    self._add(key, words, number, material)
                except ValueError as error:
                    raise ValueError(
                        f"line {number}, {quoted(line.strip())}, is no valid {key}"
                    ) from error

    def _add(self, key: str, words: list[str], number: int, material: int) -> None:
        if key == "f":
            self.corners += [self._corner(word) for word in words]
            self.counts.append(len(words))
            self.used.append(material)
            self.lines.append(number)
            return
        values = [float(word) for word in words]
        if len(values) < (1 if key == "vt" else 3):
            raise ValueError("too few numbers")
        if key == "vt":
            # v may be left out, as textures of one dimension have none.
            self.uv.append((values[0], values[1] if len(values) > 1 else 0.0))
            return
        if len(values) >= 6:
            self.colors[len(self.positions) // 3] = values[3:6]
        self.positions += values[:3]

    def _corner(self, word: str) -> tuple[int, int]:
        vertex, _, rest = word.partition("/")
        uv = rest.partition("/")[0]
        return (
            self._index(vertex, len(self.positions) // 3),
            self._index(uv, len(self.uv)) if uv else -1,
        )

    def _index(self, word: str, count: int) -> int:
        """Positive from the first of the file, negative from the last so far."""
        index = int(word)
        if not -count <= index < 1 << 31 or index == 0:
            raise ValueError("no such index")
        return index - 1 if index > 0 else count + index

    def checked_corners(self) -> np.ndarray:
        """Vertex and uv of every corner.

        Raises:
            ValueError: an index is larger than there are vertices or texture coordinates.
        """
        corners = np.array(self.corners, np.int64).reshape(-1, 2)
        for column, count, what in (
            (0, len(self.positions) // 3, "vertices"),
            (1, len(self.uv), "texture coordinates"),
        ):
            bad = np.flatnonzero(corners[:, column] >= count)
            if len(bad):
                line = self.lines[int(np.searchsorted(np.cumsum(self.counts), bad[0], "right"))]
                raise ValueError(
                    f"line {line} has the index {corners[bad[0], column] + 1}, "
                    f"but there are {count} {what}"
                )
        return corners
