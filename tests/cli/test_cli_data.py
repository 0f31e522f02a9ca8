"""Captures on the command line: inspect, download, convert."""

import hashlib
import http.server
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from capture_files import write_image, write_text
from PIL import Image

from invgraph.cli import main
from invgraph.data import Capture, read_capture, with_true_cameras
from invgraph.data.datasets import DATASETS, Dataset, RemoteFile
from invgraph.data.download import download
from invgraph.data.export import ExportFormat, write_capture
from invgraph.data.frame import make_camera, make_frame, make_lens
from invgraph.geometry.distortion import Model
from invgraph.geometry.transforms import exp_se3


def posed(
    folder: Path,
    distortion: tuple | None = (0.1, -0.2, 0.01, 0.02, 0.0),
    model: Model = "brown",
) -> Capture:
    """Three photos with general cameras, of which the first is stored turned."""
    exif = Image.Exif()
    exif[274] = 6
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    frames = []
    for index in range(3):
        levels = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)
        path = folder / f"p{index}.png"
        if index == 0:
            Image.fromarray(np.rot90(levels)).save(path, exif=exif)
        else:
            Image.fromarray(levels).save(path)
        write_image(folder / f"m{index}.png", 255, "L")
        pose = exp_se3(torch.tensor([0.1 * index, 0.2, 3, 0.3, 0.1 * index, -0.2]))
        lens = make_lens((20.0, 24.0), (8.5, 5.5), (12, 16), distortion, model)
        camera = make_camera(pose.double().numpy(), lens)
        mask = folder / f"m{index}.png"
        frames.append(make_frame(path, camera, mask_path=mask, name=f"p{index}", time=0.5 * index))
    points = torch.from_numpy(rng.normal(size=(5, 3)).astype(np.float32))
    return Capture("tiny", tuple(frames), (1,), points=points)


def assert_same(found: Capture, expected: Capture) -> None:
    for one, other in zip(found.frames, expected.frames, strict=True):
        camera, known = one.known_camera, other.known_camera
        for name in ("camera_from_world", "focal", "principal", "distortion"):
            values = getattr(camera, name), getattr(known, name)
            assert (values[0] is None) == (values[1] is None)
            if values[0] is not None:
                torch.testing.assert_close(*values, atol=1e-6, rtol=1e-6)
        assert torch.equal(one.load()[0], other.load()[0])


@pytest.mark.parametrize(
    ("distortion", "model"),
    [
        (None, "brown"),
        ((0.1, -0.2, 0.01, 0.02, 0.0), "brown"),
        ((0.1, 0.0, 0.0, 0.0, 0.3), "brown"),
        ((0.1, 0.0, 0.0, 0.01, 0.3, 0.2, 0.1, 0.05), "rational"),
        ((0.1, -0.2, 0.01, 0.02), "fisheye"),
        ((0.0, 0.0, 0.0, 0.0), "fisheye"),
    ],
)
@pytest.mark.parametrize("to", ["transforms", "colmap"])
def test_conversions_come_back(tmp_path, to, distortion, model):
    capture = posed(tmp_path / "in", distortion, model)
    out = write_capture(capture, tmp_path / "out", to)
    found = read_capture(out)
    assert_same(found, capture)
    assert all(frame.mask_source == "file" for frame in found.frames)
    if to == "transforms":
        assert found.test == (1,)
    else:
        assert found.points is not None and capture.points is not None
        torch.testing.assert_close(found.points, capture.points)
        assert len((out / "sparse/0/cameras.txt").read_text().splitlines()) == 2
    # Upright for programs that do not look at EXIF.
    with Image.open(next((out / "images").glob("p0.*"))) as image:
        assert image.size == (16, 12) and image.getexif().get(274, 1) == 1


def test_kitti_comes_back_relative_to_the_first(tmp_path):
    capture = posed(tmp_path / "in", None)
    found = read_capture(write_capture(capture, tmp_path / "out", "kitti"))
    assert [frame.time for frame in found.frames] == [0, 0.5, 1.0]
    first = capture.frames[0].known_camera.camera_from_world
    moved = [
        replace(
            frame,
            camera=replace(
                frame.known_camera,
                camera_from_world=frame.known_camera.camera_from_world @ torch.linalg.inv(first),
            ),
        )
        for frame in capture.frames
    ]
    assert_same(with_true_cameras(found), replace(capture, frames=tuple(moved)))


def test_conversions_say_why_not(tmp_path):
    capture = posed(tmp_path / "in")
    with pytest.raises(ValueError, match="KITTI's calibration has no lens distortion; undistort"):
        write_capture(capture, tmp_path / "out", "kitti")
    bare = posed(tmp_path / "bare", None)
    frame = bare.frames[2]
    camera = frame.known_camera.with_lens(focal=torch.tensor([9.0, 9.0]))
    mixed = replace(bare, frames=(*bare.frames[:2], replace(frame, camera=camera)))
    with pytest.raises(ValueError, match="p2 has other intrinsics than p0, but KITTI has one"):
        write_capture(mixed, tmp_path / "out", "kitti")
    unknown = replace(bare, frames=(*bare.frames[:2], replace(frame, camera=None)))
    for to in get_args(ExportFormat):
        with pytest.raises(ValueError, match=r"1 of 3 photos have no camera \(first .*p2\.png"):
            write_capture(unknown, tmp_path / "out", to)
    with pytest.raises(ValueError, match="in holds files; give a new or an empty folder"):
        write_capture(bare, tmp_path / "in", "colmap")
    frame.image_path.write_bytes(bytes(9))
    (tmp_path / "bare/p0.png").unlink()
    with pytest.raises(ValueError, match=r"p0\.png is missing"):
        write_capture(bare, tmp_path / "out", "transforms")
    # Nothing half done is left behind.
    assert {path.name for path in tmp_path.iterdir()} == {"in", "bare"}


def test_inspect_says_what_there_is_and_what_is_missing(tmp_path, capsys):
    for index in range(9):
        write_image(tmp_path / f"photos/{index}.png", (200, 0, 0))
    (tmp_path / "photos/3.png").write_bytes(b"x")
    good = (tmp_path / "photos/5.png").read_bytes()
    (tmp_path / "photos/5.png").write_bytes(good[:45] + bytes(len(good) - 61) + good[-16:])
    out = tmp_path / "out"
    assert main(["data", "inspect", str(tmp_path / "photos"), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    for words in (
        "recognised as    photos\n",
        "photos           8, of which 1 held out\n",
        "size (h x w)     12x16\n",
        "cameras          none\n",
        "left out         1\n",
        "left out         3.png: ",
        "damaged          5: ",
        "missing          cameras: estimate them with COLMAP, and give",
        "missing          masks: ",
        f"picture          {out / 'contact_sheet.png'}\n",
    ):
        assert words in text, words
    assert not (out / "cameras.png").exists()
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.size == (8 * 160, 160 + 16)
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels[80, 80].tolist() == [200, 0, 0]
    # The damaged one is a cross on white.
    assert pixels[80, 4 * 160 + 40].tolist() == [255, 255, 255]


def test_inspect_draws_cameras(tmp_path, capsys):
    write_capture(posed(tmp_path / "in"), tmp_path / "model", "colmap")
    out = tmp_path / "out"
    assert main(["data", "inspect", str(tmp_path / "model"), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "cameras          all\n" in text and "focal length 22.0 px, distortion\n" in text
    assert "sparse points    5\n" in text and "missing" not in text
    with Image.open(out / "cameras.png") as image:
        colors = {color for _, color in image.getcolors(1 << 20) or []}
    assert {(0, 90, 181), (220, 50, 32), (150, 150, 150)} <= colors


def test_inspect_of_a_recording_with_truth(data_dir, tmp_path, capsys):
    source = data_dir("kitti_drive_a")
    assert main(["data", "inspect", str(source), "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "truth            poses of 51 photos (evaluation only)" in text
    assert "keeping the intrinsics" in text and (tmp_path / "cameras.png").is_file()


def test_convert_on_the_command_line(tmp_path, capsys):
    source = write_capture(posed(tmp_path / "in", None), tmp_path / "kitti", "kitti")
    arguments = ["data", "convert", str(source), str(tmp_path / "out"), "--to", "colmap"]
    assert main(arguments) == 2
    assert "3 of 3 photos have no camera" in capsys.readouterr().err
    assert main([*arguments, "--true-cameras"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    assert len(read_capture(tmp_path / "out").frames) == 3


def test_convert_says_that_kitti_has_no_masks(tmp_path, capsys):
    source = write_capture(posed(tmp_path / "in", None), tmp_path / "masked", "transforms")
    assert main(["data", "convert", str(source), str(tmp_path / "out"), "--to", "kitti"]) == 0
    assert "left out the masks" in capsys.readouterr().out


def test_data_commands_explain_themselves(capsys):
    assert main(["data"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n    {name} " in text for name in ("inspect", "download", "convert"))
    assert main(["data", "look"]) == 2
    assert "expected one of inspect, download, convert but got 'look'" in capsys.readouterr().err


def test_real_conversion_keeps_the_cameras(data_dir, tmp_path):
    capture = read_capture(data_dir("fountain_p11"))
    few = replace(capture, frames=capture.frames[:3], test=(0,))
    assert_same(read_capture(write_capture(few, tmp_path / "colmap", "colmap")), few)


# Downloads, from a server on this machine


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.files`` with ranges; sends only ``server.limit`` bytes when that is set."""

    def do_GET(self) -> None:
        server: Server = self.server  # type: ignore[assignment]
        data = server.files.get(self.path)
        wanted = self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if self.path in server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved[self.path])
            self.end_headers()
            return
        if data is None:
            self.send_error(404)
            return
        etag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        piece = data[start:]
        self.wfile.write(piece if server.limit is None else piece[: server.limit])

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    files: dict[str, bytes]
    moved: dict[str, str]
    requests: list[tuple[str, str | None]]
    ranges = True
    limit: int | None = None


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.files, running.moved, running.requests = {}, {}, []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def one_file(url: str, sum_: str | None) -> Dataset:
    return Dataset("tiny", "CC0", "https://example.org", (RemoteFile(url, sum_),))


DATA = bytes(range(256)) * 400


def test_a_download_goes_on_where_it_stopped(tmp_path, server):
    server.files["/d.bin"] = DATA
    dataset = one_file(f"{address(server)}/d.bin", sha256(DATA))
    out = tmp_path / "new" / "tiny"
    for done in (30_000, 60_000):
        server.limit = 30_000
        with pytest.raises(ValueError, match=rf"ended after {done} of 102400 bytes; run .* again"):
            download(dataset, out)
        assert not out.exists()
    server.limit = None
    seen: list[tuple] = []
    sums = download(dataset, out, progress=lambda *what: seen.append(what))
    assert [wanted for _, wanted in server.requests] == [None, "bytes=30000-", "bytes=60000-"]
    assert (out / "d.bin").read_bytes() == DATA and sums == {"d.bin": sha256(DATA)}
    assert seen[-1] == ("d.bin", 102400, 102400)
    assert [path.name for path in out.parent.iterdir()] == ["tiny"]
    with pytest.raises(ValueError, match="tiny exists already; delete it"):
        download(dataset, out)


def test_a_file_that_changed_meanwhile_starts_again(tmp_path, server):
    server.files["/d.bin"] = DATA
    server.limit = 30_000
    dataset = one_file(f"{address(server)}/d.bin", None)
    with pytest.raises(ValueError, match="ended after 30000"):
        download(dataset, tmp_path / "tiny")
    server.files["/d.bin"] = DATA[::-1]
    server.limit = None
    download(dataset, tmp_path / "tiny")
    assert (tmp_path / "tiny/d.bin").read_bytes() == DATA[::-1]


def test_a_server_without_ranges_starts_again(tmp_path, server):
    server.files["/d.bin"] = DATA
    server.limit, server.ranges = 30_000, False
    dataset = one_file(f"{address(server)}/d.bin", sha256(DATA))
    with pytest.raises(ValueError, match="ended after 30000"):
        download(dataset, tmp_path / "tiny")
    server.limit = None
    download(dataset, tmp_path / "tiny")
    assert (tmp_path / "tiny/d.bin").read_bytes() == DATA


def test_a_kill_after_the_last_byte_is_noticed(tmp_path, server):
    server.files["/d.bin"] = DATA
    work = tmp_path / ".tiny.download"
    work.mkdir()
    (work / "d.bin.part").write_bytes(DATA)
    (work / "d.bin.part.version").write_text(f'"{sha256(DATA)[:8]}"')
    download(one_file(f"{address(server)}/d.bin", sha256(DATA)), tmp_path / "tiny")
    assert (tmp_path / "tiny/d.bin").read_bytes() == DATA


def test_wrong_checksums_and_addresses_are_refused(tmp_path, server):
    server.files["/d.bin"] = DATA
    out = tmp_path / "tiny"
    with pytest.raises(ValueError, match=rf"has sha256 {sha256(DATA)}, expected 00.*try again"):
        download(one_file(f"{address(server)}/d.bin", "00"), out)
    assert not (tmp_path / ".tiny.download/d.bin.part").exists() and not out.exists()
    with pytest.raises(ValueError, match="the server says 404 Not Found; see the data set's page"):
        download(one_file(f"{address(server)}/e.bin", None), out)
    with pytest.raises(ValueError, match="file:///etc/passwd is no http or https address"):
        download(one_file("file:///etc/passwd", None), out)
    with pytest.raises(ValueError, match=r"the connection failed .*run the command again"):
        download(one_file("http://127.0.0.1:9/d.bin", None), out)


def archive(kind: str, files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(data, "w") as packed:
            for name, content in files.items():
                entry = zipfile.ZipInfo("x")
                entry.filename = name
                with packed.open(entry, "w") as file:
                    file.write(content)
    else:
        with tarfile.open(fileobj=data, mode="w:gz") as packed:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            packed.addfile(link)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_archives_are_unpacked_inside_the_folder(tmp_path, server, kind):
    server.files[f"/a.{kind}"] = archive(kind, {"d/one.txt": b"1", "two.txt": b"2"})
    url = f"{address(server)}/a.{kind}"
    files = (RemoteFile(url, into="below"),)
    download(Dataset("tiny", "CC0", "", files), tmp_path / "tiny")
    found = {str(p.relative_to(tmp_path / "tiny")) for p in (tmp_path / "tiny").rglob("*")}
    assert found == {"below", "below/d", "below/d/one.txt", "below/two.txt"}
    server.files[f"/a.{kind}"] = archive(kind, {"../../evil.txt": b"1"})
    with pytest.raises(ValueError, match="leaves the capture's folder"):
        download(one_file(url, None), tmp_path / "deep/er/evil")
    assert not list(tmp_path.rglob("evil.txt"))
    server.files[f"/a.{kind}"] = b"no archive"
    with pytest.raises(ValueError, match=rf"a\.{kind} is no whole archive .*download it again"):
        download(one_file(url, None), tmp_path / "broken")


def encrypted() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr("one.txt", b"1")
        packed.infolist()[0].flag_bits |= 1
    return data.getvalue()


def damaged() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("one.txt", DATA)
    found = bytearray(data.getvalue())
    found[60:80] = bytes(255 - byte for byte in found[60:80])
    return bytes(found)


BROKEN = {
    "encrypted.zip": (encrypted(), "one.txt' in it is encrypted"),
    "damaged.zip": (damaged(), "Error -3|Bad CRC"),
    "nameless.zip": (archive("zip", {"": b"1"}), "'' is no file name"),
    "nameless.tgz": (archive("tgz", {"": b"1"}), "no file name"),
    "dot.zip": (archive("zip", {"d/..": b"1"}), "no file name"),
    "file_and_folder.zip": (archive("zip", {"a": b"1", "a/b": b"2"}), ""),
    "cut.tgz": (archive("tgz", {"one.txt": os.urandom(5000)})[:4000], "end"),
    "cut.zip": (archive("zip", {"one.txt": DATA})[:4000], "not a zip"),
    "evil.zip": (archive("zip", {"../one.txt": b"1"}), "leaves the capture's folder"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_archive_is_told_and_not_kept(tmp_path, server, name):
    server.files[f"/{name}"], reason = BROKEN[name]
    dataset = one_file(f"{address(server)}/{name}", None)
    with pytest.raises(
        ValueError, match=rf"{name} is no whole archive \(.*({reason}).*has been del"
    ):
        download(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.rglob(name))
    server.files[f"/{name}"] = archive(name[-3:], {"one.txt": b"1"})
    download(dataset, tmp_path / "out")
    assert (tmp_path / "out/one.txt").read_bytes() == b"1"


def test_an_archive_unpacks_to_no_more_than_a_hundred_times_its_size(tmp_path, server, monkeypatch):
    monkeypatch.setattr("invgraph.data.download._ALWAYS", 1000)
    for name, kind in (("bomb.tgz", "tgz"), ("bomb.zip", "zip")):
        server.files[f"/{name}"] = data = archive(kind, {"zeros": bytes(200_000)})
        if kind == "zip":
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("zeros", bytes(200_000))
            server.files[f"/{name}"] = data = packed.getvalue()
        assert 100 * len(data) + 1000 < 200_000
        with pytest.raises(ValueError, match="it holds more than 100 times its size"):
            download(one_file(f"{address(server)}/{name}", None), tmp_path / "out")


@pytest.mark.parametrize("to", ["http://127.0.0.1:9/d.bin", "ftp://127.0.0.1/d.bin"])
def test_only_https_is_followed(tmp_path, server, to):
    server.moved["/d.bin"] = to
    with pytest.raises(ValueError, match=f"sends us to {to}, which is no https address"):
        download(one_file(f"{address(server)}/d.bin", None), tmp_path / "out")


def test_download_on_the_command_line(tmp_path, server, monkeypatch, capsys):
    write_image(tmp_path / "left.png")
    photo = (tmp_path / "left.png").read_bytes()
    server.files |= {"/m/a_left.png": photo, "/m/a_right.png": photo}
    files = (
        RemoteFile("https://example.org/x/a_left.png", sha256(photo), len(photo)),
        RemoteFile("https://example.org/x/a_right.png"),
    )
    dataset = Dataset("a tiny pair", "CC0 by us", "https://example.org/page", files)
    monkeypatch.setitem(DATASETS, "tiny", dataset)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "download", "tiny", "--mirror", f"{address(server)}/m/"]) == 0
    text = capsys.readouterr().out
    assert "licence: CC0 by us; see https://example.org/page" in text
    assert "UNVERIFIED: no checksum of this data set is known" in text
    assert f"verified sha256 {sha256(photo)} a_left.png" in text
    assert f"UNVERIFIED sha256 {sha256(photo)} a_right.png" in text
    assert read_capture(tmp_path / "captures/tiny").kind == "stereo pair"
    assert main(["data", "download", "nothing"]) == 2
    assert "expected one of motorcycle-stereo" in capsys.readouterr().err
    assert main(["data", "download"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}\n" in text for name in DATASETS) and "2.4 MB, sha256 known" in text


def test_known_checksums_are_those_of_the_recorded_files(data_dir):
    folder = data_dir("motorcycle_stereo")
    for file in DATASETS["motorcycle-stereo"].files:
        data = (folder / file.name).read_bytes()
        assert (len(data), sha256(data)) == (file.size, file.sha256)


def test_the_list_of_data_sets_is_sound():
    for name, dataset in DATASETS.items():
        assert name == name.lower() and dataset.licence and dataset.page.startswith("https://")
        assert len({file.name for file in dataset.files}) == len(dataset.files)
        for file in dataset.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32


def test_names_that_no_font_has_can_be_drawn(tmp_path, capsys):
    for name in ("写真一.png", "<b>&.png"):
        write_image(tmp_path / "in" / name)
    write_text(tmp_path / "in/notes.txt", "")
    assert main(["data", "inspect", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert "recognised as    photos" in capsys.readouterr().out
