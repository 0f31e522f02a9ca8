"""Scores on the command line, on captures small enough to know the answer."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from invgraph.cli import main
from invgraph.data import read_capture
from invgraph.data.trajectory_files import Trajectory, write_kitti, write_tum
from invgraph.evaluate.trajectory_truth import true_trajectory
from invgraph.files.atomic import fingerprint
from invgraph.geometry.transforms import exp_so3, pose
from invgraph.runs.predictions import write_depth, write_index

SIZE = (6, 8)
COUNT = 4


def _capture(folder: Path, with_depth: bool = True) -> Path:
    """Four frames as 7-Scenes has them: depth 1 m left, 3 m right; a camera that goes around."""
    folder.mkdir()
    levels = np.full(SIZE, 1000, np.uint16)
    levels[:, 4:] = 3000
    levels[0] = 0  # not measured
    for index in range(COUNT):
        stem = folder / f"frame-{index:06d}"
        color = Image.new("RGB", (SIZE[1], SIZE[0]), (40 * index, 90, 90))
        color.save(f"{stem}.color.png")
        if with_depth and index != 2:
            Image.fromarray(levels).save(f"{stem}.depth.png")
        matrix = _truth().world_from_camera[index]
        rows = [" ".join(f"{value:.9g}" for value in row) for row in matrix.tolist()]
        Path(f"{stem}.pose.txt").write_text("\n".join(rows))
    return folder


def _truth() -> Trajectory:
    turn = torch.tensor([[0, 0.2 * index, 0] for index in range(COUNT)]).double()
    centres = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]).double()
    return Trajectory(pose(exp_so3(turn), centres), torch.arange(COUNT).double())


def _predictions(folder: Path, trained_on: list[str] | None, sigma: float | None = None) -> Path:
    """Twice the true depth, at half the size, but 3 instead of 6 on the right of the last frame."""
    for index in range(COUNT):
        depth = torch.full((3, 4), 2.0)
        depth[:, 2:] = 3.0 if index == COUNT - 1 else 6.0
        spread = None if sigma is None else torch.full((3, 4), sigma)
        write_depth(folder, f"frame-{index:06d}.color", depth, spread)
    frames = [f"frame-{index:06d}.color" for index in range(COUNT)]
    facts = {"model": "by hand", "frames": frames}
    write_index(folder, facts if trained_on is None else facts | {"trained_on": trained_on})
    return folder


def _values(path: Path) -> dict[str, float]:
    rows = json.loads(path.read_text())
    assert all(set(row) == {"name", "value", "unit", "better"} for row in rows)
    return {row["name"]: row["value"] for row in rows}


def _failure(capsys: pytest.CaptureFixture, *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and text.startswith("invgraph: ")
    return text


def test_depth_table_numbers_and_plot(tmp_path: Path, capsys):
    capture = _capture(tmp_path / "scene")
    folder = _predictions(tmp_path / "run", trained_on=["00" * 32], sigma=0.15)
    command = ["eval", "depth", str(folder), str(capture), "--json", str(tmp_path / "s.json")]
    assert main([*command, "--plot", str(tmp_path / "s.svg")]) == 0
    said = capsys.readouterr().out
    assert "3 of 4 predictions have measured depth" in said
    found = _values(tmp_path / "s.json")
    # The columns next to the edge are a quarter of the way between the inverse depths.
    edge = [1 / (0.75 / 2 + 0.25 / 6), 1 / (0.25 / 2 + 0.75 / 6)]
    last = [1 / (0.75 / 2 + 0.25 / 3), 1 / (0.25 / 2 + 0.75 / 3)]
    columns = np.array([[2, 2, 2, *edge, 6, 6, 6], [2, 2, 2, *last, 3, 3, 3]])
    truth = np.array([1.0, 1, 1, 1, 3, 3, 3, 3])
    unscaled = [np.mean(np.abs(row - truth) / truth) for row in columns]
    scaled = [
        np.mean(np.abs(row * np.median(truth) / np.median(row) - truth) / truth) for row in columns
    ]
    assert found["unscaled/abs_rel"] == pytest.approx((2 * unscaled[0] + unscaled[1]) / 3, abs=1e-6)
    assert found["abs_rel"] == pytest.approx((2 * scaled[0] + scaled[1]) / 3, abs=1e-6)
    assert f"{found['abs_rel']:.4f}" in said and "AUSE" in said
    # Scaled by 2 / 3.2 and 2 / 2.424; within a factor exp(1.645 * 0.15) = 1.28 are all columns but
    # the left one of the edge, and the three on the right.
    assert found["coverage_90_pct"] == pytest.approx(100 * (7 + 7 + 3) / 24)
    assert "ause/abs_rel" in found
    root = ElementTree.parse(tmp_path / "s.svg").getroot()
    curves = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(curves) == 3
    assert len(curves[0].attrib["points"].split()) == 51


def test_depth_without_uncertainty_has_no_such_rows(tmp_path: Path, capsys):
    folder = _predictions(tmp_path / "run", trained_on=[])
    capture = _capture(tmp_path / "scene")
    scores = tmp_path / "s.json"
    assert main(["eval", "depth", str(folder), str(capture), "--json", str(scores)]) == 0
    assert not any(name.startswith(("ause", "coverage")) for name in _values(scores))
    assert "AUSE" not in capsys.readouterr().out
    said = _failure(capsys, "eval", "depth", folder, capture, "--plot", tmp_path / "s.svg")
    assert "no image has uncertainty" in said


def test_depth_range_leaves_frames_out(tmp_path: Path, capsys):
    folder = _predictions(tmp_path / "run", trained_on=[])
    capture = _capture(tmp_path / "scene")
    levels = np.full(SIZE, 9000, np.uint16)
    Image.fromarray(levels).save(capture / "frame-000001.depth.png")
    assert main(["eval", "depth", str(folder), str(capture), "--far", "5"]) == 0
    said = capsys.readouterr().out
    assert "Left out         1 without any in range, first frame-000001.color" in said
    assert "no image was scored" in _failure(
        capsys, "eval", "depth", folder, capture, "--far", "0.5"
    )
    assert "0 < near < far" in _failure(capsys, "eval", "depth", folder, capture, "--far", "0")


def test_depth_outside_the_garg_crop_does_not_count(tmp_path: Path, capsys):
    capture = _capture(tmp_path / "scene")
    folder = tmp_path / "run"
    depth = torch.full(SIZE, 1.0)
    depth[:, 4:] = 3.0
    depth[:2] = 7.0  # rows 2 (2.4) to 4 (5.95 is row 5, excluded) count
    depth[5:] = 7.0
    write_depth(folder, "frame-000000.color", depth)
    write_index(folder, {"frames": ["frame-000000.color"], "trained_on": []})
    scores = tmp_path / "s.json"
    command = ["eval", "depth", str(folder), str(capture), "--json", str(scores)]
    assert main(command) == 0
    assert _values(scores)["abs_rel"] > 0.1
    assert main([*command, "--garg-crop"]) == 0
    assert _values(scores)["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert "Garg crop" in capsys.readouterr().out


def test_frames_that_were_trained_on_are_refused(tmp_path: Path, capsys):
    capture = _capture(tmp_path / "scene")
    # Frame 2 has no depth, so its overlap does not matter.
    seen = [fingerprint(capture / f"frame-{index:06d}.color.png") for index in (1, 2)]
    folder = _predictions(tmp_path / "run", trained_on=seen)
    said = _failure(capsys, "eval", "depth", folder, capture)
    assert "trained on 1 of the 3 frames to score (first frame-000001.color)" in said
    assert "--allow-trained" in said
    assert main(["eval", "depth", str(folder), str(capture), "--allow-trained"]) == 0


def test_the_overlap_is_found_by_content_whatever_the_name(tmp_path: Path, capsys):
    capture = _capture(tmp_path / "scene")
    copy = tmp_path / "other_name.png"
    copy.write_bytes((capture / "frame-000003.color.png").read_bytes())
    folder = _predictions(tmp_path / "run", trained_on=[fingerprint(copy)])
    assert "first frame-000003.color" in _failure(capsys, "eval", "depth", folder, capture)


def test_unknown_training_frames_are_refused(tmp_path: Path, capsys):
    capture = _capture(tmp_path / "scene")
    folder = _predictions(tmp_path / "run", trained_on=None)
    assert "does not say what the model" in _failure(capsys, "eval", "depth", folder, capture)


def test_depth_says_what_is_wrong(tmp_path: Path, capsys):
    capture = _capture(tmp_path / "scene")
    assert "holds no infer.json" in _failure(capsys, "eval", "depth", tmp_path, capture)
    folder = _predictions(tmp_path / "run", trained_on=[])
    bare = _capture(tmp_path / "bare", with_depth=False)
    assert "bare has no measured depth" in _failure(capsys, "eval", "depth", folder, bare)
    (folder / "depth/frame-000003.color.npy").unlink()
    assert "000003.color.npy is missing" in _failure(capsys, "eval", "depth", folder, capture)
    write_index(folder, {"frames": ["frame-000002.color"], "trained_on": []})
    assert "none of the 1 predictions" in _failure(capsys, "eval", "depth", folder, capture)
    write_index(folder, {"frames": ["elsewhere"], "trained_on": []})
    assert "no prediction is named as a frame" in _failure(capsys, "eval", "depth", folder, capture)
    for damage in ("[", "[]", '{"frames": [1]}', '{"frames": "a", "trained_on": []}', "{}"):
        (folder / "infer.json").write_text(damage)
        assert "infer.json is damaged" in _failure(capsys, "eval", "depth", folder, capture)


def _estimate(folder: Path, scale: float = 2.0, keep: int = COUNT) -> Path:
    poses = _truth().world_from_camera[:keep].clone()
    poses[:, :3, 3] *= scale
    write_tum(folder / "tum.txt", Trajectory(poses, _truth().times[:keep]))
    write_kitti(folder / "kitti.txt", Trajectory(poses, _truth().times[:keep]))
    return folder


@pytest.mark.parametrize("file", ["tum.txt", "kitti.txt"])
def test_odometry_against_a_capture(tmp_path: Path, capsys, file: str):
    capture = _capture(tmp_path / "scene")
    estimate = _estimate(tmp_path) / file
    scores = tmp_path / "s.json"
    assert main(["eval", "odometry", str(estimate), str(capture), "--json", str(scores)]) == 0
    said = capsys.readouterr().out
    assert "4 of 4, reference has 4" in said and "Scale of Sim(3)        0.5" in said
    assert "none: the path is shorter than 100 m" in said
    found = _values(scores)
    # A square of side 2 about one of side 1; every step is twice too long.
    assert found["ate/se3"] == pytest.approx(math.sqrt(0.5), abs=1e-6)
    assert found["ate/sim3"] == pytest.approx(0, abs=1e-6)
    assert found["rpe_translation/se3"] == pytest.approx(1, abs=1e-6)
    assert found["rpe_rotation/sim3"] == pytest.approx(0, abs=1e-3)
    assert not any(name.startswith("t_err") for name in found)


def test_odometry_segments_of_given_lengths(tmp_path: Path, capsys):
    estimate = _estimate(tmp_path)
    write_kitti(tmp_path / "truth.txt", _truth())
    command = ["eval", "odometry", str(estimate / "kitti.txt"), str(tmp_path / "truth.txt")]
    assert main([*command, "--lengths", "1.5", "0.5", "9", "--json", str(tmp_path / "s.json")]) == 0
    # From the first pose to the second (0.5 m) and to the third (1.5 m): errors of 1 and sqrt(2).
    assert "2 segments of 0.5, 1.5 m" in capsys.readouterr().out
    found = _values(tmp_path / "s.json")
    assert found["t_err/se3"] == pytest.approx(100 * (1 / 0.5 + math.sqrt(2) / 1.5) / 2)
    assert found["t_err/sim3"] == pytest.approx(0, abs=1e-6)
    assert "path is 3 m long, shorter" in _failure(capsys, *command, "--lengths", "9")


def test_odometry_associates_what_it_can(tmp_path: Path, capsys):
    capture = _capture(tmp_path / "scene")
    short = _estimate(tmp_path, keep=3)
    assert main(["eval", "odometry", str(short / "tum.txt"), str(capture)]) == 0
    assert "3 of 3, reference has 4" in capsys.readouterr().out
    said = _failure(capsys, "eval", "odometry", short / "kitti.txt", capture)
    assert "has 3 poses but" in said and "TUM format" in said
    write_tum(tmp_path / "truth.txt", Trajectory(_truth().world_from_camera, _truth().times + 500))
    said = _failure(capsys, "eval", "odometry", short / "tum.txt", tmp_path / "truth.txt")
    assert "use the same clock" in said
    _estimate(tmp_path)
    assert main(["eval", "odometry", f"{tmp_path}/kitti.txt", f"{tmp_path}/truth.txt"]) == 0
    assert "4 of 4" in capsys.readouterr().out


def test_odometry_says_what_is_wrong(tmp_path: Path, capsys):
    tum = _estimate(tmp_path) / "tum.txt"
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.new("RGB", SIZE, (index, 0, 0)).save(tmp_path / f"photos/{index}.png")
    assert "no measured poses" in _failure(capsys, "eval", "odometry", tum, tmp_path / "photos")
    said = _failure(capsys, "eval", "odometry", tum, tmp_path / "absent")
    assert "absent does not exist or is not a file" in said
    assert "delta is 4" in _failure(capsys, "eval", "odometry", tum, tum, "--delta", "4")


def test_true_trajectory_leaves_out_what_was_not_measured(tmp_path: Path):
    capture = _capture(tmp_path / "scene")
    (capture / "frame-000001.pose.txt").unlink()
    found = true_trajectory(read_capture(capture))
    assert found.times.tolist() == [0, 2, 3]
    expected = _truth().world_from_camera[[0, 2, 3]]
    torch.testing.assert_close(found.world_from_camera, expected, atol=1e-6, rtol=0)


def test_help_names_the_commands(capsys):
    assert main(["eval"]) == 0
    said = capsys.readouterr().out
    assert "depth" in said and "odometry" in said
    assert "expected one of depth, odometry" in _failure(capsys, "eval", "colour")
    assert main(["--help"]) == 0
    assert "eval" in capsys.readouterr().out


def test_real_depth_scored_against_itself(tmp_path: Path, data_dir, capsys):
    capture = read_capture(data_dir("redkitchen"))
    assert capture.truth is not None
    chosen = [i for i in range(0, 60) if capture.truth.depth[i] is not None]
    for index in chosen:
        measured = capture.truth.depth[index]
        assert measured is not None
        truth = measured.load()
        # Holes get any depth: they are not scored.
        depth = torch.where(truth > 0, 0.5 * truth, 1.0)
        write_depth(tmp_path, capture.frames[index].name, depth)
    names = [capture.frames[index].name for index in chosen]
    write_index(tmp_path, {"frames": names, "trained_on": []})
    scores = tmp_path / "s.json"
    folder = str(data_dir("redkitchen"))
    assert main(["eval", "depth", str(tmp_path), folder, "--json", str(scores)]) == 0
    found = _values(scores)
    assert found["abs_rel"] == pytest.approx(0, abs=1e-6) and found["d1"] == 1
    assert found["unscaled/abs_rel"] == pytest.approx(0.5, abs=1e-6)
    assert found["scale_ratio_median"] == pytest.approx(2, abs=1e-6)
    assert f"{len(chosen)} of {len(chosen)}" in capsys.readouterr().out
