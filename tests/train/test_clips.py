"""Clips: decoded once, without what shows nothing; groups: the same number, the same group."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_camera import HEIGHT, WIDTH, camera, film, look, walk
from PIL import Image

from invgraph.data import Capture, read_capture
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import invert
from invgraph.scene.belief import DepthBelief
from invgraph.train.clips import Clip, read_clip
from invgraph.train.dataset import Numbers
from invgraph.train.frame_groups import GroupSet, collate
from invgraph.train.loop import loader
from invgraph.train.objective import Pieces, Weights, shrunk, view_synthesis
from invgraph.train.supervision import Teaching

SIZE = (HEIGHT, WIDTH)


def recording(folder: Path, count: int = 12) -> Capture:
    film(folder / "walk", count)
    return read_capture(folder / "walk")


def clip_of(capture: Capture, folder: Path, lens: Lens | None = None) -> Clip:
    frames = [replace(frame, lens=lens) for frame in capture.frames]
    return read_clip(capture.name, frames, SIZE, work=folder / "work")


def taught(folder: Path, count: int = 12) -> tuple[Clip, Teaching]:
    """A clip with its exact motion and depth, in units of the median depth."""
    capture = recording(folder, count)
    clip = clip_of(capture, folder, camera(torch.eye(4)).lens)
    poses = walk(count).double()
    small = [camera(pose.float(), HEIGHT // 2, WIDTH // 2) for pose in poses]
    depth = torch.stack([look(each)[1] for each in small])
    unit = float(depth.median())
    poses[:, :3, 3] /= unit
    weight = np.full(depth.shape, 255, np.uint8)
    return clip, Teaching(poses, (depth / unit).log().half().numpy(), weight)


def test_a_clip_is_decoded_once(tmp_path: Path):
    capture = recording(tmp_path)
    clip = clip_of(capture, tmp_path)
    assert clip.images.shape == (12, HEIGHT, WIDTH, 3)
    expected = look(camera(walk(12)[5]))[0]
    assert (clip.image(5) - expected).abs().max() < 0.01
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("*.*")}
    again = clip_of(capture, tmp_path)
    assert np.array_equal(clip.images, again.images)
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("*.*")}


def test_a_clip_has_no_lens_distortion(tmp_path: Path):
    capture = recording(tmp_path)
    bent = replace(camera(torch.eye(4)).lens, distortion=torch.tensor([-0.2, 0, 0, 0, 0]))
    clip = clip_of(capture, tmp_path, bent)
    assert clip.lens is not None and clip.lens.distortion is None
    plain = clip_of(capture, tmp_path)
    moved = np.abs(clip.images[0].astype(float) - plain.images[0]).mean(-1)
    assert moved[HEIGHT // 2, WIDTH // 2] < 3 < moved[2, 2]


def test_frames_that_show_nothing_are_left_out(tmp_path: Path):
    film(tmp_path / "walk", 6)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "walk" / "frame_002.png")
    capture = read_capture(tmp_path / "walk")
    clip = clip_of(capture, tmp_path)
    assert [frame.name for frame in clip.frames] == [
        f.name for f in capture.frames if "002" not in f.name
    ]
    assert len(clip.prints) == len(clip.images) == 5


def test_recordings_that_teach_nothing_are_refused(tmp_path: Path):
    capture = recording(tmp_path, 4)
    with pytest.raises(ValueError, match=r"walk: 2 frames, but motion shows in 3 or more"):
        clip_of(replace(capture, frames=capture.frames[:2]), tmp_path)
    black = tmp_path / "black"
    black.mkdir()
    for index in range(4):
        Image.new("RGB", (WIDTH, HEIGHT), (index, 0, 0)).save(black / f"{index}.png")
    with pytest.raises(ValueError, match=r"0 of 4 frames show anything"):
        clip_of(read_capture(black), tmp_path)
    for path in black.iterdir():
        path.write_bytes((tmp_path / "walk" / "frame_000.png").read_bytes())
    with pytest.raises(ValueError, match=r"no frame differs from the one before"):
        clip_of(read_capture(black), tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    Image.new("RGB", (WIDTH, 2 * HEIGHT)).save(tmp_path / "walk" / "frame_002.png")
    with pytest.raises(ValueError, match=r"frame_002\.png is 128x96 \(h x w\) but .*one size"):
        clip_of(read_capture(tmp_path / "walk"), tmp_path)


def test_decoded_images_that_are_damaged_are_named(tmp_path: Path):
    capture = recording(tmp_path)
    clip = clip_of(capture, tmp_path)
    clip.store.with_name("frames.json").write_text("")
    with pytest.raises(ValueError, match=r"is damaged .*; delete it and train again"):
        clip_of(capture, tmp_path)


def test_a_number_always_gives_the_same_group(tmp_path: Path):
    clip, teaching = taught(tmp_path)
    first, again, other = (
        GroupSet([clip], [teaching], [range(12)], seed=seed) for seed in (3, 3, 4)
    )
    for number in (0, 7, 1000):
        one, two = first[number], again[number]
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(first[0]["images"], first[1]["images"])
    assert not torch.equal(first[0]["images"], other[0]["images"])


def test_groups_have_parallax_and_stay_among_their_anchors(tmp_path: Path):
    clip, teaching = taught(tmp_path)
    anchors = [0, 1, 2, 3, 8, 9, 10, 11]
    groups = GroupSet([clip], [teaching], [anchors]).groups
    assert groups
    for _, frames in groups:
        chosen = [i for i in frames if i is not None]
        assert len(chosen) == 3 and set(chosen) <= set(anchors) and chosen == sorted(chosen)
        moved = invert(teaching.poses[chosen])[:, :3, 3]
        assert all(0.02 < float(d) < 0.16 for d in (moved[1:] - moved[:-1]).norm(dim=-1))


def test_varied_groups_are_still_exact(tmp_path: Path):
    """Flipping and zooming change lens, poses and depth so that they explain the images."""
    clip, teaching = taught(tmp_path)
    groups = GroupSet([clip], [teaching], [range(12)])
    off = Pieces(*[False] * len(fields(Pieces)))
    flipped = zoomed = 0
    for number in range(12):
        item = collate([groups[number]])
        assert item.poses is not None and item.teacher is not None
        zoomed += float(item.zoom) > 1.05
        flipped += bool(item.poses[0, 2, 0, 3] > item.poses[0, 0, 0, 3])
        lens = Camera(item.lens, torch.eye(4)[None])
        depth = item.teacher.log_depth
        belief = DepthBelief(depth, torch.ones_like(depth))
        motions = item.poses[:, None] @ invert(item.poses)[:, :, None]
        costs = []
        for factor in (1.0, 1.5):
            wrong = replace(belief, log_depth=depth + torch.tensor(factor).log())
            found = view_synthesis(
                shrunk(item.images, 2), wrong, lens.resize(HEIGHT // 2, WIDTH // 2), motions, off,
                Weights(),
            )  # fmt: skip
            costs.append(float(found.parts["photometric"]))
        assert costs[0] < 0.012
        assert costs[1] > 1.5 * costs[0]
    assert 0 < flipped < 12 and zoomed


def test_without_motion_neighbours_are_taken_at_the_stride(tmp_path: Path):
    clip = clip_of(recording(tmp_path), tmp_path)
    groups = GroupSet([clip], [None], [range(12)], stride=3).groups
    assert groups == [(0, (i - 3, i, i + 3)) for i in range(3, 9)]
    with pytest.raises(ValueError, match=r"no three frames show enough motion"):
        GroupSet([clip], [None], [range(12)], stride=6)


def test_processes_share_the_numbers_of_a_step():
    whole = list(Numbers(4, 5, 8))
    assert whole == [[20, 21, 22, 23], [24, 25, 26, 27], [28, 29, 30, 31]]
    halves = [list(Numbers(4, 5, 8, rank, 2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole
    with pytest.raises(ValueError, match=r"a batch of 4 groups cannot be shared by 3 processes"):
        Numbers(4, 0, 1, 0, 3)


@pytest.mark.slow
def test_other_processes_prepare_the_same_groups(tmp_path: Path):
    clip, teaching = taught(tmp_path)
    groups = GroupSet([clip], [teaching], [range(12)])
    apart, here = (list(loader(groups, Numbers(2, 0, 2), workers)) for workers in (1, 0))
    for one, two in zip(apart, here, strict=True):
        assert torch.equal(one.images, two.images) and torch.equal(one.lens.focal, two.lens.focal)
