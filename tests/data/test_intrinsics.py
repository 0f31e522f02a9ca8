"""Intrinsics in files of their own: every kind, half pixels, sizes, and what is wrong with them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from invgraph.data import read_capture
from invgraph.data.intrinsics import read_intrinsics
from invgraph.geometry.lens import Lens

VISP = {"px": 600.0, "py": 610.0, "u0": 319.5, "v0": 239.5}
K = [[600, 0, 319.5], [0, 610, 239.5], [0, 0, 1]]
SIZE = (480, 640)


def camera(tmp_path: Path, values: object, size: tuple[int, int] = SIZE) -> Lens:
    photo, file = tmp_path / "photo.png", tmp_path / "some.json"
    Image.new("L", (size[1], size[0])).save(photo)
    file.write_text(values if isinstance(values, str) else json.dumps(values))
    return read_intrinsics(file, photo, size)


@pytest.mark.parametrize(
    "values",
    [
        VISP,
        {**VISP, "w": 640, "h": 480, "model": "perspectiveProjWithoutDistortion"},
        {"K": K},
        {"cam_K": [600, 0, 319.5, 0, 610, 239.5, 0, 0, 1], "depth_scale": 1.0},
        {"fx": 600, "fy": 610, "cx": 319.5, "cy": 239.5, "width": 640, "height": 480},
        {"fl_x": 600, "fl_y": 610, "cx": 320, "cy": 240},
    ],
    ids=["visp", "visp with size", "K", "cam_K", "bop", "transforms"],
)
def test_every_kind_gives_the_same_camera(tmp_path: Path, values: dict) -> None:
    found = camera(tmp_path, values)
    assert found.focal.tolist() == [600, 610]
    assert found.principal.tolist() == [320, 240]
    assert (found.height, found.width, found.distortion) == (*SIZE, None)


def test_intrinsics_follow_photos_that_were_scaled(tmp_path: Path) -> None:
    found = camera(tmp_path, {**VISP, "w": 640, "h": 480}, (240, 320))
    assert found.focal.tolist() == [300, 305] and found.principal.tolist() == [160, 120]


def test_radial_distortion_of_visp_is_browns_first_term(tmp_path: Path) -> None:
    model = {"model": "perspectiveProjWithDistortion", "kud": -0.1, "kdu": 0.11}
    found = camera(tmp_path, VISP | model)
    assert found.distortion is not None
    assert found.distortion.tolist() == pytest.approx([-0.1, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 5000, "is not JSON"),
        ([1, 2], "holds no intrinsics of a known kind; expected px, py, u0, v0"),
        ({"name": "webcam"}, "holds no intrinsics of a known kind"),
        ({**VISP, "py": None}, "py is None, expected a finite number"),
        ({**VISP, "px": True}, "px is True, expected a finite number"),
        ({**VISP, "px": -600}, "fx, fy > 0"),
        ('{"px": NaN, "py": 1, "u0": 1, "v0": 1}', "px is nan, expected a finite number"),
        ({**VISP, "model": "ProjWithKannalaBrandtDistortion"}, "undistort the photos first"),
        ({**VISP, "w": 500, "h": 500}, "not a scaled 500x500 as its calibration says"),
        ({**VISP, "w": 640}, "h is None, expected a finite number"),
        ({**VISP, "w": 640, "h": 0}, "h x w is 0 x 640"),
        ({"K": [[1, 0], [0, 1]]}, "expected nine finite numbers"),
        ({"K": [[600, 3, 320], [0, 610, 240], [0, 0, 1]]}, "so that skew vanishes"),
        ({"fl_x": 600, "w": 100}, "correct h, w and the intrinsics"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, values: object, words: str) -> None:
    with pytest.raises(ValueError, match=r"some\.json|photo\.png") as error:
        camera(tmp_path, values)
    assert words in str(error.value) and "\n" not in str(error.value)


def photos(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    for index, (height, width) in enumerate(sizes):
        Image.new("RGB", (width, height)).save(folder / f"p{index}.png")
    return folder


@pytest.mark.parametrize("name", ["cam.json", "camera.json"])
def test_a_folder_of_photos_knows_the_lens_beside_them(tmp_path: Path, name: str) -> None:
    photos(tmp_path, [SIZE, (240, 320)])
    (tmp_path / name).write_text(json.dumps({**VISP, "w": 640, "h": 480}))
    whole, half = read_capture(tmp_path).frames
    assert whole.camera is None and whole.lens is not None and half.lens is not None
    assert whole.lens.principal.tolist() == [320, 240]
    assert half.lens.principal.tolist() == [160, 120]


def test_another_camera_json_is_left_alone_but_a_damaged_one_is_not(tmp_path: Path) -> None:
    photos(tmp_path, [SIZE, (240, 320)])
    file = tmp_path / "camera.json"
    file.write_text('{"maker": "Nikon"}')
    assert all(frame.lens is None for frame in read_capture(tmp_path).frames)
    file.write_text(json.dumps({**VISP, "px": "wide", "w": 640, "h": 480}))
    with pytest.raises(ValueError, match="px is 'wide', expected a finite number"):
        read_capture(tmp_path)
    file.write_text(json.dumps(VISP))
    with pytest.raises(ValueError, match="states no size but the photos beside it have 2 sizes"):
        read_capture(tmp_path)


def test_intrinsics_may_lie_beside_photos_in_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    photos(tmp_path / "images", [SIZE, SIZE])
    values = {"fl_x": 99, "cx": 8, "cy": 6}
    for folder in (tmp_path / "images", tmp_path):
        (folder / "cam.json").write_text(json.dumps(values))
        for frame in read_capture(tmp_path).frames:
            assert frame.lens is not None and frame.lens.focal.tolist() == [99, 99]
        (folder / "cam.json").unlink()
