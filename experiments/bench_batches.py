"""How many small images can a network be taught with in a second of one core?

    python experiments/bench_batches.py [--seconds 20] [--json FILE]

A ball of 1,984 triangles in 128 poses under 128 lights (spherical harmonics of order 2) with 128
tints, drawn at 64 x 64 and led back to poses, lights and tints: what a step of an encoder of whole
scenes renders. Images per second of processor time, the median of as many steps as fit; half a
minute. The first steps, in which kernels compile, do not count.
"""

import statistics
import time
from dataclasses import replace

import torch
from measures import command_line, row, write

from invgraph import Camera, Lens, Object, Scene, SphericalHarmonicLight, render
from invgraph.geometry.primitives import uv_sphere
from invgraph.geometry.transforms import perturb
from invgraph.scene import Material

BATCH, SIZE, ROWS = 128, 64, 32
WARM = 3


def step(thing: Object, camera: Camera, values: list[torch.Tensor], backward: bool) -> None:
    """Draw all images, and find the gradients of their sum of squares."""
    motion, light, tint = values
    pose = perturb(thing.world_from_object, motion)
    scene = Scene(
        (replace(thing, world_from_object=pose, tint=tint),), (SphericalHarmonicLight(light),)
    )
    color = render(scene, camera, outputs=("color",)).color
    assert color is not None
    if backward:
        torch.autograd.grad(color.square().sum(), values)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each of two measures")
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
    rows = []
    for name, backward in (("forward", False), ("forward_backward", True)):
        rates: list[float] = []
        begin = time.perf_counter()
        while len(rates) < WARM + 3 or time.perf_counter() - begin < arguments.seconds:
            spent = time.process_time()
            with torch.set_grad_enabled(backward):
                step(thing, camera, values, backward)
            rates.append(BATCH / (time.process_time() - spent))
        rate = statistics.median(rates[WARM:])
        rows.append(row(f"images_per_cpu_s/{name}", rate, "1/s", better="higher"))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
