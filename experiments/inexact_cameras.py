"""From how inexact cameras on does it help to correct them?

    python experiments/inexact_cameras.py [--names chair ...] [--work DIR] [--json FILE]

Every training camera of two development captures is turned about the object, each about another
axis, by an exact angle; those of the held-out photos stay as they are. A fit tries corrections
while the shape is of middle size, and has to decide whether they go on. Here each is fitted twice,
once with them and once without, up to the texture at 400 px, all steps.

usual_deg is the median correction that was found when it has to be decided; gain_db by how much
held-out photos are explained better with corrections to the end than without. Where the gain
becomes positive is where INEXACT_DEG of `invgraph.fitting.object.fit_object` belongs.

A fit takes minutes; fits that are done are kept, and not done again.
"""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from measures import Row, command_line, row, write
from torch.nn.functional import normalize

from invgraph.data import Capture, read_capture
from invgraph.files.atomic import write_atomically
from invgraph.fitting.fit import fit
from invgraph.fitting.object import fit_object
from invgraph.fitting.object.cameras import Corrections
from invgraph.fitting.object.stages import Stage
from invgraph.fitting.settings import FitSettings
from invgraph.geometry import transforms
from invgraph.geometry.mesh import Mesh

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
NAMES = ("chair", "temple_sparse_ring")
TURNS = (0.0, 0.3, 0.6, 1.2)  # degrees
STAGES = fit_object.STAGES[:3]
BUDGET_S = 1200.0  # more than these stages take


def turned(capture: Capture, degrees: float) -> Capture:
    """The capture with the cameras of its training photos turned about what they look at."""
    poses = torch.stack([capture.frames[i].known_camera.camera_from_world for i in capture.train])
    centres, ahead = transforms.invert(poses)[:, :3, 3], poses[:, 2, :3]
    across = torch.eye(3) - ahead[:, :, None] * ahead[:, None, :]  # of the cameras' axes
    middle = torch.linalg.solve(across.sum(0), (across @ centres[..., None]).sum(0)[:, 0])
    axes = normalize(torch.randn(len(poses), 3, generator=torch.Generator().manual_seed(0)), dim=1)
    turns = transforms.exp_so3(axes * math.radians(degrees))
    moved = poses @ transforms.pose(turns, middle - turns @ middle)
    frames = list(capture.frames)
    for index, camera_from_world in zip(capture.train, moved, strict=True):
        camera = replace(frames[index].known_camera, camera_from_world=camera_from_world)
        frames[index] = replace(frames[index], camera=camera)
    return replace(capture, frames=tuple(frames))


class Decided(fit_object.Descent):
    """A fit in which it is decided beforehand whether corrections go on."""

    keep = False
    usual_deg = math.nan

    def _corrections(self, stage: Stage, mesh: Mesh, size: float) -> Corrections | None:
        if stage == STAGES[1]:
            return super()._corrections(stage, mesh, size)
        assert self.estimate is not None
        found = self.estimate.corrections
        if found is not None and stage == STAGES[2]:
            Decided.usual_deg = found.usual_deg
        return found if self.keep else None


def fitted(capture: Capture, keep: bool, out: Path) -> dict[str, float]:
    """The correction that was found, and how well held-out photos are explained."""
    shutil.rmtree(out, ignore_errors=True)
    Decided.keep = keep
    with patch.object(fit_object, "Descent", Decided), patch.object(fit_object, "STAGES", STAGES):
        result = fit(capture, out, FitSettings(budget_s=BUDGET_S))
    return {"usual_deg": Decided.usual_deg, "psnr_db": result.metrics["psnr_mask_db"]}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "inexact_cameras")
    arguments = parser.parse_args()

    rows: list[Row] = []
    for name in arguments.names:
        capture = read_capture(DATA / name)
        for degrees in TURNS:
            found = {}
            for keep in (False, True):
                label = f"{name}_{degrees}_{'kept' if keep else 'dropped'}"
                file = arguments.work / f"{label}.json"
                if not file.exists():
                    answer = fitted(turned(capture, degrees), keep, arguments.work / label)
                    write_atomically(file, json.dumps(answer).encode())
                found[keep] = json.loads(file.read_text())
            gain = found[True]["psnr_db"] - found[False]["psnr_db"]
            end = f"{name}/{degrees}deg"
            rows += [
                row(f"usual_deg/{end}", found[True]["usual_deg"], "deg"),
                row(f"psnr_mask_db/{end}", found[False]["psnr_db"], "dB", "higher"),
                row(f"gain_db/{end}", gain, "dB", "higher"),
            ]
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
