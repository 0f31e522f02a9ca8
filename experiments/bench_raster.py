"""How fast is the rasterizer, beside the peers that pip installs?

    python experiments/bench_raster.py [--json FILE]

Spheres of 5 k, 80 k and 1 M triangles fill 60 % of the frame. "forward" is rasterize alone (face,
weights, depth); "pipeline" is rasterize + interpolate 4 channels + antialias, forward and backward.
Peers: DEODR with back faces culled and silhouettes given (its own antialiasing; it returns colours,
so its forward does more than ours, and there is none that does less), Mitsuba 3's depth integrator
in the fastest variant that loads, PyTorch3D where it is installed. Against DEODR we cull back faces
too. Every figure is a median over runs that alternate with the peers', on warm caches. About four
minutes; expected: pipeline_vs_deodr above 2, forward_vs_best_peer above 1.
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

RINGS = {"5k": (36, 72), "80k": (142, 284), "1M": (500, 1004)}
DISTANCE = 4.0
COVER = 0.6
SECONDS = 1.5  # of runs per comparison, at most


def sphere(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices in the camera's frame and faces, counter-clockwise seen from outside."""
    rings, sectors = RINGS[name]
    theta = torch.arange(1, rings) * math.pi / rings
    phi = torch.arange(sectors) * 2 * math.pi / sectors
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    ring = torch.stack([t.sin() * p.cos(), t.cos(), t.sin() * p.sin()], -1).reshape(-1, 3)
    vertices = torch.cat([ring, torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])])
    index = torch.arange((rings - 1) * sectors).reshape(rings - 1, sectors)
    turned = index.roll(-1, 1)
    a, b, c, d = index[:-1], turned[:-1], index[1:], turned[1:]
    north = torch.full((sectors,), len(ring))
    faces = torch.cat(
        [
            torch.stack([a, b, c], -1).reshape(-1, 3),
            torch.stack([b, d, c], -1).reshape(-1, 3),
            torch.stack([north, turned[0], index[0]], -1),
            torch.stack([north + 1, index[-1], turned[-1]], -1),
        ]
    )
    tilt = torch.tensor(
        [[1.0, 0, 0], [0, math.cos(0.3), -math.sin(0.3)], [0, math.sin(0.3), math.cos(0.3)]]
    )
    return vertices @ tilt.T + torch.tensor([0.0, 0.0, DISTANCE]), faces.int()


def focal(size: int) -> float:
    """A unit sphere at ``DISTANCE`` is seen as a disc of radius focal / sqrt(distance^2 - 1)."""
    return size * math.sqrt(COVER / math.pi) * math.sqrt(DISTANCE**2 - 1)


def on_screen(vertices: torch.Tensor, size: int) -> torch.Tensor:
    x, y, z = vertices.unbind(-1)
    return torch.stack([x * focal(size) + z * size / 2, y * focal(size) + z * size / 2, z], -1)


def medians(runs: dict[str, Callable[[], Any]], seconds: float = SECONDS) -> dict[str, float]:
    """Milliseconds of each run; they take turns, so that a busy moment hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    begin = time.perf_counter()
    while len(next(iter(times.values()))) < 3 or (
        time.perf_counter() - begin < seconds and len(next(iter(times.values()))) < 40
    ):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def our_forward(vertices: torch.Tensor, faces: torch.Tensor, size: int, batch: int, cull: bool):
    from invgraph.geometry.topology import Topology
    from invgraph.raster import rasterize

    screen = on_screen(vertices, size).expand(batch, -1, -1).contiguous()
    known = Topology(faces)
    return lambda: rasterize(screen, known, size, size, cull_back=cull)


def our_pipeline(vertices: torch.Tensor, faces: torch.Tensor, size: int, batch: int):
    from invgraph.geometry.topology import Topology
    from invgraph.raster import antialias, interpolate, rasterize

    screen = on_screen(vertices, size).expand(batch, -1, -1).contiguous().requires_grad_()
    values = torch.rand(1, len(vertices), 4, requires_grad=True)
    known, grad = Topology(faces), torch.ones(batch, size, size, 4)

    def run() -> None:
        fragments = rasterize(screen, known, size, size, cull_back=True)
        image = interpolate(values, known, fragments)
        image = antialias(image, fragments, screen, known, in_place=True)
        torch.autograd.grad(image, (screen, values), grad)

    return run


def deodr(vertices: torch.Tensor, faces: torch.Tensor, size: int, batch: int):
    """Forward without and forward + backward with antialiasing, or None if it is not installed."""
    try:
        from deodr.differentiable_renderer import Scene2DBase, renderScene, renderSceneB  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    screen = on_screen(vertices, size).double().numpy()
    f = faces.numpy().astype(np.uint32)
    ij = np.ascontiguousarray(screen[:, :2] / screen[:, 2:])
    a, b, c = ij[f[:, 0]], ij[f[:, 1]], ij[f[:, 2]]
    front = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    edges = np.sort(np.stack([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]], 1).reshape(-1, 2), 1)
    _, same = np.unique(edges.astype(np.int64) @ [len(ij), 1], return_inverse=True)
    outline = (np.bincount(same, weights=np.repeat(front, 3)) == 1)[same].reshape(-1, 3)
    n, count = len(ij), len(f)
    scene = Scene2DBase(
        faces=f,
        faces_uv=f,
        ij=ij,
        depths=screen[:, 2].copy(),
        textured=np.zeros(count, bool),
        uv=np.zeros((n, 2)),
        shade=np.zeros(n),
        colors=np.random.default_rng(0).random((n, 4)),
        shaded=np.zeros(count, bool),
        edgeflags=np.ascontiguousarray(outline & front[:, None]),
        height=size,
        width=size,
        nb_colors=4,
        texture=np.zeros((0, 0, 4)),
        background_color=np.zeros(4),
        uv_b=np.zeros((n, 2)),
        ij_b=np.zeros((n, 2)),
        shade_b=np.zeros(n),
        colors_b=np.zeros((n, 4)),
        texture_b=np.zeros((0, 0, 4)),
        clockwise=False,
        backface_culling=True,
    )
    image, depth = np.zeros((size, size, 4)), np.zeros((size, size))
    grad, ones = np.ones((size, size, 4)), np.ones((size, size, 4))

    def forward() -> None:
        for _ in range(batch):
            renderScene(scene, 0, image, depth, check_valid=False)

    def both() -> None:
        for _ in range(batch):
            renderScene(scene, 1, image, depth, check_valid=False)
            np.copyto(grad, ones)  # the backward pass writes to it
            renderSceneB(scene, 1, image, depth, grad, check_valid=False)

    forward()
    covered = (image.sum(-1) > 0).mean()
    assert abs(covered - COVER) < 0.02, f"DEODR covers {covered:.3f} of the frame, not {COVER}"
    return forward, both


def mitsuba_variant() -> str | None:
    """The fastest variant of Mitsuba that works here."""
    from invgraph.rendering.backends.mitsuba import find_llvm

    find_llvm()
    try:
        import mitsuba
    except ImportError:
        return None
    for variant in ("llvm_ad_rgb", "scalar_rgb"):
        code = (
            f"import mitsuba as m; m.set_variant({variant!r}); "
            "import drjit; s = m.load_dict({'type': 'sphere'}); "
            "m.render(m.load_dict({'type': 'scene', 'a': {'type': 'sphere'}, "
            "'b': {'type': 'perspective'}, 'c': {'type': 'depth'}}), spp=1)"
        )
        if (
            variant in mitsuba.variants()
            and not subprocess.run(
                [sys.executable, "-c", code], capture_output=True, check=False
            ).returncode
        ):
            return variant
    return None


def mitsuba_depth(vertices: torch.Tensor, faces: torch.Tensor, size: int, batch: int, variant: str):
    """Depth at pixel centres, one ray each, of a scene that is built before."""
    import mitsuba as mi

    mi.set_variant(variant)
    import drjit as dr

    mesh: Any = mi.Mesh("sphere", len(vertices), len(faces))
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = vertices.numpy().ravel()
    parameters["faces"] = faces.numpy().astype(np.uint32).ravel()
    parameters.update()
    angle = math.degrees(2 * math.atan(size / 2 / focal(size)))
    scene: Any = mi.load_dict(
        {
            "type": "scene",
            "mesh": mesh,
            "integrator": {"type": "depth"},
            "sensor": {
                "type": "perspective",
                "fov": angle,
                "to_world": mi.ScalarTransform4f().look_at([0, 0, 0], [0, 0, 1], [0, 1, 0]),
                "film": {
                    "type": "hdrfilm",
                    "width": size,
                    "height": size,
                    "pixel_format": "luminance",
                    "rfilter": {"type": "box"},
                },
                "sampler": {"type": "independent", "sample_count": 1},
            },
        }
    )

    def run() -> None:
        for _ in range(batch):
            dr.eval(mi.render(scene, spp=1))
        dr.sync_thread()

    return run


def pytorch3d(vertices: torch.Tensor, faces: torch.Tensor, size: int):
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes  # type: ignore
        from pytorch3d.structures import Meshes  # type: ignore
    except ImportError:
        return None
    screen = on_screen(vertices, size)
    ndc = torch.cat([1 - 2 * screen[:, :2] / screen[:, 2:] / size, screen[:, 2:]], -1)
    meshes = Meshes([ndc], [faces.long()])
    return lambda: rasterize_meshes(
        meshes, size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=True
    )


STARTUP = """
import time; start = time.perf_counter()
import invgraph
imported = time.perf_counter() - start
import torch
from invgraph.raster import antialias, interpolate, rasterize
screen = torch.tensor([[0., 0, 1], [60, 0, 1], [0, 60, 1]], requires_grad=True)
values = torch.rand(3, 4, requires_grad=True)
faces = torch.tensor([[0, 1, 2]], dtype=torch.int32)
start = time.perf_counter()
fragments = rasterize(screen, faces, 64, 64)
forward = time.perf_counter() - start
image = antialias(interpolate(values, faces, fragments), fragments, screen, faces)
image.sum().backward()
print(imported, forward, time.perf_counter() - start)
"""


def startup(results: list[dict]) -> None:
    """Import and first calls of new processes: without, then with the compiler's cache on disk."""
    with tempfile.TemporaryDirectory() as cache:
        root = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": root}
        for label in ("first_call", "later_first_call"):
            done = subprocess.run(
                [sys.executable, "-c", STARTUP],
                capture_output=True,
                check=True,
                text=True,
                env=environment,
            )
            imported, forward, everything = map(float, done.stdout.split())
            add(results, f"{label}_s", forward, "s", "lower")
            add(results, f"{label}_pipeline_s", everything, "s", "lower")
        add(results, "import_s", imported, "s", "lower")


def add(results: list[dict], name: str, value: float, unit: str, better: str) -> None:
    results.append({"name": name, "value": value, "unit": unit, "better": better})
    print(f"{name:<44} {value:10.3f} {unit}", flush=True)


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def compare(results: list[dict], name: str, size: int, batch: int, variant: str | None) -> None:
    vertices, faces = sphere(name)
    place = f"{name}/{size}/b{batch}"
    runs: dict[str, Callable[[], Any]] = {"ours": our_forward(vertices, faces, size, batch, False)}
    peer = deodr(vertices, faces, size, batch)
    if peer is not None:
        # Without culling first: this is what the other peers do, too.
        runs["ours_culled"] = our_forward(vertices, faces, size, batch, True)
        runs["deodr_culled"] = peer[0]
    if variant is not None:
        runs["mitsuba"] = mitsuba_depth(vertices, faces, size, batch, variant)
    times = medians(runs)
    for key, value in times.items():
        add(results, f"forward_ms/{key}/{place}", value, "ms", "lower")
    ratios = []
    if "deodr_culled" in times:
        ratios.append(times["deodr_culled"] / times["ours_culled"])
    if "mitsuba" in times:
        ratios.append(times["mitsuba"] / times["ours"])
    if ratios:
        add(results, f"forward_vs_best_peer/{place}", min(ratios), "x", "higher")
    if name == "1M":
        return
    runs = {"ours": our_pipeline(vertices, faces, size, batch)}
    if peer is not None:
        runs["deodr_culled"] = peer[1]
    times = medians(runs)
    for key, value in times.items():
        add(results, f"pipeline_ms/{key}/{place}", value, "ms", "lower")
    if peer is not None and batch == 1:
        ratio = times["deodr_culled"] / times["ours"]
        add(results, f"pipeline_vs_deodr/{name}/{size}", ratio, "x", "higher")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the measures to this file")
    file = parser.parse_args().json
    variant = mitsuba_variant()
    print(f"{processor()}, {os.cpu_count()} cores, torch with {torch.get_num_threads()} threads")
    packages = ("torch", "numba", "numpy", "deodr", "mitsuba", "pytorch3d")
    print(f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages), sep=", ")
    print(f"Mitsuba variant: {variant}\n")
    results: list[dict] = []
    startup(results)
    for name in RINGS:
        for size in (256, 512, 1024):
            for batch in (1, 8):
                if name != "1M" or batch == 1:
                    compare(results, name, size, batch, variant)
    vertices, faces = sphere("5k")
    peer = pytorch3d(vertices, faces, 512)
    if peer is not None:
        times = medians({"ours": our_forward(vertices, faces, 512, 1, False), "pytorch3d": peer})
        ratio = times["pytorch3d"] / times["ours"]
        add(results, "forward_vs_pytorch3d/5k/512", ratio, "x", "higher")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    add(results, "peak_memory_mb", peak, "MB", "lower")
    if file is not None:
        file.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
