"""`invgraph infer scene` from end to end, with a network that learned nothing."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tracking_scenes import painted_cube

from invgraph.cli import main
from invgraph.data.object_pose_files import read_rows
from invgraph.encoders.finder import Finder
from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.scene.find import FoundScene, find_scene
from invgraph.fitting.scene.object_prior import POSE, object_prior
from invgraph.fitting.scene.scene_model import SceneModel, load_scene_model
from invgraph.geometry.lens import Lens
from invgraph.infer import infer_scene as module
from invgraph.report import write_report
from invgraph.runs.scene_records import read_records
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.scene_files import load_scene

HOSTILE = "<img src=x onerror=alert(1)> .."
ALWAYS = -1e6  # agreement that it takes
FOUND: list[FoundScene] = []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    known = object_prior(painted_cube())
    encoder, finder = SceneEncoder(known.prior, 8, "light"), Finder("light")
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    SceneModel.of(encoder.eval(), finder.eval(), known, {}).save(path)
    return path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One window, few steps, small pictures, a short film."""
    monkeypatch.setattr(module, "find_scene", quick_find)
    for name, value in (("STARTS", 2), ("KEPT", 1), ("STEPS", 2)):
        monkeypatch.setattr(f"invgraph.fitting.scene.find.{name}", value)
    for name, value in (("VIEW_SIDE", 64), ("GHOST_SIDE", 48), ("GHOSTS", 4)):
        monkeypatch.setattr(f"invgraph.infer.scene_record.{name}", value)
    monkeypatch.setattr("invgraph.report.turntable.VIEWS", 4)
    monkeypatch.setattr("invgraph.fitting.scene.find.EVEN", ALWAYS)


quick_find = partial(find_scene, windows=1)


@pytest.fixture
def prepared(model: Path, monkeypatch: pytest.MonkeyPatch) -> FoundScene:
    """What is found in every photo from here on, as if it were in each."""
    lens = Lens(torch.full((2,), 90.0), torch.full((2,), 32.0), 64, 64)
    if not FOUND:
        noise = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
        FOUND.append(quick_find(load_scene_model(model), noise, lens))
    monkeypatch.setattr(module, "find_scene", lambda *_: FOUND[0])
    return FOUND[0]


def photo(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(levels).save(path)


def photos(folder: Path, names: dict[str, tuple[int, int]]) -> Path:
    """Photos of these sizes with the intrinsics of a 640x480 camera, by fl_x."""
    for name, size in names.items():
        photo(folder / name, *size)
    frames = [
        {
            "file_path": name,
            "transform_matrix": np.eye(4).tolist(),
            **{"fl_x": 1.2 * width, "fl_y": 1.2 * width, "w": width, "h": height},
            **{"cx": width / 2, "cy": height / 2},
        }
        for name, (width, height) in names.items()
    ]
    (folder / "transforms.json").write_text(json.dumps({"frames": frames}))
    return folder


def camera(folder: Path) -> str:
    """Intrinsics as a file."""
    path = folder / "lens.json"
    path.write_text(json.dumps({"fx": 90.0, "fy": 90.0, "cx": 31.5, "cy": 31.5}))
    return str(path)


def test_photos_of_any_size_get_poses_beliefs_and_a_page(model: Path, tmp_path: Path, capsys):
    names = {"a.png": (64, 64), f"{HOSTILE}.png": (333, 201)}
    folder, out = photos(tmp_path / "in", names), tmp_path / "out"
    words = ["infer", "scene", str(model), str(folder), "--out", str(out)]
    assert main(words) == 0
    assert "report.html" in capsys.readouterr().out
    rows = read_rows(out / "poses.csv")
    assert len(rows) == 2 and all(row.found and row.score > 0.5 for row in rows)
    for row in rows:
        assert (np.linalg.eigvalsh(row.covariance) > 0).all()
    records = read_records(out / "scenes.jsonl")
    for record, row in zip(records, rows, strict=True):
        belief = SceneBelief.load(out / "beliefs" / f"{record.stem}.safetensors")
        assert belief.mode[POSE].shape == (1, 4, 4)
        best = record.hypotheses[0]
        assert np.allclose(np.array(best.camera_from_object), row.pose, atol=1e-5)
        assert best.sigma_mm == pytest.approx(row.sigma_mm, rel=1e-4)
        for role in ("photo", "render", "view", "albedo", "light", "belief", "heat"):
            assert (out / "renders" / f"{record.stem}_{role}.png").is_file()
    assert (out / "scene.glb").read_bytes()[:4] == b"glTF"
    [thing] = load_scene(out).objects
    assert torch.equal(thing.world_from_object, torch.eye(4))
    assert (out / "turntable.mp4").stat().st_size > 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["complete"], metrics["found"], metrics["absent"]) == (True, 2, 0)
    page = (out / "report.html").read_text()
    assert "<img src=x" not in page
    assert (
        "http://" not in page.replace("http://www.w3.org/2000/svg", "")
        and "not complete" not in page
    )
    assert "video/mp4" in page and 'id="viewer"' in page and page.count("probability</th>") == 2
    # Nothing that is finished is written again; the page and the film can be.
    before = (out / "poses.csv").read_bytes()
    assert main(words) == 2
    assert "holds a finished result; remove it or choose another" in capsys.readouterr().err
    (out / "turntable.mp4").unlink()
    assert main(["report", str(out)]) == 0
    assert (out / "turntable.mp4").is_file() and (out / "poses.csv").read_bytes() == before


def test_an_object_that_is_not_there_gets_no_pose(
    model: Path, tmp_path: Path, monkeypatch, prepared: FoundScene
):
    unlikely = replace(prepared, score=1e-4)
    monkeypatch.setattr(module, "find_scene", lambda *_: unlikely)
    photo(tmp_path / "a.png", 64, 64)
    out = tmp_path / "out"
    words = [str(model), str(tmp_path / "a.png"), "--camera", camera(tmp_path), "--out", str(out)]
    assert main(["infer", "scene", *words]) == 0
    [row] = read_rows(out / "poses.csv")
    assert not row.found and row.score < 1e-3 and row.hypotheses == 0
    assert row.sigma_mm == np.inf and row.sigma_deg == np.inf
    [record] = read_records(out / "scenes.jsonl")
    assert not record.found and not record.hypotheses
    page = (out / "report.html").read_text()
    assert "The object is not in this photo" in page and "No pose is told" in page
    assert "Hypotheses" not in page and "video" not in page.split("</style>")[1]
    assert "not complete" not in page and not (out / "scene.glb").exists()
    assert json.loads((out / "metrics.json").read_text())["absent"] == 1


def test_a_run_that_was_cut_short_goes_on(
    model: Path, tmp_path: Path, monkeypatch, capsys, prepared: FoundScene
):
    names = {"a.png": (64, 64), "b.png": (80, 64), "c.png": (64, 80)}
    folder, out = photos(tmp_path / "in", names), tmp_path / "out"
    words = ["infer", "scene", str(model), str(folder), "--out", str(out)]
    calls = []

    def stopped(*_):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return prepared

    monkeypatch.setattr(module, "find_scene", stopped)
    assert main(words) == 130
    assert "go on with: invgraph infer scene" in capsys.readouterr().err
    first = (out / "poses.csv").read_text()
    assert len(first.splitlines()) == 2 and "1 of 3 photos" in (out / "report.html").read_text()
    with (out / "poses.csv").open("a") as file:
        file.write("b,1,0.9")  # as a kill leaves it
    assert main(words) == 0
    assert len(calls) == 4  # one before Ctrl-C, the one it fell into, two after it
    assert (out / "poses.csv").read_text().startswith(first)
    assert [row.frame for row in read_rows(out / "poses.csv")] == ["a", "b", "c"]
    log = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    assert [row["frame"] for row in log] == ["a", "b", "c"]


@pytest.mark.usefixtures("prepared")
def test_mistakes_are_one_line_and_exit_code_2(model: Path, tmp_path: Path, capsys):
    photo(tmp_path / "a.png", 64, 64)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    given, known = [str(model), str(tmp_path / "a.png")], ["--camera", camera(tmp_path)]
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"no model")
    elsewhere = ["--out", str(tmp_path / "out")]
    for arguments, message in (
        ([str(tmp_path / "none"), given[1]], "give what `invgraph train scene` wrote"),
        ([str(other), given[1]], "is damaged"),
        ([given[0], str(tmp_path / "none.jpg")], "none.jpg"),
        (given, "the intrinsics of its camera are unknown; give them by --camera FILE"),
        ([*given, "--camera", str(other)], "is not JSON"),
        ([*given, *known, "--out", str(tmp_path / "full")], "holds no run"),
    ):
        assert (
            main(["infer", "scene", *elsewhere[: 2 * ("--out" not in arguments)], *arguments]) == 2
        )
        said = capsys.readouterr().err
        assert message in said.splitlines()[-1], said
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("prepared")
def test_damaged_records_leave_a_page(tmp_path: Path, model: Path):
    photo(tmp_path / "a.png", 64, 64)
    out = tmp_path / "out"
    words = [str(model), str(tmp_path / "a.png"), "--camera", camera(tmp_path), "--out", str(out)]
    assert main(["infer", "scene", *words]) == 0
    record = json.loads((out / "scenes.jsonl").read_text())
    (out / "scenes.jsonl").write_text(
        "\n".join(
            json.dumps({**record, **wrong})
            for wrong in ({"score": "high"}, {"hypotheses": [3]}, {"towards": [1, 2]})
        )
        + '\n{"frame": "cut'
    )
    assert read_records(out / "scenes.jsonl") == []
    assert "scenes.jsonl (what was inferred)" in write_report(out).read_text()
    # Names from the file stay text, and one that leads out of the folder shows nothing from there.
    photo(tmp_path / "secret_view.png", 8, 8)
    hostile = {**record, "frame": HOSTILE, "stem": "../../secret"}
    (out / "scenes.jsonl").write_text(json.dumps(hostile) + "\n")
    (out / "metrics.json").write_text(json.dumps({"complete": True, "object": HOSTILE}))
    page = write_report(out).read_text()
    assert "<img src=x" not in page and page.count("&lt;img src=x") >= 3
    assert 'alt="view of' not in page
