"""Memory that is used again: arrays whose pages come back when the last reference goes.

A fresh array of megabytes costs a page fault for every 4 KiB, several times what the kernels need
to fill it. So memory from here returns to a list when its array, and every tensor made from it, is
gone.
"""

import os
import threading
from collections import deque

import numpy as np
import torch

_SMALL = 1 << 16  # bytes; the C library already reuses what is smaller
_ALIGNED = 64  # bytes; a line of the cache
_KEEP = 1 << 30  # bytes that may lie idle, in all


class _Store:
    """Idle memory by size; of more than ``_KEEP``, sizes that were not in use for longest go."""

    def __init__(self) -> None:
        self.free: dict[int, list[tuple[np.ndarray, int]]] = {}  # latest size last
        self.idle = 0  # bytes in ``free``
        self.returned: deque[tuple[np.ndarray, int]] = deque()  # not in ``free`` yet
        self.lock = threading.Lock()

    def get(self, size: int) -> tuple[np.ndarray, int]:
        """Memory and its address, which numpy is slow to tell."""
        with self.lock:
            self._sort_in()
            blocks = self.free.get(size)
            if blocks:
                self.idle -= size
                return blocks.pop()
        memory = np.empty(size, np.uint8)
        return memory, memory.ctypes.data

    def put(self, memory: tuple[np.ndarray, int]) -> None:
        # Garbage collection may call this at any moment, also while this thread holds the lock.
        self.returned.append(memory)
        if self.lock.acquire(blocking=False):
            self._sort_in()
            self.lock.release()

    def _sort_in(self) -> None:
        while self.returned:
            memory = self.returned.popleft()
            size = memory[0].size
            self.free[size] = self.free.pop(size, [])
            self.free[size].append(memory)
            self.idle += size
        while self.idle > _KEEP:
            oldest = next(iter(self.free))
            if self.free[oldest]:
                self.free[oldest].pop()
                self.idle -= oldest
            else:
                del self.free[oldest]


class _Block:
    """Owns memory on loan from the store."""

    __slots__ = ("__array_interface__", "memory", "store")

    def __init__(self, store: _Store, size: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.store = store
        self.memory = store.get(size)
        self.__array_interface__ = {
            "data": (self.memory[1], False),
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }

    def __del__(self) -> None:
        self.store.put(self.memory)


_store = _Store()


def _reset() -> None:
    """Another thread may have held the lock when a child was forked; it is not there to let go."""
    global _store
    _store = _Store()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)


def empty(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array with arbitrary content."""
    kind = np.dtype(dtype)
    count = kind.itemsize
    for n in shape:
        count *= n
    if count < _SMALL:
        return np.empty(shape, kind)
    # Four sizes per octave, so that slightly different requests share memory.
    step = 1 << max(count.bit_length() - 3, 12)
    return np.asarray(_Block(_store, -(-count // step) * step, shape, kind))


def empty_many(*parts: tuple[int, type]) -> list[np.ndarray]:
    """Arrays (length, type) with arbitrary content in one piece of memory, which costs less time.

    They go together: none is free while one is in use.
    """
    sizes = [-(-count * np.dtype(kind).itemsize // _ALIGNED) * _ALIGNED for count, kind in parts]
    memory = empty((sum(sizes),), np.uint8)
    arrays, start = [], 0
    for (count, kind), size in zip(parts, sizes, strict=True):
        arrays.append(memory[start : start + size].view(kind)[:count])
        start += size
    return arrays


def tensor(shape: tuple[int, ...], dtype: type) -> torch.Tensor:
    """A tensor with arbitrary content."""
    return torch.from_numpy(empty(shape, dtype))
