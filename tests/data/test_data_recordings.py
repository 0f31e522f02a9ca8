"""Recordings with measured poses and depth: KITTI, TUM RGB-D, 7-Scenes, BOP, stereo pairs."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
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
from PIL import Image

from invgraph.data import Capture, MeasuredMap, Truth, read_capture, with_true_cameras
from invgraph.data.bop import bop_models
from invgraph.data.stereo import StereoCalibration, with_calibration


def truth_of(capture: Capture) -> Truth:
    assert capture.truth is not None
    return capture.truth


# What was measured


def test_measured_maps_by_hand(tmp_path):
    levels = np.array([[0, 1500, 65535], [1, 2, 3]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "d.png")
    found = MeasuredMap(tmp_path / "d.png", 0.001).load()
    torch.testing.assert_close(found, torch.tensor([[0, 1.5, 0], [0.001, 0.002, 0.003]]))
    values = np.array([[1.5, np.inf, np.nan], [-1, 2, 3]], np.float32)
    expected = torch.tensor([[1.5, 0, 0], [0, 2, 3]])
    np.save(tmp_path / "d.npy", values)
    np.savez(tmp_path / "d.npz", values)
    (tmp_path / "d.pfm").write_bytes(b"Pf\n3 2\n-1.0\n" + values[::-1].tobytes())
    (tmp_path / "e.pfm").write_bytes(b"Pf\n3 2\n1.0\n" + values[::-1].astype(">f4").tobytes())
    for name in ("d.npy", "d.npz", "d.pfm", "e.pfm"):
        assert torch.equal(MeasuredMap(tmp_path / name).load(), expected), name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.pfm", b"Pf\n3 2\n-1.0\n123", r"d\.pfm is no grey PFM"),
        ("d.pfm", b"PF\n1 1\n-1.0\n" + bytes(12), "no grey PFM"),
        ("d.pfm", b"\0", "no grey PFM"),
        ("d.npz", b"PK", "cannot be read as an array"),
        ("d.png", b"\x89PNG", "cannot be decoded"),
        ("d.exr", b"", "is no PNG, PFM, NPY or NPZ; convert it"),
    ],
)
def test_bad_measured_maps_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        MeasuredMap(tmp_path / name).load()


def test_measured_maps_are_planes(tmp_path):
    write_image(tmp_path / "d.png")
    with pytest.raises(ValueError, match=r"holds an array \(12, 16, 3\), expected rows x columns"):
        MeasuredMap(tmp_path / "d.png").load()


# KITTI odometry

P2 = "20 0 8 -4 0 24 5 0 0 0 1 0"
# A quarter turn about y: the camera's right is -z of the world, forward is x; then at (1, 2, 3).
TURNED = "0 0 1 1 0 1 0 2 -1 0 0 3"


def write_kitti(root: Path) -> Path:
    folder = root / "sequences/07"
    for index in range(2):
        write_image(folder / f"image_2/{index:06d}.png")
    rows = [f"P{i}: {P2 if i == 2 else P2.replace('-4', '0')}" for i in range(4)]
    write_text(folder / "calib.txt", *rows, "Tr: 1 0 0 0 0 1 0 0 0 0 1 0")
    write_text(folder / "times.txt", "0.0", "1.036e-1")
    write_text(root / "poses/07.txt", "1 0 0 0 0 1 0 0 0 0 1 0", TURNED)
    return folder


def test_kitti_pixel_by_hand(tmp_path):
    capture = read_capture(write_kitti(tmp_path))
    assert capture.kind == "KITTI odometry" and not capture.has_cameras
    assert [frame.time for frame in capture.frames] == [0.0, 0.1036]
    lens = capture.frames[0].lens
    assert lens is not None and lens.principal.tolist() == [8.5, 5.5]
    first, second = known_cameras(with_true_cameras(capture), 0, 1)
    # Camera 2 sits 0.2 right of camera 0.
    assert pixel(first, [1.2, 1, 2]) == pytest.approx([8.5 + 10, 5.5 + 12, 2], abs=1e-5)
    # From (1, 2, 3): 0.5 right of the camera is z - 0.7, 4 in front is x + 4.
    assert pixel(second, [5, 3, 2.3]) == pytest.approx([8.5 + 2.5, 5.5 + 6, 4], abs=1e-5)


def test_kitti_without_poses_and_bad_files(tmp_path):
    folder = write_kitti(tmp_path)
    write_text(tmp_path / "poses/07.txt", TURNED)
    expect_error(folder, "has 1 poses for 2 photos")
    write_text(tmp_path / "poses/07.txt", TURNED, TURNED.replace("-1", "1"))
    expect_error(folder, r"07\.txt: row 2: the pose is not rigid")
    write_text(tmp_path / "poses/07.txt", TURNED, TURNED + " 1")
    expect_error(folder, r"07\.txt: line 2: expected 12 numbers")
    (tmp_path / "poses/07.txt").unlink()
    capture = read_capture(folder)
    assert capture.truth is None
    with pytest.raises(ValueError, match="07 has no measured poses; give a capture with them"):
        with_true_cameras(capture)
    write_text(folder / "times.txt", "0")
    expect_error(folder, "has 1 rows for 2 photos")
    write_text(folder / "calib.txt", "P0: 1 2")
    expect_error(folder, "has no row P2 for image_2")


def test_kitti_drive_poses_fit_the_photos(data_dir):
    capture = read_capture(data_dir("kitti_drive_a"))
    assert len(capture.frames) == 51 and len(truth_of(capture).poses) == 51
    posed = with_true_cameras(capture)
    pairs = matches(capture.frames[0], capture.frames[2])
    first, second = known_cameras(posed, 0, 2)
    assert epipolar_px(pairs, (first, second)) < 1.2
    # The epipole of a drive straight ahead is in the photo; with poses side by side it is not.
    aside = replace(second, camera_from_world=second.camera_from_world.clone())
    aside.camera_from_world[:3, 3] = second.camera_from_world[[2, 1, 0], 3]
    assert epipolar_px(pairs, (first, aside)) > 3
    # About 1.2 m from photo to photo.
    assert (second.centre - first.centre).norm().item() == pytest.approx(2.39, abs=0.05)


# KITTI raw


def write_kitti_raw(root: Path) -> Path:
    date = root / "2011_09_26"
    drive = date / "2011_09_26_drive_0001_sync"
    for index in range(3):
        write_image(drive / f"image_02/data/{index:010d}.png")
        # 10 m north per photo, at the equator, heading east.
        latitude = math.degrees(10 * index / 6378137.0)
        write_text(drive / f"oxts/data/{index:010d}.txt", f"{latitude:.12f} 8.0 100 0 0 0 1 2 3")
    stamps = [f"2011-09-26 13:02:2{5 + i}.{i}00000000" for i in range(3)]
    write_text(drive / "image_02/timestamps.txt", *stamps)
    eye = "1 0 0 0 1 0 0 0 1"
    write_text(
        date / "calib_cam_to_cam.txt",
        "calib_time: 09-Jan-2012 13:57:47",
        "S_rect_02: 16 12",
        f"R_rect_00: {eye}",
        f"P_rect_02: {P2}",
    )
    write_text(date / "calib_imu_to_velo.txt", "calib_time: x", f"R: {eye}", "T: 0 0 0")
    # Velodyne: x forward, y left, z up. Camera: x right, y down, z forward.
    write_text(date / "calib_velo_to_cam.txt", "R: 0 -1 0 0 0 -1 1 0 0", "T: 0 0 0")
    return drive


def test_kitti_raw_by_hand(tmp_path):
    capture = read_capture(write_kitti_raw(tmp_path))
    assert capture.kind == "KITTI raw"
    assert [frame.time for frame in capture.frames] == pytest.approx([0, 1.1, 2.2])
    cameras = known_cameras(with_true_cameras(capture), 0, 1)
    # North is to the left of a car that heads east; camera 2 sits 0.2 right of camera 0.
    assert cameras[0].centre.tolist() == pytest.approx([0.2, 0, 0], abs=1e-3)
    assert cameras[1].centre.tolist() == pytest.approx([0.2 - 10, 0, 0], abs=1e-3)
    assert pixel(cameras[0], [1.2, 1, 2]) == pytest.approx([18.5, 17.5, 2], abs=1e-4)


def test_kitti_raw_photos_come_with_their_right_partners(tmp_path):
    drive = write_kitti_raw(tmp_path)
    assert read_capture(drive).frames[0].right is None
    for index in (0, 2):
        write_image(drive / f"image_03/data/{index:010d}.png")
    calibration = drive.parent / "calib_cam_to_cam.txt"
    # 0.5 m further right at 20 px: -4 - 0.5 * 20
    write_text(calibration, calibration.read_text(), "P_rect_03: 20 0 8 -14 0 24 5 0 0 0 1 0")
    rights = [frame.right for frame in read_capture(drive).frames]
    assert rights[1] is None and rights[0] is not None and rights[2] is not None
    assert rights[2].image_path == drive / "image_03/data/0000000002.png"
    assert rights[2].baseline == pytest.approx(0.5)


def test_kitti_raw_depth_is_in_256ths_of_a_metre(tmp_path):
    drive = write_kitti_raw(tmp_path)
    levels = np.zeros((12, 16), np.uint16)
    levels[3, 4] = 256 * 7 + 128
    folder = drive / "proj_depth/groundtruth/image_02"
    folder.mkdir(parents=True)
    Image.fromarray(levels).save(folder / "0000000001.png")
    depth = truth_of(read_capture(drive)).depth
    assert [entry is not None for entry in depth] == [False, True, False]
    assert depth[1] is not None
    found = depth[1].load()
    assert found[3, 4] == 7.5 and found.count_nonzero() == 1


def test_bad_kitti_raw_is_named(tmp_path):
    drive = write_kitti_raw(tmp_path)
    date = drive.parent
    source = date / "calib_cam_to_cam.txt"
    good = source.read_text()
    source.write_text(good.replace("S_rect_02: 16 12", "S_rect_02: 17 12"))
    expect_error(drive, "but rectified photos are 12x17; download the synced")
    source.write_text(good.replace("P_rect_02", "P_rect_01"))
    expect_error(drive, "has no P_rect_02")
    source.write_text(good)
    (drive / "oxts/data/0000000001.txt").unlink()
    poses = truth_of(read_capture(drive)).poses
    assert [pose is None for pose in poses] == [False, True, False]
    posed = with_true_cameras(read_capture(drive))
    assert len(posed.frames) == 2 and posed.skipped == ("0000000001: no measured pose",)
    assert posed.test == (0,)
    write_text(drive / "image_02/timestamps.txt", "noon", "noon", "noon")
    expect_error(drive, r"timestamps\.txt: .*download it again")
    source.unlink()
    write_text(drive / "image_02/timestamps.txt", *["2011-09-26 13:02:25.5"] * 3)
    assert read_capture(drive).frames[0].lens is None and read_capture(drive).truth is None


# TUM RGB-D


def write_tum(root: Path) -> Path:
    folder = root / "rgbd_dataset_freiburg3_tiny"
    write_text(folder / "rgb.txt", "# time file", "10.00 rgb/a.png", "10.10 rgb/b.png")
    write_text(folder / "depth.txt", "10.015 depth/a.png", "10.20 depth/b.png")
    half = math.sqrt(0.5)
    write_text(
        folder / "groundtruth.txt",
        "# time tx ty tz qx qy qz qw",
        "9.99 0 0 0 0 0 0 1",
        f"10.005 1 2 3 0 {half} 0 {half}",
        "10.30 0 0 0 0 0 0 1",
    )
    for name in "ab":
        write_image(folder / f"rgb/{name}.png", size=(480, 640))
        Image.new("I;16", (640, 480), 5000).save(_parent(folder / f"depth/{name}.png"))
    return folder


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_tum_by_hand(tmp_path):
    capture = read_capture(write_tum(tmp_path))
    assert capture.kind == "TUM RGB-D" and not capture.has_cameras
    assert [frame.time for frame in capture.frames] == pytest.approx([0, 0.1])
    truth = truth_of(capture)
    # Nearest within 0.02 s: depth and pose of the first photo, none of the second.
    assert truth.depth[0] is not None and truth.depth[0].load().max().item() == 1.0
    assert truth.depth[1] is None and truth.poses[1] is None
    [camera] = known_cameras(with_true_cameras(capture), 0)
    # A quarter turn about y: forward is x, right is -z.
    expected = [320.6 + 535.4 / 4, 248.1 + 539.2 / 2, 4]
    assert pixel(camera, [5, 4, 2]) == pytest.approx(expected, abs=1e-3)


def test_tum_of_an_unknown_camera(tmp_path):
    folder = write_tum(tmp_path).rename(tmp_path / "mine")
    capture = read_capture(folder)
    assert capture.frames[0].lens is None
    with pytest.raises(ValueError, match="has a measured pose but no intrinsics"):
        with_true_cameras(capture)
    write_text(folder / "rgb.txt", "10 ../a.png", "11 b.png")
    expect_error(folder, "leaves the capture's folder")
    write_text(folder / "rgb.txt", "ten rgb/a.png")
    expect_error(folder, r"rgb\.txt: line 1: expected 1 numbers but got 'ten'")
    write_text(folder / "rgb.txt", "# nothing")
    expect_error(folder, "lists no photo")


# 7-Scenes


def write_seven(folder: Path, count=2) -> None:
    for index in range(count):
        stem = folder / f"frame-{index:06d}"
        write_image(stem.with_name(f"{stem.name}.color.png"))
        rows = ["0 0 1 1", "0 1 0 2", "-1 0 0 3", "0 0 0 1"]
        write_text(stem.with_name(f"{stem.name}.pose.txt"), *rows)
    levels = np.full(SIDE, 2500, np.uint16)
    Image.fromarray(levels).save(folder / "frame-000001.depth.png")


def test_seven_scenes_by_hand(tmp_path):
    write_seven(tmp_path)
    write_text(tmp_path / "camera-intrinsics.txt", "20 0 8", "0 24 5", "0 0 1")
    capture = read_capture(tmp_path)
    assert capture.kind == "7-Scenes" and not capture.has_cameras
    depth = truth_of(capture).depth
    assert depth[0] is None and depth[1] is not None and depth[1].load()[0, 0].item() == 2.5
    [camera] = known_cameras(with_true_cameras(capture), 1)
    assert pixel(camera, [5, 3, 2]) == pytest.approx([8.5 + 5, 5.5 + 6, 4], abs=1e-5)


def test_seven_scenes_splits_by_sequence(tmp_path):
    for name in ("seq-01", "seq-02", "seq-10"):
        write_seven(tmp_path / name)
    assert read_capture(tmp_path).test == (0,)
    write_text(tmp_path / "TestSplit.txt", "sequence2", "sequence10")
    capture = read_capture(tmp_path)
    assert capture.test == (2, 3, 4, 5)
    assert len({frame.name for frame in capture.frames}) == 6
    assert capture.frames[0].lens is not None
    assert capture.frames[0].lens.focal.tolist() == [585, 585]
    write_text(tmp_path / "seq-01/frame-000000.pose.txt", "1 0 0 0", "0 1 0 0")
    expect_error(tmp_path, "the pose is no 4x4 matrix")


def test_redkitchen_poses_fit_the_photos(data_dir):
    capture = read_capture(data_dir("redkitchen"))
    truth = truth_of(capture)
    assert len(capture.frames) == 700 and not capture.has_cameras
    assert sum(depth is not None for depth in truth.depth) == 140
    assert truth.depth[0] is not None
    depth = truth.depth[0].load()
    assert depth.shape == (480, 640) and 1 < depth[depth > 0].median().item() < 4
    posed = with_true_cameras(capture)
    pairs = matches(capture.frames[0], capture.frames[20])
    assert epipolar_px(pairs, known_cameras(posed, 0, 20)) < 2.5
    # Poses the other way round would not fit.
    wrong = tuple(
        replace(camera, camera_from_world=torch.linalg.inv(camera.camera_from_world))
        for camera in known_cameras(posed, 0, 20)
    )
    assert epipolar_px(pairs, wrong) > 5


# BOP


def write_bop(root: Path, posed=False) -> Path:
    scene = root / "lmo/test/000002"
    cameras, objects = {}, {}
    for index in (3, 12):
        write_image(scene / f"rgb/{index:06d}.png")
        entry: dict = {"cam_K": [20, 0, 8, 0, 24, 5, 0, 0, 1], "depth_scale": 0.5}
        if posed:
            entry |= {"cam_R_w2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_w2c": [0, 0, 3000]}
        cameras[str(index)] = entry
        pose = {"cam_R_m2c": [0, 0, -1, 0, 1, 0, 1, 0, 0], "cam_t_m2c": [100, 0, 900]}
        objects[str(index)] = [{"obj_id": 5, **pose}]
    Image.fromarray(np.full(SIDE, 3000, np.uint16)).save(_parent(scene / "depth/000012.png"))
    write_image(scene / "mask_visib/000003_000000.png", 255, "L")
    write_text(scene / "scene_camera.json", json.dumps(cameras))
    write_text(scene / "scene_gt.json", json.dumps(objects))
    write_text(root / "lmo/models/obj_000005.ply", "ply")
    return scene


def test_bop_by_hand(tmp_path):
    scene = write_bop(tmp_path)
    capture = read_capture(scene)
    assert capture.kind == "BOP" and not capture.has_cameras
    lens = capture.frames[0].lens
    assert lens is not None and lens.principal.tolist() == [8.5, 5.5]
    truth = truth_of(capture)
    assert truth.depth[0] is None and truth.depth[1] is not None
    assert truth.depth[1].load()[0, 0].item() == pytest.approx(1.5)
    [[first], [second]] = truth.objects
    assert first.object_id == 5 and first.mask_path is not None and second.mask_path is None
    # The object's own z points left in the photo; it is 0.1 right and 0.9 in front.
    place = first.camera_from_object @ torch.tensor([0, 0, 0.1, 1])
    assert place.tolist() == pytest.approx([0, 0, 0.9, 1], abs=1e-6)
    assert bop_models(scene) == {5: (tmp_path / "lmo/models/obj_000005.ply").resolve()}
    assert bop_models(tmp_path) == {}
    expect_error(tmp_path / "lmo", r"holds BOP scenes, name one .*000002")
    posed = read_capture(write_bop(tmp_path, posed=True))
    assert posed.has_cameras
    assert pixel(posed.frames[0].known_camera, [0.3, 0, 0])[0] == pytest.approx(8.5 + 2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scene_camera.json", "{", "is not JSON .*download it again"),
        ("scene_camera.json", "[]", "holds no JSON object"),
        ("scene_camera.json", "{}", r"has no entry for 000003\.png"),
        ("scene_camera.json", '{"3": {}, "12": {}}', "image 3: cam_K: expected 9 finite numbers"),
        ("scene_gt.json", '{"3": 5}', r"image 3: expected a list"),
        ("scene_gt.json", '{"3": [{}]}', "object 0 has no obj_id"),
        ("scene_gt.json", '{"3": [{"obj_id": 1}]}', "cam_R_m2c: expected 9 finite numbers"),
    ],
)
def test_bad_bop_is_named(tmp_path, name, content, message):
    scene = write_bop(tmp_path)
    (scene / name).write_text(content)
    expect_error(scene, message)


# Stereo

CALIB = """cam0=[20 0 7; 0 20 5; 0 0 1]
cam1=[20 0 9; 0 20 5; 0 0 1]
doffs=2
baseline=100
width=16
height=12
ndisp=8"""


def test_middlebury_stereo_by_hand(tmp_path):
    for side in (0, 1):
        write_image(tmp_path / f"im{side}.png")
    disparity = np.full(SIDE, 3, "<f4")
    (tmp_path / "disp0.pfm").write_bytes(b"Pf\n16 12\n-1\n" + disparity.tobytes())
    write_text(tmp_path / "calib.txt", CALIB)
    capture = read_capture(tmp_path)
    assert capture.kind == "stereo pair" and capture.has_cameras and capture.test == ()
    left, right = known_cameras(capture, 0, 1)
    # Disparity 3 plus the offset 2: depth 20 * 0.1 / 5.
    depth = 0.4
    point = [0.1, 0.04, depth]
    assert pixel(left, point) == pytest.approx([7.5 + 5, 5.5 + 2, depth], abs=1e-5)
    assert pixel(right, point) == pytest.approx([12.5 - 3, 7.5, depth], abs=1e-5)
    truth = truth_of(capture)
    assert truth.disparity[0] is not None and truth.disparity[1] is None
    assert truth.disparity[0].load()[0, 0].item() == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("baseline=100\n", "", "has no baseline="),
        ("baseline=100", "baseline=-1", "should be positive"),
        ("baseline=100", "baseline=far", "baseline: expected 1 numbers but got 'far'"),
        ("cam1=[20 0 9; 0 20 5", "cam1=[20 0 9; 0 20 6", "differ in more than cx; rectify"),
        ("cam1=[20", "cam1=[20 1", "expected 9 numbers"),
        ("width=16", "width=99", "not a scaled 12x99"),
    ],
)
def test_bad_stereo_calibration_is_named(tmp_path, old, new, message):
    for side in ("left", "right"):
        write_image(tmp_path / f"{side}.png")
    write_text(tmp_path / "calib.txt", CALIB.replace(old, new))
    expect_error(tmp_path, message)


def test_bad_stereo_photos_are_named(tmp_path):
    write_image(tmp_path / "a_left.png")
    write_image(tmp_path / "a_right.png", size=(3, 4))
    expect_error(tmp_path, r"a_left\.png is 12x16 \(h x w\) but a_right\.png is 3x4; rectify")
    (tmp_path / "a_right.png").write_bytes(b"")
    expect_error(tmp_path, r"1 photo found that can be read.*a_right\.png")


def test_motorcycle_calibration_explains_the_disparity(data_dir):
    capture = read_capture(data_dir("motorcycle_stereo"))
    assert [frame.name for frame in capture.frames] == ["motorcycle_left", "motorcycle_right"]
    disparity = truth_of(capture).disparity[0]
    assert disparity is not None and not capture.has_cameras
    values = disparity.load()
    assert values.shape == (500, 741) and (values > 0).float().mean() == pytest.approx(0.9265, 1e-3)
    # As published for this size of the pair.
    published = StereoCalibration(994.978, (311.693, 255.377), 0.193001, 31.086, (500, 741))
    posed = with_calibration(capture, published)
    left, right = known_cameras(posed, 0, 1)
    row, column = 250, 400
    depth = 994.978 * 0.193001 / (values[row, column] + 31.086)
    seen = torch.tensor([[column + 0.5, row + 0.5]])
    point = left.unproject_pixels(seen, depth[None])
    expected = [column + 0.5 - values[row, column].item(), row + 0.5]
    assert right.project(point)[0][0].tolist() == pytest.approx(expected, abs=1e-2)
    with pytest.raises(ValueError, match="has 1 photos, expected a pair"):
        with_calibration(Capture("one", capture.frames[:1], ()), published)
