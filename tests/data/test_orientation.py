"""What a camera's numbers refer to, where EXIF says that a photo is stored turned or mirrored.

The photos and cameras are those of ``small_captures``.
"""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from capture_files import write_text
from PIL import Image
from small_captures import (
    COLUMNS,
    ROWS,
    bop,
    colmap,
    kitti,
    kitti_raw,
    levels,
    llff,
    middlebury,
    save,
    seven_scenes,
    stereo,
    strecha,
    transforms,
    two,
)

from invgraph.data import Frame, read_capture
from invgraph.data.export import write_capture
from invgraph.data.images import orientation_of
from invgraph.data.intrinsics import read_intrinsics
from invgraph.geometry.lens import Lens

ORIENTATIONS = range(1, 9)
RAY = torch.tensor([22.5, -16.5, 70.0])
STORED = (62.5, 13.5)
# Where a stored pixel (u, v) is in the upright photo, and a stored direction (x, y), by EXIF 2.32:
# the value says which sides of the scene the stored row 0 and column 0 are.
UPRIGHT: dict[int, tuple[Callable, Callable]] = {
    1: (lambda u, v: (u, v), lambda x, y: (x, y)),
    2: (lambda u, v: (COLUMNS - u, v), lambda x, y: (-x, y)),
    3: (lambda u, v: (COLUMNS - u, ROWS - v), lambda x, y: (-x, -y)),
    4: (lambda u, v: (u, ROWS - v), lambda x, y: (x, -y)),
    5: (lambda u, v: (v, u), lambda x, y: (y, x)),
    6: (lambda u, v: (ROWS - v, u), lambda x, y: (-y, x)),
    7: (lambda u, v: (ROWS - v, COLUMNS - u), lambda x, y: (-y, -x)),
    8: (lambda u, v: (v, COLUMNS - u), lambda x, y: (y, -x)),
}


FORMATS = [
    *(colmap, transforms, llff, middlebury, strecha, bop, seven_scenes, kitti, kitti_raw, stereo)
]


def middle(plane: torch.Tensor) -> tuple[float, float]:
    """(u, v), corner origin, of the middle of what is bright."""
    rows, columns = (plane >= 0.5).nonzero(as_tuple=True)
    return columns.float().mean().item() + 0.5, rows.float().mean().item() + 0.5


def lens_of(frame: Frame) -> Lens:
    lens = frame.known_lens
    assert lens is not None
    return lens


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_cameras_refer_to_the_pixels_as_stored(tmp_path, write, orientation):
    write(tmp_path, orientation)
    capture = read_capture(tmp_path)
    assert len(capture.frames) == 2 and not capture.skipped
    for frame in capture.frames:
        assert frame.size == (ROWS, COLUMNS)
        image, mask = frame.load()
        assert middle(image[..., 0]) == pytest.approx(STORED, abs=0.1)
        assert mask is None or middle(mask) == pytest.approx(STORED, abs=0.1)
        assert (mask is not None) == (write in (colmap, transforms, llff, middlebury))
        pixel = lens_of(frame).project(RAY[None])[0][0].tolist()
        assert pixel == pytest.approx(STORED, abs=1e-3)
        assert frame.levels()[13, 62, 0] == 255 and frame.levels().shape[:2] == (ROWS, COLUMNS)
        assert frame.thumbnail(COLUMNS)[13, 62].tolist() == [255, 255, 255]
        if frame.right is not None:
            assert middle(frame.load_right()[..., 0]) == pytest.approx(STORED, abs=0.1)


def test_tum_refers_to_the_pixels_as_stored(tmp_path):
    folder = tmp_path / "freiburg3"
    pixels = np.zeros((480, 640, 3), np.uint8)
    pixels[101:104, 501:504] = 255
    for orientation in ORIENTATIONS:
        save(folder / f"rgb/{orientation}.png", orientation, pixels)
    write_text(folder / "rgb.txt", *(f"{i} rgb/{i}.png" for i in ORIENTATIONS))
    for frame in read_capture(folder).frames:
        assert middle(frame.load()[0][..., 0]) == pytest.approx((502.5, 102.5))
        assert lens_of(frame).principal.tolist() == pytest.approx([320.6, 248.1])


def test_portrait_photos_of_a_phone_are_read_with_their_model(tmp_path):
    colmap(tmp_path, 6)
    frames = read_capture(tmp_path).frames
    assert [frame.size for frame in frames] == [(60, 80), (60, 80)]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    "values",
    [
        {"px": 70, "py": 70, "u0": 39.5, "v0": 29.5, "w": 80, "h": 60},
        {"cam_K": [70, 0, 39.5, 0, 70, 29.5, 0, 0, 1]},
        {"fx": 70, "fy": 70, "cx": 39.5, "cy": 29.5},
        {"fl_x": 70, "cx": 40, "cy": 30, "k1": 0.1, "p1": 0.03, "p2": -0.05, "w": 80, "h": 60},
        {"fl_x": 60, "cx": 38, "cy": 33, "k1": 0.1, "camera_model": "OPENCV_FISHEYE"},
    ],
    ids=["visp", "cam_K", "bop", "transforms", "fisheye"],
)
def test_plain_photos_are_upright_and_their_intrinsics_turn_with_them(
    tmp_path, values, orientation
):
    two(tmp_path, orientation)
    (tmp_path / "cam.json").write_text(json.dumps(values))
    pixel, direction = UPRIGHT[orientation]
    stored = read_intrinsics(
        tmp_path / "cam.json", tmp_path / "a.png", (ROWS, COLUMNS), as_stored=True
    )
    assert (stored.height, stored.width) == (ROWS, COLUMNS)
    x, y, z = stored.directions(torch.tensor([STORED]))[0].tolist()
    for frame in read_capture(tmp_path).frames:
        found = middle(frame.load()[0][..., 0])
        assert found == pytest.approx(pixel(*STORED))
        assert lens_of(frame).project(torch.tensor([[*direction(x, y), z]]))[0][0].tolist() == (
            pytest.approx(found, abs=1e-3)
        )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_matrix_of_opencv_is_of_the_upright_photo(tmp_path, orientation):
    two(tmp_path, orientation)
    size = (COLUMNS, ROWS) if orientation >= 5 else (ROWS, COLUMNS)
    matrix = [[70, 0, 20.5], [0, 72, 33.5], [0, 0, 1]]
    (tmp_path / "cam.json").write_text(json.dumps({"K": matrix, "h": size[0], "w": size[1]}))
    frame = read_capture(tmp_path).frames[0]
    assert frame.size == size
    assert lens_of(frame).principal.tolist() == [21, 34]
    # The same lens of the stored pixels: both see one direction at one of them.
    stored = read_intrinsics(
        tmp_path / "cam.json", tmp_path / "a.png", (ROWS, COLUMNS), as_stored=True
    )
    pixel, direction = UPRIGHT[orientation]
    x, y, z = stored.directions(torch.tensor([STORED]))[0].tolist()
    seen = lens_of(frame).project(torch.tensor([[*direction(x, y), z]]))[0][0].tolist()
    assert seen == pytest.approx(pixel(*STORED), abs=1e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_masks_of_plain_photos_are_upright(tmp_path, orientation):
    two(tmp_path, orientation)
    u, v = UPRIGHT[orientation][0](*STORED)
    rows, columns = (COLUMNS, ROWS) if orientation >= 5 else (ROWS, COLUMNS)
    mask = np.zeros((rows, columns), np.uint8)
    mask[int(v) - 2 : int(v) + 3, int(u) - 2 : int(u) + 3] = 255
    save(tmp_path / "masks/a.png", 1, mask)
    save(tmp_path / "masks/b.png", orientation, levels())  # a mask that is stored turned, too
    for frame in read_capture(tmp_path).frames:
        image, found = frame.load()
        assert found is not None
        assert middle(found) == pytest.approx((u, v))
        assert middle(image[..., 0]) == pytest.approx((u, v))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_exif_does_not_know_is_none(tmp_path, orientation):
    two(tmp_path, orientation)
    assert orientation_of(tmp_path / "a.png") == 1
    assert middle(read_capture(tmp_path).frames[0].load()[0][..., 0]) == pytest.approx(STORED)


@pytest.mark.parametrize("junk", [b"Exif\0\0junk", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0"])
def test_junk_in_exif_spoils_no_camera(tmp_path, junk):
    colmap(tmp_path, 1)
    Image.fromarray(levels()).save(tmp_path / "images/a.jpg", exif=junk, quality=100)
    frames = read_capture(tmp_path).frames
    assert len(frames) == 2 and middle(frames[0].load()[0][..., 0]) == pytest.approx(STORED)


@pytest.mark.parametrize("to", ["transforms", "colmap"])
@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_converted_photos_keep_the_pixels_of_their_cameras(tmp_path, orientation, to):
    colmap(tmp_path / "in", orientation)
    out = write_capture(read_capture(tmp_path / "in"), tmp_path / "out", to)
    for frame in read_capture(out).frames:
        assert orientation_of(frame.image_path) == 1
        assert middle(frame.load()[0][..., 0]) == pytest.approx(STORED, abs=0.1)


def test_a_photo_on_its_side_is_told_with_a_remedy_that_helps(tmp_path):
    two(tmp_path, 6)
    values = {"px": 70, "py": 70, "u0": 29.5, "v0": 39.5, "w": 60, "h": 80}
    (tmp_path / "cam.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"a\.png is 60x80 .*mogrify -auto-orient") as error:
        read_capture(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        (".tif", {}),
        (".tif", {"compression": "tiff_lzw"}),
        (".tif", {"mode": "I;16"}),
        (".tif", {"mode": "L"}),
        (".tif", {"mode": "RGBA"}),
        (".webp", {"lossless": True}),
        (".jpg", {"quality": 100}),
    ],
    ids=["tif", "lzw", "16 bits", "grey", "alpha", "webp", "jpg"],
)
def test_every_kind_of_file_is_turned_once(tmp_path, suffix, how, orientation):
    how = dict(how)
    image = Image.fromarray(levels()).convert(how.pop("mode", "RGB"))
    if image.mode == "I;16":
        image = Image.fromarray(levels()[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "images").mkdir()
    for name in "ab":
        image.save(tmp_path / f"images/{name}{suffix}", exif=exif, **how)
    (tmp_path / "cam.json").write_text('{"fl_x": 70, "fl_y": 80, "cx": 50, "cy": 30}')
    pixel, _ = UPRIGHT[orientation]
    for frame in read_capture(tmp_path).frames:
        assert middle(frame.load()[0][..., 0]) == pytest.approx(pixel(*STORED), abs=0.1)
        assert frame.levels().shape[:2] == frame.thumbnail(COLUMNS).shape[:2] == frame.size
        assert orientation_of(frame.image_path) == orientation
        assert lens_of(frame).principal.tolist() == pytest.approx(pixel(50, 30))
    write_text(tmp_path / "sparse/0/cameras.txt", "1 PINHOLE 80 60 70 70 40 30")
    rows = [f"{i} 1 0 0 0 0 0 0 1 {name}{suffix}\n" for i, name in enumerate("ab")]
    write_text(tmp_path / "sparse/0/images.txt", *rows)
    for frame in read_capture(tmp_path).frames:
        assert frame.size == (ROWS, COLUMNS)
        assert middle(frame.load()[0][..., 0]) == pytest.approx(STORED, abs=0.1)
        shown = frame.thumbnail(COLUMNS)
        assert shown.shape[:2] == (ROWS, COLUMNS) and shown[13, 62].min() > 250
    out = write_capture(read_capture(tmp_path), tmp_path / "out", "colmap")
    for frame in read_capture(out).frames:
        assert middle(frame.load()[0][..., 0]) == pytest.approx(STORED, abs=0.1)
        assert orientation_of(frame.image_path) == 1
