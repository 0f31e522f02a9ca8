"""Tables of poses: what is written comes back, also after a kill, and as others read it."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invgraph.data.object_pose_files import (
    PoseRow,
    append_hypotheses,
    append_row,
    bop_number,
    drop_cut_line,
    read_hypotheses,
    read_pose,
    read_rows,
    write_bop,
    write_rows,
)
from invgraph.geometry.transforms import exp_se3
from invgraph.scene.belief import PoseBelief

IDENTITY = np.eye(4).tolist()


def belief(seed: int, found: bool = True, hypotheses: int = 1) -> PoseBelief:
    generator = torch.Generator().manual_seed(seed)
    poses = exp_se3(torch.randn(hypotheses, 6, generator=generator))
    root = 0.01 * torch.randn(hypotheses, 6, 6, generator=generator)
    weights = torch.linspace(2, 1, hypotheses)
    return PoseBelief(poses, weights / weights.sum(), root @ root.mT, 0.5 + seed / 100, found)


def assert_same(one: PoseRow, other: PoseRow) -> None:
    assert (one.frame, one.found, one.hypotheses) == (other.frame, other.found, other.hypotheses)
    assert one.score == pytest.approx(other.score, abs=1e-5)
    assert one.seconds == pytest.approx(other.seconds, abs=1e-4)
    np.testing.assert_allclose(one.pose, other.pose, atol=2e-7)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-6, atol=1e-12)


@given(st.integers(0, 49), st.booleans(), st.sampled_from(["a", "été_7", "0001", 'x,"y"']))
def test_rows_come_back(tmp_path_factory, seed: int, found: bool, name: str) -> None:
    path = tmp_path_factory.mktemp("rows") / "poses.csv"
    rows = [PoseRow.of(name, belief(seed, found, hypotheses), 0.25) for hypotheses in (1, 3)]
    for row in rows:
        append_row(path, row)
    for one, other in zip(read_rows(path), rows, strict=True):
        assert_same(one, other)
    write_rows(path, read_rows(path))
    for one, other in zip(read_rows(path), rows, strict=True):
        assert_same(one, other)


def test_a_table_cut_off_anywhere_gives_its_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "poses.csv"
    rows = [PoseRow.of(f"p{index}", belief(index), 0.1) for index in range(3)]
    write_rows(path, rows)
    data = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(0, len(data) + 1, 7):
        path.write_bytes(data[:cut])
        whole = max(sum(end <= cut for end in ends) - 1, 0)
        assert [row.frame for row in read_rows(path)] == ["p0", "p1", "p2"][:whole]


@pytest.mark.parametrize("damage", ["nan", "x", "", "1e999"])
def test_a_damaged_row_ends_the_table(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "poses.csv"
    write_rows(path, [PoseRow.of(f"p{index}", belief(index), 0.1) for index in range(3)])
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[7] = damage
    path.write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:], ""]))
    assert [row.frame for row in read_rows(path)] == ["p0"]


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "poses.csv").write_text("frame,x,y\na,1,2\n")
    with pytest.raises(ValueError, match="is no table of poses: expected a first line frame,found"):
        read_rows(tmp_path / "poses.csv")


def test_sigmas_are_of_all_three_axes_together() -> None:
    turn = exp_se3(torch.tensor([0.0, 0, 0, 1.0, 2.0, 3.0]))[:3, :3].double().numpy()
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = turn @ np.diag([1e-6, 4e-6, 9e-6]) @ turn.T
    covariance[3:, 3:] = turn @ np.diag([1.0, 0.25, 0.04]) * math.radians(2) ** 2 @ turn.T
    row = PoseRow("a", True, 1.0, np.eye(4), covariance, 1, 0.1)
    assert row.sigma_mm == pytest.approx(14**0.5)
    assert row.sigma_deg == pytest.approx(2 * 1.29**0.5)


def test_results_are_read_by_the_rules_of_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "poses_bop.csv"
    rows = [PoseRow.of(f"p{index}", belief(index, found=index != 1), 0.1) for index in range(3)]
    write_bop(path, [(10 * index, row) for index, row in enumerate(rows)], 48, 5)
    with path.open() as file:
        records = list(csv.DictReader(file))
    assert list(records[0]) == ["scene_id", "im_id", "obj_id", "score", "R", "t", "time"]
    assert [(r["scene_id"], r["im_id"], r["obj_id"]) for r in records] == [
        ("48", "0", "5"),
        ("48", "20", "5"),
    ]
    for record, row in zip(records, (rows[0], rows[2]), strict=True):
        rotation = np.array([float(x) for x in record["R"].split(" ")]).reshape(3, 3)
        shift = np.array([float(x) for x in record["t"].split(" ")])
        np.testing.assert_allclose(rotation, row.pose[:3, :3], atol=1e-7)
        np.testing.assert_allclose(shift, 1000 * row.pose[:3, 3], atol=1e-4)
        assert float(record["score"]) == pytest.approx(row.score, abs=1e-5)
        assert float(record["time"]) == pytest.approx(0.1)


def test_numbers_of_the_benchmarks_names() -> None:
    assert bop_number("000012", -1) == 12 and bop_number("obj_000005", -1) == 5
    for name in ("dragon", "image_0001", "12345678901234567890", "٣", ""):
        assert bop_number(name, -1) == -1, name


def test_all_hypotheses_come_back_and_damage_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "hypotheses.jsonl"
    assert read_hypotheses(path) == {}
    drop_cut_line(path)
    beliefs = {name: belief(seed, hypotheses=3) for seed, name in enumerate("abc")}
    for name, one in beliefs.items():
        append_hypotheses(path, name, one)
    with path.open("a") as file:
        file.write('{"frame": "d", "weights": [1], "camera_from_object": [[NaN]]}\n[]\n{"fra')
    drop_cut_line(path)
    append_hypotheses(path, "e", beliefs["a"])
    found = read_hypotheses(path)
    assert list(found) == ["a", "b", "c", "e"]
    for name, one in beliefs.items():
        weights, poses = zip(*found[name], strict=True)
        assert weights == pytest.approx(one.weights.tolist())
        np.testing.assert_allclose(np.stack(poses), one.poses.double().numpy(), atol=1e-7)


def test_an_initial_pose_is_read(tmp_path: Path) -> None:
    pose = exp_se3(torch.tensor([0.1, 0.2, 0.5, 1.0, 0.5, -0.3], dtype=torch.float64))
    (tmp_path / "init.json").write_text(json.dumps(pose.tolist()))
    np.testing.assert_allclose(read_pose(tmp_path / "init.json"), pose.numpy(), atol=1e-12)
    named = {"camera_from_object": pose.tolist()}
    (tmp_path / "named.json").write_text(json.dumps(named))
    np.testing.assert_allclose(read_pose(tmp_path / "named.json"), pose.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no 4x4 matrix of numbers as JSON"),
        ("[" * 5000, "holds no 4x4 matrix of numbers as JSON"),
        ('{"pose": 1}', "holds no 4x4 matrix of numbers as JSON"),
        ("[[1, 2], [3]]", "holds no 4x4 matrix of numbers as JSON"),
        (json.dumps(IDENTITY[:3]), "expected 4 rows of 4 numbers"),
        (json.dumps(IDENTITY).replace("1.0", "NaN"), "holds NaN or infinity"),
        (json.dumps((2 * np.eye(4) - np.diag([0, 0, 0, 1])).tolist()), "is not rigid"),
        (json.dumps(np.diag([1, 1, -1, 1]).tolist()), "is not rigid"),
        (json.dumps((np.eye(4) + np.eye(4, k=-3)).tolist()), "the last row is 1, 0, 0, 1"),
    ],
)
def test_what_is_no_pose_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "init.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"init\.json") as error:
        read_pose(path)
    assert words in str(error.value) and "\n" not in str(error.value)
