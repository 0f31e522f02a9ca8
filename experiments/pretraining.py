"""Does an encoder that was pre-trained without labels help the depth that is learned after it?

    python experiments/pretraining.py [--steps 600] [--seeds 3] [--json FILE]

Frames 0-599 of redkitchen, the light network at 128x96: depth from random weights (scratch), and
from an encoder that first learned from the same frames which of them belong together
(contrastive), for as many steps. abs_rel of frames 600-699 as in `depth_redkitchen.py`: mean over
the seeds, `abs_rel_spread` their standard deviation; a difference below the spread has shown
nothing. seconds are those of the steps, pre-training included, of one seed. WORK keeps everything,
so that a stopped run goes on, and the camera's motion is found once.
"""

from dataclasses import replace
from pathlib import Path
from statistics import mean, pstdev

from depth_redkitchen import DATA, LEARNED, ROOT, tested
from measures import command_line, row, write

from invgraph.data import Capture, read_capture
from invgraph.encoders import load_depth_model
from invgraph.evaluate.depth_score import summarise
from invgraph.train import RECIPES, ContrastSettings, DepthSettings, train_depth, train_encoder


def settings(steps: int, seed: int) -> tuple[DepthSettings, ContrastSettings]:
    """Of depth, and of the encoder before it."""
    depth = replace(
        RECIPES["multiview"], network="light", height=96, width=128, steps=steps, seed=seed
    )
    encoder = ContrastSettings(network="light", height=96, width=128, steps=steps, seed=seed)
    return depth, encoder


def trained(
    learned: Capture, steps: int, seed: int, pretrained: bool, work: Path
) -> tuple[Path, float]:
    """The depth model of one training, and the seconds of all its steps."""
    depth, contrast = settings(steps, seed)
    out = work / f"{'contrastive' if pretrained else 'scratch'}_{steps}_{seed}"
    encoder, spent = None, 0.0
    if pretrained:
        before = work / f"encoder_{steps}_{seed}"
        found = train_encoder([learned], before, contrast, resume=True, logger="none", work=work)
        encoder, spent = found.model, found.seconds
    found = train_depth(
        [learned], out, depth, resume=True, encoder=encoder, logger="none", work=work
    )
    return found.model, spent + found.seconds


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "pretraining")
    arguments = parser.parse_args()

    capture = read_capture(DATA / "redkitchen")
    learned = replace(capture, frames=capture.frames[:LEARNED], test=(), truth=None, points=None)
    rows = []
    for name in ("scratch", "contrastive"):
        errors, seconds = [], []
        for seed in range(arguments.seeds):
            model, spent = trained(
                learned, arguments.steps, seed, name == "contrastive", arguments.work
            )
            scores = [pixelwise for pixelwise, _ in tested(load_depth_model(model), capture)]
            errors.append(summarise(scores)["abs_rel"])
            seconds.append(spent)
        rows.append(row(f"abs_rel/{name}", mean(errors), "", "lower"))
        rows.append(row(f"abs_rel_spread/{name}", pstdev(errors), "", "lower"))
        rows.append(row(f"seconds/{name}", mean(seconds), "s", "lower"))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
