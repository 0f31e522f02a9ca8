"""Stereo pairs: read, decoded, of one unit, and learned from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import odometry_room
import pytest
import torch
from moving_camera import HEIGHT, WIDTH, camera, film_pairs, look, walk
from odometry_room import lens

from invgraph.data import Capture, read_capture
from invgraph.data.frame import Right
from invgraph.data.inspect import facts
from invgraph.encoders import load_depth_model
from invgraph.geometry.camera import Camera
from invgraph.geometry.transforms import invert
from invgraph.scene.belief import DepthBelief
from invgraph.train import RECIPES, train_depth
from invgraph.train.clips import Clip, read_clip
from invgraph.train.depth_module import DepthTraining
from invgraph.train.frame_groups import Groups, GroupSet, collate
from invgraph.train.objective import Pieces, Weights, shrunk, view_synthesis
from invgraph.train.prepare import prepare
from invgraph.train.stereo import in_one_unit, metres_per_unit
from invgraph.train.supervision import Teaching

COUNT, BASELINE = 24, 0.3


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording") / "drive"
    film_pairs(folder, COUNT, BASELINE)
    return folder


def clip_of(drive: Path) -> Clip:
    capture = read_capture(drive)
    return read_clip(capture.name, capture.frames, (HEIGHT, WIDTH), work=drive.parent / "work")


def depths() -> torch.Tensor:
    """Exact depth of the left photos at half size, metres."""
    return torch.stack([look(camera(pose, HEIGHT // 2, WIDTH // 2))[1] for pose in walk(COUNT)])


def taught(unit: float) -> Teaching:
    """The exact motion and depth of the left photos."""
    poses, depth = walk(COUNT).double(), depths()
    poses[:, :3, 3] /= unit
    weight = np.full(depth.shape, 255, np.uint8)
    return Teaching(poses, (depth / unit).log().half().numpy(), weight)


def test_pairs_of_the_odometry_benchmark_are_read(drive: Path):
    capture = read_capture(drive)
    for frame in capture.frames:
        assert frame.image_path.parent.name == "image_2" and frame.right is not None
        assert frame.right.image_path == drive / "image_3" / frame.image_path.name
        assert frame.right.baseline == pytest.approx(BASELINE)  # 28.8 / 96
    assert ("right photos", "all, baseline 0.300 m") in facts(capture)


def test_a_photo_without_its_partner_is_black(drive: Path):
    frames = list(read_capture(drive).frames)
    frames[4] = replace(frames[4], right=None)
    clip = read_clip("drive", frames, (HEIGHT, WIDTH), work=drive.parent / "work")
    assert clip.right is not None and len(clip.right.prints) == COUNT - 1
    assert clip.right.there.tolist() == [i != 4 for i in range(COUNT)]
    assert not clip.right.images[4].any()
    seen = torch.from_numpy(clip.right.images[5].astype(np.float32) / 255)
    pose = walk(COUNT)[5]
    pose[0, 3] -= BASELINE
    assert (seen - look(camera(pose))[0]).abs().max() < 0.01
    groups = GroupSet([clip], [None], [range(COUNT)], metres=1.0).groups
    assert [group for _, group in groups if group[1] in (3, 4, 5)] == [
        (2, 3, None),
        (3, 4, 5),
        (4, 5, None),
    ]


def test_pairs_tell_the_unit_of_depth(drive: Path):
    clip = clip_of(drive)
    scaled, metres = in_one_unit([clip, clip], [taught(2.5), taught(0.8)])
    assert metres is not None and metres == pytest.approx(2.5, rel=0.02)
    for teaching in scaled:
        found = np.exp(teaching.log_depth.astype(np.float32)) * metres
        assert np.abs(found / depths().numpy() - 1).max() < 0.03
        steps = (teaching.poses[:, :3, 3] * metres - walk(COUNT)[:, :3, 3]).abs()
        assert steps.max() < 0.03 * walk(COUNT)[:, :3, 3].abs().max()
    assert in_one_unit([replace(clip, right=None)], [taught(2.5)])[1] is None
    # Focal length and width are the same: 5 % of the width is the disparity at 20 baselines.
    assert metres_per_unit([clip]) == pytest.approx(20 * BASELINE)


@pytest.mark.parametrize("vary", [False, True])
def test_the_right_photo_is_where_the_pair_says(drive: Path, vary: bool):
    clip, metres = clip_of(drive), 2.5
    groups = GroupSet([clip], [taught(metres)], [range(COUNT)], vary=vary, metres=metres, seed=1)
    assert {group[2] for _, group in groups.groups} == {None}
    for number in range(4):
        group = collate([groups[number]])
        assert group.poses is not None and group.teacher is not None
        assert not group.teacher.weight[:, 2].any() and group.teacher.weight[:, :2].any()
        assert torch.allclose(group.poses[:, 2], group.pair @ group.poses[:, 1], atol=1e-6)
        # The depth of the left photo explains it by the right one, as nothing else does.
        errors = [explained(group, factor) for factor in (0.9, 1.0, 1.1)]
        assert errors[1] < 0.4 * min(errors[0], errors[2])


def explained(group: Groups, factor: float) -> float:
    """How badly the second photo and the third explain one another, depth being off by a factor."""
    assert group.teacher is not None and group.poses is not None
    poses, images = group.poses[:, 1:], shrunk(group.images, 2)[:, 1:]
    log_depth = group.teacher.log_depth[:, 1:].clone()
    log_depth[:, 1] = log_depth[:, 0]  # of the second, as the third's is unknown
    belief = DepthBelief(log_depth + np.log(factor), torch.ones_like(log_depth))
    placed = Camera(group.lens, torch.eye(4)[None]).resize(*images.shape[2:4])
    motions = poses[:, None] @ invert(poses)[:, :, None]
    only = Pieces(ssim=False, exposure=False, automask=False, moving=False, uncertainty=False)
    only = replace(only, smooth=False, consistency=False, teacher=False)
    found = view_synthesis(images, belief, placed, motions, only, Weights())
    return float(found.parts["photometric"])


def test_a_network_does_not_tell_what_the_pair_does(drive: Path):
    clip = clip_of(drive)
    settings = replace(RECIPES["motion"], network="light", height=HEIGHT, width=WIDTH)
    module = DepthTraining(settings, [False])
    groups = GroupSet([clip], [None], [range(COUNT)], vary=False, metres=2.0)
    group = collate([groups[0], groups[1]])
    motions = module._motions(group, module.steps(group))
    expected = torch.eye(4)
    expected[0, 3] = -BASELINE / 2
    assert torch.allclose(motions[:, 1, 2], expected.expand(2, 4, 4), atol=1e-6)
    assert not torch.allclose(motions[:, 0, 1], expected.expand(2, 4, 4), atol=1e-2)


def test_what_the_network_says_is_a_small_motion(drive: Path):
    settings = replace(RECIPES["motion"], network="light", height=HEIGHT, width=WIDTH)
    groups = GroupSet([clip_of(drive)], [None], [range(COUNT)], vary=False, metres=2.0)
    step = torch.tensor([0.1, 0.2, 0.3, 0.0, 0.0, np.pi / 2])
    module = DepthTraining(settings, [False])
    motion = module._motions(collate([groups[0]]), step.expand(1, 2, 6))[0, 0, 1]
    turned = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(motion[:3], torch.cat((turned, step[:3, None]), 1))


@pytest.mark.slow
def test_a_path_found_by_odometry_gets_its_unit_from_pairs(tmp_path: Path):
    seen, poses = lens(180, 240, 150.0), odometry_room.walk(16)
    beside = poses.copy()
    beside[:, :3, 3] += BASELINE * poses[:, :3, 0]
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
    lefts = odometry_room.film(tmp_path / "left", seen, poses)
    rights = odometry_room.film(tmp_path / "right", seen, beside)
    frames = [
        replace(left, lens=seen, right=Right(right.image_path, BASELINE))
        for left, right in zip(lefts, rights, strict=True)
    ]
    capture = Capture("room", tuple(frames), ())
    settings = replace(RECIPES["multiview"], height=96, width=128)
    found = prepare([capture], settings, tmp_path / "work")
    (clip,), (teaching,), metres = found
    assert teaching is not None and metres is not None and len(clip) == len(poses)
    centres = torch.linalg.inv(teaching.poses)[:, :3, 3].numpy() * metres
    walked = np.linalg.norm(centres[-1] - centres[0])
    assert walked == pytest.approx(np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]), rel=0.03)


@pytest.mark.slow
def test_depth_learned_from_pairs_is_in_metres(drive: Path, tmp_path: Path):
    settings = replace(
        RECIPES["motion"], network="light", height=HEIGHT, width=WIDTH, steps=150, rate=1e-3
    )
    options = {"logger": "none", "workers": 0, "work": drive.parent / "work"}
    train_depth([read_capture(drive)], tmp_path, settings, **options)
    model = load_depth_model(tmp_path)
    assert model.facts["metres"] is not None and len(model.facts["trained_on"]) == 2 * COUNT
    images = torch.stack([frame.load()[0] for frame in read_capture(drive).frames])
    truth = torch.stack([look(camera(pose))[1] for pose in walk(COUNT)])
    assert float((model(images).depth / truth).median()) == pytest.approx(1.0, abs=0.1)
