"""The experiment on refined poses: starts, success and coverage are what their names say."""

import importlib
import json
import math
from dataclasses import asdict, replace
from xml.etree import ElementTree

import pytest
import torch

from invgraph.data import read_capture
from invgraph.evaluate.pose_metrics import pose_error
from invgraph.fitting.pose import estimate_pose, load_object, make_object
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.primitives import cube
from invgraph.geometry.transforms import perturb
from invgraph.scene.belief import PoseBelief

CAMERA = Camera(Lens(torch.full((2,), 600.0), torch.tensor([320.0, 240.0]), 480, 640), torch.eye(4))


@pytest.fixture(scope="module")
def study(experiments):
    return importlib.import_module("refine_pose")


@pytest.fixture(scope="module")
def item(study):
    mesh = replace(cube(), vertices=0.05 * cube().vertices)
    return study.Subject.of("box", make_object(mesh, None, "box"))


def _truth(z=0.5, x=0.0):
    truth = torch.eye(4)
    truth[:3, 3] = torch.tensor([x, 0.0, z])
    return truth


@pytest.mark.parametrize(
    ("start", "degrees", "metres"), [("1deg", 1, 0.01), ("10deg", 10, 0.04), ("40deg", 40, 0.16)]
)
def test_starts_are_exactly_so_far_away_and_in_view(study, start, degrees, metres):
    truth = _truth(x=0.2)  # 560 of 640 px: half of all ways to go by 16 cm leave the picture
    poses = [study.perturbed(truth, CAMERA, start, seed) for seed in range(20)]
    for pose in poses:
        shift, turn = pose_error(pose, truth)
        assert shift == pytest.approx(metres, rel=1e-3) and turn == pytest.approx(degrees, rel=1e-3)
        (u, v), depth = (part[0] for part in CAMERA.project(pose[None, :3, 3]))
        assert 0 < u < 640 and 0 < v < 480 and depth > 0
    ways = torch.stack(poses)[:, :3, 3] - truth[:3, 3]
    assert (ways.std(0) > 0.3 * metres).all()
    assert torch.equal(poses[3], study.perturbed(truth, CAMERA, start, 3))


def _answering(twist, sigma=0.002, found=True, truth=None):
    """An estimator that always says the truth moved by a twist."""
    told = _truth() if truth is None else truth

    def estimate(image, lens, model, init):
        pose = perturb(told, torch.tensor(twist))
        return PoseBelief(
            pose[None], torch.ones(1), torch.eye(6)[None] * sigma**2, 0.8 if found else 0.1, found
        )

    return estimate


def _attempt(study, item, estimate):
    image = torch.zeros(480, 640, 3)
    return study.attempt(estimate, item, image, CAMERA, _truth(), "rendered", "1deg", 0)


def test_the_estimator_that_is_measured_takes_what_an_attempt_gives(study, item):
    assert not _attempt(study, item, estimate_pose).found  # in a black image


def test_an_attempt_by_hand(study, item):
    # 3 mm of a diameter of 100 sqrt(3) mm; 1.5 sigma, inside the 90 % region of six dimensions.
    near = _attempt(study, item, _answering([0.003, 0.0, 0, 0, 0, 0]))
    assert near.success and near.inside
    assert near.add_share == pytest.approx(0.003 / (0.1 * 3**0.5), rel=1e-3)
    assert near.translation_mm == pytest.approx(3, rel=1e-3) and near.rotation_deg < 0.02
    assert near.spread_mm == pytest.approx(2 * 3**0.5, rel=1e-3)
    assert near.spread_deg == pytest.approx(math.degrees(0.002 * 3**0.5), rel=1e-3)
    # 10 mm are 5 sigma: a success, but outside; 20 mm are none; nor is what is not found.
    far = _attempt(study, item, _answering([0.0, 0, 0.010, 0, 0, 0]))
    assert far.success and not far.inside
    assert not _attempt(study, item, _answering([0.02, 0.0, 0, 0, 0, 0])).success
    assert not _attempt(study, item, _answering([0.0, 0.0, 0, 0, 0, 0], found=False)).success
    # A quarter turn maps a cube to itself, but its colours do not go along.
    turned = _attempt(study, item, _answering([0.0, 0, 0, 0, 0, math.pi / 2]))
    assert not turned.success and turned.rotation_deg == pytest.approx(90, abs=0.01)


def test_measures_by_hand(study, item):
    near = _attempt(study, item, _answering([0.003, 0.0, 0, 0, 0, 0]))
    off = replace(near, translation_mm=7.0, inside=False)
    wrong = replace(near, add_share=0.5, translation_mm=90.0, inside=False)
    lost = replace(wrong, found=False)
    rows = {
        row["name"]: row["value"] for row in study.measures([near, off, wrong, lost], "real/1deg")
    }
    assert rows["success_pct/real/1deg"] == 50 and rows["wrong_pct/real/1deg"] == 25
    assert rows["translation_mm/real/1deg"] == pytest.approx(5, rel=1e-3)
    assert rows["translation_mm_all/real/1deg"] == pytest.approx((7 + 90) / 2)
    # Of the successes from near starts one in two, of the found ones one in four with `none`.
    none = replace(near, start="none", inside=False)
    held = study.coverage([near, off, wrong, lost, none])
    assert [row["value"] for row in held] == [50, 25]


def test_growth_is_measured_pose_by_pose(study, item):
    base = _attempt(study, item, _answering([0.0, 0, 0, 0, 0, 0]))
    sharp, *rest = study.WORSE
    trials = [
        replace(base, case=case, seed=seed, spread_mm=factor * (1 + seed))
        for case, factor in [(sharp, 1.0), (rest[0], 3.0)]
        for seed in range(3)
    ]
    rows = {row["name"]: row["value"] for row in study.grown(trials)}
    assert rows[f"growth_translation/{sharp}"] == 1
    assert rows[f"growth_translation/{rest[0]}"] == pytest.approx(3)
    assert rows[f"growth_rotation/{rest[0]}"] == pytest.approx(1)
    assert math.isnan(rows[f"growth_rotation/{rest[1]}"])


def test_the_report_prints_a_line_per_group_and_draws_the_plot(study, item, tmp_path, capsys):
    base = _attempt(study, item, _answering([0.0, 0, 0, 0, 0, 0]))
    trials = [replace(base, start=start) for start in (*study.STARTS, "none")]
    hidden = [replace(base, part="hidden", case=f"{share}pct") for share in (0, 30, 60)]
    hidden[2] = replace(hidden[2], found=False)
    rows = study.report([*trials, *hidden], tmp_path)
    shown = capsys.readouterr().out
    for line in ("1deg", "10deg", "40deg", "none", "box 40deg", "30pct"):
        assert f"\n{line} " in shown
    values = {row["name"]: row["value"] for row in rows}
    assert values["success_pct/rendered/none"] == 100 and values["success_pct/hidden/60pct"] == 0
    assert "translation_mm/hidden/60pct" not in values  # no success, so no median
    drawing = ElementTree.parse(tmp_path / "hidden.svg").getroot()
    lines = drawing.findall("{http://www.w3.org/2000/svg}polyline")
    ends = [float(pair.split(",")[1]) for pair in lines[-1].attrib["points"].split()]
    assert len(ends) == 3 and ends[0] == ends[1] < ends[2]  # down the page is less success


def test_trials_of_upright_objects_are_called_so(study, item, tmp_path, monkeypatch, capsys):
    takes = []

    def frame(take, data, folder):
        takes.append(take)
        return PoseFrame(take, torch.zeros(480, 640, 3), CAMERA, _truth(), 0.0)

    PoseFrame = importlib.import_module("pose_frames").PoseFrame
    monkeypatch.setattr(study, "pose_frame", frame)
    monkeypatch.setattr(study, "told", lambda name, work: item)
    estimate = _answering([0.0, 0, 0, 0, 0, 0])
    for upright, part in ((False, "rendered"), (True, "upright")):
        trials = list(study.rendered(estimate, 1, tmp_path, upright=upright))
        assert takes[-1].upright == upright and {t.part for t in trials} == {part}
        names = {row["name"] for row in study.report(trials, tmp_path)}
        assert f"success_pct/{part}/1deg" in names
        assert ("coverage_90_pct/upright" if upright else "coverage_90_pct") in names
        assert f"\n{part}\n" in capsys.readouterr().out


def test_measures_under_other_cameras_by_hand(study, item):
    base = replace(_attempt(study, item, _answering([0.003, 0.0, 0, 0, 0, 0])), part="camera")
    lost, wrong = replace(base, found=False), replace(base, add_share=0.5)
    rows = study.camera_measures([base, base, lost, wrong, replace(base, start="none")])
    values = {row["name"]: row["value"] for row in rows}
    assert values["success_pct/camera/1deg"] == 75 and values["success_pct/camera/none"] == 100
    assert values["found_of_right_pct/camera/1deg"] == pytest.approx(200 / 3)
    assert values["found_of_right_pct"] == 75 and values["wrong_but_found_pct"] == 20


def test_answers_that_are_kept_are_not_computed_again(study, item, tmp_path):
    trial = _attempt(study, item, _answering([0.003, 0.0, 0, 0, 0, 0]))
    file = tmp_path / "trials.jsonl"
    assert study.read_trials(file) == {}
    file.write_text(json.dumps(asdict(trial)) + "\n")
    kept = study.read_trials(file)
    image = torch.zeros(480, 640, 3)

    def ask(seed):
        never = None  # would fail if it were called
        return study.attempt(
            never, item, image, CAMERA, _truth(), "rendered", "1deg", seed, kept=kept
        )

    assert ask(0) == trial
    with pytest.raises(TypeError, match="not callable"):
        ask(1)


def test_camera_responses_follow_their_seeds(experiments):
    cameras = importlib.import_module("camera_response")
    one = cameras.CameraResponse.random(3)
    assert one == cameras.CameraResponse.random(3) != cameras.CameraResponse.random(4)
    assert min(one.gains) == 1 and 1 / 3 <= one.exposure <= 3 and 40 <= one.quality <= 95
    grey = torch.full((32, 32, 3), 0.2)
    double = cameras.CameraResponse(exposure=2.0).photograph(grey, 0)
    assert torch.allclose(double, 2 * grey, atol=0.01)
    assert (cameras.CameraResponse(exposure=9.0).photograph(grey, 0) == 1).all()
    dark = cameras.CameraResponse(dark=True).texture(torch.full((5, 3), 0.5))
    assert torch.allclose(dark, torch.full((5, 3), cameras.DARK))


def test_the_dragon_is_where_the_first_desk_photo_shows_it(study, data_dir):
    desk = study.track_desk
    capture = read_capture(data_dir("desk_objects"))
    init = desk.start("dragon")
    poses = desk.by_board(init)
    assert poses.shape == (99, 4, 4) and torch.allclose(poses[0], init, atol=1e-5)
    # The board moves by centimetres through the recording, never by much between two frames.
    steps = (poses[1:, :3, 3] - poses[:-1, :3, 3]).norm(dim=-1)
    assert steps.amax() < 0.05 and (poses[:, :3, 3].std(0) > 0.005).any()
    model = load_object(data_dir("desk_objects") / "models" / "dragon" / "dragon.obj")
    lens = capture.frames[0].lens
    assert lens is not None
    mine = desk.covered(model, Camera(lens, torch.eye(4)), init)
    yellow = desk.yellow(capture.frames[0].image_path, mine)
    assert (mine & yellow).sum() > 0.75 * (mine | yellow).sum()
