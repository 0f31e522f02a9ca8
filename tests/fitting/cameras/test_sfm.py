"""Cameras recovered from photographs that our own renderer made, so that the truth is known."""

import importlib.util
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from invgraph.data import Capture, read_capture
from invgraph.data.frame import make_frame
from invgraph.data.photos import read_photos
from invgraph.evaluate.similarity import align_similarity, camera_centre_pct
from invgraph.fitting.cameras import Quality, recover_cameras, recovered_quality
from invgraph.fitting.cameras.diagnosis import check_features, check_quality
from invgraph.fitting.cameras.gauge import upward
from invgraph.fitting.cameras.lens_groups import exif_focal, group_lenses
from invgraph.fitting.cameras.pairs import choose_pairs
from invgraph.fitting.fit import fit
from invgraph.fitting.settings import FitSettings
from invgraph.geometry import mesh, primitives, transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.runs.progress import Progress
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None, reason="pycolmap is not installed"
)
WIDTH, HEIGHT, FOCAL = 288, 216, 300.0


def noise(size: int, seed: int) -> torch.Tensor:
    """A texture with detail at every scale."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 3, size, size)
    for level in range(3, int(math.log2(size)) + 1):
        coarse = torch.rand(1, 3, 2**level, 2**level, generator=generator) - 0.5
        total += torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (0.5 + 0.45 * total[0].movedim(0, -1)).clamp(0.02, 0.98)


def patterned(shape: mesh.Mesh, place: Sequence[float], scale: float, seed: int) -> Object:
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor(place)
    made_of = Material(noise(256, seed), torch.ones(1), torch.zeros(1), "texture")
    return Object(replace(shape, vertices=shape.vertices * scale), pose, made_of)


def scene(seed: int = 0) -> Scene:
    """Patterned balls in front of a patterned wall."""
    ball = primitives.uv_sphere(24, 48)
    light = SphericalHarmonicLight(torch.full((1, 3), 3.3))
    objects = (
        patterned(primitives.plane(), (0.0, 0.0, -1.0), 4.0, seed),
        patterned(ball, (-0.9, 0.3, 0.0), 0.8, seed + 1),
        patterned(ball, (0.8, -0.4, 0.3), 0.7, seed + 2),
        patterned(ball, (0.4, 0.9, -0.3), 0.5, seed + 3),
    )
    return Scene(objects, (light,), torch.full((3,), 0.2))


def cameras(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[Camera]:
    """On an arc in front of the wall, y up."""
    found = []
    for i in range(count):
        angle = 1.1 * (i / max(count - 1, 1) - 0.5)
        eye = (5 * math.sin(angle), 0.5 * math.sin(2.1 * i) + 0.3, 5 * math.cos(angle))
        pose = transforms.look_at(torch.tensor(eye), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
        focal = torch.full((2,), FOCAL * max(width, height) / WIDTH)
        principal = torch.tensor([width / 2, height / 2])
        found.append(Camera(Lens(focal, principal, height, width), pose))
    return found


def photograph(
    folder: Path, world: Scene, views: Sequence[Camera], name: str = "photo", masks: bool = False
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, camera in enumerate(views):
        image = render(world, camera, outputs=("color", "object_id"))
        assert image.color is not None and image.object_id is not None
        pixels = (srgb_from_linear(image.color.clamp(0, 1)) * 255).round().byte().numpy()
        if masks:
            shown = (image.object_id > 0).byte().numpy() * 255
            pixels = np.concatenate([pixels, shown[..., None]], -1)
        Image.fromarray(pixels).save(folder / f"{name}_{index}.png")


@pytest.fixture(scope="module")
def truth() -> list[Camera]:
    return cameras(8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, truth: list[Camera]) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    photograph(folder, scene(), truth)
    return folder


class Stages:
    """A display that remembers what was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[float, str, str]] = []

    def show(self, share: float, stage: str, facts: str) -> None:
        self.shown.append((share, stage, facts))

    def clock(self, seconds: float, spent: float) -> None:
        raise AssertionError("finding cameras has no budget")

    def note(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture(scope="module")
def recovered(
    photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Capture, Path, Stages]:
    work, stages = tmp_path_factory.mktemp("work"), Stages()
    found = recover_cameras(read_photos(photos), work, progress=Progress(stages))
    return found, work, stages


def centres(capture: Capture) -> torch.Tensor:
    return torch.stack([frame.known_camera.centre for frame in capture.frames])


def test_cameras_are_found_to_a_thousandth(recovered, truth):
    capture, work, _ = recovered
    assert len(capture.frames) == 8 and capture.has_cameras and capture.skipped == ()
    assert capture.test == (0,)
    reference = torch.stack([camera.centre for camera in truth])
    assert camera_centre_pct(centres(capture), reference) < 0.3
    # The images agree too, so the pixel origin and the lens are right: true points at true pixels.
    scale, rotation, shift = align_similarity(reference, centres(capture))
    points = torch.tensor([[-0.9, 0.3, 0.8], [0.8, -0.4, 1.0], [0.0, 0.0, -1.0]])
    mapped = (scale * points.double() @ rotation.T + shift).float()
    for frame, camera in zip(capture.frames, truth, strict=True):
        there = camera.project(points)[0]
        assert (frame.known_camera.project(mapped)[0] - there).norm(dim=-1).max() < 0.35
        assert frame.known_camera.focal.tolist() == pytest.approx([FOCAL, FOCAL], rel=0.01)
    quality = recovered_quality(work)
    assert quality.registered == quality.photos == 8 and quality.points > 200
    assert quality.reprojection_px < 0.6 and quality.track_length > 3 and quality.angle_deg > 10


def test_the_frame_is_regular(recovered, truth):
    capture, _, _ = recovered
    assert capture.points is not None
    assert capture.points.median(0).values.abs().max() < 1e-3
    first = capture.frames[0].known_camera
    forward = first.camera_from_world[2, :3]
    assert abs(forward[0].item()) < 1e-3 and forward[1] > 0.9
    scale, rotation, _ = align_similarity(
        torch.stack([camera.centre for camera in truth]), centres(capture)
    )
    # The true up is y; the photos look down and up by turns.
    assert (rotation @ torch.tensor([0.0, 1, 0]).double())[2] > 0.98
    assert scale == pytest.approx(1 / 5.3, rel=0.2)


def test_progress_is_shown(recovered):
    _, _, stages = recovered
    names = ["finding features", "matching photos", "placing cameras", "adjusting all cameras"]
    assert list(dict.fromkeys(stage for _, stage, _ in stages.shown)) == names
    assert (0.3, "finding features", "8 of 8 photos") in stages.shown
    shares = [share for share, _, _ in stages.shown]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    last = stages.shown[-1][2]
    assert "8 of 8 photos, " in last and last.endswith(" px")


def test_a_finished_result_is_reused(recovered, photos, monkeypatch):
    capture, work, _ = recovered
    assert {path.name for path in work.iterdir()} == {"cameras.safetensors", "photos.json"}

    def refuse(*_: object) -> None:
        raise AssertionError("worked again")

    monkeypatch.setattr("invgraph.fitting.cameras.recover.open_database", refuse)
    again = recover_cameras(read_photos(photos), work)
    for one, other in zip(capture.frames, again.frames, strict=True):
        for name in ("camera_from_world", "focal", "principal", "distortion"):
            assert torch.equal(getattr(one.camera, name), getattr(other.camera, name))
    assert again.points is not None and torch.equal(again.points, capture.points)
    # Other photos do not get these cameras.
    with pytest.raises(AssertionError, match="worked again"):
        recover_cameras(read_photos(photos), work, seed=1)


def test_a_stopped_run_goes_on_with_its_features(photos, tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("invgraph.fitting.cameras.recover.match", stop)
        with pytest.raises(KeyboardInterrupt):
            recover_cameras(read_photos(photos), tmp_path)
    monkeypatch.setattr("invgraph.fitting.cameras.features._grey", stop)
    monkeypatch.setattr("invgraph.fitting.cameras.recover.map_photos", lambda *_: [])
    with pytest.raises(ValueError, match="give no cameras"):
        recover_cameras(read_photos(photos), tmp_path)


def test_damaged_results_are_refused(tmp_path, photos):
    (tmp_path / "cameras.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"is damaged .* delete it to find the cameras again"):
        recover_cameras(read_photos(photos), tmp_path)
    with pytest.raises(ValueError, match="holds no recovered cameras"):
        recovered_quality(tmp_path / "elsewhere")


def test_one_photo(photos, tmp_path):
    capture = read_photos(photos)
    alone = replace(capture, frames=capture.frames[:1])
    with pytest.raises(ValueError, match=r"1 photo, but cameras are found by comparing photos"):
        recover_cameras(alone, tmp_path)


@pytest.mark.slow
def test_groups_without_a_common_view(tmp_path):
    arc = cameras(7)
    photograph(tmp_path / "photos", scene(0), arc[:4], "house")
    photograph(tmp_path / "photos", scene(50), arc[3:], "tree")
    capture = read_photos(tmp_path / "photos")
    with pytest.raises(
        ValueError, match=r"2 groups.*: house_0 to house_3 \(4 photos\); tree_0 to tree_3"
    ):
        recover_cameras(capture, tmp_path / "work")


def test_a_camera_that_only_turned(tmp_path):
    views = []
    for i, camera in enumerate(cameras(1) * 5):
        turn = transforms.exp_se3(torch.tensor([0.0, 0, 0, 0.02 * i, 0.06 * (i - 2), 0]))
        views.append(replace(camera, camera_from_world=turn @ camera.camera_from_world))
    photograph(tmp_path / "photos", scene(), views)
    with pytest.raises(ValueError, match="the camera turned but hardly moved"):
        recover_cameras(read_photos(tmp_path / "photos"), tmp_path / "work")


def test_nothing_in_common_and_nothing_to_see(tmp_path):
    for index in range(3):
        photograph(tmp_path / "apart", scene(100 * index), cameras(1), f"p{index}")
        (tmp_path / "plain").mkdir(exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (90, 90 + index, 90)).save(
            tmp_path / f"plain/{index}.png"
        )
    with pytest.raises(ValueError, match="no two of 3 photos have enough in common"):
        recover_cameras(read_photos(tmp_path / "apart"), tmp_path / "work")
    with pytest.raises(ValueError, match=r"too little detail to find cameras .median 0 features"):
        recover_cameras(read_photos(tmp_path / "plain"), tmp_path / "work")
    with pytest.raises(ValueError, match="too little detail inside the masks"):
        check_features("it", [3, 50], masked=True)


@pytest.mark.slow
def test_mixed_sizes_and_a_stranger(tmp_path):
    """Upright and lying photos have lenses of their own; a photo of something else is left out."""
    lying, standing = cameras(9)[::2], cameras(9, HEIGHT, WIDTH)[1::2]
    photograph(tmp_path / "photos", scene(), lying, "lying")
    photograph(tmp_path / "photos", scene(), standing, "standing")
    photograph(tmp_path / "photos", scene(70), lying[:1], "stranger")
    whole = (tmp_path / "photos" / "lying_0.png").read_bytes()
    (tmp_path / "photos" / "torn.png").write_bytes(whole[:9000] + bytes(9000) + whole[18000:])
    capture = recover_cameras(read_photos(tmp_path / "photos"), tmp_path / "work")
    names = [frame.name for frame in capture.frames]
    assert "stranger_0" not in names and len(names) == 9
    assert len(capture.skipped) == 2
    assert any(reason.startswith("torn: ") and "decoded" in reason for reason in capture.skipped)
    assert any(reason.startswith("stranger_0: too little in common") for reason in capture.skipped)
    truth = dict(zip([f"lying_{i}" for i in range(5)], lying, strict=True))
    truth |= dict(zip([f"standing_{i}" for i in range(4)], standing, strict=True))
    reference = torch.stack([truth[name].centre for name in names])
    assert camera_centre_pct(centres(capture), reference) < 0.6


def test_masks_tie_the_cameras_to_the_object(tmp_path):
    """The wall stays with the camera, as a room does behind a turntable; only the balls turn."""
    world, arc = scene(), cameras(7)
    front = torch.eye(4)
    for index, camera in enumerate(arc):
        # Moving the wall with the camera leaves it at rest in the image.
        front = transforms.invert(camera.camera_from_world) @ arc[3].camera_from_world
        wall = replace(
            world.objects[0], world_from_object=front @ world.objects[0].world_from_object
        )
        moved = replace(world, objects=(wall, *world.objects[1:]))
        photograph(tmp_path / "photos", moved, [camera], f"p{index}", masks=True)
    capture = recover_cameras(read_photos(tmp_path / "photos"), tmp_path / "work")
    assert len(capture.frames) == 7
    reference = torch.stack([camera.centre for camera in arc])
    assert camera_centre_pct(centres(capture), reference) < 1.0


def test_a_known_lens_stays(photos, truth, tmp_path):
    capture = read_photos(photos)
    lens = replace(truth[0].lens, focal=torch.full((2,), FOCAL))
    known = replace(capture, frames=tuple(replace(f, lens=lens) for f in capture.frames[:5]))
    found = recover_cameras(replace(known, test=(0,)), tmp_path)
    for frame in found.frames:
        assert torch.equal(frame.known_camera.focal, lens.focal)
        assert torch.equal(frame.known_camera.principal, lens.principal)


@pytest.mark.parametrize(
    ("tags", "focal"),
    [
        ({0xA405: 28}, 28 * 1000 / math.hypot(36, 24)),  # an 800x600 photo has a diagonal of 1000
        ({0x920A: 10.0, 0xA20E: 250.0, 0xA210: 3, 0xA002: 800}, 250.0),
        ({0x920A: 10.0, 0xA20E: 500.0, 0xA210: 3, 0xA002: 1600}, 250.0),
        ({}, None),
        ({0xA405: 1}, None),
    ],
)
def test_exif_focal_lengths(tmp_path, tags, focal):
    exif = Image.Exif()
    exif.get_ifd(0x8769).update(tags)
    Image.new("RGB", (800, 600)).save(tmp_path / "a.jpg", exif=exif)
    found = exif_focal(tmp_path / "a.jpg", (600, 800))
    assert found == (None if focal is None else pytest.approx(focal, rel=1e-6))


def test_photos_share_a_lens_by_size_and_focal_length(tmp_path):
    frames = []
    for index, (size, focal) in enumerate(
        [((80, 60), 28), ((80, 60), 28), ((60, 80), 28), ((80, 60), 56)]
    ):
        exif = Image.Exif()
        exif.get_ifd(0x8769).update({0xA405: focal})
        path = tmp_path / f"{index}.jpg"
        Image.new("RGB", size).save(path, exif=exif)
        frames.append(make_frame(path, name=str(index)))
    lenses, indices = group_lenses(frames)
    assert indices == [0, 0, 1, 2] and len(lenses) == 3
    assert lenses[0].focal == pytest.approx(28 * 100 / math.hypot(36, 24))


def test_up_is_found_from_tilted_photos():
    """Cameras pitch and yaw but do not roll: each alone is wrong about up, together they know."""
    up = torch.tensor([0.2, 0.9, 0.3])
    up = up / up.norm()
    eyes = torch.tensor([[3.0, 2, 1], [-2, 3, 2], [1, 2, -3], [2, 3, 2]])
    poses = transforms.look_at(eyes, torch.zeros(4, 3), up.expand(4, 3))
    found = upward(poses[:, :3, :3].double().numpy())
    assert found @ up.numpy() > 0.995
    single = upward(poses[:1, :3, :3].double().numpy())
    assert np.allclose(single, -poses[0, 1, :3].numpy(), atol=1e-5)


class Walk:
    """Stands in for the database of photos around a block: the last ones see what the first saw."""

    def __init__(self, count: int) -> None:
        generator = np.random.default_rng(0)
        self._places = generator.uniform(0, 100, (count // 10, 60, 128)).astype(np.uint8)

    def read_keypoints(self, image_id: int) -> np.ndarray:
        return np.ones((60, 4), np.float32)

    def read_descriptors(self, image_id: int) -> SimpleNamespace:
        return SimpleNamespace(data=self._places[(image_id - 1) // 10 % (len(self._places) - 1)])


@pytest.mark.parametrize("ordered", [True, False])
def test_many_photos_are_compared_with_neighbours_and_their_like(ordered):
    count = 100
    pairs = choose_pairs(Walk(count), count, ordered)
    assert pairs == sorted(set(pairs)) and all(0 <= i < j < count for i, j in pairs)
    assert {(i, i + 1) for i in range(count - 1)} <= set(pairs)
    assert not ordered or {(i, i + 64) for i in range(36)} <= set(pairs)
    assert len(pairs) < (1500 if ordered else 2400)
    # Photos 90 to 99 show the first place again.
    assert all(any((i, j) in pairs for i in range(10)) for j in range(90, 100))
    assert len(choose_pairs(Walk(count), 80, ordered)) == 80 * 79 // 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"angle_deg": 0.5}, "the camera turned but hardly moved"),
        ({"points": 12}, "only 12 points are seen by several photos, expected at least 30"),
        ({"reprojection_px": 4.0}, r"miss the features by 4\.0 px, expected at most 1\.5"),
    ],
)
def test_bad_cameras_are_refused(change, words):
    good = Quality(8, 8, 500, 0.4, 4.0, 20.0)
    check_quality("it", good, 800)
    with pytest.raises(ValueError, match=words):
        check_quality("it", replace(good, **change), 800)


@pytest.mark.slow
def test_fountain_beats_a_plain_reconstruction(data_dir, tmp_path):
    """COLMAP's defaults end at 0.034 % of the cameras' extent."""
    given = read_capture(data_dir("fountain_p11"))
    bare = replace(given, frames=tuple(replace(f, camera=None) for f in given.frames))
    capture = recover_cameras(bare, tmp_path)
    assert len(capture.frames) == 11
    assert camera_centre_pct(centres(capture), centres(given)) < 0.03
    facts = recovered_quality(tmp_path)
    assert facts.reprojection_px < 0.5, json.dumps(facts.__dict__)


def test_fit_finds_the_cameras_first(photos, tmp_path, monkeypatch, capsys):
    asked = []

    def remember(capture: Capture, work: Path, *, seed: int, progress: object) -> Capture:
        asked.append((capture.name, work, seed))
        raise ValueError("seen")

    monkeypatch.setattr("invgraph.fitting.fit.recover_cameras", remember)
    settings = FitSettings(budget_s=1.0, seed=3)
    with pytest.raises(ValueError, match="seen"):
        fit(photos, tmp_path / "bare", settings)
    assert len(asked) == 1
    assert (
        "photos0: 8 photos (1 held out), no masks, cameras to be found; taken as a place, 1 s\n"
    ) in capsys.readouterr().err
    asked.clear()
    photograph(tmp_path / "cut_out", scene(), cameras(2), masks=True)
    for _ in range(2):
        with pytest.raises(ValueError, match="seen"):
            fit(tmp_path / "cut_out", tmp_path / "run", settings, resume=bool(asked))
    assert asked == [("cut_out", tmp_path / "run" / "sfm", 3)] * 2
