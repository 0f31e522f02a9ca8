"""The run that finds a camera's motion: what it leaves, and how it goes on."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_camera import HEIGHT, WIDTH, camera, film
from PIL import Image

from invgraph.cli import main
from invgraph.data.point_files import decode_points
from invgraph.data.trajectory_files import Trajectory, read_trajectory
from invgraph.fitting.motion import Motion
from invgraph.fitting.motion.motion_files import read_motion, write_motion
from invgraph.geometry.transforms import invert
from invgraph.report import odometry_page
from invgraph.runs.reader import read_run

MODULE = "invgraph.fitting.motion.run_odometry"


class Estimator:
    """Knows the motion; loses frame 2 when told to."""

    def __init__(self, poses: torch.Tensor) -> None:
        self.poses, self.calls, self.placed = poses, 0, list(range(len(poses)))
        self.focal: list[float] | None = None

    def __call__(self, frames, lens, *, progress=None) -> Motion:
        self.calls += 1
        self.focal = None if lens is None else lens.focal.tolist()
        path = Trajectory(
            invert(self.poses[self.placed].double()), torch.tensor(self.placed).double()
        )
        points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor(
            [-0.5, -0.5, 3.0]
        )
        differences = torch.arange(len(self.placed)).double()
        seen = camera(torch.eye(4)).lens
        return Motion(path, seen, points, tuple(self.placed), (0, 3), differences)


@pytest.fixture
def estimator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estimator:
    known = Estimator(film(tmp_path / "walk", 6))
    __import__(MODULE)
    monkeypatch.setattr(sys.modules[MODULE], "estimate_motion", known)
    return known


def test_a_motion_survives_its_file(estimator: Estimator, tmp_path: Path):
    before = estimator((), None)
    write_motion(tmp_path / "motion.safetensors", before)
    after = read_motion(tmp_path / "motion.safetensors")
    assert after is not None
    assert torch.equal(after.trajectory.world_from_camera, before.trajectory.world_from_camera)
    assert torch.equal(after.points, before.points.double())
    assert torch.equal(after.differences, before.differences)
    assert (after.frames, after.keyframes) == (before.frames, before.keyframes)
    assert after.lens.focal.tolist() == before.lens.focal.tolist()
    assert (after.lens.height, after.lens.width) == (HEIGHT, WIDTH)
    assert read_motion(tmp_path / "none.safetensors") is None


def test_a_damaged_motion_is_named(tmp_path: Path):
    from invgraph.files.tensors import write_tensors

    write_tensors(tmp_path / "a.safetensors", {"focal": torch.ones(2)}, {"size": [1, 2]})
    with pytest.raises(ValueError, match=r"a\.safetensors holds no motion .* delete it"):
        read_motion(tmp_path / "a.safetensors")


def test_a_run_has_trajectories_points_a_log_pictures_and_a_report(
    estimator: Estimator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    assert main(["odometry", str(tmp_path / "walk"), "--out", str(run)]) == 0
    assert "6 of 6 frames" in capsys.readouterr().out
    true = invert(estimator.poses.double())
    for name in ("trajectory_tum.txt", "trajectory_kitti.txt"):
        found = read_trajectory(run / name).world_from_camera
        torch.testing.assert_close(found, true, atol=1e-6, rtol=0)
    assert decode_points((run / "points.ply").read_bytes()).shape == (50, 3)
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["difference"]) for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [float(row["x"]) for row in rows] == pytest.approx(true[:, 0, 3].tolist())
    contents = read_run(run)
    assert contents.kind == "odometry" and contents.missing == [] and len(contents.poses) == 6
    assert len(contents.previews) == 6 and contents.rerun_log is not None
    page = (run / "report.html").read_text()
    assert "The path" in page and "How well frames agree" in page and "frame 5" in page


def test_a_run_goes_on_after_a_kill_and_finds_nothing_twice(estimator: Estimator, tmp_path: Path):
    run, words = tmp_path / "run", ["odometry", str(tmp_path / "walk")]
    words += ["--out", str(run)]
    assert main(words) == 0
    whole = {path.name: path.read_bytes() for path in run.glob("*.txt")}
    for path in (*run.glob("*.txt"), run / "metrics.json", run / "report.html"):
        path.unlink()  # as if killed when the motion had just been found
    assert main(words) == 2  # without --resume
    assert main([*words, "--resume"]) == 0
    assert estimator.calls == 1
    assert {path.name: path.read_bytes() for path in run.glob("*.txt")} == whole
    assert len((run / "log.csv").read_text().splitlines()) == 7
    before = (run / "points.ply").stat().st_mtime_ns
    assert main([*words, "--resume"]) == 0  # nothing is left to do
    assert estimator.calls == 1 and (run / "points.ply").stat().st_mtime_ns == before


def test_frames_that_are_lost_are_listed_and_kitti_has_no_file(
    estimator: Estimator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    estimator.placed = [0, 1, 3, 4, 5]
    run = tmp_path / "run"
    assert main(["odometry", str(tmp_path / "walk"), "--out", str(run)]) == 0
    assert "1 frames have no pose" in capsys.readouterr().out
    assert not (run / "trajectory_kitti.txt").exists()
    [lost] = json.loads((run / "metrics.json").read_text())["skipped"]
    assert lost.endswith("odometry lost it")


def test_a_run_goes_on_with_its_own_video_and_lens_only(
    estimator: Estimator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, lens = tmp_path / "run", tmp_path / "cam.json"
    words = ["odometry", str(tmp_path / "walk"), "--out", str(run)]
    assert main(words) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    lens.write_text('{"fx": 90.0, "fy": 90.0, "cx": 40.0, "cy": 30.0}')
    assert main([*words, "--camera", str(lens), "--resume"]) == 2
    assert "is a run on another walk" in capsys.readouterr().err
    film(tmp_path / "other" / "walk", 5)
    assert main(["odometry", str(tmp_path / "other/walk"), "--out", str(run), "--resume"]) == 2
    assert "is a run on another walk" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert main([*words[:2], "--camera", str(lens), "--out", str(tmp_path / "second")]) == 0
    assert estimator.focal == [90.0, 90.0]


def test_near_points_hide_what_is_behind_them_and_are_light():
    """Two points in one cell and a far one beside them, on a white photo of 60 x 80."""
    seen = camera(torch.eye(4)).resize(60, 80)
    at = torch.tensor([[6.0, 6.0], [7.0, 7.0], [50.0, 30.0], [90.0, 30.0]])
    depth = torch.tensor([2.0, 4.0, 8.0, 2.0])  # the last one is outside
    points = seen.unproject_pixels(at, depth)
    picture = odometry_page.draw_points(np.full((60, 80, 3), 255, np.uint8), seen, points)
    assert (picture[6, 6] == odometry_page.colours()[-1]).all()
    assert (picture[8, 8] == 102).all()  # the hidden one's: 0.4 of white
    assert (picture[30, 50] == odometry_page.colours()[0]).all()
    blank = odometry_page.draw_points(np.full((60, 80, 3), 255, np.uint8), seen, -points)
    assert (blank == 102).all()
    assert Image.fromarray(picture).size == (80, 60)
