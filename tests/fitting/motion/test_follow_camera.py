"""Recordings with the cameras that odometry finds: placed frames, once."""

import sys
from pathlib import Path

import pytest
import torch
from moving_camera import camera, film

from invgraph.data import read_capture
from invgraph.data.trajectory_files import Trajectory
from invgraph.fitting.motion import Motion, follow_camera
from invgraph.geometry.transforms import invert

# The package gives the function of the same name.
MODULE = sys.modules["invgraph.fitting.motion.follow_camera"]


def test_placed_frames_get_cameras_and_the_rest_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    poses = film(tmp_path / "walk", 6)
    capture = read_capture(tmp_path / "walk")
    placed, calls = [0, 1, 3, 4, 5], []

    def found(frames, lens, *, progress=None) -> Motion:
        calls.append(len(frames))
        path = Trajectory(invert(poses[placed].double()), torch.tensor(placed).double())
        points = torch.rand(7, 3)
        seen = camera(torch.eye(4)).lens
        return Motion(path, seen, points, tuple(placed), (0, 3, 5), torch.zeros(5))

    monkeypatch.setattr(MODULE, "estimate_motion", found)
    for _ in range(2):
        given = follow_camera(capture, tmp_path / "work")
        assert [f.name for f in given.frames] == [capture.frames[i].name for i in placed]
        for frame, index in zip(given.frames, placed, strict=True):
            assert torch.allclose(frame.known_camera.camera_from_world, poses[index], atol=1e-6)
        assert given.points is not None and given.points.shape == (7, 3)
        assert given.skipped == (f"{capture.frames[2].name}: odometry lost it",)
    assert calls == [6]


def test_other_frames_are_followed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    film(tmp_path / "walk", 5)
    capture = read_capture(tmp_path / "walk")

    def refused(frames, lens, *, progress=None) -> Motion:
        raise ValueError(f"{len(frames)} frames")

    monkeypatch.setattr(MODULE, "estimate_motion", refused)
    with pytest.raises(ValueError, match="5 frames"):
        follow_camera(capture, tmp_path / "work")
    assert not list((tmp_path / "work").glob("*"))
