"""What captures may make us open: image files of few kinds, inside the capture, that fit."""

import json
import os
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from capture_files import expect_error, write_image, write_text
from PIL import Image

from invgraph.data import MeasuredMap, read_capture
from invgraph.data.depth_files import encode_depth, read_depth
from invgraph.data.images import decode, image_size, load_image, thumbnail
from invgraph.data.intrinsics import read_intrinsics
from invgraph.data.listing import natural
from invgraph.data.object_pose_files import read_pose, read_rows, read_true_poses
from invgraph.files.memory import available_bytes
from invgraph.files.opening import UnreadableImage, open_image

EYE = "1 0 0 0 0 1 0 0 0 0 1 0"


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


# Kinds


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_kinds_that_are_opened(tmp_path, suffix):
    write_image(tmp_path / f"a.{suffix}", (10, 200, 30))
    write_image(tmp_path / f"b.{suffix.upper()}", (10, 200, 30))
    capture = read_capture(tmp_path)
    assert [frame.size for frame in capture.frames] == [(12, 16)] * 2
    pixels = decode(capture.frames[1].image_path)
    assert np.abs(pixels[3, 4].astype(int) - (10, 200, 30)).max() <= 3


@pytest.mark.parametrize(
    "kind", ["EPS", "GIF", "PPM", "ICO", "TGA", "PCX", "JPEG2000", "DIB", "PDF"]
)
def test_other_kinds_are_not_opened_whatever_their_name(tmp_path, monkeypatch, kind):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("another program was started")

    for name in "ac":
        write_image(tmp_path / f"{name}.png")
    Image.new("RGB", (16, 12)).save(tmp_path / "b.png", kind)
    monkeypatch.setattr("subprocess.Popen", refuse)
    capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["a", "c"]
    [reason] = capture.skipped
    assert reason.startswith("b.png: ") and "no PNG, JPEG, WebP, TIFF or BMP file" in reason
    for use in (decode, load_image, image_size, lambda path: thumbnail(path, 8)):
        with pytest.raises(UnreadableImage, match="no PNG, JPEG, WebP, TIFF or BMP file"):
            use(tmp_path / "b.png")


def deep_grey_with_alpha() -> bytes:
    """A whole PNG of 16-bit grey with alpha, which Pillow does not write."""
    rows = b"".join(b"\0" + bytes(4 * 16) for _ in range(12))
    head = struct.pack(">IIBBBBB", 16, 12, 16, 4, 0, 0, 0)
    return png((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def test_pixels_of_other_kinds_are_listed_when_a_capture_is_opened(tmp_path):
    photos(tmp_path, "a.png", "b.png")
    Image.fromarray(np.ones((12, 16), np.float32)).save(tmp_path / "c.tif")
    (tmp_path / "d.png").write_bytes(deep_grey_with_alpha())
    first, second = read_capture(tmp_path).skipped
    assert first.startswith("c.tif: ") and "8 or 16 bits per channel, not floats" in first
    assert second.startswith("d.png: ") and "16-bit grey with alpha is not supported" in second


def test_several_pictures_in_a_jpeg(tmp_path):
    other = Image.new("RGB", (16, 12))
    Image.new("RGB", (16, 12)).save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[other])
    assert image_size(tmp_path / "a.jpg") == (12, 16) and decode(tmp_path / "a.jpg").max() == 0


# Nothing is passed over in silence


OTHERS = ("IMG_1.HEIC", "b.heif", "c.avif", "d.dng", "e.CR2", "f.gif", "g.jfif", "h.exr", "i.ppm")


def test_photos_of_other_kinds_are_listed(tmp_path):
    for name in "xy":
        write_image(tmp_path / f"{name}.png")
    for name in (*OTHERS, "notes.txt", ".hidden.heic"):
        (tmp_path / name).write_bytes(b"?")
    (tmp_path / "folder.png").mkdir()
    write_image(tmp_path / "masks/x.png", 255, "L")
    write_image(tmp_path / "masks/z.png", 255, "L")
    (tmp_path / "masks/y.gif").write_bytes(b"?")
    capture = read_capture(tmp_path)
    assert len(capture.frames) == 2
    listed = dict(reason.split(": ", 1) for reason in capture.skipped)
    assert set(listed) == {*OTHERS, "folder.png", "y.gif", "masks/z.png"}
    assert listed["IMG_1.HEIC"] == ".heic files are not read; convert it to PNG or JPEG."
    assert listed["y.gif"] == ".gif files are not read; convert it to PNG or JPEG."
    assert listed["folder.png"] == "it is a folder; expected an image file."
    assert listed["masks/z.png"] == "no photo is called z"


@pytest.mark.parametrize(
    ("kind", "folders"),
    [
        ("transforms", ("images", "masks")),
        ("llff", ("images", "masks")),
        ("middlebury", (".",)),
        ("colmap", ("images", "masks")),
        ("bop", ("rgb", "mask_visib")),
        ("strecha", (".",)),
        ("seven", ("seq-01",)),
        ("tum", ("rgb",)),
        ("kitti raw", ("image_02/data", "image_03/data")),
        ("kitti", ("image_2", "image_3")),
        ("stereo", (".",)),
        ("photos", (".", "masks")),
    ],
)
def test_every_reader_lists_what_it_does_not_open(tmp_path, kind, folders):
    root = tmp_path / "date/drive"
    root.mkdir(parents=True)
    KINDS[kind](root)
    for index, folder in enumerate(folders):
        (root / folder / f"x{index}.HEIC").write_bytes(b"?")
    reason = ".heic files are not read; convert it to PNG or JPEG."
    expected = tuple(f"x{index}.HEIC: {reason}" for index in range(len(folders)))
    assert read_capture(root).skipped == expected


def test_what_a_list_names_is_listed_once(tmp_path):
    write_tum(tmp_path)
    (tmp_path / "rgb/c.heic").write_bytes(b"?")
    write_text(tmp_path / "rgb.txt", "1 rgb/a.png", "2 rgb/b.png", "3 rgb/c.heic")
    [reason] = read_capture(tmp_path).skipped
    assert reason.startswith("c.heic: ") and "no PNG, JPEG, WebP, TIFF or BMP file" in reason


def test_photos_in_two_places_are_listed(tmp_path):
    for name in ("a", "b", "images/c"):
        write_image(tmp_path / f"{name}.png")
    [reason] = read_capture(tmp_path).skipped
    assert reason.startswith("images: its photos are not read")


def test_folders_of_nothing_but_other_kinds_are_explained(tmp_path):
    for name in ("a.heic", "b.heic"):
        (tmp_path / name).write_bytes(b"?")
    expect_error(
        tmp_path, r"its 2 images are of kinds that are not read \(first a\.heic: .*convert"
    )
    write_image(tmp_path / "c.png")
    expect_error(tmp_path, r"1 photo found that can be read.*2 left out; first a\.heic: .*convert")


# Captures of every kind, and a file of each by its role


def photos(folder: Path, *names: str) -> None:
    for name in names:
        write_image(folder / name)


def level_map(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 16), 9, np.uint16)).save(path)


def write_transforms(root: Path) -> None:
    photos(root, "images/a.png", "images/b.png", "masks/a.png")
    eye = np.eye(4).tolist()
    frames = [
        {"file_path": "images/a", "transform_matrix": eye, "mask_path": "masks/a.png"},
        {"file_path": "images/b.png", "transform_matrix": eye},
    ]
    write_text(root / "transforms.json", json.dumps({"fl_x": 9, "frames": frames}))
    write_text(root / "truth/object.glb", "")
    write_text(root / "truth/light.npz", "")


def write_llff(root: Path) -> None:
    photos(root, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    row = np.array([[0, 1, 0, 0, 12], [1, 0, 0, 0, 16], [0, 0, -1, 0, 20.0]])
    np.save(root / "poses_bounds.npy", np.tile(np.concatenate([row.ravel(), [1, 9]]), (2, 1)))


def write_middlebury(root: Path) -> None:
    photos(root, "a.png", "b.png")
    rows = [f"{name}.png 20 0 8 0 24 5 0 0 1 1 0 0 0 1 0 0 0 1 0 0 3" for name in "ab"]
    write_text(root / "x_par.txt", "2", *rows)
    write_text(root / "README.txt", "bounding box (0 0 0) (1 1 1)")


def write_colmap(root: Path) -> None:
    photos(root, "images/a.png", "images/b.png", "masks/a.png")
    write_text(root / "sparse/0/cameras.txt", "1 PINHOLE 16 12 20 24 8.5 5.5")
    rows = [f"{i} 1 0 0 0 0 0 3 1 {name}.png\n" for i, name in enumerate("ab")]
    write_text(root / "sparse/0/images.txt", *rows)
    write_text(root / "sparse/0/points3D.txt", "1 0 0 0 9 9 9 0")


def write_bop(root: Path) -> None:
    photos(root, "rgb/000000.png", "rgb/000001.png", "mask_visib/000000_000000.png")
    level_map(root / "depth/000000.png")
    entry = {"cam_K": [20, 0, 8, 0, 24, 5, 0, 0, 1]}
    pose = {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [0, 0, 1]}
    write_text(root / "scene_camera.json", json.dumps({"0": entry, "1": entry}))
    write_text(root / "scene_gt.json", json.dumps({"0": [{"obj_id": 1, **pose}]}))


def write_strecha(root: Path) -> None:
    photos(root, "a.png", "b.png")
    text = "20 0 8\n0 24 5\n0 0 1\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n0 0 0\n16 12"
    for name in "ab":
        write_text(root / f"{name}.png.camera", text)


def write_seven(root: Path) -> None:
    photos(root, "seq-01/frame-0.color.png", "seq-01/frame-1.color.png")
    write_text(root / "seq-01/frame-0.pose.txt", "1 0 0 0", "0 1 0 0", "0 0 1 0", "0 0 0 1")
    level_map(root / "seq-01/frame-0.depth.png")
    write_text(root / "camera-intrinsics.txt", "20 0 8", "0 24 5", "0 0 1")
    write_text(root / "TestSplit.txt", "sequence1")
    write_text(root / "camera.json", '{"depth_scale": 1}')


def write_tum(root: Path) -> None:
    photos(root, "rgb/a.png", "rgb/b.png")
    level_map(root / "depth/a.png")
    write_text(root / "rgb.txt", "1 rgb/a.png", "2 rgb/b.png")
    write_text(root / "depth.txt", "1 depth/a.png")
    write_text(root / "groundtruth.txt", "1 0 0 0 0 0 0 1")
    write_text(root / "camera.json", '{"depth_scale": 1}')


def write_kitti_raw(root: Path) -> None:
    eye = "1 0 0 0 1 0 0 0 1"
    photos(root, "image_02/data/0.png", "image_02/data/1.png", "image_03/data/0.png")
    write_text(root / "image_02/timestamps.txt", *["2011-09-26 13:02:25.5"] * 2)
    rows = ["P_rect_02: 20 0 8 0 0 24 5 0 0 0 1 0", "P_rect_03: 20 0 8 -9 0 24 5 0 0 0 1 0"]
    write_text(root / "calib_cam_to_cam.txt", *rows, f"R_rect_00: {eye}", "S_rect_02: 16 12")
    for name in ("imu_to_velo", "velo_to_cam"):
        write_text(root / f"calib_{name}.txt", f"R: {eye}", "T: 0 0 0")
    write_text(root / "oxts/data/0.txt", "0 8 100 0 0 0")
    level_map(root / "proj_depth/groundtruth/image_02/0.png")


def write_kitti(root: Path) -> None:
    photos(root, "image_2/0.png", "image_2/1.png", "image_3/0.png")
    rows = [f"P{i}: 20 0 8 {-9 * (i == 3)} 0 24 5 0 0 0 1 0" for i in range(4)]
    write_text(root / "calib.txt", *rows)
    write_text(root / "times.txt", "0", "1")
    write_text(root / "poses.txt", EYE, EYE)


def write_stereo(root: Path) -> None:
    photos(root, "im0.png", "im1.png")
    rows = ["cam0=[20 0 7; 0 20 5; 0 0 1]", "cam1=[20 0 7; 0 20 5; 0 0 1]"]
    write_text(root / "calib.txt", *rows, "doffs=0", "baseline=100", "width=16", "height=12")
    (root / "disp0.pfm").write_bytes(b"Pf\n16 12\n-1\n" + bytes(4 * 16 * 12))


def write_photos(root: Path) -> None:
    photos(root, "a.png", "b.png", "masks/a.png")
    write_text(root / "cam.json", '{"fx": 9, "fy": 9, "cx": 8, "cy": 6}')


KINDS: dict[str, Callable[[Path], None]] = {
    "transforms": write_transforms,
    "llff": write_llff,
    "middlebury": write_middlebury,
    "colmap": write_colmap,
    "bop": write_bop,
    "strecha": write_strecha,
    "seven": write_seven,
    "tum": write_tum,
    "kitti raw": write_kitti_raw,
    "kitti": write_kitti,
    "stereo": write_stereo,
    "photos": write_photos,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_capture_is_refused_as_a_link_that_leaves_it(tmp_path, kind):
    root = tmp_path / "date/drive"
    root.mkdir(parents=True)
    KINDS[kind](root)
    assert len(read_capture(root).frames) == 2 and not read_capture(root).skipped
    files = sorted(path for path in root.rglob("*") if path.is_file())
    for file in files:
        away = tmp_path / "elsewhere" / file.relative_to(root)
        away.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, away)
        file.symlink_to(away)
        expect_error(root, "leaves the capture's folder; put the file inside")
        # A link that stays inside is followed.
        file.unlink()
        inner = root / "inner" / file.relative_to(root)
        inner.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(away, inner)
        file.symlink_to(inner)
        if kind != "strecha":  # which looks for photos in every folder
            assert len(read_capture(root).frames) == 2
        file.unlink()
        shutil.move(away, file)
        shutil.rmtree(root / "inner")


@pytest.mark.parametrize("kind", KINDS)
def test_pipes_in_the_place_of_files_do_not_block(tmp_path, kind):
    root = tmp_path / "date/drive"
    root.mkdir(parents=True)
    KINDS[kind](root)
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        data = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        with at_most(5):
            try:
                capture = read_capture(root)
                for frame in capture.frames:
                    frame.load_mask()
            except ValueError as error:
                assert "\n" not in str(error)
        file.unlink()
        file.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["transforms.json", "poses_bounds.npy", "x_par.txt", "v.mp4", "a.png", "x"]
)
def test_pipes_that_are_given_are_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with at_most(5):
        expect_error(tmp_path / name, "is a pipe or a device; give a folder")


def test_pipes_as_poses_and_maps_are_refused(tmp_path):
    for name in ("p.json", "d.npy", "d.png", "d.pfm"):
        os.mkfifo(tmp_path / name)
    with at_most(5):
        for read in (read_pose, read_true_poses):
            with pytest.raises(ValueError, match=r"p\.json is not a file"):
                read(tmp_path / "p.json")
        for name in ("d.npy", "d.png", "d.pfm"):
            with pytest.raises(ValueError, match=r"is no file but|is not a file"):
                MeasuredMap(tmp_path / name).load()


def test_poses_beside_the_sequence_may_not_be_links_out_of_the_data_set(tmp_path):
    folder = tmp_path / "kitti/sequences/07"
    write_kitti(folder)
    (folder / "poses.txt").unlink()
    write_text(tmp_path / "secret.txt", EYE, EYE)
    (tmp_path / "kitti/poses").mkdir()
    (tmp_path / "kitti/poses/07.txt").symlink_to(tmp_path / "secret.txt")
    expect_error(folder, "leaves the capture's folder")


def test_links_to_themselves_are_refused(tmp_path):
    photos(tmp_path, "a.png", "b.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "c.png")
    expect_error(tmp_path, r"c\.png is a link that leads nowhere; remove it")


def test_a_link_to_a_capture_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    write_tum(tmp_path / "far")
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert len(read_capture(tmp_path / "near").frames) == 2


# Memory


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        check = struct.pack(">I", zlib.crc32(kind + content))
        data += struct.pack(">I", len(content)) + kind + content + check
    return data


def header_of(height: int, width: int) -> bytes:
    """A PNG that states a size and has next to no pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))


def test_photos_larger_than_the_memory_are_listed_and_not_decoded(tmp_path, monkeypatch):
    photos(tmp_path, "a.png", "c.png")
    (tmp_path / "b.png").write_bytes(header_of(2_000_000, 1_000_000))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    with at_most(5):
        capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["a", "c"]
    [reason] = capture.skipped
    assert "b.png is 2000000x1000000 (h x w), more than the " in reason
    assert reason.endswith("million pixels that fit into the free memory; make it smaller.")


def test_the_limit_follows_the_memory(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(header_of(20_000, 15_000))  # more than Pillow's own limit
    for free, fits in ((64 * 300_000_000, True), (64 * 299_999_999, False)):
        monkeypatch.setattr("invgraph.files.opening.available_bytes", lambda free=free: free)
        if fits:
            with open_image(tmp_path / "a.png") as image:
                assert image.size == (15_000, 20_000)
        else:
            with pytest.raises(UnreadableImage, match=r"20000x15000 .*than the 300\.0 million pix"):
                open_image(tmp_path / "a.png")


def test_masks_larger_than_the_memory_cost_their_photo(tmp_path):
    photos(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/b.png").write_bytes(header_of(2_000_000, 1_000_000))
    [reason] = read_capture(tmp_path).skipped
    assert reason.startswith("b.png: ") and "masks/b.png is 2000000x1000000" in reason


def test_compressed_maps_larger_than_the_memory_are_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "d.npz", np.zeros((1000, 1000), np.float64))
    assert (tmp_path / "d.npz").stat().st_size < 20_000
    assert MeasuredMap(tmp_path / "d.npz").load().shape == (1000, 1000)
    monkeypatch.setattr("invgraph.files.arrays.available_bytes", lambda: 7_000_000)
    with pytest.raises(ValueError, match=r"d\.npz .*holds 8\.0 MB, more than the free memory"):
        MeasuredMap(tmp_path / "d.npz").load()


def test_free_memory_is_that_of_the_machine_and_of_the_limit_on_the_program():
    free = available_bytes()
    assert 1 << 24 < free < 1 << 50
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
        assert 0 <= available_bytes() <= 1 << 30
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# Names and text


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "\ud800.png", "a/" * 800 + "a.png", ""])
def test_names_that_no_file_has_are_refused(tmp_path, name):
    write_transforms(tmp_path)
    data = json.loads((tmp_path / "transforms.json").read_text())
    data["frames"][0]["file_path"] = name
    write_text(tmp_path / "transforms.json", json.dumps(data))
    expect_error(tmp_path, "is no file name")


def test_numbers_in_names_count_whatever_their_length():
    names = ["a2", "a10", "a" + "9" * 5000, "a1" + "0" * 5000, "a02b", "a2c", "b"]
    assert sorted(map(Path, reversed(names)), key=natural) == [
        Path(name) for name in ("a2", "a02b", "a2c", "a10", names[2], names[3], "b")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "bounding box (" * 7000,
        "bounding box " + "(1 1 1) " * 12_000,
        "bounding box (" + "1" * 90_000,
        "bounding box (1 " + " " * 90_000,
        "bounding box (1,1,1)" + " " * 90_000,
    ],
)
def test_readmes_take_no_longer_than_they_are(tmp_path, text):
    write_middlebury(tmp_path)
    (tmp_path / "README.txt").write_text(text)
    with at_most(5):
        assert read_capture(tmp_path).box is None or "(1 1 1)" in text
    (tmp_path / "README.txt").write_text("The Bounding Box: x\nis (0 -1 2.5) (1, 2,3) bounding box")
    box = read_capture(tmp_path).box
    assert box is not None and box.tolist() == [[0, -1, 2.5], [1, 2, 3]]


@pytest.mark.parametrize(
    ("kind", "photo", "reason"),
    [
        ("middlebury", "c.png", "x_par.txt has no row for it"),
        ("colmap", "images/c.png", "the COLMAP model has no camera for it"),
        ("colmap", "masks/c.png", "no photo has a mask of that name, which is NAME.png or STEM"),
        ("colmap", "masks/b.jpg", "no photo has a mask of that name, which is NAME.png or STEM"),
        ("llff", "masks/c.png", "no photo is called so"),
        ("strecha", "c.png", "there is no *.camera file for it"),
        ("tum", "rgb/c.png", "rgb.txt has no row for it"),
        ("photos", "masks/a.jpg", "a.png is taken; remove one of them"),
    ],
)
def test_what_belongs_to_nothing_is_listed(tmp_path, kind, photo, reason):
    KINDS[kind](tmp_path)
    write_image(tmp_path / photo)
    capture = read_capture(tmp_path)
    assert len(capture.frames) == 2
    [found] = capture.skipped
    assert Path(photo).name in found and reason in found


def test_every_folder_of_colmap_is_looked_through(tmp_path):
    photos(tmp_path, "images/a.png", "images/left/a.png", "images/left/b.png", "masks/left/z.png")
    photos(tmp_path, "masks/left/a.png", "masks/left/b.png")
    for name in ("images/left/x.heic", "masks/left/y.gif"):
        (tmp_path / name).write_bytes(b"?")
    write_text(tmp_path / "sparse/0/cameras.txt", "1 PINHOLE 16 12 20 24 8.5 5.5")
    rows = [f"{i} 1 0 0 0 0 0 3 1 {n}\n" for i, n in enumerate(("a.png", "left/a.png"))]
    write_text(tmp_path / "sparse/0/images.txt", *rows)
    capture = read_capture(tmp_path)
    assert [frame.mask_source for frame in capture.frames] == [None, "file"]
    assert [reason.split(":")[0] for reason in capture.skipped] == [
        *("b.png", "z.png", "x.heic", "y.gif")
    ]


def test_a_photo_is_read_once(tmp_path):
    def doubled(kind: str, file: str, old: str, new: str) -> None:
        root = tmp_path / kind
        KINDS[kind](root)
        write_image(root / Path(file).parent / "c.png")
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new))
        capture = read_capture(root)
        assert len(capture.frames) == 2
        assert sum("is listed twice" in reason for reason in capture.skipped) == 1

    row = "20 0 8 0 24 5 0 0 1 1 0 0 0 1 0 0 0 1 0 0 3"
    doubled("middlebury", "x_par.txt", "2\n", f"3\nb.png {row}\n")
    doubled("colmap", "sparse/0/images.txt", "0 1 0", "7 1 0 0 0 0 0 3 1 b.png\n\n0 1 0")
    doubled("tum", "rgb.txt", "1 rgb", "0 rgb/a.png\n1 rgb")


def test_no_photo_is_learnt_from_and_held_out(tmp_path):
    photos(tmp_path, "a.png", "b.png", "c.png")
    eye = np.eye(4).tolist()
    for split, names in (("train", "ab"), ("test", "bc")):
        frames = [{"file_path": name, "transform_matrix": eye} for name in names]
        text = json.dumps({"fl_x": 9, "frames": frames})
        write_text(tmp_path / f"transforms_{split}.json", text)
    capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["a", "b", "c"] and capture.test == (2,)
    [reason] = capture.skipped
    assert "b.png is listed twice" in reason


@pytest.mark.parametrize("suffix", [".gpr", ".dcr", ".rwl", ".heics", ".jxr", ".qoi", ".dpx"])
def test_rarer_kinds_are_listed(tmp_path, suffix):
    write_photos(tmp_path)
    (tmp_path / f"x{suffix}").write_bytes(b"?")
    assert [reason.split(":")[0] for reason in read_capture(tmp_path).skipped] == [f"x{suffix}"]


def test_pipes_in_the_place_of_what_a_user_names_do_not_block(tmp_path):
    write_image(tmp_path / "a.png")
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with at_most(5):
        with pytest.raises(ValueError, match=r"pipe\.png is no depth map of ours"):
            read_depth(pipe)
        with pytest.raises(ValueError, match=r"pipe\.png is not a file"):
            read_intrinsics(pipe, tmp_path / "a.png", (12, 16))
        with pytest.raises(ValueError, match=r"pipe\.png is not a file"):
            read_rows(pipe)


def test_depth_maps_larger_than_the_memory_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encode_depth(torch.ones(300, 400)))
    assert read_depth(tmp_path / "a.png")[0].shape == (300, 400)
    free = 64 * 300 * 400 - 1
    monkeypatch.setattr("invgraph.files.opening.available_bytes", lambda: free)
    with pytest.raises(ValueError, match=r"a\.png is 300x400 .*fit into the free memory"):
        read_depth(tmp_path / "a.png")


def test_photos_of_colmap_may_lie_beside_its_images(tmp_path):
    photos(tmp_path, "images/a.png", "other/b.png", "other/c.png", "masks/a.png")
    write_text(tmp_path / "sparse/0/cameras.txt", "1 PINHOLE 16 12 20 24 8.5 5.5")
    rows = [f"{i} 1 0 0 0 0 0 3 1 {n}\n" for i, n in enumerate(("a.png", "../other/b.png"))]
    write_text(tmp_path / "sparse/0/images.txt", *rows)
    capture = read_capture(tmp_path)
    assert len(capture.frames) == 2
    assert capture.skipped == ("c.png: the COLMAP model has no camera for it",)


def test_llff_says_which_photos_are_not_read(tmp_path):
    write_llff(tmp_path)
    (tmp_path / "images/b.png").rename(tmp_path / "images/b.heic")
    expect_error(tmp_path, r"2 poses but .* has 1 photos besides 1 that are not read \(b\.heic\)")
