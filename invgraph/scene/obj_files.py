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

_ROUNDED = 1.001  # so far rounding may put colours above 1


def read_obj(path: Path, notes: list[str]) -> list[MeshPart]:
    """The triangles of a file: parts of one material each, faces without texture coordinates apart.

    Polygons are split into triangles; lines, points, normals and free-form surfaces are passed
    over. A material is that of the line of libraries before it, and there of the first file that
    has it, else that of the last file. A texture is multiplied by ``Kd``, but for a ``Kd`` of
    zeros, which some programs write beside every texture. Where there is no texture, colours of
    vertices come before ``Kd``.

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
    libraries, known = _libraries(read, notes)
    parts = []
    for (name, library), index in read.names.items():
        mine = corners[used == index]
        if not len(mine):
            continue
        order = [*(libraries[library].values() if libraries else ()), *reversed(known.values())]
        material = _material(order, name, path, notes)
        levels = None if material.lacks else colors
        mapped = (mine[..., 1] >= 0).all(1)
        if mapped.any():
            parts.append(_part(vertices, uv, levels, mine[mapped], material))
        if not mapped.all():
            if material.texture is not None:
                material, levels = MtlMaterial(), None
                notes.append(
                    f"{path.name}: {(~mapped).sum()} triangles of the material {quoted(name)} have "
                    "no texture coordinates, and so no colour."
                )
            parts.append(_part(vertices, None, levels, mine[~mapped], material))
    return parts


_Files = dict[Path, dict[str, MtlMaterial]]  # the materials of each file by their names


def _libraries(read: "_Statements", notes: list[str]) -> tuple[list[_Files], _Files]:
    """For each line that names files of materials these files, and all of them."""
    lines: list[_Files] = []
    known: _Files = {}
    folder = read.path.parent
    for library in read.libraries:
        lines.append({})
        # A name may have spaces, and a line may have many names.
        names = [library] if file_beside(folder, library) else library.split()
        for name in names:
            file = file_beside(folder, name)
            if file is None:
                notes.append(f"{read.path.name}: its materials {quoted(name)} are not in {folder}.")
            else:
                if file not in known:
                    known[file] = read_mtl(file, folder)
                lines[-1][file] = known[file]
    return lines, known


def _material(
    order: list[dict[str, MtlMaterial]], name: str, path: Path, notes: list[str]
) -> MtlMaterial:
    """The first of them; where it is missing, or not all of it is known, without colour."""
    material = next((each[name] for each in order if name in each), None)
    said = None
    if material is None:
        material = MtlMaterial()
        if name:
            said = f"{path.name}: no file defines its material {quoted(name)}: no colour."
    elif material.lacks is not None:
        said = f"{path.name}: the material {quoted(name)} has no colour: {material.lacks}."
        material = MtlMaterial(lacks=material.lacks)
    if said is not None and said not in notes:
        notes.append(said)
    return material


def _vertex_colors(read: "_Statements", count: int) -> np.ndarray | None:
    """Linear RGB; NaN where there is none. Some programs write levels up to 255."""
    if not read.colors:
        return None
    levels = np.array(list(read.colors.values()))
    largest = levels.max()
    levels = levels / (255 if largest >= 2 else min(max(largest, 1.0), _ROUNDED))
    if not (levels.min() >= 0 and levels.max() <= 1):
        raise ValueError(f"colours of vertices reach {largest:.4g}, expected 0 to 1, or to 255")
    srgb = np.full((count, 3), np.nan)
    srgb[list(read.colors)] = levels
    return linear_colors(srgb)


def _part(
    vertices: np.ndarray,
    uv: np.ndarray | None,
    colors: np.ndarray | None,
    corners: np.ndarray,
    material: MtlMaterial,
) -> MeshPart:
    """Triangles whose corners are pairs of vertex and texture coordinate; each pair once."""
    corners = corners + 1
    many = int(corners[..., 1].max()) + 1
    keys = corners[..., 0] * many + (0 if uv is None else corners[..., 1])
    keys, index = np.unique(keys, return_inverse=True)
    vertex = keys // many - 1
    factor = material.diffuse
    if uv is not None:
        uv = uv[keys % many - 1] * material.scale + material.offset
        uv[:, 1] = 1 - uv[:, 1]
    if material.texture is not None:
        colors, factor = None, factor if factor is not None and any(factor) else None
    elif colors is not None:
        colors = colors[vertex]
        colors, factor = (colors, None) if np.isfinite(colors).any() else (None, factor)
    return MeshPart(
        vertices[vertex],
        index.reshape(-1, 3),
        uv,
        material.texture,
        None if factor is None else np.array(factor),
        colors,
    )


@dataclass
class _Statements:
    """What a file says, line by line; indices count from 1, 0 where there is none."""

    path: Path
    positions: list[float] = field(default_factory=list)
    colors: dict[int, list[float]] = field(default_factory=dict)  # of vertices that have one
    uv: list[float] = field(default_factory=list)
    vertex_of: list[int] = field(default_factory=list)  # per corner of a face
    uv_of: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)  # corners per face
    used: list[int] = field(default_factory=list)  # material per face, an index into names
    lines: list[int] = field(default_factory=list)  # line per face
    # Materials, each with which of the libraries was in force.
    names: dict[tuple[str, int], int] = field(default_factory=lambda: {("", 0): 0})
    libraries: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        material = library = 0
        add = {"v": self._vertex, "vt": self._texture_vertex, "f": self._face}
        for number, line in enumerate(obj_lines(self.path), 1):
            words = line.split()
            key = words[0].lower() if words else ""
            if key in add:
                words = line.partition("#")[0].split() if "#" in line else words
                try:
                    add[key](words[1:])
                except ValueError as error:
                    raise ValueError(
                        f"line {number}, {quoted(line.strip())}, is no valid {key}"
                    ) from error
                if key == "f":
                    self.used.append(material)
                    self.lines.append(number)
            elif key == "usemtl":
                name = line.strip()[len(key) :].strip()
                material = self.names.setdefault((name, library), len(self.names))
            elif key == "mtllib":
                name = line.strip()[len(key) :].strip()
                library = self.libraries.setdefault(name, len(self.libraries))

    def _vertex(self, words: list[str]) -> None:
        values = [float(word) for word in words]
        if len(values) < 3:
            raise ValueError("too few numbers")
        if len(values) >= 6:
            self.colors[len(self.positions) // 3] = values[3:6]
        self.positions += values[:3]

    def _texture_vertex(self, words: list[str]) -> None:
        # v may be left out, as textures of one dimension have none.
        u, v = [*(float(word) for word in words[:2]), 0.0][:2]
        self.uv += u, v

    def _face(self, words: list[str]) -> None:
        if "/" in "".join(words):
            corners = [word.split("/") for word in words]
            uv = [int(corner[1]) if len(corner) > 1 and corner[1] else 0 for corner in corners]
            vertices = [int(corner[0]) for corner in corners]
            self.uv_of += _from_start(uv, len(self.uv) // 2)
        else:
            vertices = [int(word) for word in words]
            self.uv_of += [0] * len(words)
        self.vertex_of += _from_start(vertices, len(self.positions) // 3)
        if 0 in vertices:
            raise ValueError("vertices count from 1")
        self.counts.append(len(words))

    def checked_corners(self) -> np.ndarray:
        """Vertex and uv of every corner, from 0; -1 where there is none.

        Raises:
            ValueError: an index is larger than there are vertices or texture coordinates.
        """
        corners = np.stack([np.array(self.vertex_of, np.int64), np.array(self.uv_of, np.int64)], -1)
        for column, count, what in (
            (0, len(self.positions) // 3, "vertices"),
            (1, len(self.uv) // 2, "texture coordinates"),
        ):
            bad = np.flatnonzero(corners[:, column] > count)
            if len(bad):
                line = self.lines[int(np.searchsorted(np.cumsum(self.counts), bad[0], "right"))]
                raise ValueError(
                    f"line {line} has the index {corners[bad[0], column]}, "
                    f"but there are {count} {what}"
                )
        return corners - 1


def _from_start(indices: list[int], count: int) -> list[int]:
    """Negative indices, which count from the last so far, as positive ones."""
    if not indices or 0 <= min(indices) <= max(indices) < 1 << 31:
        return indices
    if not -count <= min(indices) <= max(indices) < 1 << 31:
        raise ValueError("no such index")
    return [count + 1 + index if index < 0 else index for index in indices]
