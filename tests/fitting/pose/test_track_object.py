"""The run of an object that is followed: its folder, its report, kills and bad input.

The estimator is replaced by one that reads made-up poses, so that every number is known.
"""

import csv
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy import ndimage

from invgraph.cli import main
from invgraph.data.frame import Frame
from invgraph.data.images import UnreadableImage
from invgraph.data.object_pose_files import PoseRow, read_rows
from invgraph.encoders.finder import Finder
from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.pose import KnownObject, Tracked, load_object
from invgraph.fitting.pose import track_object as module
from invgraph.fitting.pose.sequence import read_sequence
from invgraph.fitting.pose.track_object import track_object
from invgraph.fitting.scene.object_prior import object_prior
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.lens import Lens
from invgraph.geometry.primitives import cube
from invgraph.geometry.transforms import exp_se3
from invgraph.rendering.render import render
from invgraph.report import write_report
from invgraph.report.overlay import FOUND, draw_overlay
from invgraph.report.pose_map import track_map
from invgraph.runs.reader import read_cameras
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.scene.belief import PoseBelief
from invgraph.scene.mesh_files import save_mesh
from invgraph.scene.scene_files import load_scene

HEIGHT, WIDTH, COUNT = 48, 64, 6
INTRINSICS = {"px": 60, "py": 60, "u0": 31.5, "v0": 23.5}
LIGHT = SphericalHarmonicLight(torch.tensor([[2.5] * 3, [-1.0] * 3, [0.0] * 3, [0.3] * 3]))
HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


def pose_of(index: int) -> torch.Tensor:
    """``camera_from_object`` in photo ``index``: a box half a metre away that turns."""
    pose = exp_se3(torch.tensor([0.0, 0.0, 0.0, 0.4, 0.3 + 0.1 * index, 0.0]))
    pose[:3, 3] = torch.tensor([0.02 * index - 0.05, 0.0, 0.5])
    return pose


def box(pose: torch.Tensor) -> Scene:
    mesh = cube()
    middle = (mesh.vertices.amax(0) + mesh.vertices.amin(0)) / 2
    size = float((mesh.vertices.amax(0) - mesh.vertices.amin(0))[0])
    mesh = type(mesh)((mesh.vertices - middle) * (0.15 / size), mesh.faces)
    material = Material(torch.tensor([0.8, 0.5, 0.2]), torch.tensor([0.7]), torch.tensor([0.0]))
    return Scene((Object(mesh, pose, material),), (LIGHT,))


def view() -> Camera:
    middle = torch.tensor([WIDTH / 2, HEIGHT / 2])
    return Camera(Lens(torch.tensor([60.0, 60.0]), middle, HEIGHT, WIDTH), torch.eye(4))


def picture(index: int) -> np.ndarray:
    color = render(box(pose_of(index)), view(), outputs=("color",)).color
    assert color is not None
    return (srgb_from_linear(color.clamp(0, 1)) * 255).round().byte().numpy()


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures") / "desk"
    folder.mkdir()
    for index in range(COUNT):
        Image.fromarray(picture(index)).save(folder / f"view {index}.png")
    (folder / "cam.json").write_text(json.dumps(INTRINSICS))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "obj_000007.ply"
    save_mesh(box(torch.eye(4)).objects[0].mesh, path)
    return path


class Estimator:
    """Gives the poses above; photo 2 is lost, photo 4 has two hypotheses and something in front."""

    def __init__(self) -> None:
        self.starts: list[torch.Tensor | None] = []
        self.stop_before: int | None = None
        self.encoder = self.learnt = False

    def __call__(
        self,
        frames: Sequence[Frame],
        camera: Camera,
        model: KnownObject,
        init: torch.Tensor | None,
        guess: object = None,
    ) -> Iterator[Tracked]:
        assert (guess is not None) == self.encoder
        self.starts.append(init)
        assert camera.principal.tolist() == [32, 24]
        for frame in frames:
            index = int(re.findall(r"\d+", frame.name)[-1])
            if index == self.stop_before:
                raise KeyboardInterrupt
            frame.load()
            hypotheses = 2 if index == 4 else 1
            poses = pose_of(index).repeat(hypotheses, 1, 1)
            poses[1:, :3, :3] = (
                poses[1:, :3, :3]
                @ exp_se3(torch.tensor([0.0, 0.0, 0.0, 0.0, math.pi / 2, 0.0]))[:3, :3]
            )
            deviations = torch.tensor([1e-3, 1e-3, 2e-3, 0.01, 0.01, 0.02]) * (1 + index)
            belief = PoseBelief(
                poses,
                torch.tensor([0.7, 0.3])[:hypotheses] / (1 if hypotheses == 2 else 0.7),
                torch.diag(deviations**2).repeat(hypotheses, 1, 1),
                0.1 if index == 2 else 0.9,
                index != 2,
            )
            covered = torch.zeros(frame.size, dtype=torch.bool)
            covered[:, :40] = index == 4
            yield Tracked(frame, belief, 0.25, box(pose_of(index)), covered, self.learnt)


@pytest.fixture
def estimator(monkeypatch: pytest.MonkeyPatch) -> Estimator:
    fake = Estimator()
    monkeypatch.setattr(module, "track", fake)
    return fake


def found_in(run: Path) -> list[tuple[str, bool]]:
    return [(row.frame, row.found) for row in read_rows(run / "poses.csv")]


def finished(run: Path) -> None:
    """Check the folder of a whole run."""
    assert found_in(run) == [(f"view_{index}", index != 2) for index in range(COUNT)]
    for index, row in enumerate(read_rows(run / "poses.csv")):
        np.testing.assert_allclose(row.pose, pose_of(index).numpy(), atol=1e-6)
        assert row.sigma_mm == pytest.approx(6**0.5 * (1 + index), rel=1e-4)
    metrics = json.loads((run / "metrics.json").read_text())
    expected = {"object": "obj_000007", "complete": True, "found": 5, "lost": 1}
    expected |= {"score_median": pytest.approx(0.9), "seconds_per_frame": 0.25, "skipped": []}
    assert expected.items() <= metrics.items() and metrics["ambiguous"] == 1
    overlays = sorted((run / "overlays").iterdir())
    assert [path.name for path in overlays] == [f"{i:04d}_view_{i}.jpg" for i in range(COUNT)]
    with av.open(str(run / "overlay.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == COUNT
    last = load_scene(run).objects[0].world_from_object
    torch.testing.assert_close(last, pose_of(COUNT - 1))
    assert "not complete" not in (run / "report.html").read_text()


def test_a_run_has_tables_overlays_a_film_a_scene_and_a_report(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    init = tmp_path / "init.json"
    init.write_text(json.dumps(pose_of(0).tolist()))
    arguments = ["fit", str(capture), "--object", str(model), "--out", str(run)]
    assert main([*arguments, "--pose", str(init)]) == 0
    torch.testing.assert_close(estimator.starts, [pose_of(0)])
    finished(run)
    assert (run / "recording.rrd").stat().st_size > 1000
    [record] = read_cameras(run)
    lens = record.camera.lens
    assert (lens.height, lens.width) == (HEIGHT, WIDTH) and lens.principal.tolist() == [32, 24]
    with (run / "poses_bop.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [record["im_id"] for record in records] == ["0", "1", "3", "4", "5"]
    assert {(record["scene_id"], record["obj_id"]) for record in records} == {("0", "7")}
    [line] = (run / "hypotheses.jsonl").read_text().splitlines()
    assert json.loads(line)["weights"] == pytest.approx([0.7, 0.3])
    with Image.open(run / "covered" / "0004_view_4.png") as mask:
        assert np.asarray(mask).mean() == pytest.approx(40 / 64)
    log = list(csv.DictReader((run / "log.csv").read_text().splitlines()))
    assert [(row["frame"], row["found"] == "1") for row in log] == found_in(run)
    assert list((run / "renders").glob("preview_*.png"))
    page = (run / "report.html").read_text()
    for text in ("obj_000007: found in 5 of 6 photos", "Path of the object", "1σ of the position"):
        assert text in page, text
    assert "1 photo is explained by several poses" in page and "video/mp4" in page


def test_that_a_file_has_another_colour_than_the_photos_is_said_once(
    estimator: Estimator, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    estimator.learnt, estimator.stop_before = True, 2
    mesh, paint = cube(), [220, 10, 10, 255]
    red = np.tile(paint, (len(mesh.vertices), 1))
    file = tmp_path / "box.ply"
    vertices = 0.15 * mesh.vertices.numpy()
    trimesh.Trimesh(vertices, mesh.faces.numpy(), vertex_colors=red).export(file)
    arguments = ["fit", str(capture), "--object", str(file)]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 130
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("box has another colour in view_0 than in its file") == 1


def test_a_run_goes_on_after_ctrl_c_and_after_a_kill(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    arguments = ["fit", str(capture), "--object", str(model), "--out", str(run)]
    estimator.stop_before = 3
    assert main(arguments) == 130
    said = capsys.readouterr().err
    assert f"--object {model} --out {run} --resume" in said
    assert len(found_in(run)) == 3 and load_scene(run) is not None
    page = (run / "report.html").read_text()
    assert "poses.csv has 3 of 6 photos" in page and "data:image/jpeg" in page
    # A kill within the writing of a row and of an answer.
    with (run / "poses.csv").open("a") as file:
        file.write("view_3,1,0.9,1,0.25,0.01")
    with (run / "hypotheses.jsonl").open("a") as file:
        file.write('{"frame": "view_3", "wei')
    (run / "metrics.json").unlink()
    estimator.stop_before = None
    assert main([*arguments, "--resume"]) == 0
    assert estimator.starts[0] is None and estimator.starts[1] is not None
    torch.testing.assert_close(estimator.starts[1], pose_of(1), atol=1e-6, rtol=0)
    finished(run)
    before = (run / "poses.csv").stat().st_mtime_ns
    assert main([*arguments, "--resume"]) == 0  # nothing is left to do
    assert len(estimator.starts) == 2 and (run / "poses.csv").stat().st_mtime_ns == before


def test_a_kill_during_the_overlays_costs_nothing(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path, monkeypatch
) -> None:
    from invgraph.fitting.pose import record

    run, drawn = tmp_path / "run", []

    def draw(*arguments, **options):
        drawn.append(arguments)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return draw_overlay(*arguments, **options)

    monkeypatch.setattr(record, "draw_overlay", draw)
    with pytest.raises(KeyboardInterrupt):
        track_object(capture, model, run)
    assert len(found_in(run)) == COUNT
    assert not json.loads((run / "metrics.json").read_text())["complete"]
    track_object(capture, model, run, resume=True)
    finished(run)
    assert len(estimator.starts) == 1


def test_a_photo_that_cannot_be_decoded_is_left_out(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for file in capture.iterdir():
        (photos / file.name).write_bytes(file.read_bytes())
    torn = photos / "view 3.png"
    whole = torn.read_bytes()
    torn.write_bytes(whole[:-400] + bytes(300) + whole[-100:])
    run = tmp_path / "run"
    assert main(["fit", str(photos), "--object", str(model), "--out", str(run)]) == 0
    assert [name for name, _ in found_in(run)] == [f"view_{index}" for index in (0, 1, 2, 4, 5)]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["photos"] == 6 and metrics["found"] == 4
    assert metrics["skipped"][0].startswith("view_3: ") and len(metrics["skipped"]) == 1
    assert "1 photo was left out, first view_3" in capsys.readouterr().err
    torch.testing.assert_close(estimator.starts[1], pose_of(1), atol=1e-6, rtol=0)


def test_a_texture_that_is_missing_is_said(
    estimator: Estimator, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "mug.mtl").write_text("newmtl clay\nmap_Kd clay.png\n")
    mesh = box(torch.eye(4)).objects[0].mesh
    save_mesh(mesh, tmp_path / "mug.obj")
    text = "mtllib mug.mtl\nusemtl clay\n" + (tmp_path / "mug.obj").read_text()
    (tmp_path / "mug.obj").write_text(text)
    arguments = ["fit", str(capture), "--object", str(tmp_path / "mug.obj")]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert "mug.obj: the material 'clay' has no colour: its texture 'clay.png' is not in" in (
        capsys.readouterr().err
    )


def test_one_photo_is_enough(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path
) -> None:
    photo = capture / "view 0.png"
    assert len(track_object(photo, model, tmp_path / "a").rows) == 1
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "view 0.png").write_bytes(photo.read_bytes())
    (tmp_path / "cam.json").write_text(json.dumps(INTRINSICS))
    result = track_object(tmp_path / "one", model, tmp_path / "b", camera=tmp_path / "cam.json")
    assert result.metrics["capture"] == "one" and result.metrics["found"] == 1
    assert result.report.is_file()


def test_an_object_that_is_never_found_is_reported_as_lost(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "view 2.png"
    photo.write_bytes((capture / "view 2.png").read_bytes())
    (tmp_path / "cam.json").write_text(json.dumps(INTRINSICS))
    result = track_object(photo, model, tmp_path / "run")
    assert result.metrics["found"] == 0 and "score_median" not in result.metrics
    assert not (tmp_path / "run" / "scene.json").exists()
    page = result.report.read_text()
    assert "found in 0 of 1 photos" in page and "not complete" not in page
    assert (tmp_path / "run" / "poses_bop.csv").read_text().count("\n") == 1


def test_hostile_names_stay_data(estimator: Estimator, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "<b>&"
    folder.mkdir()
    for index in range(2):
        Image.fromarray(picture(index)).save(folder / f"{index}{HOSTILE}")
    Image.fromarray(picture(1)).save(folder / ("=1+1\n" + HOSTILE))
    (folder / "cam.json").write_text(json.dumps(INTRINSICS))
    hostile_model = tmp_path / "<script>.ply"
    hostile_model.write_bytes(model.read_bytes())
    result = track_object(folder, hostile_model, tmp_path / "run")
    assert len(read_rows(tmp_path / "run" / "poses.csv")) == len(result.rows) == 3
    for path in (tmp_path / "run").rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_.]+", path.name), path
    page = result.report.read_text()
    assert "<img src=x" not in page and "<script>." not in page and "<b>&<" not in page


def test_a_table_that_was_tampered_with_cannot_break_the_page(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    track_object(capture, model, run)
    table = (run / "poses.csv").read_text()
    (run / "poses.csv").write_text(table.replace("view_1", "<script>alert(1)</script>"))
    assert "<script>alert" not in write_report(run).read_text()
    (run / "poses.csv").write_text("nonsense\n")
    (run / "hypotheses.jsonl").write_bytes(b"\xff\0{")
    assert "poses.csv (the poses): the file is damaged" in write_report(run).read_text()


def test_the_recording_is_made_later_where_it_is_absent(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    track_object(capture, model, run)
    (run / "recording.rrd").unlink()
    film = (run / "overlay.mp4").read_bytes()
    assert main(["report", str(run)]) == 0
    assert (run / "recording.rrd").is_file() and (run / "overlay.mp4").read_bytes() == film
    assert not (run / "flythrough.mp4").exists()


# --- bad input ---


def test_mistakes_are_one_line_leave_nothing_and_name_the_option(
    estimator: Estimator,
    capture: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for index in range(2):
        Image.fromarray(picture(index)).save(bare / f"{index}.png")
    bent = tmp_path / "bent.json"
    bent.write_text(json.dumps((2 * np.eye(4)).tolist()))
    run = tmp_path / "run"
    known = ["--object", str(model)]
    for arguments, words in (
        ([str(bare), *known], "give them by --camera FILE"),
        ([str(capture), *known, "--pose", str(bent)], "the last row is 0, 0, 0, 2"),
        ([str(capture), *known, "--pose", str(tmp_path / "no.json")], "No such file"),
        ([str(capture), *known, "--camera", str(bent)], "holds no intrinsics of a known kind"),
        ([str(capture), "--pose", str(bent)], "name its mesh by --object"),
        ([str(tmp_path / "no"), *known], "does not exist"),
        ([str(capture), "--object", str(tmp_path / "no.ply")], "no.ply"),
    ):
        assert main(["fit", *arguments, "--out", str(run)]) == 2, arguments
        said = capsys.readouterr().err
        last = said.splitlines()[-1]
        assert words in last and last.startswith("invgraph: ") and "Traceback" not in said
        assert not run.exists()


def test_a_pose_behind_the_camera_is_refused(
    capture: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pose, init = np.eye(4), tmp_path / "init.json"
    pose[2, 3] = -0.5
    init.write_text(json.dumps(pose.tolist()))
    run = tmp_path / "run"
    known = ["--object", str(model), "--pose", str(init), "--out", str(run)]
    assert main(["fit", str(capture), *known]) == 2
    assert "behind the camera" in capsys.readouterr().err and not run.exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("it would be 400 m large; give --object-scale 0.001."), "--object-scale"),
        (UnreadableImage("it is torn."), "no photo could be read, first view_0: it is torn"),
    ],
)
def test_what_the_estimator_refuses_leaves_no_folder(
    capture: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    message: str,
) -> None:
    def refuse(*arguments: object) -> Iterator[Tracked]:
        raise error
        yield

    monkeypatch.setattr(module, "track", refuse)
    with pytest.raises(ValueError, match=message):
        track_object(capture, model, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_photos_of_two_cameras_are_refused(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="the photos have 2 sizes"):
        track_object(tmp_path, model, tmp_path / "run")
    frames = [
        {"file_path": name, "fl_x": focal, "transform_matrix": np.eye(4).tolist()}
        for name, focal in (("a.png", 60), ("c.png", 70))
    ]
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "c.png")
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    with pytest.raises(ValueError, match=r"its camera is another than that of a\.png"):
        track_object(tmp_path, model, tmp_path / "run")


def test_a_run_goes_on_with_its_own_photos_only(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    track_object(capture / "view 5.png", model, run)
    (run / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"on obj_000007 in view_5, not of kind .* in view_0; cho"):
        track_object(capture / "view 0.png", model, run, resume=True)
    other = model.rename(model.with_name("mug.ply"))
    with pytest.raises(ValueError, match=r"on obj_000007 in view_5, not of kind pose on mug in"):
        track_object(capture / "view 5.png", other, run, resume=True)
    photo = tmp_path / "view 5.png"
    photo.write_bytes((capture / "view 5.png").read_bytes())
    (tmp_path / "cam.json").write_bytes((capture / "cam.json").read_bytes())
    (run / "poses.csv").write_text((run / "poses.csv").read_text().replace("view_5", "view_4"))
    with pytest.raises(ValueError, match=r"poses\.csv is about other photos"):
        track_object(photo, other.rename(model), run, resume=True)


def test_a_run_goes_on_with_its_own_encoder_only(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path
) -> None:
    run, known = tmp_path / "run", object_prior(load_object(model))
    one, same, other = (tmp_path / f"{name}.safetensors" for name in ("one", "same", "other"))
    for file, seed in ((one, 0), (same, 0), (other, 1)):
        torch.manual_seed(seed)
        SceneModel.of(SceneEncoder(known.prior, 16), Finder(), known, {}).save(file)
    estimator.encoder, estimator.stop_before = True, 3
    with pytest.raises(KeyboardInterrupt):
        track_object(capture, model, run, encoder=one)
    estimator.stop_before = None
    for encoder in (other, None):
        with pytest.raises(ValueError, match="is a run on another obj_000007 in"):
            track_object(capture, model, run, encoder=encoder, resume=True)
    done = track_object(capture, model, run, encoder=same, resume=True)
    assert len(done.rows) == COUNT


def test_a_run_goes_on_with_its_own_lens_only(
    estimator: Estimator, capture: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run, lens = tmp_path / "run", tmp_path / "cam.json"
    lens.write_bytes((capture / "cam.json").read_bytes())
    words = ["fit", str(capture), "--object", str(model), "--camera", str(lens), "--out", str(run)]
    estimator.stop_before = 3
    assert main(words) == 130
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    known = json.loads(lens.read_text())
    key = next(iter(known))
    lens.write_text(json.dumps({**known, key: np.multiply(known[key], 1.25).tolist()}))
    capsys.readouterr()
    assert main([*words, "--resume"]) == 2
    assert "is a run on another obj_000007 in" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


# --- pictures ---


def test_an_overlay_is_dark_where_the_pose_is_right() -> None:
    photo = picture(3)
    covariance = np.eye(6) * 1e-6
    right = PoseRow("a", True, 0.9, pose_of(3).double().numpy(), covariance, 1, 0.1)
    wrong = PoseRow("a", True, 0.9, pose_of(5).double().numpy(), covariance, 1, 0.1)
    lost = PoseRow("a", False, 0.1, pose_of(3).double().numpy(), covariance, 1, 0.1)
    alpha = render(box(pose_of(3)), view(), outputs=("alpha",)).alpha
    assert alpha is not None
    inside = np.asarray(ndimage.binary_erosion(alpha.numpy() > 0.99, iterations=2), dtype=bool)
    overlays = [draw_overlay(photo, box(torch.eye(4)), view(), row) for row in (right, wrong, lost)]
    rim = [(overlay.outlined == FOUND).all(-1) for overlay in overlays]
    assert overlays[0].difference[inside].max() <= 3 < overlays[1].difference[inside].mean()
    # The outline lies on the border of the box: half of its pixels inside, half outside.
    below = np.arange(HEIGHT)[:, None] > 22  # the caption covers the top
    assert (rim[0] & below).sum() > 20
    share = (alpha.numpy() > 0.5)[rim[0] & below].mean()
    assert 0.35 < share < 0.65
    assert not rim[2][23:].any()
    np.testing.assert_array_equal(overlays[2].render, photo)
    assert overlays[0].panel.shape == (HEIGHT, 2 * WIDTH, 3)


def test_what_is_in_front_is_tinted() -> None:
    row = PoseRow("a", True, 0.9, pose_of(3).double().numpy(), np.eye(6) * 1e-6, 1, 0.1)
    mask = np.zeros((HEIGHT // 2, WIDTH // 2), bool)
    mask[:, 16:] = True
    plain = draw_overlay(picture(3), box(torch.eye(4)), view(), row).difference
    tinted = draw_overlay(picture(3), box(torch.eye(4)), view(), row, mask).difference
    changed = (plain != tinted).any(-1)
    assert changed.any() and not changed[:, :32].any()


def test_the_path_is_interrupted_where_the_object_was_lost() -> None:
    rows = [
        PoseRow("a", index != 2, 0.9, pose_of(index).double().numpy(), np.eye(6), 1, 0.1)
        for index in range(COUNT)
    ]
    drawing = track_map(rows)
    assert drawing.count("<polyline") == 4 and drawing.count("<circle") == 4
    assert "25 mm" in drawing
    assert track_map([rows[2]]) == ""
    assert track_map(rows[:1]).count("<polyline") == 2


def test_a_sequence_is_a_photo_a_folder_or_any_capture(capture: Path, tmp_path: Path) -> None:
    assert len(read_sequence(capture).frames) == COUNT
    [frame] = read_sequence(capture / "view 1.png").frames
    assert frame.name == "view_1" and frame.lens is not None
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match="no capture"):
        read_sequence(tmp_path)
