"""Small captures of every format that brings cameras, each of two photos with a known square.

The square is bright and its middle is at (62.5, 13.5) of the pixels as the file stores them, 60
rows and 80 columns. The cameras have 70 px and their principal point in the middle of the stored
photo, and are at the world's origin, so the square is on the ray (22.5, -16.5, 70).
"""

import json
from pathlib import Path

import numpy as np
from capture_files import write_text
from PIL import Image

ROWS, COLUMNS = 60, 80


def levels() -> np.ndarray:
    pixels = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    pixels[11:16, 60:65] = 255
    return pixels


def save(path: Path, orientation: int, pixels: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(levels() if pixels is None else pixels)
    image.save(path, exif=exif, quality=100)  # which PNG has no use for


def two(folder: Path, orientation: int, suffix: str = ".png") -> list[str]:
    """Names of two photos."""
    for name in ("a", "b"):
        save(folder / f"{name}{suffix}", orientation)
    return [f"a{suffix}", f"b{suffix}"]


def colmap(folder: Path, orientation: int) -> None:
    names = two(folder / "images", orientation, ".jpg")
    write_text(folder / "sparse/0/cameras.txt", "1 PINHOLE 80 60 70 70 40 30")
    lines = [
        line
        for index, name in enumerate(names)
        for line in (f"{index + 1} 1 0 0 0 0 0 0 1 {name}", "")
    ]
    write_text(folder / "sparse/0/images.txt", *lines)
    save(folder / "masks/a.jpg.png", 1, levels())
    save(folder / "masks/b.jpg.png", orientation, levels())


def transforms(folder: Path, orientation: int) -> None:
    names = two(folder, orientation)
    pose = np.diag([1.0, -1.0, -1.0, 1.0]).tolist()
    save(folder / "mask.png", 1, levels())
    frames = [
        {"file_path": name, "transform_matrix": pose, "mask_path": "mask.png"} for name in names
    ]
    about = {"fl_x": 70, "cx": 40, "cy": 30, "w": 80, "h": 60, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(about))


def llff(folder: Path, orientation: int) -> None:
    two(folder / "images", orientation, ".jpg")
    two(folder / "masks", 1)
    # Columns: down, right, backwards, the place, and height, width, focal length.
    matrix = [[0, 1, 0, 0, 60], [1, 0, 0, 0, 80], [0, 0, -1, 0, 70]]
    row = np.array([*np.array(matrix, np.float64).ravel(), 1, 9])
    np.save(folder / "poses_bounds.npy", np.stack([row, row]))


def middlebury(folder: Path, orientation: int) -> None:
    names = two(folder, orientation)
    camera = "70 0 39.5 0 70 29.5 0 0 1 1 0 0 0 1 0 0 0 1 0 0 0"
    write_text(folder / "x_par.txt", "2", *(f"{name} {camera}" for name in names))


def strecha(folder: Path, orientation: int) -> None:
    for name in two(folder, orientation, ".jpg"):
        rows = ["70 0 39.5", "0 70 29.5", "0 0 1", "0 0 0", "1 0 0", "0 1 0", "0 0 1", "0 0 0"]
        write_text(folder / f"{name}.camera", *rows, "80 60")


def bop(folder: Path, orientation: int) -> None:
    for index in range(2):
        save(folder / f"rgb/{index:06d}.png", orientation)
    entry = {
        "cam_K": [70, 0, 39.5, 0, 70, 29.5, 0, 0, 1],
        "cam_R_w2c": [1, 0, 0, 0, 1, 0, 0, 0, 1],
        "cam_t_w2c": [0, 0, 0],
        "depth_scale": 1.0,
    }
    (folder / "scene_camera.json").write_text(json.dumps({"0": entry, "1": entry}))


def seven_scenes(folder: Path, orientation: int) -> None:
    for index in range(2):
        save(folder / f"frame-{index:06d}.color.png", orientation)
    write_text(folder / "camera-intrinsics.txt", "70 0 39.5", "0 70 29.5", "0 0 1")


def kitti(folder: Path, orientation: int) -> None:
    for camera in (2, 3):
        for index in range(2):
            save(folder / f"image_{camera}/{index:06d}.png", orientation)
    rows = [f"P{i}: 70 0 39.5 {-70.0 * i} 0 70 29.5 0 0 0 1 0" for i in range(4)]
    write_text(folder / "calib.txt", *rows)


def kitti_raw(folder: Path, orientation: int) -> None:
    for index in range(2):
        save(folder / f"image_02/data/{index:010d}.png", orientation)
    rows = ["S_rect_02: 80 60", "P_rect_02: 70 0 39.5 0 0 70 29.5 0 0 0 1 0"]
    write_text(folder / "calib_cam_to_cam.txt", *rows)


def stereo(folder: Path, orientation: int) -> None:
    for name in ("im0.png", "im1.png"):
        save(folder / name, orientation)
    matrix = "[70 0 39.5; 0 70 29.5; 0 0 1]"
    lines = [f"cam0={matrix}", f"cam1={matrix}", "baseline=100", "width=80", "height=60"]
    write_text(folder / "calib.txt", *lines)
