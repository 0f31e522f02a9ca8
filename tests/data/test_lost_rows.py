"""One bad row costs one photo: it is listed, and the rest of the capture is read."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from capture_files import expect_error, write_image, write_text
from PIL import Image

from invgraph.data import Capture, read_capture
from invgraph.data.text import number_word, read_json, read_lines

EYE = "1 0 0 0 0 1 0 0 0 0 1 0"
LOST = ("nan", "-nan", "-1.#INF", "1.#QNAN", "-1.#IND00", "nan(ind)", "inf")


def names(capture: Capture) -> list[str]:
    return [frame.name for frame in capture.frames]


def left_out(capture: Capture, name: str, reason: str) -> None:
    """Exactly one photo is listed, with this reason."""
    [line] = capture.skipped
    assert line.startswith(f"{name}: ") and reason in line, line


def photos(folder: Path, *stems: str, suffix=".png", size=(12, 16)) -> None:
    for stem in stems:
        write_image(folder / f"{stem}{suffix}", size=size)


def test_numbers_of_windows():
    assert [math.isfinite(number_word(word)) for word in LOST] == [False] * len(LOST)
    assert number_word("1.5e2") == 150
    for word in ("1.#", "#INF", "nan(", "1.#INFX9Z", ""):
        with pytest.raises(ValueError, match="could not convert"):
            number_word(word)


# 7-Scenes


@pytest.mark.parametrize("word", [*LOST, "lost"])
def test_seven_scenes_goes_on_without_a_lost_pose(tmp_path, word):
    for index in range(3):
        stem = tmp_path / f"frame-{index:06d}"
        write_image(tmp_path / f"{stem.name}.color.png")
        rows = ["1 0 0 1", "0 1 0 2", f"0 0 1 {word if index == 1 else 3}", "0 0 0 1"]
        write_text(tmp_path / f"{stem.name}.pose.txt", *rows)
        Image.fromarray(np.full((12, 16), 100 * index, np.uint16)).save(
            tmp_path / f"{stem.name}.depth.png"
        )
    capture = read_capture(tmp_path)
    assert names(capture) == ["frame-000000.color", "frame-000002.color"]
    left_out(capture, "frame-000001.color.png", "pose.txt: line 3")
    assert capture.truth is not None and len(capture.truth.poses) == 2
    # What belongs to the other photos stays beside them.
    assert capture.truth.depth[1] is not None
    assert capture.truth.depth[1].load().max().item() == pytest.approx(0.2)
    (tmp_path / "frame-000001.pose.txt").write_text("")
    left_out(read_capture(tmp_path), "frame-000001.color.png", "pose.txt holds no numbers")


# BOP


def bop(folder: Path, cameras: dict, objects: dict | None = None) -> Path:
    photos(folder / "rgb", "000001", "000002", "000010")
    write_text(folder / "scene_camera.json", json.dumps(cameras))
    if objects is not None:
        write_text(folder / "scene_gt.json", json.dumps(objects))
    return folder


def entry(**more) -> dict:
    return {"cam_K": [20, 0, 8, 0, 24, 5, 0, 0, 1], "depth_scale": 1.0} | more


def test_bop_goes_on_without_an_entry(tmp_path):
    capture = read_capture(bop(tmp_path, {"1": entry(), "10": entry()}))
    assert names(capture) == ["000001", "000010"]
    left_out(capture, "000002.png", "scene_camera.json has no entry for 000002.png")
    capture = read_capture(bop(tmp_path, {"1": entry(), "2": {}, "10": entry()}))
    left_out(capture, "000002.png", "image 2: cam_K: expected 9 finite numbers")
    write_image(tmp_path / "rgb/preview.png")
    capture = read_capture(bop(tmp_path, {str(i): entry() for i in (1, 2, 10)} | {"x": entry()}))
    left_out(capture, "preview.png", "has no entry for preview.png")


def test_bop_goes_on_without_a_lost_pose(tmp_path):
    turn, lost = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, math.nan, 0]
    cameras = {
        str(i): entry(cam_R_w2c=turn, cam_t_w2c=lost if i == 2 else [0, 0, 0]) for i in (1, 2, 10)
    }
    capture = read_capture(bop(tmp_path, cameras))
    assert capture.has_cameras and names(capture) == ["000001", "000010"]
    left_out(capture, "000002.png", "cam_t_w2c: expected 3 finite numbers")
    objects = {"1": [], "2": [{"obj_id": 5, "cam_R_m2c": turn, "cam_t_m2c": lost}], "10": []}
    capture = read_capture(bop(tmp_path, {str(i): entry() for i in (1, 2, 10)}, objects))
    left_out(capture, "000002.png", "scene_gt.json: image 2: cam_t_m2c: expected 3 finite")


def test_bop_goes_on_without_a_pose_that_is_not_there(tmp_path):
    turn = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    posed = entry(cam_R_w2c=turn, cam_t_w2c=[0, 0, 0])
    capture = read_capture(bop(tmp_path, {"1": posed, "2": entry(), "10": posed}))
    assert capture.has_cameras and names(capture) == ["000001", "000010"]
    left_out(capture, "000002.png", "cam_R_w2c: expected 9 finite numbers")


def test_bop_numbers_may_be_text_or_padded(tmp_path):
    pose = {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [0, 0, 500]}
    objects = {"000002": [{"obj_id": "000005", **pose}], "10": [{"obj_id": "7", **pose}]}
    capture = read_capture(
        bop(tmp_path, {"000001": entry(), "2": entry(), "010": entry()}, objects)
    )
    assert names(capture) == ["000001", "000002", "000010"] and not capture.skipped
    assert capture.truth is not None
    found = [[known.object_id for known in each] for each in capture.truth.objects]
    assert found == [[], [5], [7]]
    for wrong in (True, "five", 5.5):
        bop(tmp_path, {"1": entry(), "2": entry()}, {"1": [{"obj_id": wrong, **pose}]})
        expect_error(tmp_path, "image 1: object 0 has no obj_id")


# KITTI


def kitti(folder: Path, poses: list[str], times: list[str], calibration: list[str]) -> Path:
    photos(folder / "image_2", "000000", "000001", "000002")
    write_text(folder / "poses.txt", *poses)
    write_text(folder / "times.txt", *times)
    write_text(folder / "calib.txt", *calibration)
    return folder


P2 = "20 0 8 0 0 24 5 0 0 0 1 0"


def test_kitti_goes_on_without_a_lost_row(tmp_path):
    times = ["0", "1", "2"]
    lost = EYE.replace("1 0 0 0", "1 0 0 nan", 1)
    capture = read_capture(kitti(tmp_path, [EYE, lost, EYE], times, [f"P2: {P2}"]))
    assert [frame.time for frame in capture.frames] == [0, 2]
    left_out(capture, "000001.png", "poses.txt: line 2 holds NaN")
    assert capture.truth is not None and len(capture.truth.poses) == 2
    capture = read_capture(kitti(tmp_path, [EYE] * 3, ["0", "nan", "2"], [f"P2: {P2}"]))
    left_out(capture, "000001.png", "times.txt: line 2 holds NaN")


@pytest.mark.parametrize(
    "row", [f"P2:{P2}", f"P2:\t{P2}", f"P2 : {P2}", "P2:" + P2.replace(" ", "\t")]
)
def test_kitti_calibration_is_read_as_people_write_it(tmp_path, row):
    rows = [f"P{index}: {EYE}" for index in (0, 1, 3)]
    [lens, *_] = [
        frame.lens
        for frame in read_capture(kitti(tmp_path, [EYE] * 3, ["0"] * 3, [*rows, row])).frames
    ]
    assert lens is not None and lens.focal.tolist() == [20, 24]
    assert lens.principal.tolist() == [8.5, 5.5]


def test_kitti_raw_goes_on_without_a_lost_fix(tmp_path):
    drive = tmp_path / "date/drive"
    photos(drive / "image_02/data", "0", "1", "2")
    for index, latitude in enumerate(("0.0", "nan", "0.00001")):
        write_text(drive / f"oxts/data/{index}.txt", f"{latitude} 8 100 0 0 0 1 nan")
    eye = "1 0 0 0 1 0 0 0 1"
    rows = [f"P_rect_02:{P2}", f"R_rect_00:{eye}", "S_rect_02:16 12"]
    write_text(drive.parent / "calib_cam_to_cam.txt", *rows)
    for name in ("imu_to_velo", "velo_to_cam"):
        write_text(drive.parent / f"calib_{name}.txt", f"R:{eye}", "T:0 0 0")
    capture = read_capture(drive)
    assert names(capture) == ["0", "2"]
    left_out(capture, "1.png", "1.txt holds NaN or infinity")
    assert capture.truth is not None and len(capture.truth.poses) == 2


# TUM RGB-D


def tum(folder: Path, listed: list[str], poses: list[str]) -> Path:
    photos(folder / "rgb", "a", "b", "c")
    write_text(folder / "rgb.txt", *listed)
    write_text(folder / "groundtruth.txt", *poses)
    return folder


def test_tum_is_sorted_by_time(tmp_path):
    poses = ["3 3 0 0 0 0 0 1", "1 1 0 0 0 0 0 1", "2 2 0 0 0 0 0 1"]
    capture = read_capture(tum(tmp_path, ["3 rgb/c.png", "1\trgb/b.png", "2 rgb/a.png"], poses))
    assert names(capture) == ["b", "a", "c"]
    assert [frame.time for frame in capture.frames] == [0, 1, 2]
    assert capture.truth is not None
    found = [None if pose is None else pose[0, 3].item() for pose in capture.truth.poses]
    assert found == [-1, -2, -3]


def test_tum_goes_on_without_lost_rows(tmp_path):
    poses = ["1 1 0 0 0 0 0 1", "2 nan 0 0 0 0 0 1", "3 3 0 0 0 0 0 1"]
    capture = read_capture(tum(tmp_path, ["1 rgb/a.png", "2 rgb/b.png", "3 rgb/c.png"], poses))
    assert names(capture) == ["a", "b", "c"]
    left_out(capture, "groundtruth.txt", "line 2 holds NaN or infinity")
    assert capture.truth is not None
    assert [pose is None for pose in capture.truth.poses] == [False, True, False]
    poses[1] = "2 0 0 0 0 0 0 0"
    again = read_capture(tum(tmp_path, ["1 rgb/a.png", "2 rgb/b.png", "3 rgb/c.png"], poses))
    left_out(again, "groundtruth.txt", "the pose at 2 has a quaternion of length 0")
    assert again.truth is not None
    assert [pose is None for pose in again.truth.poses] == [False, True, False]
    capture = read_capture(
        tum(tmp_path, ["1 rgb/a.png", "nan rgb/b.png", "3 rgb/c.png"], poses[::2])
    )
    assert names(capture) == ["a", "c"]
    left_out(capture, "rgb.txt: line 2", "holds NaN or infinity")
    capture = read_capture(
        tum(tmp_path, ["1 rgb/a.png", "ten rgb/b.png", "3 rgb/c.png"], poses[::2])
    )
    left_out(capture, "rgb.txt: line 2", "expected 1 numbers but got 'ten'")
    capture = read_capture(tum(tmp_path, ["1 rgb/a.png", "2", "3 rgb/c.png"], poses[::2]))
    left_out(capture, "rgb.txt: line 2", "names no file")


@pytest.mark.parametrize(("stated", "metres"), [(None, 1.0), (1.0, 5.0), (0.5, 2.5)])
def test_a_depth_scale_can_be_given(tmp_path, stated, metres):
    tum(tmp_path / "t", ["1 rgb/a.png", "2 rgb/b.png"], ["1 0 0 0 0 0 0 1"])
    write_text(tmp_path / "t/depth.txt", "1 depth/a.png")
    seven = tmp_path / "s/frame-0.depth.png"
    for path in (tmp_path / "t/depth/a.png", seven):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((12, 16), 5000, np.uint16)).save(path)
    photos(tmp_path / "s", "frame-0", "frame-1", suffix=".color.png")
    for folder in ("t", "s"):
        if stated is not None:
            write_text(tmp_path / folder / "camera.json", json.dumps({"depth_scale": stated}))
        truth = read_capture(tmp_path / folder).truth
        assert truth is not None and truth.depth[0] is not None
        usual = 5.0 if folder == "s" and stated is None else metres
        assert truth.depth[0].load().max().item() == pytest.approx(usual)


@pytest.mark.parametrize(
    "value", ["-1", "0", "NaN", "1e999", '"1"', "true", "1" + "0" * 400, "[1]"]
)
def test_impossible_depth_scales_are_named(tmp_path, value):
    tum(tmp_path, ["1 rgb/a.png", "2 rgb/b.png"], ["1 0 0 0 0 0 0 1"])
    write_text(tmp_path / "depth.txt", "1 rgb/a.png")
    write_text(tmp_path / "camera.json", f'{{"depth_scale": {value}}}')
    expect_error(tmp_path, r"camera\.json: depth_scale is .*, expected (a finite number|1e-09 to)")


# Cameras: COLMAP, transforms.json, LLFF, Middlebury, Strecha


def colmap_text(folder: Path, *lines: str) -> Path:
    photos(folder / "images", "a", "b", "c")
    write_text(folder / "sparse/0/cameras.txt", "1 PINHOLE 16 12 20 24 8.5 5.5")
    write_text(folder / "sparse/0/images.txt", *lines)
    return folder


def image(index: int, name: str, x: object = 0, lens=1) -> str:
    return f"{index} 1 0 0 0 {x} 0 3 {lens} {name}.png"


@pytest.mark.parametrize(
    "lines",
    [
        ["", "", image(1, "a"), "", image(2, "b"), "", image(3, "c"), ""],
        [image(1, "a"), "", "", image(2, "b"), "", "  ", "\t", "", image(3, "c"), ""],
        [
            "# x",
            image(1, "a"),
            "8 6 -1 9 7 -1",
            "",
            "# y",
            image(2, "b"),
            "",
            "",
            image(3, "c"),
            "",
        ],
        ["\t# x", image(1, "a").replace(" ", "\t"), "", image(2, "b"), "#", image(3, "c"), ""],
    ],
)
def test_colmap_reads_blank_lines_as_colmap_does(tmp_path, lines):
    import pycolmap

    capture = read_capture(colmap_text(tmp_path, *lines))
    assert names(capture) == ["a", "b", "c"] and not capture.skipped
    write_text(tmp_path / "sparse/0/points3D.txt", "# none")
    for kind in ("rigs", "frames"):
        (tmp_path / f"sparse/0/{kind}.txt").unlink(missing_ok=True)
    if not any("\t#" in line or "\t1" in line for line in lines):  # COLMAP splits at blanks only
        theirs = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
        assert sorted(image.name for image in theirs.images.values()) == ["a.png", "b.png", "c.png"]


def test_colmap_goes_on_without_a_lost_pose(tmp_path):
    rows = [image(1, "a"), "", image(2, "b", "-nan"), "", image(3, "c"), ""]
    capture = read_capture(colmap_text(tmp_path, *rows))
    assert names(capture) == ["a", "c"]
    left_out(capture, "b.png", "holds NaN")
    rows[2] = image(2, "b", lens=7)
    left_out(read_capture(colmap_text(tmp_path, *rows)), "b.png", "has camera 7, which cameras.txt")
    model = tmp_path / "sparse/0"
    (model / "images.txt").unlink()
    (model / "cameras.txt").unlink()
    (model / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 1, 1, 16, 12, 20, 24, 8.5, 5.5))
    data = struct.pack("<Q", 3)
    for index, name in enumerate("abc"):
        x = math.inf if name == "b" else 0.0
        data += struct.pack("<I7dI", index, 1, 0, 0, 0, x, 0, 3, 1) + f"{name}.png\0".encode()
        data += struct.pack("<Q", 0)
    (model / "images.bin").write_bytes(data)
    left_out(read_capture(tmp_path), "b.png", "holds NaN")


def test_colmap_names_may_be_endless_numbers(tmp_path):
    rows = [image(1, "a"), "", image(2, "b"), "", image(3, "9" * 5000), ""]
    expect_error(colmap_text(tmp_path, *rows), "is no file name")


@pytest.mark.parametrize("lost", [None, [[math.nan] * 4] * 4])
def test_transforms_go_on_without_a_lost_pose(tmp_path, lost):
    frames = [
        {"file_path": f"{i}.png", "transform_matrix": lost if i == 1 else np.eye(4).tolist()}
        for i in range(3)
    ]
    photos(tmp_path, "0", "1", "2")
    text = json.dumps({"fl_x": 9, "frames": frames})
    (tmp_path / "transforms.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    capture = read_capture(tmp_path)
    assert names(capture) == ["0", "2"]
    left_out(capture, "1.png", "frames[1]: the pose")


def test_llff_goes_on_without_a_lost_pose_and_a_damaged_first_photo(tmp_path):
    photos(tmp_path / "images", "0", "1", "2", "3")
    row = np.array([[0, 1, 0, 0, 12], [1, 0, 0, 0, 16], [0, 0, -1, 0, 20.0]])
    row[:, :3] = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])  # down, right, back
    rows = np.tile(np.concatenate([row.ravel(), [1, 9]]), (4, 1))
    rows[2, 3] = np.nan
    np.save(tmp_path / "poses_bounds.npy", rows)
    capture = read_capture(tmp_path)
    assert names(capture) == ["0", "1", "3"]
    left_out(capture, "2.png", "row 2 (2.png): the pose holds NaN")
    (tmp_path / "images/0.png").write_bytes(b"")
    capture = read_capture(tmp_path)
    assert names(capture) == ["1", "3"] and len(capture.skipped) == 2


def test_middlebury_goes_on_without_a_lost_line(tmp_path):
    photos(tmp_path, "a", "b", "c")
    line = "{}.png 20 0 8 0 24 5 0 0 1 1 0 0 0 1 0 0 0 1 {} 0 3"
    rows = [line.format("a", 0), line.format("b", "-1.#IND"), line.format("c", 0)]
    write_text(tmp_path / "x_par.txt", "3", *rows)
    capture = read_capture(tmp_path)
    assert names(capture) == ["a", "c"]
    left_out(capture, "b.png", "line 3 holds NaN or infinity")


def test_strecha_goes_on_without_a_lost_camera(tmp_path):
    text = "20 0 8\n0 24 5\n0 0 1\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n0 0 {}\n16 12"
    photos(tmp_path, "a", "b", "c")
    for name, value in (("a", 0), ("b", "nan"), ("c", 0)):
        write_text(tmp_path / f"{name}.png.camera", text.format(value))
    capture = read_capture(tmp_path)
    assert names(capture) == ["a", "c"]
    left_out(capture, "b.png", "b.png.camera holds NaN or infinity")


# Text


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"\xef\xbb\xbf1 2\n", ["1 2", ""]),
        ("# Größe\n1\n".encode("latin-1"), ["# Größe", "1", ""]),
        ("# Größe\n1\n".encode("utf-16"), ["# Größe", "1", ""]),
        (b"1\r\n2\r3\n", ["1", "2", "3", ""]),
    ],
)
def test_text_is_read_as_editors_write_it(tmp_path, data, lines):
    (tmp_path / "t.txt").write_bytes(data)
    assert read_lines(tmp_path / "t.txt") == lines


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", bytes(range(128, 256)), b"1\0002"])
def test_what_is_no_text_is_refused(tmp_path, data):
    (tmp_path / "t.txt").write_bytes(data)
    with pytest.raises(ValueError, match=r"t\.txt is not readable text"):
        read_lines(tmp_path / "t.txt")


def test_a_capture_in_latin_1_is_read(tmp_path):
    rows = ["# mémoire", image(1, "a"), "", image(2, "b"), "", image(3, "c")]
    colmap_text(tmp_path, *rows)
    source = tmp_path / "sparse/0/images.txt"
    source.write_bytes(source.read_text(encoding="utf-8").encode("latin-1"))
    assert names(read_capture(tmp_path)) == ["a", "b", "c"]


def test_all_rows_lost_is_an_error(tmp_path):
    expect_error(bop(tmp_path, {}), r"0 photos found .*\(3 left out; first 000001\.png: .*no entry")


def test_numbers_too_large_are_named(tmp_path):
    poses = ["1 0 0 0 0 0 0 1", "2 0 1e200 0 0 0 0 1"]
    tum(tmp_path / "t", ["1 rgb/a.png", "2 rgb/b.png"], poses)
    expect_error(tmp_path / "t", r"groundtruth\.txt: line 2 holds numbers too large for float32")
    colmap_text(tmp_path / "c", image(1, "a"), "", image(2, "b"), "")
    source = tmp_path / "c/sparse/0/points3D.txt"
    write_text(source, "1 0 0 1e40 9 9 9 0")
    expect_error(tmp_path / "c", r"points3D\.txt: line 1 holds numbers too large")
    source.unlink()
    write_text(tmp_path / "c/sparse/0/cameras.txt", f"1 PINHOLE {'9' * 400} 12 20 24 8.5 5.5")
    expect_error(tmp_path / "c", r"cameras\.txt: line 1: expected integers but got 1")


def test_a_json_file_that_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"x\.json does not exist or is not a file; write it"):
        read_json(tmp_path / "x.json", "write it.")


@pytest.mark.parametrize("word", ["nan", "-", "NaT"])
def test_kitti_raw_goes_on_without_a_lost_time(tmp_path, word):
    photos(tmp_path / "image_02/data", "0", "1", "2")
    times = [word, "2011-09-26 13:02:25.25", "2011-09-26 13:02:27"]
    write_text(tmp_path / "image_02/timestamps.txt", *times)
    capture = read_capture(tmp_path)
    assert [frame.time for frame in capture.frames] == [0, 1.75]
    left_out(capture, "0.png", r"timestamps.txt: line 1 was lost")


@pytest.mark.parametrize("end", [".5e300", ".1_5", ",5", "nan"])
def test_fractions_of_seconds_are_digits(tmp_path, end):
    photos(tmp_path / "image_02/data", "0", "1")
    times = ["2011-09-26 13:02:25.25", f"2011-09-26 13:02:27{end}"]
    write_text(tmp_path / "image_02/timestamps.txt", *times)
    expect_error(tmp_path, r"timestamps\.txt: .*does not end with a fraction of a second")


def test_comments_in_a_calibration_without_labels_count_as_no_row(tmp_path):
    rows = [f"20 0 8 {-20 * index} 0 24 5 0 0 0 1 0" for index in range(4)]
    folder = kitti(tmp_path, [EYE, EYE, EYE], ["0", "1", "2"], ["# gr\u00fcn", *rows])
    for index in range(3):
        write_image(folder / f"image_3/{index}.png")
    truth = read_capture(folder).truth
    assert truth is not None and truth.poses[0] is not None
    assert truth.poses[0][0, 3].item() == pytest.approx(-2)  # of P2, the third row


def test_middlebury_goes_on_without_a_word(tmp_path):
    photos(tmp_path, "a", "b", "c")
    rows = [
        f"{name}.png {fx} 0 8 0 24 5 0 0 1 1 0 0 0 1 0 0 0 1 0 0 3"
        for name, fx in (("a", 20), ("b", "lost"), ("c", 20))
    ]
    write_text(tmp_path / "x_par.txt", "3", *rows)
    capture = read_capture(tmp_path)
    assert names(capture) == ["a", "c"]
    left_out(capture, "b.png", "line 3: expected a file name and 21 numbers")


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", [4, 9, 14])
def test_llff_goes_on_without_a_lost_size_or_focal_length(tmp_path, value, place):
    photos(tmp_path / "images", "a", "b", "c")
    row = [0, 1, 0, 0, 12, 1, 0, 0, 0, 16, 0, 0, -1, 0, 20, 1, 9]
    table = np.array([row] * 3, np.float64)
    table[1, place] = value
    np.save(tmp_path / "poses_bounds.npy", table)
    capture = read_capture(tmp_path)
    assert names(capture) == ["a", "c"]
    left_out(capture, "b.png", "height, width, focal are")


def test_tum_goes_on_without_any_depth(tmp_path):
    tum(tmp_path, [f"{i} rgb/{name}.png" for i, name in enumerate("abc")], ["1 0 0 0 0 0 0 1"])
    write_text(tmp_path / "depth.txt", "nan depth/a.png")
    capture = read_capture(tmp_path)
    assert names(capture) == ["a", "b", "c"]
    left_out(capture, "depth.txt: line 1", "holds NaN or infinity")
    assert capture.truth is not None and capture.truth.depth == ()
