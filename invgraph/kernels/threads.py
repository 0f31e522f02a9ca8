"""A pool of threads that help with compiled kernels.

``launch(kernel, *args)`` calls ``kernel(team, *args)`` in the calling thread and, at the same time,
in up to ``torch.get_num_threads() - 1`` helpers. Inside, the kernel cuts its work into numbered
units and hands them out with ``take``; ``wait`` returns once every unit of a phase is finished::

    @kernel
    def double(team, x, units, size):
        unit = take(team, 0, units)
        while unit >= 0:
            for i in range(unit * size, min((unit + 1) * size, x.size)):
                x[i] *= 2
            unit = finish_and_take(team, 0, units)
        wait(team, 0, units)

The rules of a kernel:

- It is compiled with ``@kernel``, raises nothing, and ends with ``wait`` for its last
  phase.
- It writes to shared arrays only inside a unit. A step that one thread has to do alone is a phase
  with one unit. A helper that comes late finds every unit taken, and touches nothing.
- What a unit computes does not depend on which thread runs it, or when: so the result is the same
  bit for bit for any number of threads.

Nobody waits for a thread that has not started: the caller does all the work that nobody else took.
Hence a busy machine, several callers at once, or a child made by ``fork`` cost time at the worst.
Numba's own parallel layers were measured to kill forked children (OpenMP) or to abort when two
threads call at once (workqueue).
"""

import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic  # calls leave the first parameter out: no static type says so

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_INNER_OPTIONS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
kernel = njit(**_OPTIONS)  # what ``run`` takes
inner = njit(**_INNER_OPTIONS)  # what kernels call

PHASES = 24
_TAKEN, _DONE, _LINE = 0, 8, 16  # counters of a phase sit on separate cache lines
_SPINS = 200  # polls before a waiting thread offers its core to others

_yield = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)


@intrinsic
def _fetch_add(typingctx, array, index, value):
    """Atomically ``array[index] += value``; gives the old value. ``array`` is int64."""

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=args[0]).data
        place = builder.gep(data, [args[1]])
        return builder.atomic_rmw("add", place, args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), codegen


@intrinsic
def _load(typingctx, array, index):
    """Atomically read ``array[index]``; what other threads wrote before is visible afterwards."""

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(array, types.int64), codegen


@inner
def take(team, phase, count):
    """The next unit of ``phase`` that nobody has taken, or -1 when all ``count`` are gone."""
    unit = _fetch_add(team, phase * _LINE + _TAKEN, 1)
    return unit if unit < count else -1


@inner
def finish(team, phase):
    """Say that a unit taken from ``phase`` is done."""
    _fetch_add(team, phase * _LINE + _DONE, 1)


@inner
def finish_and_take(team, phase, count):
    """Say that a unit of ``phase`` is done and take the next one, or -1."""
    finish(team, phase)
    return take(team, phase, count)


@inner
def wait(team, phase, count):
    """Return once all ``count`` units of ``phase`` are done."""
    spins = 0
    while _load(team, phase * _LINE + _DONE) < count:
        spins += 1
        if spins > _SPINS:
            _yield()


@inner
def reserve(counter, size):
    """Set ``size`` places of a shared buffer aside; gives the first. ``counter`` is one int64.

    Which places a unit gets depends on the threads: note them per unit and read in unit order. The
    caller gives the buffer a likely length, and runs again with ``counter[0]`` places if it was
    short.
    """
    return _fetch_add(counter, 0, size)


class _Pool:
    """Helpers that wait for kernels. They are daemons and live as long as the process."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue = queue.SimpleQueue()
        self.size = 0
        self.lock = threading.Lock()

    def grow(self, size: int) -> None:
        with self.lock:
            while self.size < size:
                name = f"invgraph-{self.size}"
                threading.Thread(target=_serve, args=(self.jobs,), daemon=True, name=name).start()
                self.size += 1


def _serve(jobs: queue.SimpleQueue) -> None:
    while True:
        kernel, args = jobs.get()
        kernel(*args)
        del kernel, args  # an idle helper keeps no buffer alive


_pool = _Pool()


def _reset() -> None:
    """A forked child inherits the pool's record but not its threads."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)


def launch(kernel: Callable[..., Any], *args: Any, threads: int | None = None) -> None:
    """Run a kernel with the help of the pool; returns when its work is done.

    Args:
        kernel: a compiled function ``kernel(team, *args)`` that keeps the rules above.
        args: what it is called with after ``team``.
        threads: at most so many threads, for work too small to share; never more than
            ``torch.get_num_threads()``, which is the default.
    """
    limit = torch.get_num_threads()
    helpers = (limit if threads is None else min(limit, threads)) - 1
    team = np.zeros(PHASES * _LINE, np.int64)
    if helpers > 0:
        pool = _pool
        if pool.size < helpers:
            pool.grow(helpers)
        job = (kernel, (team, *args))
        for _ in range(helpers):
            pool.jobs.put(job)
    kernel(team, *args)
