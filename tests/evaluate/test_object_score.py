"""Scores of found objects, by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from invgraph.cli import main
from invgraph.data.object_pose_files import PoseRow, read_true_poses, write_rows
from invgraph.evaluate.object_score import score_objects
from invgraph.geometry.transforms import exp_so3

POINTS = torch.tensor([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]])


def at(depth: float, degrees: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = exp_so3(torch.tensor([math.radians(degrees), 0.0, 0.0]).double()).numpy()
    pose[2, 3] = depth
    return pose


def row(frame: str, pose: np.ndarray, score: float, found: bool = True) -> PoseRow:
    return PoseRow(frame, found, score, pose, np.diag([1e-4] * 3 + [1e-2] * 3), 1, 0.1)


ROWS = [
    row("near", at(1.0), 0.9),
    row("off", at(1.01, 2.0), 0.8),
    row("far", at(1.05), 0.7),
    row("missed", at(1.0), 0.2, found=False),
    row("seen_in_nothing", at(1.0), 0.75),
    row("nothing", at(1.0), 0.1, found=False),
    row("unknown", at(1.0), 0.1),
]
TRUTH = {**dict.fromkeys(["near", "off", "far", "missed"], at(1.0)), "seen_in_nothing": None}
TRUTH["nothing"] = None
WANTED = {
    "found_pct": 75.0,
    "found_of_absent_pct": 50.0,
    # .9 and .8 are above both, .7 and .2 above one of two.
    "found_auroc": 75.0,
    "translation_mm": 10.0,
    "rotation_deg": 0.0,
    # Standard deviations of 1 cm: 0, 1 (and 0.35 in rotation), 5.
    "coverage_90_pct": 200 / 3,
    # Of 0.2 m, 5 cm are too much.
    "success_pct": 50.0,
}


def test_scores_by_hand():
    scores = score_objects(ROWS, TRUTH, POINTS, 0.2)
    assert scores == pytest.approx(WANTED, abs=1e-4)


def test_what_cannot_be_told_is_left_out():
    there = {name: pose for name, pose in TRUTH.items() if pose is not None}
    assert set(score_objects(ROWS, there)) == set(WANTED) - {
        *("found_of_absent_pct", "found_auroc", "success_pct")
    }
    assert set(score_objects(ROWS, {"nothing": None})) == {"found_of_absent_pct"}
    assert score_objects(ROWS, {"missed": at(1.0)}) == {"found_pct": 0.0}
    with pytest.raises(ValueError, match="none of the photos has a truth"):
        score_objects(ROWS, {"elsewhere": at(1.0)})


def test_the_command_says_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_rows(tmp_path / "poses.csv", ROWS)
    matrices = {name: None if pose is None else pose.tolist() for name, pose in TRUTH.items()}
    (tmp_path / "truth.json").write_text(json.dumps({"camera_from_object": matrices}))
    trimesh.creation.box((0.1, 0.1, 0.1)).export(tmp_path / "box.ply")
    given = ["eval", "scene", str(tmp_path), str(tmp_path / "truth.json")]
    given += ["--object", str(tmp_path / "box.ply"), "--json", str(tmp_path / "scores.json")]
    assert main(given) == 0
    assert "6 of 7 have a truth" in capsys.readouterr().out
    found = {
        each["name"]: each["value"] for each in json.loads((tmp_path / "scores.json").read_text())
    }
    assert found == pytest.approx(WANTED, abs=0.01)


def test_a_truth_of_other_photos_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_rows(tmp_path / "poses.csv", ROWS)
    (tmp_path / "truth.json").write_text('{"camera_from_object": {"elsewhere": null}}')
    assert main(["eval", "scene", str(tmp_path), str(tmp_path / "truth.json")]) == 2
    assert "truth.json: none of the photos has a truth" in capsys.readouterr().err


@pytest.mark.parametrize("score", ["nan", "inf", ""])
def test_a_table_without_poses_is_refused_by_its_name(
    tmp_path: Path, score: str, capsys: pytest.CaptureFixture
):
    """It is not the truth's fault; and a score that is no number ranks nothing."""
    table = tmp_path / "poses.csv"
    write_rows(table, ROWS[:1])
    head, first = table.read_text().splitlines()
    cells = first.split(",")
    cells[2] = score
    table.write_text(f"{head}\n{','.join(cells)}\n")
    (tmp_path / "truth.json").write_text('{"camera_from_object": {"elsewhere": null}}')
    assert main(["eval", "scene", str(tmp_path), str(tmp_path / "truth.json")]) == 2
    assert "poses.csv holds no poses" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("[1]", "holds no true poses"),
        ('{"camera_from_object": 3}', "holds no true poses"),
        ('{"camera_from_object": {"a": [[1]]}}', "no 4x4 matrix"),
        ('{"camera_from_object": {"a": [[NaN,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}}', "NaN"),
    ],
)
def test_what_is_no_truth_is_refused(tmp_path: Path, text: str | None, message: str):
    file = tmp_path / "truth.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_true_poses(file)
    assert main(["eval", "scene", str(tmp_path / "no_run"), str(file)]) == 2
