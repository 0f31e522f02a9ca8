import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import max_pool2d

from invgraph.data import Bounds, Capture, read_capture
from invgraph.data.bounds import bounds_from_frames
from invgraph.data.images import load_image, load_mask
from invgraph.evaluate.shape_metrics import mask_iou
from invgraph.geometry.camera import Camera
from invgraph.geometry.distortion import COEFFICIENTS

SIDE = (12, 16)  # height, width


def write_image(path: Path, value: int | tuple = 128, mode="RGB", size=SIDE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size[1], size[0]), value).save(path)


def pose(x=0.0, y=0.0, z=3.0) -> list:
    return [[1.0, 0, 0, x], [0, 1, 0, y], [0, 0, 1, z], [0, 0, 0, 1]]


def write_json(folder: Path, count=2, name="transforms.json", **content) -> dict:
    for index in range(count):
        write_image(folder / f"images/{index}.png")
    frames = [
        {"file_path": f"images/{i}.png", "transform_matrix": pose(x=0.1 * i)} for i in range(count)
    ]
    data = {"fl_x": 20.0, "fl_y": 24.0, "cx": 8.5, "cy": 5.5, "frames": frames, **content}
    (folder / name).write_text(json.dumps(data))
    return data


def rewrite(folder: Path, data: dict) -> None:
    (folder / "transforms.json").write_text(json.dumps(data))


# transforms.json


def test_transforms_json_pixel_by_hand(tmp_path):
    write_json(tmp_path)
    camera = read_capture(tmp_path).frames[0].known_camera
    # The camera at z = 3 looks along -z: a point to the right and above, 3 in front.
    pixel, depth = camera.project(torch.tensor([[0.6, 0.25, 0.0]]))
    assert depth.tolist() == [3.0]
    assert pixel[0].tolist() == pytest.approx([8.5 + 20 * 0.2, 5.5 - 24 * 0.25 / 3], abs=1e-5)


def test_camera_angle_and_frame_values_win(tmp_path):
    data = write_json(tmp_path, k1=0.1, k2=0.2, p1=0.3, p2=0.4, k3=0.5)
    for key in ("fl_x", "fl_y", "cx", "cy"):
        del data[key]
    data["camera_angle_x"] = math.pi / 2
    data["frames"][1] |= {"fl_x": 30.0, "cx": 7.0, "k1": -0.1}
    rewrite(tmp_path, data)
    first, second = (frame.known_camera for frame in read_capture(tmp_path).frames)
    assert first.focal.tolist() == pytest.approx([8.0, 8.0])
    assert first.principal.tolist() == [8.0, 6.0]
    assert first.distortion is not None and second.distortion is not None
    assert first.distortion.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert second.distortion[0].item() == pytest.approx(-0.1)
    assert second.focal.tolist() == [30.0, 30.0]
    assert second.principal.tolist() == [7.0, 6.0]


@pytest.mark.parametrize(
    ("name", "bent", "model"),
    [
        ({"camera_model": "OPENCV_FISHEYE"}, {"k1": 0.1, "k4": 0.4}, "fisheye"),
        ({"camera_model": "fisheye"}, {}, "fisheye"),
        ({"is_fisheye": True}, {"k2": 0.2}, "fisheye"),
        ({"camera_model": "FULL_OPENCV"}, {"k1": 0.1, "p2": 0.2, "k6": 0.6}, "rational"),
    ],
)
def test_lens_models_of_transforms_json(tmp_path, name, bent, model):
    data = write_json(tmp_path, **name, **bent)
    data["frames"][1] |= {"fl_x": 30.0, "camera_model": "OPENCV", "is_fisheye": False}
    data["frames"][1] |= dict.fromkeys(bent, 0.0)
    rewrite(tmp_path, data)
    first, second = (frame.known_camera for frame in read_capture(tmp_path).frames)
    assert first.lens.model == model and first.distortion is not None
    wanted = [bent.get(key, 0.0) for key in COEFFICIENTS[model]]
    assert first.distortion.tolist() == pytest.approx(wanted)
    assert second.focal.tolist() == [30.0, 24.0] and second.distortion is None


@pytest.mark.parametrize(("model", "k4"), [("OPENCV", 0.0), ("OPENCV_FISHEYE", 0.4)])
def test_distortion_params_of_transforms_json(tmp_path, model, k4):
    write_json(
        tmp_path, camera_model=model, distortion_params=[0.1, 0.2, 0.3, k4, 0.0, 0.0], k1=0.9
    )
    found = read_capture(tmp_path).frames[0].known_camera.distortion
    assert found is not None
    wanted = [0.1, 0.2, 0.3, k4] if k4 else [0.1, 0.2, 0.0, 0.0, 0.3]
    assert found.tolist() == pytest.approx(wanted)


def test_an_angle_is_no_focal_length_of_a_fisheye(tmp_path):
    data = write_json(tmp_path, camera_model="OPENCV_FISHEYE", camera_angle_x=1.0)
    del data["fl_x"], data["fl_y"]
    rewrite(tmp_path, data)
    expect_error(tmp_path, "no focal length; give fl_x .* but for a fisheye, camera_angle_x")


def test_every_8th_photo_is_held_out(tmp_path):
    write_json(tmp_path, count=17)
    capture = read_capture(tmp_path / "transforms.json")
    assert capture.test == (0, 8, 16)
    assert len(capture.train) == 14 and not set(capture.train) & set(capture.test)


def test_split_files_suffixes_and_unique_names(tmp_path):
    write_json(tmp_path, count=1, name="transforms_train.json")
    for split, name in (("train", "r_0.png"), ("test", "r_0.jpg"), ("val", "r_0.png")):
        write_image(tmp_path / split / name)
        frames = [{"file_path": f"./{split}/r_0", "transform_matrix": pose()}]
        text = json.dumps({"camera_angle_x": 0.7, "frames": frames})
        (tmp_path / f"transforms_{split}.json").write_text(text)
    capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["train_r_0", "test_r_0"]
    assert capture.test == (1,)
    (tmp_path / "transforms_test.json").unlink()
    assert [frame.name for frame in read_capture(tmp_path).frames] == ["train_r_0", "val_r_0"]


def test_split_lists_inside_the_file(tmp_path):
    data = write_json(tmp_path, count=4)
    data |= {"test_filenames": ["images/2.png"], "val_filenames": ["images/0.png"]}
    rewrite(tmp_path, data)
    capture = read_capture(tmp_path)
    assert [frame.name for frame in capture.frames] == ["1", "2", "3"]
    assert capture.test == (1,)


def test_names_are_safe_in_file_names(tmp_path):
    data = write_json(tmp_path)
    write_image(tmp_path / "images" / '<b> "&é.png')
    data["frames"][0]["file_path"] = 'images/<b> "&é.png'
    rewrite(tmp_path, data)
    assert read_capture(tmp_path).frames[0].name == "_b____é"


# Images and masks


def test_alpha_is_the_mask_and_colour_stays_straight(tmp_path):
    write_json(tmp_path)
    pixels = np.zeros((*SIDE, 4), np.uint8)
    pixels[3:5, 2:7] = (255, 188, 0, 255)
    pixels[5, 2:7] = (255, 188, 0, 51)
    Image.fromarray(pixels).save(tmp_path / "images/0.png")
    frame = read_capture(tmp_path).frames[0]
    image, mask = frame.load()
    assert mask is not None and frame.mask_source == "alpha"
    assert mask.sum().item() == pytest.approx(10 + 5 * 0.2)
    assert image[5, 3].tolist() == pytest.approx([1.0, 0.50288646, 0.0], abs=1e-6)
    again = frame.load_mask()
    assert again is not None and torch.equal(again, mask)


def test_mask_file_wins_and_may_be_one_bit(tmp_path):
    data = write_json(tmp_path)
    Image.new("1", (16, 12), 1).save(tmp_path / "m.png")
    data["frames"][0]["mask_path"] = "m.png"
    rewrite(tmp_path, data)
    frames = read_capture(tmp_path).frames
    mask = frames[0].load_mask()
    assert mask is not None and mask.min().item() == 1.0
    assert frames[1].mask_source is None and frames[1].load()[1] is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    # What a camera held that way stores, by the meaning of the tag's "row 0, column 0".
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    stored = {6: np.rot90(upright, 1), 8: np.rot90(upright, -1)}.get(orientation, stored)
    exif = Image.Exif()
    exif[274] = orientation
    for name, array in (
        ("8.png", np.ascontiguousarray(stored)),
        ("16.png", np.ascontiguousarray(stored).astype(np.uint16) * 257),
    ):
        Image.fromarray(array).save(tmp_path / name, exif=exif)
        levels = load_mask(tmp_path / name) * 255
        assert torch.equal(levels.round(), torch.from_numpy(upright.astype(np.float32)))


def test_sixteen_bits_are_kept(tmp_path):
    from kornia_rs import io

    values = np.zeros((2, 2, 3), np.uint16)
    values[0, 1] = (65535, 32768, 257)
    io.write_image_png_u16(str(tmp_path / "c.png"), values, "rgb")
    image, alpha = load_image(tmp_path / "c.png")
    assert alpha is None
    # 32768 / 65535 = 0.5000076 lies between the 8-bit codes 127 and 128.
    expected = ((32768 / 65535 + 0.055) / 1.055) ** 2.4
    assert image[0, 1].tolist() == pytest.approx([1.0, expected, 257 / 65535 / 12.92], abs=1e-7)
    Image.fromarray(values[..., 1]).save(tmp_path / "g.png")
    grey, _ = load_image(tmp_path / "g.png")
    assert grey[0, 1].tolist() == pytest.approx([expected] * 3, abs=1e-7)


def test_photos_are_decoded_only_when_asked_for(tmp_path):
    write_json(tmp_path)
    from kornia_rs import io

    path = tmp_path / "images/1.png"
    noise = np.random.default_rng(0).integers(0, 65536, (*SIDE, 3)).astype(np.uint16)
    for deep in (False, True):
        if deep:
            io.write_image_png_u16(str(path), noise, "rgb")
        else:
            Image.fromarray((noise >> 8).astype(np.uint8)).save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-300] + bytes(200) + whole[-100:])
        frame = read_capture(tmp_path).frames[1]
        with pytest.raises(ValueError, match=r"1\.png cannot be decoded .*export it again"):
            frame.load()


# LLFF


def write_llff(folder: Path, count=2, shape=(48, 64, 100)) -> np.ndarray:
    # Down, right, back of a camera at z = 3 that looks along -z with y up.
    matrix = np.array([[0.0, 1, 0, 0, shape[0]], [-1, 0, 0, 0, shape[1]], [0, 0, 1, 3, shape[2]]])
    rows = np.stack([np.concatenate([matrix.ravel(), [1, 5]])] * count)
    np.save(folder / "poses_bounds.npy", rows)
    for index in range(count):
        write_image(folder / f"images_4/{index}.jpg")
        write_image(folder / f"masks_4/{index}.png", 255, "L")
    return rows


def test_llff_pixel_by_hand(tmp_path):
    write_llff(tmp_path)
    write_image(tmp_path / "images_8/0.jpg", size=(6, 8))
    write_image(tmp_path / "images/0.jpg", size=(3, 4096))
    frame = read_capture(tmp_path).frames[1]
    assert frame.image_path == tmp_path / "images_4/1.jpg"
    assert frame.mask_path == tmp_path / "masks_4/1.png"
    # Focal 100 at 48x64 is 25 at 12x16; the principal point is the middle (8, 6).
    pixel, depth = frame.known_camera.project(torch.tensor([[0.6, 0.3, 0.0]]))
    assert depth.tolist() == [3.0]
    assert pixel[0].tolist() == pytest.approx([8 + 25 * 0.2, 6 - 25 * 0.1], abs=1e-5)


# Middlebury

LINE = "{name} 20 0 7.5 0 24 5 0 0 1 1 0 0 0 1 0 0 0 1 0.1 0.2 3"


def write_middlebury(folder: Path, lines=None, count=2) -> None:
    lines = lines or [LINE.format(name=f"t{i}.png") for i in range(count)]
    (folder / "t_par.txt").write_text("\n".join([str(len(lines)), *lines]) + "\n")
    for index in range(count):
        picture = np.full((60, 80, 3), 6, np.uint8)
        picture[20:40, 30:60] = 150
        picture[28:32, 40:45] = 0  # a dark spot on the object
        picture[5:7, 5:7] = 90  # a glint on the backdrop
        Image.fromarray(picture).save(folder / f"t{index}.png")


def test_middlebury_pixel_by_hand_and_box(tmp_path):
    write_middlebury(tmp_path)
    (tmp_path / "README.txt").write_text(
        "The (tight) bounding box is\n(-1 0.5 -2e-1)\n(1.5 2 .0)\n".replace(".0)", "0.0)")
    )
    capture = read_capture(tmp_path)
    pixel, depth = capture.frames[0].known_camera.project(torch.tensor([[0.5, 0.1, 0.0]]))
    assert depth.tolist() == [3.0]
    # Integers are pixel centres there, so half a pixel is added.
    assert pixel[0].tolist() == pytest.approx([20 * 0.2 + 8.0, 24 * 0.1 + 5.5], abs=1e-5)
    bounds = capture.bounds()
    assert bounds.lower.tolist() == pytest.approx([-1, 0.5, -0.2])
    assert bounds.upper.tolist() == pytest.approx([1.5, 2, 0])
    assert bounds.radius == pytest.approx(math.sqrt(2.5**2 + 1.5**2 + 0.2**2) / 2, rel=1e-5)


def test_dark_background_gives_masks(tmp_path):
    write_middlebury(tmp_path)
    mask = read_capture(tmp_path).frames[0].load_mask()
    assert mask is not None
    expected = torch.zeros(60, 80)
    expected[20:40, 30:60] = 1
    inner, outer = expected.clone(), torch.zeros(60, 80)
    inner[20:40, 30:60] = 0
    inner[21:39, 31:59] = 1
    outer[18:42, 28:62] = 1
    assert bool((mask >= inner).all()) and bool((mask <= outer).all())


def test_bright_background_gives_none(tmp_path):
    write_middlebury(tmp_path)
    for index in range(2):
        write_image(tmp_path / f"t{index}.png", 128)
    assert read_capture(tmp_path).frames[0].load()[1] is None


# Bounds


def sphere_capture(folder: Path, wrong=(), masks=True, count=24) -> Capture:
    """Silhouettes of a ball of radius 0.3 at (0.2, -0.1, 0.4), seen from 2 away all around."""
    centre, radius, focal, side = np.array([0.2, -0.1, 0.4]), 0.3, 90.0, 64
    frames = []
    for index in range(count):
        angle, tilt = 2 * math.pi * index / count, 0.5 * math.sin(index)
        back = np.array(
            [math.cos(angle) * math.cos(tilt), math.sin(tilt), math.sin(angle) * math.cos(tilt)]
        )
        right = np.cross([0, 1, 0], back)
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(back, right), back], 1)
        matrix[:3, 3] = eye = centre + 2 * back + 0.05 * right
        grid = (np.arange(side) + 0.5 - side / 2) / focal
        x, y = np.meshgrid(grid, -grid)
        rays = np.stack([x, y, -np.ones_like(x)], -1) @ matrix[:3, :3].T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        closest = np.linalg.norm(np.cross(rays, centre - eye), axis=-1)
        mask = np.where(closest < radius, 255, 0).astype(np.uint8)
        if index in wrong:
            mask[:, : side // 2 + 4] = 0
        (folder / "m").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(folder / f"m/{index}.png")
        entry = {"file_path": f"m/{index}.png", "transform_matrix": matrix.tolist()}
        frames.append(entry | ({"mask_path": f"m/{index}.png"} if masks else {}))
    content = {"fl_x": focal, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))
    return read_capture(folder)


@pytest.mark.parametrize("wrong", [(), (3, 13)])
def test_bounds_of_a_ball(tmp_path, wrong):
    bounds = sphere_capture(tmp_path, wrong).bounds()
    centre = torch.tensor([0.2, -0.1, 0.4])
    assert (bounds.lower <= centre - 0.29).all() and (bounds.lower >= centre - 0.40).all()
    assert (bounds.upper >= centre + 0.29).all() and (bounds.upper <= centre + 0.40).all()
    assert 0.3 <= bounds.radius < 0.42


def test_bounds_without_masks(tmp_path):
    bounds = sphere_capture(tmp_path, masks=False).bounds()
    # The photos show 32 / 90 of the distance 2 to either side.
    assert (bounds.centre - torch.tensor([0.2, -0.1, 0.4])).norm() < 0.06
    assert bounds.radius == pytest.approx(2 * 32 / 90, rel=0.05)


def test_bounds_say_why_there_are_none(tmp_path):
    write_json(tmp_path / "a", count=4)
    with pytest.raises(ValueError, match="cameras all look the same way"):
        read_capture(tmp_path / "a").bounds()
    sphere_capture(tmp_path / "b", wrong=range(0, 24, 3))
    with pytest.raises(ValueError, match="no place is inside the masks of 90 %"):
        folder = tmp_path / "b"
        for index in range(1, 24, 3):
            picture = np.asarray(Image.open(folder / f"m/{index}.png"))
            Image.fromarray(np.roll(picture, 30, 1)).save(folder / f"m/{index}.png")
        read_capture(folder).bounds()
    data = json.loads((tmp_path / "b/transforms.json").read_text())
    for entry in data["frames"][::5]:
        entry["mask_path"] = "m/2.png"
        matrix = np.array(entry["transform_matrix"])
        matrix[:3, [0, 2]] *= -1
        entry["transform_matrix"] = matrix.tolist()
    (tmp_path / "b/transforms.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"\.png: the camera looks away"):
        read_capture(tmp_path / "b").bounds()


# Bad input


def expect_error(folder: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_capture(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file_path": "images/9.png"}, r"images/9\.png is missing .*remove its frame"),
        ({"file_path": "../secret.png"}, "leaves the capture's folder; put the file inside"),
        ({"file_path": "..\\secret.png"}, "leaves the capture's folder"),
        ({"file_path": "/etc/passwd"}, "is an absolute path; put"),
        ({"file_path": "C:\\x.png"}, "is an absolute path"),
        ({"file_path": "link/secret.png"}, "leaves the capture's folder"),
        ({"file_path": 7}, "7 is no file name"),
        ({"file_path": "a\0b"}, "is no file name"),
        ({"mask_path": "../secret.png"}, "leaves the capture's folder"),
        (
            {"mask_path": "small.png"},
            r"small\.png is 3x5 \(h x w\) but its camera is 12x16; resize",
        ),
        ({"mask_path": "nothing.png"}, r"nothing\.png is missing; restore"),
        ({"file_path": "text.png"}, r"text\.png cannot be decoded as an image .*export it again"),
        ({"transform_matrix": None}, r"frames\[1\]: the pose is no 4x4 matrix"),
        ({"transform_matrix": [[1, 2], [3]]}, "the pose is no 4x4 matrix"),
        ({"transform_matrix": pose(x=math.nan)}, r"frames\[1\]: the pose holds NaN"),
        ({"transform_matrix": pose(x=1e300)}, r"frames\[1\]: the pose holds .*too large"),
        ({"transform_matrix": pose(x=10**400)}, "the pose is no 4x4 matrix of numbers"),
        ({"fl_x": 10**400}, "fl_x is 1000.*, expected a finite number"),
        ({"k1": 1e200}, "k1 is 1e.200, expected a finite number below 1e.30"),
        ({"file_path": "loop.png"}, r"loop\.png is a link that leads nowhere; remove it"),
        ({"transform_matrix": (2 * np.eye(4)).tolist()}, "not rigid .*remove scale"),
        ({"transform_matrix": np.diag([1, 1, -1, 1]).tolist()}, "not rigid .*mirroring"),
        ({"fl_x": "long"}, "fl_x is 'long', expected a finite number"),
        ({"fl_x": -1}, "no focal length; give fl_x"),
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR' is not supported.*undistort"),
        ({"camera_model": "FISHEYE624"}, "FISHEYE624' is not supported.*undistort"),
        ({"camera_model": ["OPENCV"]}, "is not supported.*undistort"),
        ({"ftheta_p0": 0.1}, "camera_model 'ftheta_p0' is not supported.*undistort"),
        ({"is_fisheye": True, "p1": 0.1}, "p1 is not part of the lens model.*k1, k2, k3, k4;"),
        ({"distortion_params": [0.1]}, "distortion_params is .0.1., expected the list k1, k2,"),
        ({"k4": 0.1}, "k4 is not part of the lens model.*undistort"),
        ({"w": 17}, r"1\.png is 12x16 \(h x w\) but .* says 12x17; resize the photo"),
    ],
)
def test_bad_frames_are_named(tmp_path, change, message):
    folder = tmp_path / "capture"
    data = write_json(folder)
    write_image(tmp_path / "secret.png")
    write_image(folder / "small.png", 255, "L", size=(3, 5))
    (folder / "text.png").write_text("not an image")
    (folder / "link").symlink_to(tmp_path)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    data["frames"][1] |= change
    rewrite(folder, data)
    expect_error(folder, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"transforms\.json is not JSON .*export the cameras again"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "holds no JSON object"),
        ('{"frames": []}', "lists no photo"),
        ('{"frames": [3]}', r"frames\[0\] is no JSON object"),
    ],
)
def test_bad_json_is_named(tmp_path, text, message):
    (tmp_path / "transforms.json").write_text(text)
    expect_error(tmp_path, message)


def test_one_photo_is_too_few(tmp_path):
    write_json(tmp_path, count=1)
    expect_error(tmp_path, "1 photo found, a capture needs at least 2 .*add photos")


def test_split_lists_that_leave_nothing(tmp_path):
    write_json(tmp_path, test_filenames=["images/0.png", "images/1.png"])
    expect_error(tmp_path, "leave 0 training and 2 test photos")
    write_json(tmp_path, test_filenames="images/0.png")
    expect_error(tmp_path, "test_filenames is not a list of file names")


def test_no_capture(tmp_path):
    expect_error(tmp_path / "nowhere", "does not exist; give a capture's folder")
    expect_error(tmp_path, r"is no capture: .*looked for transforms\.json .*one video")
    expect_error(tmp_path / "transforms.json", "does not exist")


def test_bad_masks_and_changed_files_are_named_on_load(tmp_path):
    data = write_json(tmp_path)
    write_image(tmp_path / "m.png", 1, "L")
    data["frames"][0]["mask_path"] = "m.png"
    rewrite(tmp_path, data)
    frames = read_capture(tmp_path).frames
    with pytest.raises(
        ValueError, match=r"m\.png marks no pixel as object .*0\.004.*redo the mask"
    ):
        frames[0].load()
    write_image(tmp_path / "images/1.png", size=(5, 5))
    with pytest.raises(ValueError, match=r"1\.png is 5x5 \(h x w\) but its camera is 12x16"):
        frames[1].load()
    write_image(tmp_path / "images/0.png", mode="RGBA", value=(1, 1, 1, 255))
    del data["frames"][0]["mask_path"]
    write_image(tmp_path / "images/1.png")
    rewrite(tmp_path, data)
    frame = read_capture(tmp_path).frames[0]
    write_image(tmp_path / "images/0.png")
    with pytest.raises(ValueError, match="lost its alpha channel"):
        frame.load()
    (tmp_path / "images/0.png").unlink()
    with pytest.raises(ValueError, match=r"0\.png is missing; restore it"):
        frame.load()


def test_bad_llff_is_named(tmp_path):
    rows = write_llff(tmp_path)
    source = tmp_path / "poses_bounds.npy"
    np.save(source, rows[:1])
    expect_error(tmp_path, "has 1 poses but .*images_4 has 2 photos")
    np.save(source, rows[:, :5])
    expect_error(tmp_path, r"is \(2, 5\), expected n x 17 numbers")
    np.save(source, rows[:0])
    expect_error(tmp_path, "lists no photo")
    np.save(source, rows.astype(str))
    expect_error(tmp_path, "expected numbers")
    np.save(source, np.array([{}]), allow_pickle=True)
    expect_error(tmp_path, "poses_bounds.npy cannot be read")
    broken = rows.copy()
    broken[1, 3] = np.inf
    np.save(source, broken)
    expect_error(tmp_path, r"row 1 \(1\.jpg\): the pose holds NaN")
    broken = rows.copy()
    broken[0, 14] = 0
    np.save(source, broken)
    expect_error(tmp_path, "height, width, focal are")
    np.save(source, rows)
    (tmp_path / "masks_4/1.png").unlink()
    expect_error(tmp_path, r"masks_4 has no mask for 1\.jpg \(1 of 2 are missing\)")
    write_image(tmp_path / "masks_4/1.png", 255, "L")
    write_image(tmp_path / "images_4/1.jpg", size=(16, 12))
    expect_error(tmp_path, r"1\.jpg is 16x12 \(h x w\), not a scaled 48x64")
    for index in range(2):
        (tmp_path / f"images_4/{index}.jpg").unlink()
    (tmp_path / "images_4").rmdir()
    expect_error(tmp_path, "has no folder images, images_2")


def test_bad_middlebury_is_named(tmp_path):
    good = LINE.format(name="t0.png")
    source = tmp_path / "t_par.txt"
    write_middlebury(tmp_path)
    source.write_text(good)
    expect_error(tmp_path, "does not start with the number of photos")
    source.write_text(f"3\n{good}\n{good}\n")
    expect_error(tmp_path, "announces 3 photos but lists 2")
    source.write_bytes(b"\xff\xfe\x00")
    expect_error(tmp_path, "is not readable text")
    write_middlebury(tmp_path, [good, good + " 5"])
    expect_error(tmp_path, "line 3: expected a file name and 21 numbers")
    write_middlebury(tmp_path, [good, good.replace(" 20 0 ", " 20 1 ")])
    expect_error(tmp_path, "line 3: K is not .*so that skew vanishes")
    write_middlebury(tmp_path, [good, good.replace("t0.png", "../t0.png")])
    expect_error(tmp_path, "leaves the capture's folder")
    write_middlebury(tmp_path, [good], count=1)
    expect_error(tmp_path, "1 photo found")


# Recorded captures: conventions are right if the masks agree on a shape.


def hull_agreement(cameras: list[Camera], masks: list[torch.Tensor], bounds: Bounds) -> float:
    """Mean IoU between masks and the reprojected hull that nearly all of the views agree on."""
    axes = [
        torch.linspace(float(low), float(high), 48)
        for low, high in zip(bounds.lower, bounds.upper, strict=True)
    ]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    inside, seen, found = torch.zeros(len(points)), torch.zeros(len(points)), []
    for camera, full in zip(cameras, masks, strict=True):
        # Cells of about a voxel's size.
        factor = max(1, full.shape[0] // 60)
        mask = max_pool2d(full[None], factor)[0] > 0.5
        cell = (camera.project(points)[0] / factor).floor().long()
        visible = ((cell >= 0) & (cell < torch.tensor(mask.shape).flip(0))).all(-1)
        flat = (cell[:, 1] * mask.shape[1] + cell[:, 0]).where(visible, torch.zeros(()).long())
        inside += visible & mask.reshape(-1)[flat]
        seen += visible
        found.append((mask, flat, visible))
    kept = inside >= 0.9 * seen
    scores = []
    for mask, flat, visible in found:
        image = torch.zeros(mask.numel())
        image[flat[kept & visible]] = 1
        closed = -max_pool2d(-max_pool2d(image.reshape(1, *mask.shape), 3, 1, 1), 3, 1, 1)
        scores.append(mask_iou(closed[0], mask.float()))
    return sum(scores) / len(scores)


@pytest.mark.parametrize(
    ("name", "count", "test"),
    [
        ("mary_rose", 69, (0, 8, 16, 24, 32, 40, 48, 56, 64)),
        ("gold_cape", 60, (0, 8, 16, 24, 32, 40, 48, 56)),
        ("chair", 120, tuple(range(100, 120))),
        ("temple_sparse_ring", 16, (0, 8)),
    ],
)
def test_recorded_masks_agree_on_a_shape(data_dir, name, count, test):
    capture = read_capture(data_dir(name))
    assert len(capture.frames) == count and capture.test == test
    frames = capture.frames[:: count // 16]
    cameras = [frame.known_camera for frame in frames]
    masks = [mask for frame in frames if (mask := frame.load_mask()) is not None]
    bounds = bounds_from_frames(list(frames), capture.box)
    agreement = hull_agreement(cameras, masks, bounds)
    assert agreement > 0.9
    # The score notices wrong conventions: a pixel origin or a principal point that is off.
    shift = torch.tensor([0.06 * cameras[0].width, 0.0])
    wrong = [camera.with_lens(principal=camera.principal + shift) for camera in cameras]
    assert hull_agreement(wrong, masks, bounds) < agreement - 0.05
