"""How many small images can a network be taught with in a second of one core?

    python experiments/bench_batches.py [--seconds 20] [--json FILE]

A ball of 1,984 triangles in 128 poses under 128 lights (spherical harmonics of order 2) with 128
tints, drawn at 64 x 64 and led back to poses, lights and tints: what a step of an encoder of whole
scenes renders; and what it costs to solve the lights of the drawn images in closed form. Images per
second of processor time, the median of as many steps as fit; a minute. The first steps, in which
kernels compile, do not count.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from measures import command_line, row, write

from invgraph import Camera, Lens, Object, Render, Scene, SphericalHarmonicLight, render
from invgraph.geometry.primitives import uv_sphere
from invgraph.geometry.transforms import perturb
from invgraph.photometric.light import solve_light
from invgraph.scene import Material

BATCH, SIZE, ROWS = 128, 64, 32
WARM = 3


def draw(
    thing: Object, camera: Camera, values: list[torch.Tensor], outputs: tuple[str, ...] = ("color",)
) -> Render:
    """All images."""
    motion, light, tint = values
    pose = perturb(thing.world_from_object, motion)
    scene = Scene(
        (replace(thing, world_from_object=pose, tint=tint),), (SphericalHarmonicLight(light),)
    )
    return render(scene, camera, outputs=outputs)


def learn(thing: Object, camera: Camera, values: list[torch.Tensor]) -> None:
    """All images, and the gradients of their sum of squares."""
    color = draw(thing, camera, values).color
    assert color is not None
    torch.autograd.grad(color.square().sum(), values)


def rate(work: Callable[[], object], seconds: float) -> float:
    """Images per second of processor time."""
    rates: list[float] = []
    begin = time.perf_counter()
    while len(rates) < WARM + 3 or time.perf_counter() - begin < seconds:
        spent = time.process_time()
        work()
        rates.append(BATCH / (time.process_time() - spent))
    return statistics.median(rates[WARM:])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each of three measures")
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    pose = torch.eye(4).repeat(BATCH, 1, 1)
    pose[:, 2, 3] = 3.2
    mesh = uv_sphere(ROWS, ROWS)
    colors = torch.rand(len(mesh.vertices), 3, generator=generator)
    material = Material(colors, torch.tensor([0.5]), torch.zeros(1), albedo_kind="vertex")
    thing = Object(mesh, pose, material)
    half = torch.full((2,), SIZE / 2)
    camera = Camera(Lens(torch.full((2,), 1.2 * SIZE), half, SIZE, SIZE), torch.eye(4))
    light = 0.2 * torch.randn(BATCH, 9, 3, generator=generator)
    light[:, 0] += 2.5
    motion = 0.1 * torch.randn(BATCH, 6, generator=generator)
    tint = 0.5 + torch.rand(BATCH, 3, generator=generator)
    values = [value.requires_grad_() for value in (motion, light, tint)]
    print(f"{len(mesh.faces)} triangles, {BATCH} images of {SIZE} x {SIZE}")
    with torch.no_grad():
        forward = rate(lambda: draw(thing, camera, values), arguments.seconds)
        drawn = draw(thing, camera, values, ("color", "albedo", "normal", "alpha"))
        parts = drawn.color, drawn.albedo, drawn.normal, drawn.alpha
        solved = rate(lambda: solve_light(*parts), arguments.seconds)  # type: ignore[arg-type]
    learned = rate(lambda: learn(thing, camera, values), arguments.seconds)
    rows = [
        row("images_per_cpu_s/forward", forward, "1/s", better="higher"),
        row("images_per_cpu_s/forward_backward", learned, "1/s", better="higher"),
        row("images_per_cpu_s/solve_light", solved, "1/s", better="higher"),
        row("solve_light_of_forward_pct", 100 * forward / solved, "%", better="lower"),
    ]
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
