"""How fast is a training step, against the same networks in a plain loop?

    python experiments/bench_train.py [--steps 10] [--json FILE]

The networks and the loss of the recipe `multiview` (ResNet-18, 256x192, 4 groups of 3 frames a
step) on random images. `ours` is a step as `invgraph train depth` takes it: networks in bf16,
channels last, averaged weights. `eager` is what one writes first: float32 in torch's usual layout.
Both take turns in one process, so that other work on the machine meets both; medians are compared.
On a GPU when there is one.

memory_mb is the most that a process held which took only that kind of step. processes_1 and
processes_2 share the same batch among processes of one thread each (gloo), which is how a machine
with more cores, or several, would be used.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import torch
import torch.distributed as dist
from measures import command_line, row, write

from invgraph.geometry.lens import Lens
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.geometry.transforms import exp_se3
from invgraph.train import RECIPES
from invgraph.train.depth_module import DepthTraining
from invgraph.train.frame_groups import Groups
from invgraph.train.objective import Teacher

SETTINGS = RECIPES["multiview"]
FRAMES = 3
WARM = 3  # steps that are not timed


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def groups(count: int) -> Groups:
    """Random images with plausible lens, motion and depth."""
    torch.manual_seed(0)
    size = (SETTINGS.height, SETTINGS.width)
    images = torch.rand(count, FRAMES, *size, 3)
    depth = 0.3 * torch.randn(count, FRAMES, size[0] // 2, size[1] // 2)
    principal = torch.tensor([size[1] / 2, size[0] / 2]).expand(count, 2)
    made = Groups(
        images,
        images,
        Lens(torch.full((count, 2), float(size[1])), principal, *size),
        torch.ones(count),
        torch.zeros(count, dtype=torch.long),
        exp_se3(0.02 * torch.randn(count, FRAMES, 6)),
        torch.zeros(count, 4, 4),
        Teacher(depth, torch.ones_like(depth)),
    )
    return map_tensors(lambda tensor: tensor.to(device()), made)


def stepper(kind: str, batch: int) -> Callable[[], None]:
    """A function that takes one step."""
    torch.manual_seed(0)
    module = DepthTraining(SETTINGS, [False]).to(device())
    module.averaged = {name: x.to(device()) for name, x in module.averaged.items()}
    if kind == "eager":
        module.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.AdamW(module.parameters(), SETTINGS.rate)
    given = groups(batch)
    parallel = dist.is_available() and dist.is_initialized()

    def step() -> None:
        half = torch.autocast(device().type, torch.bfloat16) if kind == "ours" else nullcontext()
        with half:
            loss = module.explain(given)["loss"]
        loss.backward()
        if parallel:
            for parameter in module.parameters():
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad, dist.ReduceOp.SUM)
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if kind == "ours":
            module.average()
        if device().type == "cuda":
            torch.cuda.synchronize()

    return step


def seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def alone(kind: str, steps: int) -> None:
    """One kind of step in this process, perhaps one of several; prints what came out."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        dist.init_process_group("gloo")
    step = stepper(kind, SETTINGS.batch // world)
    taken = [seconds(step) for _ in range(WARM + steps)][WARM:]
    if int(os.environ.get("RANK", 0)) == 0:
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if device().type == "cuda":
            held = torch.cuda.max_memory_allocated() / 2**20
        print(json.dumps({"seconds": median(taken), "memory_mb": held}))
    if world > 1:
        dist.destroy_process_group()


def apart(kind: str, steps: int, processes: int, threads: int | None) -> dict[str, float]:
    """The same in processes of their own."""
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    words = [__file__, "--alone", kind, "--steps", str(steps)]
    if processes > 1:
        words = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *words]
    done = subprocess.run(
        [sys.executable, *words], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--steps", type=int, default=10, help="of each kind that are timed")
    parser.add_argument("--alone", choices=("ours", "eager"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone, arguments.steps)
        return

    kinds = ("ours", "eager")
    # A process begins with the memory of the one that starts it: so before there is any here.
    held = {kind: apart(kind, 2, 1, None)["memory_mb"] for kind in kinds}
    steppers = {kind: stepper(kind, SETTINGS.batch) for kind in kinds}
    taken: dict[str, list[float]] = {kind: [] for kind in steppers}
    for _ in range(WARM + arguments.steps):
        for kind, step in steppers.items():
            taken[kind].append(seconds(step))
    usual = {kind: median(times[WARM:]) for kind, times in taken.items()}
    images = FRAMES * SETTINGS.batch
    rows = [
        row("images_per_s", images / usual["ours"], "1/s", "higher"),
        row("images_per_s/eager", images / usual["eager"], "1/s", "higher"),
        row("speedup_vs_eager", usual["eager"] / usual["ours"], "", "higher"),
        *(row(f"memory_mb/{kind}", held[kind], "MB", "lower") for kind in kinds),
    ]
    if device().type == "cpu":
        for processes in (1, 2):
            found = apart("ours", arguments.steps, processes, 1)
            name = f"images_per_s/processes_{processes}"
            rows.append(row(name, images / found["seconds"], "1/s", "higher"))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
