"""A place without masks through ``fit``."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_places import camera_at, photograph, speckled, wall

from invgraph.data import Capture
from invgraph.data.frame import make_frame
from invgraph.fitting.fit import fit
from invgraph.fitting.place import fit_place as place
from invgraph.fitting.place.fit_place import _thinned
from invgraph.fitting.settings import FitSettings
from invgraph.geometry.color import srgb_from_linear


@pytest.fixture
def capture(tmp_path: Path) -> Capture:
    """A wall and a board before it, seen by seven cameras; the fourth is held out."""
    cameras = [camera_at(0.3 * x, y=0.1 * (x % 2)) for x in range(-3, 4)]
    things = [speckled(wall(5.0), 0), speckled(wall(4.0, left=-0.6, right=0.6), 1)]
    frames = []
    for index, (image, camera) in enumerate(
        zip(photograph(things, cameras)[0], cameras, strict=True)
    ):
        path = tmp_path / "photos" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = (srgb_from_linear(image).clamp(0, 1) * 255).round().byte().numpy()
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        frames.append(make_frame(path, camera, name=path.name))
    return Capture("wall", tuple(frames), (3,))


def test_photos_without_masks_become_a_place(capture, tmp_path):
    out = tmp_path / "run"
    result = fit(capture, out, FitSettings(budget_s=300.0))
    assert result.metrics["psnr_mask_db"] > 24
    assert result.metrics["covered"] > 0.85
    assert result.metrics["complete"] and result.metrics["photos_used"] == 6
    assert json.loads((out / "run.json").read_text())["kind"] == "place"
    for name in ("scene.glb", "scene.json", "cameras.json", "report.html"):
        assert (out / name).is_file()
    assert len(list((out / "renders").glob("0*.png"))) == 3
    sizes = [row["stage"] for row in csv.DictReader((out / "log.csv").read_text().splitlines())]
    assert sizes[0] == "depth at 200 px"
    assert len(list((out / "renders").glob("preview_*.png"))) == len(sizes)
    assert "not complete" not in (out / "report.html").read_text()
    depths = result.scene.objects[0].mesh.vertices[:, 2]
    assert (((depths - 4).abs() < 0.1) | ((depths - 5).abs() < 0.15)).float().mean() > 0.9


@pytest.mark.slow
def test_a_stopped_place_goes_on_with_its_finished_maps(capture, tmp_path, monkeypatch):
    calls = 0
    whole = place.estimate_depth

    def stop_at_the_second_size(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(place, "estimate_depth", stop_at_the_second_size)
    monkeypatch.setattr(place, "SIZES", (48, 96))
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(capture, out, FitSettings(budget_s=1e4))
    metrics = json.loads((out / "metrics.json").read_text())
    assert not metrics["complete"] and metrics["depth_px"] == 48
    kept = {path: path.stat().st_mtime_ns for path in out.glob("depth/*/depth_*.safetensors")}
    assert len(kept) == 6
    result = fit(capture, out, FitSettings(budget_s=1e4), resume=True)
    assert result.metrics["complete"] and result.metrics["depth_px"] == 96
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_too_few_photos_and_too_little_time(capture, tmp_path):
    few = replace(capture, frames=capture.frames[:3], test=(0,))
    with pytest.raises(ValueError, match=r"wall: 2 photos without masks .* at least 3; add photos"):
        fit(few, tmp_path / "few")
    frames = list(capture.frames)
    assert _thinned(frames, 100) == frames
    assert [frame.name for frame in _thinned(frames, 3)] == ["0.png", "2.png", "4.png"]
