"""How well are real photographs explained?

    python experiments/fit_mary_rose.py [NAME ...] [--out RUNS] [--json FILE]

Fits recorded captures (mary_rose by default; also chair, temple_sparse_ring, gold_cape, or any
folder) with the same settings, 15 minutes each at most on 2 cores, and scores held-out photos
without tuning anything to them: psnr_mask_db over the pixels inside the mask, psnr_white_db on
white over the whole image (the convention of the NeRF-synthetic scenes), both on 8-bit sRGB values
in [0, 1]. mask_iou_trusted leaves out photos whose masks contradict the fit; their names are
printed.
"""

import argparse
import json
import os
from pathlib import Path

from invgraph.fitting.fit import fit
from invgraph.fitting.settings import FitSettings

ROOT = Path(__file__).resolve().parent.parent
BUDGET_S = 840.0
MEASURES = (
    ("psnr_mask_db", "dB", "higher"),
    ("psnr_white_db", "dB", "higher"),
    ("ssim_mask", "", "higher"),
    ("mask_iou", "", "higher"),
    ("mask_iou_trusted", "", "higher"),
    ("seconds", "s", "lower"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=["mary_rose"], metavar="NAME")
    parser.add_argument("--out", type=Path, default=ROOT / "runs", help="folder of run folders")
    parser.add_argument("--json", type=Path, help="write the measures to this file")
    arguments = parser.parse_args()

    data = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
    rows = []
    for name in arguments.names:
        folder = Path(name) if Path(name).is_dir() else data / name
        result = fit(
            folder, arguments.out / folder.name, FitSettings(budget_s=BUDGET_S), resume=True
        )
        print(f"{folder.name}: outlier masks: {result.metrics['suspect_masks'] or 'none'}")
        for measure, unit, better in MEASURES:
            value = result.metrics[measure]
            print(f"  {measure:18} {value:9.4f} {unit}")
            full = measure if folder.name == "mary_rose" else f"{folder.name}/{measure}"
            rows.append({"name": full, "value": value, "unit": unit, "better": better})
        print(f"  report {result.report}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
