"""Numbers that no camera has: every reader refuses them, with the file, in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_captures as captures
import torch
from capture_files import write_text
from PIL import Image

from invgraph.data import Capture, read_capture
from invgraph.data.frame import make_lens
from invgraph.data.object_pose_files import read_hypotheses, read_pose, read_true_poses
from invgraph.data.truth import MeasuredMap, SceneTruth
from invgraph.geometry.lens import checked_lens

HUGE = "1" * 400
# Of a photo of 60x80 pixels: focal lengths from 0.8 to 800000 are possible.
FOCALS = ["1e300", "1e30", "1e8", "1e-320", "0.5", "0", "-70", "nan", "inf", "1e400", HUGE]
JSON_FOCALS = [*FOCALS[:7], "NaN", "Infinity", HUGE, '"70"', "true", "[]", "{}"]
PRINCIPALS = ["1e300", "1e8", "nan", "-inf", HUGE]
JSON_PRINCIPALS = ["1e300", "1e8", "NaN", "-Infinity", HUGE, '"40"', "false", "[40]"]
FAR = ["1e300", "1e30", "nan", HUGE]


def changed(write: Callable, folder: Path, file: str, old: str, new: str) -> Capture:
    write(folder, 1)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    return read_capture(folder)


def expect_refusal(write: Callable, folder: Path, file: str, old: str, new: str) -> str:
    with pytest.raises(ValueError) as error:
        changed(write, folder, file, old, new)
    message = str(error.value)
    assert "\n" not in message and str(folder) in message and len(message) < 600
    return message


TEXTS = {  # per format: the file, what stands before fx and after it, cx, and a translation
    captures.colmap: ("sparse/0/cameras.txt", "PINHOLE 80 60 {}", "70 70", "40 30"),
    captures.middlebury: ("x_par.txt", "{}", " 70 0 39.5", " 39.5 0"),
    captures.strecha: ("a.jpg.camera", "{}", "70 0 39.5", "39.5"),
    captures.seven_scenes: ("camera-intrinsics.txt", "{}", "70 0 39.5", "39.5"),
    captures.kitti: ("calib.txt", "{}", "P2: 70 0 39.5", "39.5"),
    captures.stereo: ("calib.txt", "{}", "[70 0 39.5", "39.5"),
}


@pytest.mark.parametrize("write", TEXTS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("number", FOCALS, ids=lambda number: number[:8])
def test_focal_lengths_of_text_files(tmp_path, write, number):
    file, _, old, _ = TEXTS[write]
    expect_refusal(write, tmp_path, file, old, old.replace("70", number, 1))


@pytest.mark.parametrize("write", TEXTS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("number", PRINCIPALS, ids=lambda number: number[:8])
def test_principal_points_of_text_files(tmp_path, write, number):
    file, _, _, old = TEXTS[write]
    first = old.split()[0]
    expect_refusal(write, tmp_path, file, old, old.replace(first, number, 1))


@pytest.mark.parametrize("number", JSON_FOCALS, ids=lambda number: number[:8])
def test_focal_lengths_of_json(tmp_path, number):
    message = expect_refusal(
        captures.transforms, tmp_path / "a", "transforms.json", '"fl_x": 70', f'"fl_x": {number}'
    )
    assert "transforms.json" in message and ("fl_x" in message or "focal length" in message)
    message = expect_refusal(
        captures.bop, tmp_path / "b", "scene_camera.json", "[70, 0", f"[{number}, 0"
    )
    assert "scene_camera.json: image 0: cam_K" in message


@pytest.mark.parametrize("number", JSON_PRINCIPALS, ids=lambda number: number[:8])
def test_principal_points_of_json(tmp_path, number):
    message = expect_refusal(
        captures.transforms, tmp_path / "a", "transforms.json", '"cx": 40', f'"cx": {number}'
    )
    assert "cx is " in message
    if number != "[40]":  # nine numbers are nine numbers, however they are listed
        expect_refusal(
            captures.bop, tmp_path / "b", "scene_camera.json", "70, 0, 39.5", f"70, 0, {number}"
        )


@pytest.mark.parametrize(
    "values",
    [
        '{"px": FX, "py": 70, "u0": CX, "v0": 29.5}',
        '{"fx": FX, "fy": 70, "cx": CX, "cy": 29.5}',
        '{"K": [[FX, 0, CX], [0, 70, 29.5], [0, 0, 1]]}',
        '{"cam_K": [FX, 0, CX, 0, 70, 29.5, 0, 0, 1]}',
        '{"fl_x": FX, "fl_y": 70, "cx": CX, "cy": 30}',
    ],
    ids=["visp", "bop", "K", "cam_K", "transforms"],
)
def test_intrinsics_beside_photos(tmp_path, values):
    captures.two(tmp_path, 1)
    cases = [(number, "40") for number in JSON_FOCALS]
    cases += [("70", number) for number in JSON_PRINCIPALS if number != "[40]"]
    for focal, principal in cases:
        text = values.replace("FX", focal).replace("CX", principal)
        (tmp_path / "cam.json").write_text(text)
        with pytest.raises(ValueError, match=r"cam\.json") as error:
            read_capture(tmp_path)
        assert "\n" not in str(error.value), (focal, principal)


@pytest.mark.parametrize("number", FAR, ids=lambda number: number[:8])
def test_poses_that_are_nowhere(tmp_path, number):
    places = [
        (captures.colmap, "sparse/0/images.txt", "1 0 0 0 0 0 0 1", f"1 0 0 0 {number} 0 0 1"),
        (captures.middlebury, "x_par.txt", "0 0 1 0 0 0", f"0 0 1 {number} 0 0"),
        (captures.strecha, "a.jpg.camera", "0 0 1\n0 0 0\n80", f"0 0 1\n{number} 0 0\n80"),
    ]
    for index, (write, file, old, new) in enumerate(places):
        expect_refusal(write, tmp_path / str(index), file, old, new)
    number = number.replace("nan", "NaN")
    old = "[0.0, 0.0, -1.0, 0.0]"
    expect_refusal(
        *(captures.transforms, tmp_path / "t", "transforms.json", old),
        f"[0.0, 0.0, -1.0, {number}]",
    )
    expect_refusal(
        *(captures.bop, tmp_path / "b", "scene_camera.json", '"cam_t_w2c": [0'),
        f'"cam_t_w2c": [{number}',
    )


@pytest.mark.parametrize("number", ["1e300", "nan", "inf", "1e30", HUGE])
def test_quaternions_of_colmap_that_are_none(tmp_path, number):
    message = expect_refusal(
        *(captures.colmap, tmp_path, "sparse/0/images.txt", "1 0 0 0 0 0 0 1"),
        f"1 0 {number} 0 0 0 0 1",
    )
    assert "images.txt" in message


def test_numbers_in_words_are_no_pose(tmp_path):
    message = expect_refusal(
        captures.transforms, tmp_path, "transforms.json", "-1.0, 0.0]", '-1.0, "0"]'
    )
    assert "no 4x4 matrix of numbers" in message


@pytest.mark.parametrize("number", ["1e300", "nan", "0", "-3", HUGE, "1e9"])
def test_sizes_baselines_and_depth_scales(tmp_path, number):
    expect_refusal(captures.colmap, tmp_path / "c", "sparse/0/cameras.txt", "80 60", f"{number} 60")
    expect_refusal(captures.strecha, tmp_path / "s", "a.jpg.camera", "80 60", f"{number} 60")
    expect_refusal(captures.stereo, tmp_path / "w", "calib.txt", "width=80", f"width={number}")
    expect_refusal(captures.stereo, tmp_path / "b", "calib.txt", "=100", f"={number}0")
    number = number.replace("nan", "NaN")
    expect_refusal(
        captures.transforms, tmp_path / "t", "transforms.json", '"w": 80', f'"w": {number}'
    )
    message = expect_refusal(
        captures.bop, tmp_path / "d", "scene_camera.json", '_scale": 1.0', f'_scale": {number}'
    )
    assert "scene_camera.json: image 0: depth_scale is " in message


@pytest.mark.parametrize("number", ["1e300", "nan", HUGE])
def test_baselines_of_kitti(tmp_path, number):
    message = expect_refusal(captures.kitti, tmp_path, "calib.txt", "-210.0", number)
    assert "calib.txt" in message


@pytest.mark.parametrize(
    ("number", "message"), [(0.0, "scale is 0.0"), (-1.0, "scale is -1"), (float("nan"), "is nan")]
)
def test_scales_of_depth_maps(tmp_path, number, message):
    with pytest.raises(ValueError, match=message):
        MeasuredMap(tmp_path / "a.png", number)


def test_the_one_check_by_its_limits():
    good = make_lens((70.0, 70.0), (40.0, 30.0), (60, 80), (0.1, 0.0, 0.0, 0.0, 0.0))
    assert checked_lens(good, "here") is good
    for focal in (0.81, 7.9e5):
        assert make_lens((focal, 70.0), (40.0, 30.0), (60, 80)).focal[0].item() == np.float32(focal)
    for focal in (0.79, 8.1e5):
        with pytest.raises(ValueError, match=r"here: focal length fx is .*expected > 0\.8 and < "):
            make_lens((focal, 70.0), (40.0, 30.0), (60, 80), where="here")
    with pytest.raises(ValueError, match="here: principal point cy is nan"):
        make_lens((70.0, 70.0), (40.0, float("nan")), (60, 80), where="here")
    with pytest.raises(ValueError, match=r"here: distortion k2 is 1e\+30"):
        make_lens((70.0, 70.0), (40.0, 30.0), (60, 80), (0.1, 1e30, 0.0, 0.0, 0.0), where="here")
    with pytest.raises(ValueError, match="at most 1000000 pixels along a side"):
        make_lens((70.0, 70.0), (40.0, 30.0), (60, 10**19), where="here")


# A lens that is not modelled.


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"k1": 0.3, "k5": 0.35, "k6": 0.1}, "k5 is not part of the lens model None"),
        ({"camera_model": "OPENCV", "k6": 0.1}, "k6 is not part of the lens model 'OPENCV'"),
        ({"camera_model": "FULL_OPENCV", "s1": 0.1}, "s1 is not part of the lens model"),
        ({"rolling_shutter": [0, 0.1, 0, 0]}, "rolling_shutter is not part of"),
        ({"camera_model": "THIN_PRISM_FISHEYE"}, "camera_model 'THIN_PRISM_FISHEYE' is not supp"),
        ({"camera_model": []}, r"camera_model \[\] is not supported"),
        ({"is_fisheye": "false"}, "is_fisheye is 'false', expected true or false"),
        ({"is_fisheye": 1}, "is_fisheye is 1, expected true or false"),
        ({"is_fisheye": True, "camera_model": "OPENCV"}, "is_fisheye is true but camera_model is"),
        ({"is_fisheye": False, "camera_model": "OPENCV_FISHEYE"}, "is_fisheye is false but"),
    ],
)
def test_transforms_with_other_lenses(tmp_path, more, message):
    captures.transforms(tmp_path, 1)
    content = json.loads((tmp_path / "transforms.json").read_text())
    (tmp_path / "transforms.json").write_text(json.dumps(content | more))
    with pytest.raises(ValueError, match=message):
        read_capture(tmp_path)


def test_terms_that_are_zero_are_no_terms(tmp_path):
    captures.transforms(tmp_path, 1)
    content = json.loads((tmp_path / "transforms.json").read_text())
    more = {"k5": 0, "k6": 0.0, "rolling_shutter": [0, 0, 0, 0], "is_fisheye": False}
    (tmp_path / "transforms.json").write_text(json.dumps(content | more))
    assert read_capture(tmp_path).frames[0].known_camera.distortion is None


def test_the_rational_lens_is_read_whole(tmp_path):
    """k1 .3, k5 .35, k6 .1: r² is .3725, so the factor is 1.11175 / 1.0537334."""
    terms = {"k1": 0.3, "k5": 0.35, "k6": 0.1}
    about = {"fl_x": 70, "cx": 40, "cy": 30, "camera_model": "FULL_OPENCV", **terms}
    captures.two(tmp_path / "a", 1)
    (tmp_path / "a/cam.json").write_text(json.dumps(about))
    captures.colmap(tmp_path / "b", 1)
    line = "1 FULL_OPENCV 80 60 70 70 40 30 .3 0 0 0 0 0 .35 .1"
    write_text(tmp_path / "b/sparse/0/cameras.txt", line)
    point = torch.tensor([[0.5, 0.35, 1.0]])
    for name in ("a", "b"):
        lens = read_capture(tmp_path / name).frames[0].known_lens
        assert lens is not None
        assert lens.project(point)[0][0].tolist() == pytest.approx([76.927, 55.849], abs=1e-3)


@pytest.mark.parametrize(
    "values",
    [
        {"px": 70, "py": 70, "u0": 39.5, "v0": 29.5},
        {"fx": 70, "fy": 70, "cx": 39.5, "cy": 29.5},
        {"K": [[70, 0, 39.5], [0, 70, 29.5], [0, 0, 1]]},
        {"cam_K": [70, 0, 39.5, 0, 70, 29.5, 0, 0, 1]},
    ],
    ids=["visp", "bop", "K", "cam_K"],
)
def test_terms_beside_intrinsics_that_have_none(tmp_path, values):
    captures.two(tmp_path, 1)
    for more in ({"k1": 0.3}, {"k5": 0.35}, {"D": [0.1, 0, 0, 0]}, {"dist_coeffs": [[0.1]]}):
        (tmp_path / "cam.json").write_text(json.dumps(values | more))
        with pytest.raises(ValueError, match=rf"cam\.json: {next(iter(more))} is not read beside"):
            read_capture(tmp_path)
    (tmp_path / "cam.json").write_text(json.dumps(values | {"k1": 0, "D": [0, 0, 0, 0]}))
    assert read_capture(tmp_path).frames[0].lens is not None
    if "px" not in values:
        (tmp_path / "cam.json").write_text(json.dumps(values | {"camera_model": "OPENCV_FISHEYE"}))
        with pytest.raises(ValueError, match="camera_model 'OPENCV_FISHEYE' is not read beside"):
            read_capture(tmp_path)


def test_other_lenses_of_bop_are_named(tmp_path):
    captures.bop(tmp_path, 1)
    content = json.loads((tmp_path / "scene_camera.json").read_text())
    content["0"]["cam_model"] = {"projection_model_type": "CameraModelType.FISHEYE624"}
    (tmp_path / "scene_camera.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"cam_model 'CameraModelType\.FISHEYE624' is not supp"):
        read_capture(tmp_path)


# Files whose headers or values are hostile.


def npy(header: str) -> bytes:
    text = header.encode() + b" " * (-(11 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


ARRAYS = {
    "too large": npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**22}, 17)}}"),
    "not there": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 17)}"),
    "unclosed": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 17"),
    "deep": npy("(" * 300),
    "zip": b"PK\x03\x04 and nothing more",
    "pickle": b"\x80\x04N.",
    "nothing": b"",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_with_hostile_headers(tmp_path, name):
    captures.llff(tmp_path, 1)
    (tmp_path / "poses_bounds.npy").write_bytes(ARRAYS[name])
    with pytest.raises(ValueError, match=r"poses_bounds\.npy cannot be read") as error:
        read_capture(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"poses_bounds\.npy cannot be read as an array"):
        MeasuredMap(tmp_path / "poses_bounds.npy").load()


@pytest.mark.parametrize(
    "time",
    [
        "2011-09-26T13:02:25+00:00",
        "2011-09-26 13:02:25.96+02:00",
        "20110926T130225+0000",
        "2011-09-26",
        "2011-13-26 13:02:25.9",
    ],
)
def test_time_stamps_with_zones_and_without(tmp_path, time):
    captures.kitti_raw(tmp_path, 1)
    write_text(tmp_path / "image_02/timestamps.txt", "2011-09-26 13:02:25.964389445", time)
    with pytest.raises(ValueError, match=r"timestamps\.txt: .*expected times such as") as error:
        read_capture(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[" * 100_000, f"[[{HUGE}]]", '{"camera_from_object": [1]}', "3"])
def test_pose_files_that_are_none(tmp_path, text):
    file = tmp_path / "pose.json"
    file.write_text(text)
    for read in (read_pose, read_true_poses):
        with pytest.raises(ValueError, match=r"pose\.json") as error:
            read(file)
        assert "\n" not in str(error.value)
    file.write_text(f'{{"camera_from_object": {{"a": [[{HUGE}, 0, 0, 0]]}}}}')
    with pytest.raises(ValueError, match=r"pose\.json: a: the pose is no 4x4 matrix"):
        read_true_poses(file)
    file.write_text(f'[]\n{{"weights": [{HUGE}], "camera_from_object": []}}\n')
    assert read_hypotheses(file) == {}


def test_exif_that_is_junk_leaves_photos_upright(tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (16, 12)).save(
            tmp_path / f"{name}.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"
        )
    assert [frame.size for frame in read_capture(tmp_path).frames] == [(12, 16)] * 2
    assert read_capture(tmp_path).frames[0].thumbnail(8).shape == (6, 8, 3)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"k1": 0.2}, "k1 is not read beside cam_K"),
        ({"dist": [0.1, 0.2]}, "dist is not read beside cam_K"),
        ({"cam_dist": [0, 0, 0.1]}, "cam_dist is not read beside cam_K"),
        ({"distortion_model": "equidistant"}, "distortion_model 'equidistant' is not read beside"),
    ],
)
def test_terms_of_lenses_of_bop_are_named(tmp_path, entry, message):
    captures.bop(tmp_path, 1)
    source = tmp_path / "scene_camera.json"
    cameras = json.loads(source.read_text())
    source.write_text(json.dumps(cameras | {"1": cameras["1"] | entry}))
    with pytest.raises(ValueError, match=f"scene_camera.json: image 1: {message}"):
        read_capture(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"camera_model": []},
        {"camera_model": 5},
        {"cam_model": "KANNALA_BRANDT"},
        {"distortion_model": "equidistant"},
        {"is_fisheye": True},
        {"coeffs": [0.1, 0, 0, 0, 0]},
        {"distortion_coeffs": [0.1]},
        {"distCoeffs": [0.1]},
        {"radial_distortion": [0.1]},
        {"K1": 0.1},
    ],
    ids=lambda values: next(iter(values)),
)
def test_other_words_for_lenses_are_known(tmp_path, values):
    captures.two(tmp_path, 1)
    plain = {"fx": 70, "fy": 70, "cx": 39.5, "cy": 29.5}
    visp = {"px": 70, "py": 70, "u0": 39.5, "v0": 29.5}
    for known in (plain, visp):
        (tmp_path / "cam.json").write_text(json.dumps(known | values))
        with pytest.raises(ValueError, match=r"cam\.json: \w+ .*is not read beside"):
            read_capture(tmp_path)
    straight = {"distortion_model": "plumb_bob", "camera_model": "PINHOLE", "coeffs": [0, 0]}
    (tmp_path / "cam.json").write_text(json.dumps(plain | straight))
    lens = read_capture(tmp_path).frames[0].lens
    assert lens is not None and lens.distortion is None and lens.focal.tolist() == [70, 70]


def test_transposed_poses_are_refused(tmp_path):
    old, new = "[0.0, 0.0, 0.0, 1.0]", "[1.0, 2.0, 3.0, 1.0]"
    message = expect_refusal(captures.transforms, tmp_path, "transforms.json", old, new)
    assert "the last row of the pose is 1, 2, 3, 1, expected 0, 0, 0, 1; transpose it?" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("PINHOLE 80 60 70 40 30", "has 4 parameters but got 3"),
        ("FOV 80 60 70 70 40 30 .9", "FOV is not supported"),
        ("NOPE 80 60 1", "NOPE is not supported"),
    ],
)
def test_lenses_of_colmap_are_refused_with_the_file(tmp_path, line, message):
    old = "PINHOLE 80 60 70 70 40 30"
    assert message in expect_refusal(captures.colmap, tmp_path, "sparse/0/cameras.txt", old, line)


@pytest.mark.parametrize("count", ["\u00b2", "\u0662", "9" * 400, "9" * 5000, "-2", "2.0"])
def test_counts_of_middlebury(tmp_path, count):
    message = expect_refusal(captures.middlebury, tmp_path, "x_par.txt", "2\n", f"{count}\n")
    assert "x_par.txt does not start with the number of photos" in message


DRIVE = {  # per file: good rows
    "calib_cam_to_cam.txt": (
        *("S_rect_02: 80 60", "P_rect_02: 70 0 39.5 0 0 70 29.5 0 0 0 1 0"),
        "R_rect_00: 1 0 0 0 1 0 0 0 1",
    ),
    "calib_imu_to_velo.txt": ("R: 1 0 0 0 1 0 0 0 1", "T: 0 0 0"),
    "calib_velo_to_cam.txt": ("R: 1 0 0 0 1 0 0 0 1", "T: 0 0 0"),
}


def drive(folder: Path, orientation: int) -> None:
    captures.kitti_raw(folder, orientation)
    for name, rows in DRIVE.items():
        write_text(folder / name, *rows)
    for index in range(2):
        write_text(folder / f"oxts/data/{index:010d}.txt", f"49 8 {100 + index} 0 0 0")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("calib_cam_to_cam.txt", "S_rect", "X_rect", "has no S_rect_02 of 1x2 numbers"),
        (
            "calib_cam_to_cam.txt",
            "R_rect_00: 1",
            "R_rect_00: 0",
            "R_rect_00: the pose is not rigid",
        ),
        (
            "calib_cam_to_cam.txt",
            "R_rect_00: 1",
            "R_rect_00: 3",
            "R_rect_00: the pose is not rigid",
        ),
        ("calib_cam_to_cam.txt", "02: 70", "02: 1e8", "P_rect_02: focal length fx is 1e+08"),
        ("calib_imu_to_velo.txt", "R: 1", "R: 2", "R: the pose is not rigid"),
        ("calib_velo_to_cam.txt", "T: 0 0 0", "T: 0 0", "has no T of 3x1 numbers"),
    ],
)
def test_calibrations_of_a_drive_are_named(tmp_path, file, old, new, message):
    assert f"{tmp_path / 'a' / file}" in (
        found := expect_refusal(drive, tmp_path / "a", file, old, new)
    )
    assert message in found


def test_calibrations_of_a_drive_as_people_write_them(tmp_path):
    drive(tmp_path / "a", 1)
    expected = read_capture(tmp_path / "a").truth
    old, new = "P_rect_02: ", "# K, then: zeros\n\tP_rect_02 :\t"
    found = changed(drive, tmp_path / "b", "calib_cam_to_cam.txt", old, new).truth
    assert expected is not None and found is not None
    for pose, same in zip(expected.poses, found.poses, strict=True):
        assert pose is not None and same is not None and torch.equal(pose, same)
    assert found.poses[1] is not None and not torch.equal(found.poses[1], torch.eye(4))


def test_maps_that_hold_no_numbers(tmp_path):
    for index, values in enumerate(
        (np.zeros((2, 2), complex), np.array([["1"]]), np.zeros((2, 2), [("a", "f4")]))
    ):
        path = tmp_path / f"{index}.npy"
        np.save(path, values)
        with pytest.raises(ValueError, match=r"\.npy cannot be read .*expected numbers"):
            MeasuredMap(path).load()
    np.save(tmp_path / "far.npy", np.array([[1e300, 2.0]]))
    assert MeasuredMap(tmp_path / "far.npy").load().tolist() == [[0.0, 2.0]]
    (tmp_path / "a.pfm").write_bytes(b"Pf\n1 1\n" + b"\xff" * 10_000 + b"\n1234")
    with pytest.raises(ValueError, match=r"a\.pfm is no grey PFM") as error:
        MeasuredMap(tmp_path / "a.pfm").load()
    assert len(str(error.value)) < 400


def test_true_lights_of_another_shape_are_named(tmp_path):
    np.savez(tmp_path / "light.npz", radiance=np.zeros(2), coefficients=np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"light\.npz: radiance has the shape \(2,\)"):
        SceneTruth(tmp_path).environment()
    with pytest.raises(ValueError, match=r"light\.npz has no direction"):
        SceneTruth(tmp_path).light_direction()


def test_words_are_no_initial_pose(tmp_path):
    matrix = [[str(value) for value in row] for row in np.eye(4)]
    (tmp_path / "pose.json").write_text(json.dumps(matrix))
    with pytest.raises(ValueError, match=r"pose\.json holds no 4x4 matrix of numbers"):
        read_pose(tmp_path / "pose.json")
