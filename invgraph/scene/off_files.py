"""Meshes of OFF files.

trimesh, which reads STL for us, splits polygons wrongly that are not convex.

Source:
    Geomview manual, OFF: polyhedral geometry. Colours, which every program writes in its own way,
    are not read.
"""

import re
from pathlib import Path

import numpy as np

from invgraph.geometry.polygons import triangulate
from invgraph.scene.mesh_parts import MeshPart
from invgraph.scene.textures import quoted

_HEADER = re.compile(r"(ST)?C?N?OFF")  # texture coordinates, colours, normals behind the position


def read_off(path: Path, _notes: list[str]) -> list[MeshPart]:
    """The triangles of a file; polygons are split.

    Raises:
        ValueError: the file is cut off, or not valid.
    """
    text = path.read_text("latin-1").removeprefix("\xef\xbb\xbf")  # of UTF-8
    lines = [line.partition("#")[0].split() for line in text.split("\n")]
    lines = [words for words in lines if words]
    first = lines.pop(0) if lines else [""]
    if not _HEADER.fullmatch(first[0]) or "BINARY" in first:
        raise ValueError(f"it begins with {quoted(' '.join(first))}, expected OFF")
    sizes = first[1:]
    # Over several lines, the last of which, how many edges there are, may be missing.
    while lines and (len(sizes) < 2 or (len(sizes) == 2 and len(lines[0]) == 1)):
        sizes += lines.pop(0)
    if len(sizes) < 2 or not all(size.isdecimal() and len(size) < 12 for size in sizes[:2]):
        raise ValueError("it does not say how many vertices and faces there are")
    vertices, faces = (int(size) for size in sizes[:2])
    if len(lines) < vertices + faces:
        raise ValueError("it is cut off: it promises more vertices or faces")
    numbers = [float(word) for words in lines[:vertices] for word in words[:3]]
    positions = np.array(numbers).reshape(vertices, 3)
    indices: list[int] = []
    counts: list[int] = []
    for words in lines[vertices : vertices + faces]:
        count = int(words[0])
        if not 0 <= count < len(words):
            raise ValueError(f"a face is {quoted(' '.join(words))}, expected {count} indices")
        counts.append(count)
        indices += [int(word) for word in words[1 : 1 + count]]
    corners = np.array(indices, np.int64)
    if len(corners) and not 0 <= corners.min() <= corners.max() < vertices:
        raise ValueError(
            f"faces have indices from {corners.min()} to {corners.max()}, but there are {vertices} "
            "vertices"
        )
    places, _ = triangulate(positions, corners, np.array(counts, np.int64))
    return [MeshPart(positions, corners[places])]
