"""What the kernels need to know about a list of faces, found once and remembered."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

_REMEMBERED = 16


@dataclass
class Topology:
    """Faces as the kernels read them.

    Fields:
        faces: f x 3, int32, contiguous.
        low, high: the smallest and the largest vertex index; 0 and -1 without faces.
    """

    faces: np.ndarray
    low: int
    high: int
    _source: Tensor  # alive as long as we remember: nothing else can get its address meanwhile
    _adjacent: np.ndarray | None = field(default=None)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def adjacent(self) -> np.ndarray:
        """f x 3: the face across the edge opposite each corner, -1 where there is not just one."""
        with self._lock:
            if self._adjacent is None:
                from invgraph.raster.cpu.antialias import neighbours

                vertices = self.high + 1
                heads = np.empty(vertices, np.int32)
                after = np.empty(3 * len(self.faces), np.int32)
                adjacent = np.empty_like(self.faces)
                neighbours(self.faces, vertices, heads, after, adjacent)
                self._adjacent = adjacent
            return self._adjacent


_known: OrderedDict[tuple, Topology] = OrderedDict()
_lock = threading.Lock()


def topology(faces: Tensor) -> Topology:
    """The topology of ``faces``, remembered until the tensor is changed in place."""
    if faces.is_inference():  # such tensors do not count their changes
        return _read(faces)
    key = (faces.data_ptr(), faces.shape[0], faces.stride(), faces.dtype, faces._version)
    with _lock:
        known = _known.get(key)
        if known is not None:
            _known.move_to_end(key)
            return known
    known = _read(faces)
    with _lock:
        _known[key] = known
        if len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return known


def _read(faces: Tensor) -> Topology:
    source = faces.detach()
    low, high = (0, -1) if len(faces) == 0 else (int(source.min()), int(source.max()))
    if high > np.iinfo(np.int32).max:
        raise ValueError(f"faces hold index {high}; at most 2**31 - 1 vertices are supported.")
    array = source.to(torch.int32).contiguous().numpy()
    return Topology(array, low, high, source)
