"""The files of `invgraph infer depth`, from small made-up frames."""

import io
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from invgraph.data.trajectory_files import read_trajectory
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.infer import DepthWriter, read_depth, read_index, write_depth, write_index
from invgraph.infer.cloud import PER_FRAME, Cloud

FACTS: dict[str, Any] = {"model": "by hand", "trained_on": ["ab"], "metric": True}
HEIGHT, WIDTH = 12, 16
LENS = Lens(torch.tensor([16.0, 16]), torch.tensor([8.0, 6]), HEIGHT, WIDTH)


def _shift(x: float) -> torch.Tensor:
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = x
    return pose


def _fill(run: DepthWriter, count: int = 5, *, poses: bool = True) -> None:
    """Left half red and near, right half blue and far; the camera goes 1 m right per frame."""
    image = torch.zeros(HEIGHT, WIDTH, 3)
    image[:, :8, 0] = image[:, 8:, 2] = 1
    depth = torch.full((6, 8), 2.0)
    depth[:, 4:] = 4.0
    sigma = torch.full((6, 8), 0.1)
    sigma[3:] = 0.5
    for index in range(count):
        pose = _shift(float(index)) if poses else None
        run.add(f"frame_{index}", 10 + index / 8, image, depth, sigma, pose)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _points(path: Path) -> np.ndarray:
    header, body = path.read_bytes().split(b"end_header\n", 1)
    count = int(header.split(b"element vertex ")[1].split()[0])
    kind = [("at", "<f4", 3), ("color", "u1", 3)]
    rows = np.frombuffer(body, kind)
    assert len(rows) == count
    return rows


def test_png_levels_are_millimetres(tmp_path: Path):
    depth = torch.tensor([[1.2344, 65.534, 65.6, 0.0001]])
    write_depth(tmp_path, "a", depth)
    with Image.open(tmp_path / "depth/a.png") as image:
        assert image.mode == "I;16" and image.info["world_units_per_level"] == "0.001"
        # Deeper than 65.534 m cannot be said, and 65535 is no depth; the nearest is never "none".
        assert np.asarray(image).tolist() == [[1234, 65534, 0, 1]]
    found, sigma = read_depth(tmp_path, "a")
    assert sigma is None
    torch.testing.assert_close(found, depth, atol=0, rtol=0)


def test_png_of_another_scale_says_its_step(tmp_path: Path):
    write_depth(tmp_path, "a", torch.tensor([[0.5, 1.0]]), units_per_level=0.25)
    with Image.open(tmp_path / "depth/a.png") as image:
        assert float(image.info["world_units_per_level"]) == 0.25
        assert np.asarray(image).tolist() == [[2, 4]]


def test_sigma_comes_back_and_never_from_an_earlier_run(tmp_path: Path):
    depth, sigma = torch.ones(2, 3), torch.rand(2, 3)
    write_depth(tmp_path, "a", depth, sigma)
    found = read_depth(tmp_path, "a")[1]
    assert found is not None
    torch.testing.assert_close(found, sigma, atol=0, rtol=0)
    write_depth(tmp_path, "a", depth)
    assert read_depth(tmp_path, "a")[1] is None


def test_bad_maps_are_refused_and_nothing_is_written(tmp_path: Path):
    good = torch.ones(2, 2)
    for bad in (math.nan, math.inf, 0.0, -1.0):
        with pytest.raises(ValueError, match="4 of 4 values that are not finite and positive"):
            write_depth(tmp_path, "a", bad * good)
    with pytest.raises(ValueError, match="0 of 0 values"):
        write_depth(tmp_path, "a", torch.ones(0, 2))
    with pytest.raises(ValueError, match=r"sigma of a is \(2, 3\) \(h, w\) but its depth \(2, 2\)"):
        write_depth(tmp_path, "a", good, torch.ones(2, 3))
    with pytest.raises(ValueError, match="sigma of a holds NaN"):
        write_depth(tmp_path, "a", good, math.nan * good)
    for name in ("", "../a", ".a", "a/b"):
        with pytest.raises(ValueError, match="expected a plain name"):
            write_depth(tmp_path, name, good)
    assert not _names(tmp_path)


def test_damaged_predictions_say_so(tmp_path: Path):
    write_depth(tmp_path, "a", torch.ones(2, 2))
    file = tmp_path / "depth/a.npy"
    whole = file.read_bytes()
    for data in (b"", whole[:-3], b"noise"):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.npy is damaged"):
            read_depth(tmp_path, "a")
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy is damaged"):
        read_depth(tmp_path, "a")
    np.save(file, np.ones(3, np.float32))
    with pytest.raises(ValueError, match="rows x columns"):
        read_depth(tmp_path, "a")


def test_a_run_writes_everything(tmp_path: Path):
    av = pytest.importorskip("av")
    pytest.importorskip("rerun")
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run)
        assert "infer.json" not in _names(tmp_path)
    made = {"depth.mp4", "recording.rrd", "trajectory_tum.txt", "trajectory_kitti.txt"}
    made |= {"points.ply", "infer.json"}
    assert _names(tmp_path) == made | {"depth"}
    assert {path.name for path in run.files} == made and run.notes == []
    facts = read_index(tmp_path)
    assert facts.frames == tuple(f"frame_{index}" for index in range(5))
    assert facts.model == "by hand" and facts.trained_on == {"ab"}
    stored = json.loads((tmp_path / "infer.json").read_text())
    assert stored["metric"] is True and stored["units_per_level"] == 0.001
    assert stored["lens"]["focal"] == [16, 16]
    for name, times in (("trajectory_tum.txt", [10, 10.125]), ("trajectory_kitti.txt", [0, 1])):
        found = read_trajectory(tmp_path / name)
        assert found.times[:2].tolist() == times
        assert found.world_from_camera[:, 0, 3].tolist() == [0, 1, 2, 3, 4]
    with av.open(str(tmp_path / "depth.mp4")) as film:
        stream = film.streams.video[0]
        assert stream.average_rate == 8
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    assert len(pictures) == 5
    assert pictures[0].shape == (2 * HEIGHT, WIDTH, 3)
    photo, depth = pictures[0][:HEIGHT].astype(int), pictures[0][HEIGHT:].astype(int)
    assert photo[6, 2, 0] > 150 > photo[6, 2, 2] + 80 and photo[6, 13, 2] > photo[6, 13, 0] + 80
    # Near is light.
    assert depth[6, 2].sum() > depth[6, 13].sum() + 100


def test_points_are_where_the_surer_half_of_the_pixels_is(tmp_path: Path):
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=1)
    rows = _points(tmp_path / "points.ply")
    assert len(rows) == 24  # the upper half
    red = rows[rows["color"][:, 0] == 255]
    assert len(red) == 12
    # The map is half the photo's size: the first pixel's centre is at (1, 1) of the photo.
    first = red[np.lexsort((red["at"][:, 0], red["at"][:, 1]))][0]["at"]
    assert first.tolist() == pytest.approx([2 * (1 - 8) / 16, 2 * (1 - 6) / 16, 2])
    assert set(rows["at"][:, 2].tolist()) == {2, 4}
    blue = rows[rows["at"][:, 2] == 4]
    assert (blue["color"] == [0, 0, 255]).all()


def test_points_are_placed_by_the_pose(tmp_path: Path):
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=2)
    rows = _points(tmp_path / "points.ply")["at"]
    torch.testing.assert_close(
        *(torch.from_numpy(np.sort(part[:, 0])) for part in (rows[24:] - [1, 0, 0], rows[:24])),
        check_dtype=False,
        atol=1e-6,
        rtol=0,
    )


def test_cloud_is_bounded_and_keeps_every_frame():
    cloud = Cloud(most=300)
    depth = np.ones((20, 20), np.float32)
    for index in range(20):
        photo = np.full((HEIGHT, WIDTH, 3), index, np.uint8)
        cloud.add(Camera(LENS, torch.eye(4)), photo, depth, None)
        assert len(cloud) <= 300
    colors = _points_of(cloud)["color"][:, 0]
    counts = np.bincount(colors, minlength=20)
    assert counts.min() >= 1 and counts.max() <= 2 * counts.min() + 1
    assert depth.size <= PER_FRAME


def _points_of(cloud: Cloud) -> np.ndarray:
    body = cloud.encode().split(b"end_header\n", 1)[1]
    return np.frombuffer(body, [("at", "<f4", 3), ("color", "u1", 3)])


def test_other_programs_read_the_points(tmp_path: Path):
    import trimesh

    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=1)
    found = trimesh.load(io.BytesIO((tmp_path / "points.ply").read_bytes()), file_type="ply")
    assert found.vertices.shape == (24, 3)  # type: ignore[attr-defined]
    assert found.colors[:, :3].max() == 255  # type: ignore[attr-defined]


def test_recording_is_whole(tmp_path: Path):
    pytest.importorskip("rerun")
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=2)
    command = [sys.executable, "-m", "rerun", "rrd", "print", str(tmp_path / "recording.rrd")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for entity in ("photo", "depth"):
        assert f"/world/camera/{entity}" in said
    assert "/world/path" in said


def test_without_rerun_a_line_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=2)
    assert "recording.rrd" not in _names(tmp_path) and "infer.json" in _names(tmp_path)
    assert len(run.notes) == 1 and "pip install rerun-sdk" in run.notes[0]


def test_depth_without_a_unit_says_its_scale(tmp_path: Path):
    with DepthWriter(tmp_path, LENS, FACTS | {"metric": False}) as run:
        for index, scale in enumerate((1.0, 3.0)):
            image = torch.zeros(HEIGHT, WIDTH, 3)
            run.add(f"f{index}", float(index), image, torch.full((2, 3), scale))
    # The first frame's median is at level 5000, and all frames have one scale.
    for index, level in enumerate((5000, 15000)):
        with Image.open(tmp_path / f"depth/f{index}.png") as image:
            assert (np.asarray(image) == level).all()
    assert json.loads((tmp_path / "infer.json").read_text())["units_per_level"] == 1 / 5000


def test_without_poses_there_is_no_trajectory_nor_one_of_an_earlier_run(tmp_path: Path):
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=2)
    assert "points.ply" in _names(tmp_path)
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=2, poses=False)
    assert not {"points.ply", "trajectory_tum.txt", "trajectory_kitti.txt"} & _names(tmp_path)


def test_frames_without_pose_or_clock(tmp_path: Path):
    av = pytest.importorskip("av")
    image, depth = torch.zeros(HEIGHT, WIDTH, 3), torch.ones(6, 8)
    with DepthWriter(tmp_path, LENS, FACTS, clock=False) as run:
        for index in range(3):
            pose = None if index == 1 else _shift(float(index))
            run.add(f"f{index}", 5.0 * index, image, depth, world_from_camera=pose)
    found = read_trajectory(tmp_path / "trajectory_tum.txt")
    assert found.times.tolist() == [0, 10]
    assert "trajectory_kitti.txt" not in _names(tmp_path)
    assert "1 of 3 frames have no pose" in run.notes[-1]
    with av.open(str(tmp_path / "depth.mp4")) as film:
        assert film.streams.video[0].average_rate == 24


def test_an_error_leaves_no_part_and_no_facts(tmp_path: Path):
    for count in (0, 1, 3):
        with pytest.raises(RuntimeError, match="stop"), DepthWriter(tmp_path, LENS, FACTS) as run:
            _fill(run, count=count)
            raise RuntimeError("stop")
        assert _names(tmp_path) <= {"depth"}
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run)
    assert "infer.json" in _names(tmp_path)


def test_bad_frames_are_refused(tmp_path: Path):
    image, depth = torch.zeros(HEIGHT, WIDTH, 3), torch.ones(6, 8)
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        run.add("a", 1.0, image, depth)
        with pytest.raises(ValueError, match="two frames are named a"):
            run.add("a", 2.0, image, depth)
        with pytest.raises(ValueError, match=r"b is 5x16 .* but the lens 12x16"):
            run.add("b", 2.0, image[:5], depth)
        for time in (1.0, math.nan):
            with pytest.raises(ValueError, match=f"b is at time {time}, expected one"):
                run.add("b", time, image, depth)
        with pytest.raises(ValueError, match="b: the pose is not rigid"):
            run.add("b", 2.0, image, depth, None, 2 * torch.eye(4))
        with pytest.raises(ValueError, match="not finite and positive"):
            run.add("b", 2.0, image, 0 * depth)
        run.add("b", 2.0, image, depth)
    assert read_index(tmp_path).frames == ("a", "b")
    with pytest.raises(ValueError, match="no frame was given"), DepthWriter(tmp_path, LENS, FACTS):
        pass
    assert "infer.json" not in _names(tmp_path)
    with pytest.raises(ValueError, match="lack trained_on, metric"):
        DepthWriter(tmp_path, LENS, {"model": "a"})


KILLED = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_infer import FACTS, HEIGHT, LENS, WIDTH, DepthWriter
with DepthWriter(Path({folder!r}), LENS, FACTS) as run:
    for index in range(1_000_000):
        run.add(f"f{{index}}", float(index), torch.zeros(HEIGHT, WIDTH, 3), torch.ones(6, 8))
        if index == 2:
            print("going", flush=True)
"""


@pytest.mark.slow
def test_a_kill_damages_nothing_and_the_run_can_start_again(tmp_path: Path):
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=2)
    film = (tmp_path / "depth.mp4").read_bytes()
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "going\n"
        os.kill(child.pid, signal.SIGKILL)
    # What a run has not finished is not taken for finished; what there was is whole.
    assert "infer.json" not in _names(tmp_path)
    assert (tmp_path / "depth.mp4").read_bytes() == film
    for file in (tmp_path / "depth").glob("[!.]*.npy"):
        np.load(file)
    with DepthWriter(tmp_path, LENS, FACTS) as run:
        _fill(run, count=2)
    assert read_index(tmp_path).frames == ("frame_0", "frame_1")


def test_facts_are_json(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_index(tmp_path, {"frames": [], "loss": math.nan})
    assert not _names(tmp_path)
