"""Which vertices the triangles of a mesh join, as kernels read it."""

import threading
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


class Topology:
    """Triangles, checked and copied once.

    Functions that take faces take a ``Topology`` as well, and do then not look at every index
    again. A :class:`~invgraph.geometry.mesh.Mesh` has its own.

    Args:
        faces: ``f 3`` integers, three vertices each, on any device. Changes that are made to the
            tensor afterwards are not seen.

    Attributes:
        source: the tensor it was made from; None if it was joined.
        faces: f x 3, int32, contiguous.
        low: the smallest vertex index; 0 without faces.
        high: the largest; -1 without faces.

    Raises:
        ValueError: no integers, no triangles, or an index beyond 32 bits.
    """

    def __init__(self, faces: Tensor) -> None:
        whole = not (faces.dtype.is_floating_point or faces.dtype.is_complex)
        if faces.ndim != 2 or faces.shape[1] != 3 or not whole or faces.dtype == torch.bool:
            raise ValueError(
                f"faces are {faces.dtype} of shape {tuple(faces.shape)}, expected integers of "
                "shape (faces, 3): three vertices each."
            )
        indices = faces.detach().cpu().numpy()
        self.low, self.high = (int(indices.min()), int(indices.max())) if indices.size else (0, -1)
        if self.high > np.iinfo(np.int32).max:
            raise ValueError(
                f"faces hold index {self.high}; at most 2**31 - 1 vertices are supported."
            )
        self.source: Tensor | None = faces
        self.faces = np.array(indices, np.int32, order="C")
        self._parts: list[tuple[Topology, int]] = []
        self._adjacent: np.ndarray | None = None
        self._lock = threading.Lock()

    @staticmethod
    def join(parts: "Sequence[Topology]", counts: Sequence[int]) -> "Topology":
        """The triangles of several meshes whose vertices follow one another.

        Args:
            parts: of the meshes.
            counts: numbers of vertices.
        """
        if len(parts) == 1:
            return parts[0]
        faces, vertex, first = [np.zeros((0, 3), np.int32)], 0, 0
        joined = Topology(torch.zeros(0, 3, dtype=torch.int32))
        for part, count in zip(parts, counts, strict=True):
            faces.append(part.faces + np.int32(vertex))
            joined._parts.append((part, first))
            vertex, first = vertex + count, first + len(part.faces)
        joined.source, joined.faces = None, np.concatenate(faces)
        if first:
            joined.low, joined.high = int(joined.faces.min()), int(joined.faces.max())
        return joined

    @property
    def adjacent(self) -> Int[np.ndarray, "f 3"]:
        """The face across the edge opposite each corner, -1 where there is not just one."""
        with self._lock:
            if self._adjacent is None:
                self._adjacent = self._found_adjacent()
            return self._adjacent

    def _found_adjacent(self) -> np.ndarray:
        from invgraph.geometry.topology_cpu import neighbours

        if self._parts:
            parts = [(part.adjacent, first) for part, first in self._parts]
            return np.concatenate([np.where(a < 0, a, a + np.int32(first)) for a, first in parts])
        vertices = self.high + 1
        heads = np.empty(vertices, np.int32)
        after = np.empty(3 * len(self.faces), np.int32)
        adjacent = np.empty_like(self.faces)
        neighbours(self.faces, vertices, heads, after, adjacent)
        return adjacent
