"""Formats that bring cameras along: COLMAP and Strecha."""

import math
import struct
from pathlib import Path

import pytest
import torch
from capture_files import (
    SIDE,
    epipolar_px,
    expect_error,
    known_cameras,
    matches,
    pixel,
    write_image,
    write_text,
)

from invgraph.data import read_capture

HALF = math.sqrt(0.5)
# A quarter turn about y (right becomes forward), then 3 forward.
TURN = f"{HALF} 0 {-HALF} 0 0 0 3"

# COLMAP


def write_colmap_text(folder: Path, cameras: list[str], images: list[str], points=()) -> None:
    write_text(folder / "cameras.txt", "# a comment", *cameras)
    rows = ["# two lines per image"]
    for image in images:
        rows += [image, ""]
    write_text(folder / "images.txt", *rows)
    write_text(folder / "points3D.txt", "# POINT3D_ID X Y Z R G B ERROR TRACK", *points)


def simple_colmap(root: Path, camera="1 PINHOLE 16 12 20 24 8.5 5.5") -> Path:
    for name in ("a 1.png", "a 10.png", "a 9.png"):
        write_image(root / "images" / name)
    images = [
        "7 1 0 0 0 0 0 3 1 a 10.png",
        f"3 {TURN} 1 a 1.png",
        "4 1 0 0 0 0 0 3 1 a 9.png",
    ]
    points = ["1 0.5 0.25 -1 9 9 9 0.1 3 0 4 1", "5 1e-3 2 3 1 1 1 0"]
    write_colmap_text(root / "sparse/0", [camera], images, points)
    return root


def binary_colmap(root: Path) -> Path:
    """The same model as ``simple_colmap`` writes."""
    simple_colmap(root)
    folder = root / "sparse/0"
    for file in folder.iterdir():
        file.unlink()
    camera = struct.pack("<QIiQQ4d", 1, 1, 1, 16, 12, 20, 24, 8.5, 5.5)
    (folder / "cameras.bin").write_bytes(camera)
    data = struct.pack("<Q", 3)
    for number, pose, name in (
        (7, (1, 0, 0, 0, 0, 0, 3), "a 10.png"),
        (3, (HALF, 0, -HALF, 0, 0, 0, 3), "a 1.png"),
        (4, (1, 0, 0, 0, 0, 0, 3), "a 9.png"),
    ):
        data += struct.pack("<I7dI", number, *pose, 1) + name.encode() + b"\0"
        data += struct.pack("<Qddqddq", 2, 1.5, 2.5, 1, 3.5, 4.5, -1)
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", 2)
    data += struct.pack("<Q3d3BdQiiii", 1, 0.5, 0.25, -1, 9, 9, 9, 0.1, 2, 3, 0, 4, 1)
    data += struct.pack("<Q3d3BdQ", 5, 1e-3, 2, 3, 1, 1, 1, 0.0, 0)
    (folder / "points3D.bin").write_bytes(data)
    return root


@pytest.mark.parametrize("write", [simple_colmap, binary_colmap])
def test_colmap_pixel_by_hand(tmp_path, write):
    capture = read_capture(write(tmp_path))
    assert capture.kind == "COLMAP" and capture.has_cameras and not capture.skipped
    # Numbers in names count as numbers.
    assert [frame.name for frame in capture.frames] == ["a_1", "a_9", "a_10"]
    first, second = known_cameras(capture, 0, 1)
    assert pixel(second, [0.6, 0.25, 0.0]) == pytest.approx([8.5 + 4, 5.5 + 2, 3], abs=1e-5)
    # The turned one: x_camera = -z_world, z_camera = x_world + 3.
    assert pixel(first, [1.0, 0.5, -2.0]) == pytest.approx([8.5 + 10, 5.5 + 3, 4], abs=1e-5)
    assert capture.points is not None
    torch.testing.assert_close(capture.points, torch.tensor([[0.5, 0.25, -1], [1e-3, 2, 3]]))


@pytest.mark.parametrize("place", [".", "sparse/0", "sparse"])
def test_colmap_model_is_found_from_every_folder(tmp_path, place):
    simple_colmap(tmp_path)
    assert len(read_capture(tmp_path / place if place != "sparse" else tmp_path).frames) == 3
    larger = tmp_path / "sparse/1"
    write_colmap_text(
        larger,
        ["1 PINHOLE 16 12 20 24 8.5 5.5"],
        [f"{i} 1 0 0 0 0 0 3 1 {'a 9.png' if i else 'a 10.png'}" for i in (0, 1)],
    )
    text = (larger / "images.txt").read_text()
    (larger / "images.txt").write_text(text + "# " + "-" * 500 + "\n")
    expected = 3 if place == "sparse/0" else 2
    assert len(read_capture(tmp_path / place if place != "sparse" else tmp_path).frames) == expected


@pytest.mark.parametrize(
    ("camera", "distortion"),
    [
        ("SIMPLE_PINHOLE 16 12 20 8.5 5.5", None),
        ("SIMPLE_RADIAL 16 12 20 8.5 5.5 0.1", [0.1, 0, 0, 0, 0]),
        ("RADIAL 16 12 20 8.5 5.5 0.1 0.2", [0.1, 0.2, 0, 0, 0]),
        ("OPENCV 16 12 20 20 8.5 5.5 0.1 0.2 0.01 0.02", [0.1, 0.2, 0.01, 0.02, 0]),
        ("RADIAL_FISHEYE 16 12 20 8.5 5.5 0.1 0.2", [0.1, 0.2, 0, 0]),
        ("OPENCV_FISHEYE 16 12 20 20 8.5 5.5 1 2 3 4", [1, 2, 3, 4]),
        (
            "FULL_OPENCV 16 12 20 20 8.5 5.5 0.1 0.2 0.01 0.02 0.3 0.4 0.5 0.6",
            [0.1, 0.2, 0.01, 0.02, 0.3, 0.4, 0.5, 0.6],
        ),
    ],
)
def test_colmap_models(tmp_path, camera, distortion):
    found = read_capture(simple_colmap(tmp_path, f"1 {camera}")).frames[0].known_camera
    assert found.focal.tolist() == [20, 20] and found.principal.tolist() == [8.5, 5.5]
    if distortion is None:
        assert found.distortion is None
    else:
        assert found.distortion is not None
        assert found.distortion.tolist() == pytest.approx(distortion)


def with_binary_lens(root: Path, number: int, *params: float) -> Path:
    camera = struct.pack(f"<QIiQQ{len(params)}d", 1, 1, number, 16, 12, *params)
    (binary_colmap(root) / "sparse/0/cameras.bin").write_bytes(camera)
    return root


def test_the_plain_fisheye_of_a_binary_model(tmp_path):
    capture = read_capture(with_binary_lens(tmp_path, 15, 20, 24, 8.5, 5.5))
    [camera] = known_cameras(capture, 1)
    assert camera.lens.model == "fisheye" and camera.focal.tolist() == [20, 24]
    # An eighth of a turn to the right: x = 3 at a depth of 3.
    assert pixel(camera, [3.0, 0.0, 0.0])[:2] == pytest.approx([8.5 + 20 * math.pi / 4, 5.5])


def test_binary_models_of_other_lenses_are_refused_by_name(tmp_path):
    with_binary_lens(tmp_path, 16, 20, 24, 8.5, 5.5, 0.5, 1.0)
    with pytest.raises(ValueError, match="COLMAP model EUCM is not supported; use one of"):
        read_capture(tmp_path)


def test_colmap_of_the_full_size_fits_smaller_photos(tmp_path):
    simple_colmap(tmp_path, "1 PINHOLE 64 48 80 96 34 22")
    camera = read_capture(tmp_path).frames[0].known_camera
    assert (camera.height, camera.width) == SIDE
    assert camera.focal.tolist() == [20, 24] and camera.principal.tolist() == [8.5, 5.5]
    simple_colmap(tmp_path, "1 PINHOLE 48 64 80 96 34 22")
    expect_error(tmp_path, r"is 12x16 \(h x w\), not a scaled 64x48 .*restore the photo's aspect")


def test_colmap_masks_and_photos_without_a_camera(tmp_path):
    simple_colmap(tmp_path)
    write_image(tmp_path / "images/b.png")
    write_image(tmp_path / "masks/a 1.png.png", 255, "L")
    write_image(tmp_path / "masks/a 9.png", 255, "L")
    capture = read_capture(tmp_path)
    assert [frame.mask_source for frame in capture.frames] == ["file", "file", None]
    assert capture.skipped == ("b.png: the COLMAP model has no camera for it",)
    (tmp_path / "images/a 9.png").unlink()
    capture = read_capture(tmp_path)
    assert len(capture.frames) == 2 and capture.skipped[0].startswith("a 9.png: ")
    assert "is missing; restore it" in capture.skipped[0]


@pytest.mark.parametrize(
    ("cameras", "images", "message"),
    [
        ("1 FOV 16 12 1 2 3 4 5", "1 1 0 0 0 0 0 3 1 a 1.png", "COLMAP model FOV is not supported"),
        ("1 OPENCV_FISHEYE 16 12 1 2 3 4 5 6 7 8", "", "lists no photo"),
        ("1 PINHOLE 16 12 20", "1 1 0 0 0 0 0 3 1 a 1.png", "has 4 parameters but got 1"),
        ("1 PINHOLE 16 12 20 x 1 1", "", r"cameras\.txt: line 2: expected numbers but got '20 x"),
        ("1 PINHOLE", "", r"cameras\.txt: line 2: expected CAMERA_ID"),
        ("1 PINHOLE a 12 1 1 1 1", "", "expected integers but got 1 a 12"),
        ("2 PINHOLE 16 12 1 1 1 1", "1 1 0 0 0 0 0 3 1 a 1.png", "has camera 1, which .* lacks"),
        ("1 PINHOLE 16 12 -1 1 1 1", "1 1 0 0 0 0 0 3 1 a 1.png", "focal length .* expected > 0"),
        ("1 PINHOLE 0 12 1 1 1 1", "1 1 0 0 0 0 0 3 1 a 1.png", "its camera is 12x0"),
        ("1 PINHOLE 16 12 1 1 1 1", "1 1 0 0 0", "image 1: expected IMAGE_ID QW"),
        ("1 PINHOLE 16 12 1 1 1 1", "1 0 0 0 0 0 0 3 1 a 1.png", "its quaternion has length 0"),
        ("1 PINHOLE 16 12 1 1 1 1", "1 1 0 0 0 nan 0 3 1 a 1.png", "holds NaN"),
        ("1 PINHOLE 16 12 1 1 1 1", "1 1 0 0 0 0 0 3 1 z.png", "lie in no folder images"),
    ],
)
def test_bad_colmap_text_is_named(tmp_path, cameras, images, message):
    simple_colmap(tmp_path)
    write_colmap_text(tmp_path / "sparse/0", [cameras], [images])
    expect_error(tmp_path, message)


def test_colmap_names_cannot_leave_the_folder(tmp_path):
    write_image(tmp_path / "secret.png")
    simple_colmap(tmp_path / "capture")
    text = (tmp_path / "capture/sparse/0/images.txt").read_text()
    (tmp_path / "capture/sparse/0/images.txt").write_text(
        text.replace("a 9.png", "../../secret.png")
    )
    expect_error(tmp_path / "capture", "leaves the capture's folder")


def test_bad_colmap_binary_is_named(tmp_path):
    folder = binary_colmap(tmp_path) / "sparse/0"
    for name in ("cameras", "images", "points3D"):
        source = folder / f"{name}.bin"
        whole = source.read_bytes()
        # Cut anywhere, it is noticed.
        for length in range(0, len(whole), 7):
            source.write_bytes(whole[:length])
            expect_error(tmp_path, rf"{name}\.bin ends at byte {length} in the middle")
        # A count that no memory could hold.
        source.write_bytes(b"\xff" * 8 + whole[8:])
        expect_error(tmp_path, "in the middle of a record")
        source.write_bytes(whole)
    cameras = (folder / "cameras.bin").read_bytes()
    (folder / "cameras.bin").write_bytes(cameras[:12] + struct.pack("<i", 99) + cameras[16:])
    expect_error(tmp_path, "model number 99, which is not supported; undistort")
    (folder / "cameras.bin").write_bytes(cameras)
    points = bytearray((folder / "points3D.bin").read_bytes())
    points[16:24] = struct.pack("<d", math.nan)
    (folder / "points3D.bin").write_bytes(points)
    expect_error(tmp_path, r"points3D\.bin holds NaN")


# Strecha

# The camera sits at (1, 2, 3) and looks along the world's x: right is -z, down is y.
CAMERA = """80 0 33.5
0 96 21.5
0 0 1
0 0 0
0 0 1
0 1 0
-1 0 0
1 2 3
64 48"""


def write_strecha(root: Path, content=CAMERA) -> None:
    for index in range(2):
        write_image(root / f"images_4/{index}.png")
        write_text(root / f"cameras/{index}.png.camera", content)


def test_strecha_pixel_by_hand(tmp_path):
    write_strecha(tmp_path)
    capture = read_capture(tmp_path)
    assert capture.kind == "Strecha" and capture.test == (0,)
    # K is of 64x48 with integers as pixel centres: 20, 24, (33.5 + 0.5) / 4, (21.5 + 0.5) / 4.
    found = pixel(capture.frames[1].known_camera, [5.0, 2.5, 2.0])
    assert found == pytest.approx([8.5 + 20 / 4, 5.5 + 24 * 0.5 / 4, 4], abs=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0 0 0\n", "0.1 0 0\n", "distortion is not supported there"),
        ("80 0", "80 1", "so that skew vanishes"),
        ("-1 0 0\n", "1 0 0\n", "the pose is not rigid"),
        ("64 48", "64", r"expected 26 numbers but got"),
        ("64 48", "48 64", r"is 12x16 \(h x w\), not a scaled 64x48"),
        ("64 48", "0 48", "image size 48x0"),
        ("80", "inf", "holds NaN or infinity"),
    ],
)
def test_bad_strecha_is_named(tmp_path, old, new, message):
    write_strecha(tmp_path, CAMERA.replace(old, new))
    expect_error(tmp_path, message)


def test_strecha_camera_without_a_photo_is_listed(tmp_path):
    write_strecha(tmp_path)
    write_text(tmp_path / "cameras/7.png.camera", CAMERA)
    assert read_capture(tmp_path).skipped == ("7.png: no photo of that name for 7.png.camera",)
    write_image(tmp_path / "images_4/7.png")
    (tmp_path / "images_4/7.png").write_bytes(b"no image")
    [reason] = read_capture(tmp_path).skipped
    assert reason.startswith("7.png: ") and "cannot be decoded" in reason


def test_fountain_cameras_fit_the_photos(data_dir):
    capture = read_capture(data_dir("fountain_p11"))
    assert len(capture.frames) == 11 and capture.frames[0].size == (512, 768)
    pairs = matches(capture.frames[4], capture.frames[5])
    cameras = known_cameras(capture, 4, 5)
    assert epipolar_px(pairs, cameras) < 0.6
    # Full-size intrinsics on quarter-size photos would not.
    wrong = [c.with_lens(focal=c.focal * 4, principal=c.principal * 4) for c in cameras]
    assert epipolar_px(pairs, tuple(wrong)) > 2
