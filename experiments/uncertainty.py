"""Does depth that is learned without labels know how wrong it is?

    python experiments/uncertainty.py [--model RUN] [--work FOLDER] [--json FILE]

A network that `depth_redkitchen.py` learned from frames 0-599 of redkitchen tells depth and its
uncertainty in frames 600-699, of which every fifth has a sensor's depth. Pixels are left out, the
most uncertain first, and the AbsRel of the others is drawn over the share that is left out: ause is
the area between that curve and the one of leaving out the largest errors first (0 is perfect), aurg
the area below leaving out at random (0 is useless). coverage_90_pct is the share of pixels whose
true depth is in the 90 % interval. The estimate is seen through the sensor's lens; `_pixelwise`
compares equal pixels of both cameras instead. The curves: WORK/sparsification.svg.
"""

from pathlib import Path

from depth_redkitchen import DATA, ROOT, tested
from measures import command_line, row, write

from invgraph.data import read_capture
from invgraph.encoders import load_depth_model
from invgraph.evaluate.depth_score import mean_sparsification, summarise
from invgraph.report.curves import curves_svg


def main() -> None:
    parser = command_line(__doc__)
    usual = ROOT / "runs" / "depth_redkitchen" / "ours"
    parser.add_argument("--model", type=Path, default=usual, help="run folder of a training")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "uncertainty")
    arguments = parser.parse_args()
    if not arguments.model.exists():
        parser.error(f"{arguments.model} does not exist; run depth_redkitchen.py first.")

    pairs = tested(load_depth_model(arguments.model), read_capture(DATA / "redkitchen"))
    pixelwise, scores = ([pair[k] for pair in pairs] for k in (0, 1))
    rows = []
    for suffix, some in (("", scores), ("_pixelwise", pixelwise)):
        found = summarise(some)
        rows += [
            row(f"abs_rel{suffix}", found["abs_rel"], "", "lower"),
            row(f"ause{suffix}", found["ause/abs_rel"], "", "lower"),
            row(f"aurg{suffix}", found["aurg/abs_rel"], "", "higher"),
            row(f"coverage_90_pct{suffix}", found["coverage_90_pct"], "%", "higher"),
        ]
    curve = mean_sparsification(scores, "abs_rel")
    share = (100 * curve.removed).tolist()
    named = {
        "by predicted uncertainty": curve.error.tolist(),
        "by true error": curve.oracle.tolist(),
    }
    arguments.work.mkdir(parents=True, exist_ok=True)
    svg = curves_svg(share, named, "pixels left out (%)", "AbsRel of the others")
    (arguments.work / "sparsification.svg").write_text(svg)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
