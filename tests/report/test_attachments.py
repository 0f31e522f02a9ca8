"""Fly-through, recording, depth maps and points: what a run keeps beside its page."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.stream import VideoStream
from PIL import Image
from run_folders import begin_run, look_at, record, torus_scene, write_run

from invgraph.cli import main
from invgraph.data.depth_files import encode_depth, read_depth
from invgraph.data.point_files import decode_points, encode_points
from invgraph.report import attachments, film, write_report
from invgraph.report.attachments import complete_attachments, write_attachments
from invgraph.report.depth_view import colours, depth_section, scale_bar
from invgraph.report.rerun_log import write_rerun_log
from invgraph.report.viewpoints import fly_through
from invgraph.runs.reader import CameraRecord, ScoredView, read_cameras

HOSTILE = "../<b>&\"'"


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "VIEWS", 24)
    monkeypatch.setattr(film, "SIDE", 64)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", names=[HOSTILE, "fine"], size=32, frames=12)


# --- files ---


def test_depth_comes_back(tmp_path: Path) -> None:
    depth = torch.tensor([[0.0, 1e-9, 2.0], [3.0, 0.0, 1234.5]])
    file = tmp_path / "d.png"
    file.write_bytes(encode_depth(depth))
    levels, step = read_depth(file)
    assert levels.dtype == np.uint16 and step == pytest.approx(1234.5 / 65535)
    np.testing.assert_allclose(levels * step, depth.numpy(), atol=step)
    # Nothing stays nothing; a surface never becomes nothing.
    np.testing.assert_array_equal(levels == 0, depth.numpy() == 0)
    file.write_bytes(encode_depth(torch.zeros(4, 5)))
    assert read_depth(file)[0].shape == (4, 5)


def test_what_is_no_depth_map_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "d.png"
    whole = encode_depth(torch.rand(20, 20) + 1)
    Image.new("I;16", (3, 3)).save(tmp_path / "stepless.png")
    Image.new("L", (3, 3)).save(tmp_path / "grey.png")
    for data in (
        b"",
        whole[:200],
        (tmp_path / "stepless.png").read_bytes(),
        (tmp_path / "grey.png").read_bytes(),
    ):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"is no depth map of ours .* expected a 16-bit PNG"):
            read_depth(file)


def test_points_come_back() -> None:
    points = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    data = encode_points(points)
    np.testing.assert_array_equal(decode_points(data), points.numpy())
    assert len(decode_points(encode_points(torch.full((2, 3), torch.nan)))) == 0
    for bad in (b"", data[:-1], data + b"x", data.replace(b"float x", b"double")):
        with pytest.raises(ValueError, match="it is damaged"):
            decode_points(bad)


def test_other_programs_open_the_points(tmp_path: Path) -> None:
    import trimesh

    file = tmp_path / "points.ply"
    points = torch.rand(5, 3)
    file.write_bytes(encode_points(points))
    np.testing.assert_allclose(trimesh.load(file).vertices, points.numpy())  # type: ignore


# --- colours ---


def test_equal_steps_of_depth_look_equal() -> None:
    from skimage.color import rgb2lab

    lab = rgb2lab(colours()[None] / 255)[0]
    apart = np.linalg.norm(lab[8:] - lab[:-8], axis=1)
    assert apart.max() < 1.35 * apart.min()
    assert (lab[8:, 0] > lab[:-8, 0]).all()


def test_the_scale_bar_has_ticks_where_they_belong() -> None:
    bar = scale_bar(1.0, 3.0)
    for value, x in (("1", 24), ("2", 240), ("3", 456)):
        assert f'<text x="{x}.0" y="34" text-anchor="middle">{value}</text>' in bar
    assert "Depth (world units)" in bar


def test_near_is_light_and_nothing_is_transparent(tmp_path: Path) -> None:
    import base64
    import io
    import re

    file = tmp_path / "d.png"
    file.write_bytes(encode_depth(torch.tensor([[0.0, 1.0, 2.0, 3.0]])))
    missing: list[str] = []
    html = depth_section([ScoredView(HOSTILE, "test", {}, {"depth": file})], missing)
    [data] = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        pixels = np.asarray(image.convert("RGBA"))[0]
    assert pixels[0, 3] == 0 and (pixels[1:, 3] == 255).all()
    np.testing.assert_array_equal(pixels[1, :3], colours()[-1])
    np.testing.assert_array_equal(pixels[3, :3], colours()[0])
    assert missing == [] and "<b>" not in html
    assert depth_section([ScoredView("a", "test", {}, {})], missing) == ""


# --- the path ---


def pose(eye: list[float], target: list[float], split: str = "train") -> CameraRecord:
    matrix = look_at(np.array(eye, float) - target)
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return record("p", split, matrix, (100.0, 90.0))


def test_what_was_photographed_from_all_sides_is_flown_around(run: Path) -> None:
    cameras = fly_through(torus_scene(), 12, 65, read_cameras(run))
    eyes = torch.stack([camera.centre for camera in cameras])
    distance = eyes.norm(dim=-1)
    torch.testing.assert_close(distance, distance[:1].expand(12))
    turns = torch.atan2(eyes[:, 1], eyes[:, 0])
    assert len({round(float(turn), 3) for turn in turns}) == 12
    assert {(camera.height, camera.width) for camera in cameras} == {(64, 64)}


def test_a_walk_is_repeated_through_its_cameras() -> None:
    eyes = [[x, -5 + 0.2 * x**2, 0.3] for x in (0.0, 1.0, 1.5, 3.0)]
    poses = [pose(eye, [eye[0], 5.0, 0.0]) for eye in eyes]
    poses.insert(2, pose([50.0, 50.0, 50.0], [0.0, 0.0, 0.0], "test"))
    cameras = fly_through(torus_scene(), 301, 64, poses)
    path = torch.stack([camera.centre for camera in cameras]).numpy()
    np.testing.assert_allclose(path[[0, -1]], [eyes[0], eyes[-1]], atol=1e-4)
    for key, eye in zip([0, 2, 3], eyes[1:3], strict=False):
        assert np.linalg.norm(path - eye, axis=1).min() < 0.02, key
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps.max() < 2.2 * steps.mean()
    assert {(camera.height, camera.width) for camera in cameras} == {(52, 64)}
    looks = np.array([camera.camera_from_world[2, :3].numpy() for camera in cameras])
    assert (looks[:, 1] > 0.9).all()


def test_a_turn_on_the_spot_has_a_path_and_one_camera_an_orbit() -> None:
    turn = [pose([0, 0, 9], [np.cos(a), np.sin(a), 9]) for a in (0.0, 0.7, 1.4)]
    cameras = fly_through(torus_scene(), 5, 64, turn)
    assert all(float(c.centre.sub(torch.tensor([0.0, 0, 9])).norm()) < 1e-5 for c in cameras)
    looks = torch.stack([camera.camera_from_world[2] for camera in cameras])
    assert float((looks[1:] - looks[:-1]).norm(dim=-1).min()) > 0.2
    for poses in ([], turn[:1], [turn[0], turn[0], turn[0]]):
        assert len(fly_through(torus_scene(), 5, 64, poses)) == 5


# --- the film ---


def frames_of(file: Path) -> tuple[list[np.ndarray], VideoStream]:
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], stream


def test_the_film_plays_and_shows_the_scene(run: Path) -> None:
    assert film.write_film(run, torus_scene())
    pictures, stream = frames_of(run / "flythrough.mp4")
    assert len(pictures) == 24 and pictures[0].shape == (64, 64, 3)
    context = stream.codec_context
    assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    assert float(stream.average_rate or 0) == 24
    expected = film._pictures(torus_scene(), fly_through(torus_scene(), 24, 64, read_cameras(run)))
    wrong = [
        np.abs(a.astype(int) - b.numpy()).mean() for a, b in zip(pictures, expected, strict=True)
    ]
    still = np.abs(pictures[0].astype(int) - expected[12].numpy()).mean()
    assert max(wrong) < 6 < still


def test_less_time_gives_fewer_pictures_or_none(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 8))  # the first 8 pictures take 8 s
    monkeypatch.setattr(film.time, "monotonic", lambda: float(next(clock)))
    assert film.write_film(run, torus_scene(), 13.0)
    pictures, stream = frames_of(run / "flythrough.mp4")
    assert len(pictures) == 12 and float(stream.average_rate or 0) == 12
    (run / "flythrough.mp4").unlink()
    assert not film.write_film(run, torus_scene(), 5.0)
    assert not (run / "flythrough.mp4").exists()


# --- the recording ---


def rerun(*arguments: str) -> str:
    command = [sys.executable, "-m", "rerun", "rrd", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_the_recording_opens_and_holds_everything(run: Path) -> None:
    pytest.importorskip("rerun")
    photo = np.zeros((32, 32, 3), np.uint8)
    write_rerun_log(run, [("photo_001", photo), ("unknown", photo), ("photo_002", photo)])
    file = str(run / "recording.rrd")
    assert "1 file verified without error" in rerun("verify", file)
    said = rerun("print", "-v", file)
    for entity in (
        "/world/mesh",
        "/world/points",
        "/world/path",
        "/world/cameras/training",
        "/world/cameras/held_out",
        "/world/camera",
        "/world/camera/photo",
        "/world/camera/render",
        "/world/camera/depth",
        "/photo_name",
    ):
        assert f"{entity} " in said or f"{entity}\n" in said, entity
    assert "fine" not in said.split() and not list(run.glob(".*.part"))


def test_the_recording_of_damaged_runs(run: Path) -> None:
    pytest.importorskip("rerun")
    for name in ("points.ply", "renders/0008_fine_depth.png", "renders/0008_fine_photo.png"):
        (run / name).write_bytes(b"noise")
    (run / "cameras.json").write_text("{}")
    write_rerun_log(run)
    assert "verified without error" in rerun("verify", str(run / "recording.rrd"))


# --- together ---


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_makes_what_is_missing_once_and_shows_it(
    run: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("rerun")
    assert main(["report", str(run)]) == 0
    page = Tags((run / "report.html").read_text())
    [video] = [attrs for tag, attrs in page.tags if tag == "video"]
    assert str(video["src"]).startswith("data:video/mp4;base64,") and "controls" in video
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert links == ["flythrough.mp4", "recording.rrd"]
    assert "rerun recording.rrd" in page.text and HOSTILE in page.text
    assert "media-src data:" in str(page.tags)
    times = [(run / name).stat().st_mtime_ns for name in links if name]
    assert main(["report", str(run)]) == 0
    assert [(run / name).stat().st_mtime_ns for name in links if name] == times


def test_a_large_film_stays_beside_the_page(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "flythrough.mp4").write_bytes(bytes(2000))
    monkeypatch.setattr(attachments, "FILM_BUDGET", 1000)
    page = Tags(write_report(run).read_text())
    assert "video" not in [tag for tag, _ in page.tags] and "Too large for this page" in page.text


def test_without_the_packages_the_page_says_how_to_get_them(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("av", "rerun"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(attachments, "find_spec", lambda name: None)
    complete_attachments(run)
    write_attachments(run, torus_scene())
    text = Tags(write_report(run).read_text()).text
    assert "pip install rerun-sdk, then invgraph report RUN makes it" in text
    assert "pip install av, then" in text
    assert not (run / "flythrough.mp4").exists() and not (run / "recording.rrd").exists()


def test_without_time_what_is_old_goes_and_the_page_says_how_to_get_it(run: Path) -> None:
    (run / "flythrough.mp4").write_bytes(b"of another scene")
    write_attachments(run, torus_scene(), seconds=0.5)
    assert not (run / "flythrough.mp4").exists() and not (run / "recording.rrd").exists()
    assert (
        "No fly-through yet: invgraph report RUN makes it"
        in Tags(write_report(run).read_text()).text
    )


def test_runs_without_a_scene_are_left_as_they_are(tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run")
    complete_attachments(run)
    assert "Fly-through" not in write_report(run).read_text()
    with pytest.raises(ValueError, match="is not a folder"):
        complete_attachments(tmp_path / "absent")
