"""What is each piece of the loss worth?

    python experiments/ablation.py [--recipe multiview] [--steps 600] [--seeds 3] [--json FILE]

Frames 0-599 of redkitchen, the light network at 128x96, once with everything and once without each
piece of the loss, with several seeds. abs_rel of frames 600-699 as in `depth_redkitchen.py`: mean
over the seeds, `_spread` their standard deviation; a piece whose switching off changes less than
the spread has shown nothing. `monodepth2_recipe` is the published loss with learned motion.
"""

from dataclasses import fields, replace
from pathlib import Path
from statistics import mean, pstdev

from depth_redkitchen import DATA, LEARNED, ROOT, tested
from measures import command_line, row, write

from invgraph.data import read_capture
from invgraph.encoders import load_depth_model
from invgraph.evaluate.depth_score import summarise
from invgraph.train import RECIPES, DepthSettings, Pieces, train_depth


def variants(recipe: str) -> dict[str, DepthSettings]:
    """The recipe, the same without each of its pieces, and the published one."""
    whole = RECIPES[recipe]
    found = {"everything": whole}
    for piece in fields(Pieces):
        if getattr(whole.pieces, piece.name):
            without = replace(whole.pieces, **{piece.name: False})
            found[f"without_{piece.name}"] = replace(whole, pieces=without)
    found["monodepth2_recipe"] = RECIPES["monodepth2"]
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--recipe", choices=("multiview", "motion"), default="multiview")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "ablation")
    arguments = parser.parse_args()

    capture = read_capture(DATA / "redkitchen")
    learned = replace(capture, frames=capture.frames[:LEARNED], test=(), truth=None, points=None)
    rows = []
    for name, whole in variants(arguments.recipe).items():
        errors = []
        for seed in range(arguments.seeds):
            settings = replace(
                whole, network="light", height=96, width=128, steps=arguments.steps, seed=seed
            )
            out = arguments.work / arguments.recipe / f"{name}_{seed}"
            trained = train_depth(
                [learned],
                out,
                settings,
                resume=True,
                logger="none",
                work=arguments.work,
            )
            scores = tested(load_depth_model(trained.model), capture)
            errors.append(summarise([pixelwise for pixelwise, _ in scores])["abs_rel"])
        rows.append(row(f"abs_rel/{name}", mean(errors), "", "lower"))
        rows.append(row(f"abs_rel_spread/{name}", pstdev(errors), "", "lower"))
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
