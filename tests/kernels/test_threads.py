"""Any number of threads, any way to start a process: the same bits."""

import multiprocessing
import threading
import warnings

import numpy as np
import pytest
import torch
from small_meshes import on_screen, sphere
from torch.utils.data import DataLoader, Dataset

from invgraph.kernels import buffers
from invgraph.raster import antialias, interpolate, rasterize


def everything(seed: int = 0) -> list[torch.Tensor]:
    """All outputs and gradients of a small scene."""
    torch.manual_seed(seed)
    vertices, faces = sphere(30, 47)
    screen = torch.stack([on_screen(vertices * s, 96) for s in (0.7, 1.2)]).requires_grad_()
    values = torch.rand(1, len(vertices), 5, requires_grad=True)
    fragments = rasterize(screen, faces, 96, 96, derivatives=True)
    image = antialias(interpolate(values, faces, fragments), fragments, screen, faces)
    assert fragments.bary_pixel is not None
    weight = torch.rand_like(image)
    loss = (image * weight).sum() + fragments.depth.sum() + fragments.bary_pixel.sum()
    loss.backward()
    assert screen.grad is not None and values.grad is not None
    return [
        fragments.face,
        fragments.bary,
        fragments.depth,
        image.detach(),
        screen.grad,
        values.grad,
    ]


@pytest.fixture
def thread_count():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_bit_identical_for_any_number_of_threads(thread_count):
    thread_count(1)
    expected = everything()
    for count in (2, 3, 8, 2):
        thread_count(count)
        for _ in range(5):
            for a, b in zip(everything(), expected, strict=True):
                assert torch.equal(a, b)


def test_several_callers_at_once(thread_count):
    thread_count(2)
    expected = [everything(0), everything(1)]
    wrong: list[str] = []

    def call(seed: int) -> None:
        for _ in range(5):
            # The generator of random numbers is shared, so only what does not depend on it counts.
            for a, b in zip(everything(seed)[:3], expected[seed][:3], strict=True):
                if not torch.equal(a, b):
                    wrong.append(f"caller {seed}")

    callers = [threading.Thread(target=call, args=(seed,)) for seed in (0, 1, 0, 1)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def depth_of(index: int, threads: int) -> torch.Tensor:
    vertices, faces = sphere(30, 47)
    screen = on_screen(vertices * (0.5 + 0.2 * index), 96)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    depth = rasterize(screen, faces, 96, 96).depth
    torch.set_num_threads(before)
    return depth


class _Images(Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> torch.Tensor:
        # Only our kernels run with two threads: the OpenMP of torch itself does not survive a fork.
        return depth_of(index, 2)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_the_workers_of_a_data_loader(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    expected = [depth_of(index, 1) for index in range(3)]
    loader = DataLoader(
        _Images(), batch_size=None, num_workers=1, multiprocessing_context=method, timeout=50
    )
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork while threads exist, ours or others.
        warnings.simplefilter("ignore", DeprecationWarning)
        results = list(loader)
    for a, b in zip(results, expected, strict=True):
        assert torch.equal(a, b)


def test_memory_is_used_again_only_when_free():
    first = buffers.empty((1 << 20,), np.float32)
    place = first.ctypes.data
    first[:] = 1
    kept = torch.from_numpy(first)[10:20]
    del first
    second = buffers.empty((1 << 20,), np.float32)
    second[:] = 2
    assert second.ctypes.data != place and (kept == 1).all()
    del kept
    third = buffers.empty((1 << 20,), np.float32)
    assert third.ctypes.data == place


def test_idle_memory_has_a_bound_and_sizes_out_of_use_go_first(monkeypatch):
    monkeypatch.setattr(buffers, "_KEEP", 10 << 20)
    store = buffers._Store()
    old = [store.get(3 << 20) for _ in range(3)]
    for memory in old:
        store.put(memory)
    assert store.idle == 9 << 20
    new = [store.get(4 << 20) for _ in range(2)]
    places = {memory[1] for memory in new}
    for memory in new:
        store.put(memory)
    assert store.idle == 8 << 20  # 9 + 8 - 3 * 3
    assert {store.get(4 << 20)[1] for _ in range(2)} == places
    assert store.idle == 0


def test_memory_may_come_back_while_the_store_is_in_use():
    """As when garbage is collected in the middle of ``get``."""
    store = buffers._Store()
    memory = store.get(1 << 20)
    with store.lock:
        store.put(memory)
    assert store.get(1 << 20)[1] == memory[1]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_child_forked_while_memory_is_handed_out_has_a_store_of_its_own():
    context = multiprocessing.get_context("fork")
    child = context.Process(target=buffers.empty, args=((1 << 20,), np.float32))
    with buffers._store.lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    child.join(30)
    child.kill()
    assert child.exitcode == 0
