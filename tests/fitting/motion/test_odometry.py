"""A camera's motion through films whose cameras are known exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from odometry_room import film, lens, rotation, walk
from PIL import Image

from invgraph.data import read_capture
from invgraph.data.frame import Frame, make_frame, make_lens
from invgraph.data.trajectory_files import Trajectory
from invgraph.evaluate.trajectory_metrics import align, ate_rmse, kitti_errors
from invgraph.fitting.motion import Motion, estimate_motion

HEIGHT, WIDTH, FOCAL = 180, 240, 150.0
COUNT = 16


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Frame], np.ndarray]:
    poses = walk(COUNT)
    return film(tmp_path_factory.mktemp("room"), lens(HEIGHT, WIDTH, FOCAL), poses), poses


@pytest.fixture(scope="module")
def motion(room: tuple[list[Frame], np.ndarray]) -> Motion:
    """Estimated with a lens that is wrong by a tenth."""
    return estimate_motion(room[0], lens(HEIGHT, WIDTH, 1.1 * FOCAL))


def aligned(motion: Motion, poses: np.ndarray) -> tuple[Trajectory, Trajectory, float]:
    """The estimate in the true frame, the truth, and the scale."""
    truth = Trajectory(torch.from_numpy(poses[list(motion.frames)]), motion.trajectory.times)
    found, scale = align(motion.trajectory, truth, scale=True)
    return found, truth, scale


def turns(found: Trajectory, truth: Trajectory) -> float:
    """Largest rotation between two trajectories, degrees."""
    between = found.world_from_camera[:, :3, :3].mT @ truth.world_from_camera[:, :3, :3]
    cosine = (between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).max())


def test_the_motion_is_found(motion: Motion, room: tuple[list[Frame], np.ndarray]) -> None:
    found, truth, _ = aligned(motion, room[1])
    assert motion.frames == tuple(range(COUNT))
    assert ate_rmse(found, truth) < 0.004  # metres, on a path of 1.9
    assert turns(found, truth) < 0.25


def test_the_lens_is_found(motion: Motion) -> None:
    assert motion.lens.focal.tolist() == pytest.approx([FOCAL, FOCAL], rel=0.01)
    assert (motion.lens.height, motion.lens.width) == (HEIGHT, WIDTH)
    assert motion.lens.distortion is not None
    assert motion.lens.distortion.abs().max() < 0.01


def test_points_lie_on_the_walls(motion: Motion, room: tuple[list[Frame], np.ndarray]) -> None:
    found, _, scale = aligned(motion, room[1])
    # The estimate's world is its first camera.
    pose = found.world_from_camera[0]
    world = scale * motion.points @ pose[:3, :3].T + pose[:3, 3]
    off = (world.abs() - torch.tensor([3.0, 2.0, 4.0])).abs().amin(1)
    assert len(world) > 300
    assert float(off.median()) < 0.03  # metres, seen from about 4


def test_the_first_frame_is_the_world(motion: Motion) -> None:
    torch.testing.assert_close(
        motion.trajectory.world_from_camera[0], torch.eye(4, dtype=torch.float64)
    )
    assert motion.trajectory.times.tolist() == list(range(COUNT))
    assert 0 in motion.keyframes
    assert len(motion.keyframes) < COUNT
    assert float(motion.differences.max()) < 5


def test_backwards_is_the_same_way(motion: Motion, room: tuple[list[Frame], np.ndarray]) -> None:
    frames, poses = room
    back = estimate_motion(frames[::-1], lens(HEIGHT, WIDTH, FOCAL))
    found, truth, _ = aligned(back, poses[::-1].copy())
    assert ate_rmse(found, truth) < 0.004
    forth = aligned(motion, poses)[0].world_from_camera.flip(0)
    shift = (forth - found.world_from_camera)[:, :3, 3].norm(dim=-1)
    assert float(shift.max()) < 0.01


@pytest.mark.slow
def test_twice_the_size_changes_little(
    motion: Motion, room: tuple[list[Frame], np.ndarray], tmp_path: Path
) -> None:
    """Every pixel as nine: 540 x 720 are averaged to half of that, not to the pictures above."""
    frames = []
    for frame in room[0]:
        levels = np.asarray(Image.open(frame.image_path)).repeat(3, 0).repeat(3, 1)
        path = tmp_path / frame.image_path.name
        Image.fromarray(levels).save(path)
        frames.append(make_frame(path, name=frame.name))
    large = estimate_motion(frames, lens(3 * HEIGHT, 3 * WIDTH, 3 * FOCAL))
    found, truth, _ = aligned(large, room[1])
    assert ate_rmse(found, truth) < 0.01
    assert large.lens.focal.tolist() == pytest.approx([3 * FOCAL, 3 * FOCAL], rel=0.02)


def test_times_are_the_frames_own(room: tuple[list[Frame], np.ndarray]) -> None:
    frames = [replace(frame, time=2 + index / 25) for index, frame in enumerate(room[0][:8])]
    found = estimate_motion(frames, lens(HEIGHT, WIDTH, FOCAL))
    assert found.trajectory.times.tolist() == [frame.time for frame in frames]


def test_two_frames_are_too_few(room: tuple[list[Frame], np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"2 frames, expected at least 3.*longer video"):
        estimate_motion(room[0][:2], None)


def test_sizes_differ(room: tuple[list[Frame], np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(np.zeros((90, 120), np.uint8)).save(path)
    frames = [*room[0][:3], make_frame(path, name="small")]
    with pytest.raises(ValueError, match=r"small is 90x120 \(h x w\) but 0000 is 180x240"):
        estimate_motion(frames, None)


def test_lens_of_another_size(room: tuple[list[Frame], np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"the lens is for 90x120 \(h x w\).*180x240; resize"):
        estimate_motion(room[0], lens(90, 120, FOCAL))


def test_a_fisheye_is_refused(room: tuple[list[Frame], np.ndarray]) -> None:
    fisheye = make_lens((FOCAL, FOCAL), (120.0, 90.0), (HEIGHT, WIDTH), (0.0,) * 4, "fisheye")
    with pytest.raises(ValueError, match="odometry does not know fisheyes; undistort the frames"):
        estimate_motion(room[0], fisheye)


def test_black_frames(tmp_path: Path) -> None:
    frames = []
    for index in range(4):
        path = tmp_path / f"{index}.png"
        Image.fromarray(np.zeros((120, 160), np.uint8)).save(path)
        frames.append(make_frame(path, name=path.stem))
    with pytest.raises(ValueError, match=r"hardly anything to follow.*neither black"):
        estimate_motion(frames, None)


def test_a_camera_that_stands_still(room: tuple[list[Frame], np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"0\.0 pixels at most: the camera stands still"):
        estimate_motion([room[0][0]] * 4, lens(HEIGHT, WIDTH, FOCAL))


def test_a_camera_that_only_turns(tmp_path: Path) -> None:
    poses = np.tile(np.eye(4), (8, 1, 1))
    for index in range(8):
        poses[index, :3, :3] = rotation(0.06 * index, 0.02 * index)
    still = lens(HEIGHT, WIDTH, FOCAL)
    with pytest.raises(ValueError, match=r"may only have turned.*moves sideways or forward"):
        estimate_motion(film(tmp_path, still, poses), still)


def edited(
    frames: list[Frame], folder: Path, edit: Callable[[int, np.ndarray], np.ndarray]
) -> list[Frame]:
    """The frames with changed levels, in another folder."""
    result = []
    for index, frame in enumerate(frames):
        levels = edit(index, np.asarray(Image.open(frame.image_path)).astype(np.float64))
        path = folder / frame.image_path.name
        Image.fromarray(levels.clip(0, 255).round().astype(np.uint8)).save(path)
        result.append(make_frame(path, name=frame.name))
    return result


@pytest.mark.slow
def test_exposure_may_change(room: tuple[list[Frame], np.ndarray], tmp_path: Path) -> None:
    def lit(index: int, levels: np.ndarray) -> np.ndarray:
        return levels * (1 - 0.25 * abs(np.sin(index))) + 10 * np.cos(2 * index)

    motion = estimate_motion(edited(room[0], tmp_path, lit), lens(HEIGHT, WIDTH, FOCAL))
    found, truth, _ = aligned(motion, room[1])
    assert ate_rmse(found, truth) < 0.004


@pytest.mark.slow
def test_something_moves_through_the_picture(
    room: tuple[list[Frame], np.ndarray], tmp_path: Path
) -> None:
    """63 x 54 pixels that keep their place less than the room does: 5 pixels a frame."""
    thing = np.random.default_rng(5).uniform(0, 255, (6, 7)).repeat(9, 0).repeat(9, 1)

    def crossed(index: int, levels: np.ndarray) -> np.ndarray:
        left = 40 + 5 * index
        levels[70:124, left : left + 63] = thing[:, : WIDTH - left]
        return levels

    motion = estimate_motion(edited(room[0], tmp_path, crossed), lens(HEIGHT, WIDTH, FOCAL))
    found, truth, _ = aligned(motion, room[1])
    assert ate_rmse(found, truth) < 0.004


@pytest.mark.slow
def test_a_video_with_cuts(room: tuple[list[Frame], np.ndarray], tmp_path: Path) -> None:
    """Three pieces that show different places: none holds half of the keyframes."""
    frames = []
    for piece, turn in enumerate((lambda x: x, np.fliplr, np.flipud)):
        for frame in room[0][:7]:
            path = tmp_path / f"{piece}_{frame.image_path.name}"
            Image.fromarray(turn(np.asarray(Image.open(frame.image_path)))).save(path)
            frames.append(make_frame(path, name=path.stem))
    with pytest.raises(ValueError, match=r"keyframes could be connected.*without cuts"):
        estimate_motion(frames, lens(HEIGHT, WIDTH, FOCAL))


@pytest.mark.slow
def test_a_recorded_drive(data_dir) -> None:
    capture = read_capture(data_dir("kitti_drive_a"))
    assert capture.truth is not None
    motion = estimate_motion(capture.frames, capture.frames[0].lens)
    poses = [capture.truth.poses[index] for index in motion.frames]
    truth = torch.linalg.inv(torch.stack([pose.double() for pose in poses if pose is not None]))
    found, truth, _ = aligned(motion, truth.numpy())
    assert len(motion.frames) == 51
    assert ate_rmse(found, truth) < 0.3  # metres of 60
    assert kitti_errors(found, truth, (10.0, 20.0, 30.0, 40.0, 50.0)).t_err_pct < 2.5
