"""How well are real photographs explained?

    python experiments/fit_mary_rose.py [NAME ...] [--out RUNS] [--json FILE]

Fits recorded captures (mary_rose by default; also chair, temple_sparse_ring, gold_cape, or any
folder) with the same settings, 15 minutes each at most on 2 cores, and scores held-out photos
without tuning anything to them: psnr_mask_db over the pixels inside the mask, psnr_white_db on
white over the whole image (the convention of the NeRF-synthetic scenes), both on 8-bit sRGB values
in [0, 1]. mask_iou_trusted leaves out photos whose masks contradict the fit; their names are
printed.
"""

import os
from pathlib import Path

from measures import command_line, row, write

from invgraph.fitting.fit import fit
from invgraph.fitting.settings import FitSettings

ROOT = Path(__file__).resolve().parent.parent
BUDGET_S = 840.0
UNITS = {"psnr_mask_db": "dB", "psnr_white_db": "dB", "seconds": "s"}
HIGHER = ("psnr_mask_db", "psnr_white_db", "ssim_mask", "mask_iou", "mask_iou_trusted")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("names", nargs="*", default=["mary_rose"], metavar="NAME")
    parser.add_argument("--out", type=Path, default=ROOT / "runs", help="folder of run folders")
    arguments = parser.parse_args()

    data = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
    rows = []
    for name in arguments.names:
        folder = Path(name) if Path(name).is_dir() else data / name
        result = fit(
            folder, arguments.out / folder.name, FitSettings(budget_s=BUDGET_S), resume=True
        )
        print(f"{folder.name}: outlier masks: {result.metrics['outlier_masks'] or 'none'}")
        for measure in (*HIGHER, "seconds"):
            better = "higher" if measure in HIGHER else "lower"
            full = measure if folder.name == "mary_rose" else f"{folder.name}/{measure}"
            rows.append(row(full, result.metrics[measure], UNITS.get(measure, ""), better))
        print(f"  report {result.report}")
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
