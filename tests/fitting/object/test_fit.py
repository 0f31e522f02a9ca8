"""Fits from photographs to run folder, small enough to wait for."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import ring_of_cameras

from invgraph.data import read_capture
from invgraph.data.depth_files import read_depth
from invgraph.evaluate.direction_metrics import angular_error_deg
from invgraph.evaluate.image_metrics import display, psnr_mask
from invgraph.evaluate.shape_metrics import chamfer_pct
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.fitting.fit import fit
from invgraph.fitting.object import fit_object as descent
from invgraph.fitting.object import stages
from invgraph.fitting.object.views import TrainingViews, load_view
from invgraph.fitting.settings import FitSettings
from invgraph.geometry import transforms
from invgraph.geometry.primitives import torus
from invgraph.rendering.render import render
from invgraph.runs.folder import CHECKPOINT
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.scene.scene_files import load_scene

GOOD = (
    stages.Stage("coarse", 64, 1 / 20, 0.05, 20.0, 120, 0.4),
    stages.Stage("texture", 64, 1 / 20, 0.2, 2.0, 40, 0.6, textured=True),
)
SHORT = tuple(dataclasses.replace(stage, edge=1 / 10, steps=10) for stage in GOOD)


def painted_torus() -> Scene:
    """A torus, red on one side and blue on the other, lit mostly along the x axis."""
    mesh = torus()
    side = (mesh.vertices[:, :1] > 0).float()
    albedo = side * torch.tensor([0.8, 0.2, 0.1]) + (1 - side) * torch.tensor([0.1, 0.3, 0.7])
    light = torch.zeros(9, 3)
    light[0], light[3] = 3.0, 1.2
    material = Material(albedo, torch.ones(1), torch.zeros(1), "vertex")
    thing = Object(mesh, torch.eye(4), material)
    return Scene((thing,), (SphericalHarmonicLight(light),), None)


def write_capture(
    folder: Path,
    photos: int = 16,
    size: int = 64,
    brightness: Callable[[int], float] = lambda _: 1.0,
) -> Path:
    """Photographs of the torus with alpha, and Blender's transforms.json.

    ``brightness`` maps a photo to a factor of its light.
    """
    from invgraph.geometry.convert import to_opengl

    folder.mkdir()
    scene, frames = painted_torus(), []
    for i, camera in enumerate(ring_of_cameras(photos, size)):
        seen = render(scene, camera, outputs=("color", "alpha"))
        assert seen.color is not None and seen.alpha is not None
        solid = display(brightness(i) * seen.color / seen.alpha[..., None].clamp_min(1e-3))
        pixels = torch.cat([solid, seen.alpha[..., None]], -1) * 255
        Image.fromarray(pixels.round().byte().numpy()).save(folder / f"{i:02d}.png")
        pose = to_opengl(camera)
        frames.append({"file_path": f"{i:02d}.png", "transform_matrix": pose.tolist()})
    content = {
        "fl_x": camera.focal[0].item(),
        "fl_y": camera.focal[1].item(),
        "cx": size / 2,
        "cy": size / 2,
        "w": size,
        "h": size,
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("captures") / "torus")


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(descent, "STAGES", SHORT)
    monkeypatch.setattr(descent, "ATTACHMENTS_S", 0.0)


@pytest.fixture(scope="module")
def finished(capture, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "torus"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descent, "STAGES", GOOD)
        return fit(capture, run, FitSettings(budget_s=600.0))


def test_a_small_fit_explains_held_out_photos(finished, capture):
    assert finished.metrics["psnr_mask_db"] > 22
    assert finished.metrics["mask_iou"] > 0.93
    assert [view["name"] for view in finished.metrics["views"]] == ["00", "08"]
    true = painted_torus().objects[0].mesh
    assert chamfer_pct(finished.scene.objects[0].mesh, true) < 2.5


def test_the_light_is_found_to_stay_with_the_world(finished):
    assert finished.metrics["light_fixed_to"] == "world"
    brightest = finished.scene.lights[0].coefficients.mean(1)[[3, 1, 2]]
    assert angular_error_deg(brightest, torch.tensor([1.0, 0.0, 0.0])).item() < 30


def test_light_that_stays_the_same_is_one_for_all_photos(finished):
    assert finished.metrics["light_per_photo"] is False


@pytest.mark.slow
def test_light_that_changes_during_the_capture_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(descent, "STAGES", GOOD)
    capture = write_capture(tmp_path / "dimmed", brightness=lambda i: 1.0 if i < 5 else 0.5)
    found = fit(capture, tmp_path / "run", FitSettings(budget_s=600.0))
    assert found.metrics["light_per_photo"] is True
    assert found.metrics["psnr_mask_db"] > 24.5  # 26.0; in one light for all photos 22.2


def test_the_run_folder_is_complete_and_the_scene_renders_as_scored(finished, capture):
    names = {path.name for path in finished.run.iterdir()}
    assert names >= {
        "scene.glb",
        "scene.json",
        "metrics.json",
        "log.csv",
        "cameras.json",
        "report.html",
        "flythrough.mp4",
        "renders",
    }
    frame = read_capture(capture).frames[0]
    again = render(load_scene(finished.run), frame.known_camera, outputs=("color",)).color
    here = render(finished.scene, frame.known_camera, outputs=("color",)).color
    torch.testing.assert_close(again, here)
    assert len(list((finished.run / "renders").glob("*_photo.png"))) == 2
    levels, step = read_depth(next((finished.run / "renders").glob("0000_*_depth.png")))
    depth = render(finished.scene, frame.known_camera, outputs=("depth",)).depth
    assert depth is not None
    np.testing.assert_allclose(levels * step, depth.numpy(), atol=step)
    assert (finished.run / "renders" / "light_ball.png").exists()


def test_resuming_a_finished_run_changes_nothing(finished, capture):
    before = {path: path.stat().st_mtime_ns for path in finished.run.iterdir()}
    again = fit(capture, finished.run, resume=True)
    assert again.metrics == json.loads((finished.run / "metrics.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in finished.run.iterdir()} == before
    with pytest.raises(ValueError, match="on torus, not of kind object on another; choose"):
        fit(dataclasses.replace(read_capture(capture), name="another"), finished.run, resume=True)
    # After Ctrl-C while the page was made, only the page is made again.
    again.report.unlink()
    assert fit(capture, finished.run, resume=True).report.exists()
    after = {path: path.stat().st_mtime_ns for path in finished.run.iterdir()}
    assert [path.name for path in before if after[path] != before[path]] == ["report.html"]


def test_a_run_is_not_overwritten_without_being_asked(finished, capture):
    with pytest.raises(ValueError, match="holds a run; continue it by --resume"):
        fit(capture, finished.run)


@pytest.mark.slow
def test_same_seed_same_result(capture, short, tmp_path):
    runs = [fit(capture, tmp_path / name, FitSettings(budget_s=600.0, seed=3)) for name in "ab"]
    first, second = (run.scene.objects[0].mesh.vertices for run in runs)
    assert torch.equal(first, second)


def interrupt_step_26(monkeypatch) -> list[int]:
    """Press Ctrl-C at that step; gives a list that grows by one with every step."""
    step, count = stages.Estimate.step, []

    def interrupt(self, loss, rate):
        count.append(0)
        if len(count) == 26:
            raise KeyboardInterrupt
        step(self, loss, rate)

    monkeypatch.setattr(stages.Estimate, "step", interrupt)
    return count


@pytest.mark.slow
def test_a_run_out_of_time_goes_on_with_more(capture, short, tmp_path):
    run = tmp_path / "run"
    first = fit(capture, run, FitSettings(budget_s=1.0))
    assert first.metrics["complete"] is False
    [missing] = first.metrics["unfinished"]
    assert re.fullmatch(r"the last steps: \d+ of \d+ steps of stage '.*' were done", missing)
    assert missing.replace("'", "&#x27;") in first.report.read_text()
    before = (run / "log.csv").read_text()
    result = fit(capture, run, FitSettings(budget_s=600.0), resume=True)
    assert result.metrics["complete"] is True and result.metrics["unfinished"] == []
    assert (run / "log.csv").read_text().startswith(before)
    assert "not complete" not in result.report.read_text()


def test_finding_cameras_takes_no_more_than_half_of_the_time(tmp_path, monkeypatch):
    photos = write_capture(tmp_path / "photos", photos=4, size=32)
    (photos / "transforms.json").unlink()

    def slow(capture, work, *, seed, progress):
        for step in range(200):
            progress.update(step / 200)
            time.sleep(0.05)

    monkeypatch.setattr("invgraph.fitting.fit.recover_cameras", slow)
    began = time.monotonic()
    words = (
        r"photos: half of --budget 2 s was not enough to find the cameras of its 4 photos; go on"
    )
    with pytest.raises(ValueError, match=words):
        fit(photos, tmp_path / "run", FitSettings(budget_s=2.0))
    assert time.monotonic() - began < 5.0


@pytest.mark.slow
def test_ctrl_c_scores_what_there_is_and_resume_goes_on(capture, short, tmp_path, monkeypatch):
    run, count = tmp_path / "run", interrupt_step_26(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fit(capture, run, FitSettings(budget_s=600.0))
    stopped = json.loads((run / "metrics.json").read_text())
    assert stopped["complete"] is False and stopped["psnr_mask_db"] > 10
    assert (run / "report.html").exists()
    result = fit(capture, run, FitSettings(budget_s=600.0), resume=True)
    assert result.metrics["complete"] is True
    assert (
        len(count) == 32
    )  # 1 compiled, 20 tried both lights, 4 baked, 1 was interrupted, 6 were left


@pytest.mark.slow
def test_a_checkpoint_of_another_version_is_refused(capture, short, tmp_path, monkeypatch):
    run = tmp_path / "run"
    interrupt_step_26(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fit(capture, run, FitSettings(budget_s=600.0))
    path = run / CHECKPOINT
    state = read_tensors(path, "")
    assert state is not None
    tensors, facts = state
    del facts["smoothness"]
    write_tensors(path, tensors, facts)
    with pytest.raises(ValueError, match="no 'smoothness', another version wrote it; delete"):
        fit(capture, run, FitSettings(budget_s=600.0), resume=True)


@pytest.mark.slow
def test_a_killed_run_can_be_read_and_resumed(capture, tmp_path):
    run = tmp_path / "run"
    script = (
        "import sys; from pathlib import Path; from invgraph import fit\n"
        "from invgraph.fitting.object import fit_object as descent, stages\n"
        "from invgraph.fitting.settings import FitSettings\n"
        "descent.SAVE_EVERY_S = 0.0\n"
        "long = stages.Stage('coarse', 64, 1 / 16, 0.05, 20.0, 100000, 1.0)\n"
        "descent.STAGES = (long, long)\n"
        "fit(Path(sys.argv[1]), Path(sys.argv[2]), FitSettings(budget_s=60.0))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(capture), str(run)])
    deadline = time.monotonic() + 120
    while not (run / "scene.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(load_scene(run).objects) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descent, "STAGES", SHORT)
        patch.setattr(descent, "ATTACHMENTS_S", 0.0)
        result = fit(capture, run, FitSettings(budget_s=600.0), resume=True)
    assert result.metrics["complete"] is True


def test_a_full_disk_is_said_and_leaves_the_checkpoint(capture, short, tmp_path, monkeypatch):
    run = tmp_path / "run"
    monkeypatch.setattr(descent, "SAVE_EVERY_S", 0.0)
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fit(capture, run, FitSettings(budget_s=600.0))
    monkeypatch.undo()
    assert read_tensors(run / CHECKPOINT, "") is not None


def test_another_capture_is_not_mixed_into_a_run(capture, short, tmp_path, monkeypatch):
    run = tmp_path / "run"
    monkeypatch.setattr(
        stages.Estimate, "step", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        fit(capture, run)
    other = write_capture(tmp_path / "other")
    with pytest.raises(ValueError, match="on torus, not of kind object on other; choose"):
        fit(other, run, resume=True)


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path):
    (tmp_path / "report.html").write_text("my own")
    with pytest.raises(ValueError, match=r"holds no run\.json: it is no run"):
        fit(write_capture(tmp_path / "photos"), tmp_path, resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "report.html"]


def test_one_photo_is_refused(tmp_path):
    with pytest.raises(ValueError, match="photo"):
        fit(write_capture(tmp_path / "one", photos=1), tmp_path / "run")


def test_an_object_of_which_some_photos_have_no_mask_is_refused(tmp_path):
    folder = write_capture(tmp_path / "opaque")
    for path in (folder / "00.png", folder / "05.png"):
        Image.open(path).convert("RGB").save(path)
    with pytest.raises(ValueError, match=r"2 of 16 photos have no mask .*00\.png"):
        fit(folder, tmp_path / "run")


@pytest.mark.parametrize("bad", [{"budget_s": 0.0}, {"views": 0}])
def test_senseless_settings_are_refused(bad):
    with pytest.raises(ValueError, match="change the settings"):
        FitSettings(**bad)


@pytest.mark.slow
def test_wrong_cameras_are_mended(tmp_path, monkeypatch):
    capture = write_capture(tmp_path / "wrong")
    path, right = capture / "transforms.json", []
    content = json.loads(path.read_text())
    generator = torch.Generator().manual_seed(0)
    for frame in content["frames"]:
        pose = torch.tensor(frame["transform_matrix"])
        right.append(pose)
        twist = torch.cat([torch.zeros(3), 0.04 * torch.randn(3, generator=generator)])
        frame["transform_matrix"] = (transforms.exp_se3(twist) @ pose).tolist()
    path.write_text(json.dumps(content))
    monkeypatch.setattr(descent, "STAGES", (GOOD[0], GOOD[0], GOOD[1]))
    result = fit(capture, tmp_path / "run", FitSettings(budget_s=600.0))
    cameras = json.loads((result.run / "cameras.json").read_text())["frames"]
    given = [frame.known_camera.camera_from_world for frame in read_capture(capture).frames]
    found = [torch.tensor(frame["camera_from_world"]) for frame in cameras]
    flip = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    truth = transforms.invert(torch.stack(right) @ flip)
    train = [i for i, frame in enumerate(cameras) if frame["split"] == "train"]

    def error(poses: list[torch.Tensor]) -> float:
        """Mean tilt of the torus's axis, y, in the cameras after the best common turn of the world.

        Turns about that axis only move its paint.
        """
        turns = (transforms.invert(torch.stack(poses)) @ truth)[train, :3, :3]
        u, _, v = torch.linalg.svd(turns.mean(0))
        return float(transforms.log_so3((u @ v).mT @ turns)[:, [0, 2]].norm(dim=-1).mean())

    assert result.metrics["camera_correction_deg"] > 0.7
    assert error(found) < 0.6 * error(given)


@pytest.mark.slow
def test_a_camera_inside_the_object_does_no_harm(tmp_path, short):
    capture = write_capture(tmp_path / "inside")
    path = capture / "transforms.json"
    content = json.loads(path.read_text())
    content["frames"][3]["transform_matrix"] = [
        [1, 0, 0, 1.0], [0, 1, 0, 0.0], [0, 0, 1, 0.0], [0, 0, 0, 1],
    ]  # fmt: skip
    path.write_text(json.dumps(content))
    result = fit(capture, tmp_path / "run", FitSettings(budget_s=600.0))
    assert result.metrics["complete"] is True and result.metrics["mask_iou"] > 0.7


def test_windows_reach_over_the_border_and_know_it(capture):
    frame = read_capture(capture).frames[0]
    photo = load_view(frame)
    moved = dataclasses.replace(photo, mask=photo.mask.roll(40, 0))
    batch = TrainingViews([photo, moved], 1.0).batch([0, 1])
    assert batch.known.amin() == 0 and batch.known.amax() == 1
    assert float((batch.mask * (1 - batch.known)).sum()) == 0


@pytest.mark.slow
def test_a_real_capture_beats_a_flat_colour(data_dir, tmp_path):
    capture = read_capture(data_dir("chair"))
    result = fit(capture, tmp_path / "run", FitSettings(budget_s=120.0))
    flat = []
    for index in capture.test:
        photo, mask = capture.frames[index].load()
        assert mask is not None
        shown = display(photo)
        mean = shown[mask > 0.5].mean(0).expand_as(shown)
        flat.append(psnr_mask(mean, shown, mask))
    assert result.metrics["psnr_mask_db"] > sum(flat) / len(flat) + 4
    assert result.metrics["mask_iou"] > 0.93
