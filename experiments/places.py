"""How well are places measured from photos?

    python experiments/places.py [motorcycle] [redkitchen] [fountain] [--json FILE]

- motorcycle: a rectified stereo pair (Middlebury 2014, 741x500). bad2_pct is the share of all
  pixels with truth whose disparity is off by more than 2 px, median_px the median error over the
  matched ones, which for us are all. OpenCV's semi-global matching runs on the same pair; its
  unmatched pixels count as wrong.
- redkitchen: every 10th of 100 frames (7-Scenes). The colour camera's true focal length is not the
  one in the files, which is the depth camera's, so matches between frames correct it first
  (pycolmap finds them). The sensor's depth, lifted by the files' camera, is projected into the
  corrected one; abs_rel is the mean of |depth - sensor| / sensor over all of its pixels that land
  in the photo, whether we are confident or not, averaged over frames. seconds is the whole run.
- fountain: 11 photos with measured cameras (Strecha et al. 2008, 768x512); photos 0 and 8 are held
  out, the others are fused and the held-out ones rendered. psnr_db is over the pixels that the mesh
  covers, psnr_whole_db over all of them with the mean colour of the other photos where it does not.
  Once with the cameras given, once with our own, found from all photos without the given ones;
  camera_centre_pct is how far their centres then are from the given ones after alignment, of the
  diagonal of the given centres' bounding box.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from invgraph.camera import Camera
from invgraph.color import srgb_from_linear
from invgraph.data import read_capture, with_true_cameras
from invgraph.data.images import load_image
from invgraph.metrics import camera_centre_pct
from invgraph.places import DepthMap, Matches, estimate_depth, fuse, refine_cameras
from invgraph.render import render
from invgraph.scene import Scene
from invgraph.sfm import recover_cameras

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
KITCHEN_SIZE, FOUNTAIN_SIZE = 320, 400
Row = dict[str, str | float]


def row(name: str, value: float, unit: str, better: str = "lower") -> Row:
    print(f"{name:32} {value:9.4f} {unit}", flush=True)
    return {"name": name, "value": float(value), "unit": unit, "better": better}


def motorcycle() -> list[Row]:
    folder = DATA / "motorcycle_stereo"
    paths = [folder / "motorcycle_left.png", folder / "motorcycle_right.png"]
    images = [load_image(path)[0] for path in paths]
    height, width = images[0].shape[:2]
    # Any focal length and baseline give the same disparities.
    focal, baseline = 1000.0, 1.0
    principal = torch.tensor([width / 2, height / 2])
    left = Camera(torch.eye(4), torch.full((2,), focal), principal, height, width)
    pose = torch.eye(4)
    pose[0, 3] = -baseline
    start = time.perf_counter()
    maps = estimate_depth(images, [left, replace(left, camera_from_world=pose)])
    seconds = time.perf_counter() - start
    with np.load(folder / "motorcycle_disp.npz") as stored:
        truth = stored["arr_0"]
    bad, median = _disparity_error(focal * baseline / maps[0].depth.numpy(), truth)
    rows = [
        row("motorcycle/bad2_pct", bad, "%"),
        row("motorcycle/median_px", median, "px"),
        row("motorcycle/seconds", seconds, "s"),
    ]
    if find_spec("cv2") is not None:
        bad, median = _disparity_error(_opencv(paths), truth)
        rows.append(row("motorcycle/sgm_bad2_pct", bad, "%"))
        rows.append(row("motorcycle/sgm_median_px", median, "px"))
    return rows


def _opencv(paths: list[Path]) -> np.ndarray:
    """Semi-global matching as OpenCV's documentation sets it up; infinite where unmatched."""
    import cv2  # pyright: ignore[reportMissingImports]

    block = 5
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=80,
        blockSize=block,
        P1=8 * 3 * block**2,
        P2=32 * 3 * block**2,
        disp12MaxDiff=1,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_HH,
    )
    left, right = (np.asarray(Image.open(path).convert("RGB"))[..., ::-1] for path in paths)
    disparity = matcher.compute(left, right).astype(np.float32) / 16
    return np.where(disparity > 0, disparity, np.inf)


def _disparity_error(disparity: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Percentage off by more than 2 px over all pixels with truth; median over matched ones."""
    known = np.isfinite(truth)
    error = np.abs(disparity[known] - truth[known])
    return 100 * float((error > 2).mean()), float(np.median(error[np.isfinite(error)]))


def redkitchen() -> list[Row]:
    start = time.perf_counter()
    capture = with_true_cameras(read_capture(DATA / "redkitchen"))
    chosen = range(0, 100, 10)
    frames = [capture.frames[index] for index in chosen]
    images, given = [frame.load()[0] for frame in frames], [frame.known_camera for frame in frames]
    cameras, residual = refine_cameras(given, _matches([frame.image_path for frame in frames]))
    maps = estimate_depth(images, cameras, size=KITCHEN_SIZE)
    seconds = time.perf_counter() - start
    assert capture.truth is not None
    errors = []
    for index, item, sensor in zip(chosen, maps, given, strict=True):
        measured = capture.truth.depth[index]
        assert measured is not None
        depth = measured.load()
        points = sensor.unproject(depth)[depth > 0]
        pixels, truth = item.camera.project(points)
        size = torch.tensor([item.camera.width, item.camera.height])
        inside = ((pixels >= 0) & (pixels < size)).all(-1)
        column, line = pixels[inside].long().unbind(-1)
        errors.append(float((item.depth[line, column] / truth[inside] - 1).abs().mean()))
    return [
        row("redkitchen/abs_rel", float(np.mean(errors)), ""),
        row("redkitchen/seconds", seconds, "s"),
        row("redkitchen/focal_px", float(cameras[0].focal[0]), "px"),
        row("redkitchen/epipolar_px", residual, "px"),
    ]


def _matches(paths: list[Path]) -> list[Matches]:
    """Features that match between photos, geometrically verified."""
    import pycolmap

    pycolmap.logging.minloglevel = 2  # errors
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "features.db"
        pycolmap.extract_features(file, paths[0].parent, image_names=[path.name for path in paths])
        pycolmap.match_exhaustive(file)
        stored = pycolmap.Database.open(file)
        ids = {image.name: image.image_id for image in stored.read_all_images()}
        found = []
        for second, path in enumerate(paths):
            for first in range(second):
                a, b = ids[paths[first].name], ids[path.name]
                pairs = np.asarray(stored.read_two_view_geometry(a, b).inlier_matches)
                if len(pairs):
                    pixels = [
                        torch.from_numpy(stored.read_keypoints(key)[pairs[:, side], :2].copy())
                        for side, key in enumerate((a, b))
                    ]
                    found.append(Matches(first, second, pixels[0], pixels[1]))
        stored.close()
    return found


def fountain() -> list[Row]:
    folder = DATA / "fountain_p11"
    frames = sorted(read_capture(folder).frames, key=lambda frame: frame.name)
    images, given = [frame.load()[0] for frame in frames], [frame.known_camera for frame in frames]
    rows = []
    with tempfile.TemporaryDirectory() as work:
        capture = recover_cameras(read_capture(folder / "images_4"), Path(work))
    own = [frame.known_camera for frame in sorted(capture.frames, key=lambda frame: frame.name)]
    if len(own) == len(given):
        centres, reference = (torch.stack([c.centre for c in x]).double() for x in (own, given))
        error = camera_centre_pct(centres, reference)
        rows.append(row("fountain/camera_centre_pct", error, "%"))
    for name, cameras in (("given", given), ("own", own)):
        if len(cameras) == len(images):
            rows += _fountain(name, images, cameras)
    return rows


def _fountain(name: str, images: list[Tensor], cameras: list[Camera]) -> list[Row]:
    train = [index for index in range(len(images)) if index % 8]
    start = time.perf_counter()
    maps = estimate_depth(
        [images[index] for index in train], [cameras[index] for index in train], size=FOUNTAIN_SIZE
    )
    covered, whole, share = _held_out(maps, images, cameras, train)
    return [
        row(f"fountain/psnr_db/{name}", covered, "dB", "higher"),
        row(f"fountain/psnr_whole_db/{name}", whole, "dB", "higher"),
        row(f"fountain/covered_pct/{name}", 100 * share, "%", "higher"),
        row(f"fountain/seconds/{name}", time.perf_counter() - start, "s"),
    ]


def _held_out(
    maps: list[DepthMap], images: list[Tensor], cameras: list[Camera], train: list[int]
) -> tuple[float, float, float]:
    """Mean PSNR of held-out photos over covered pixels, over all, and the share covered."""
    surface = fuse(maps, [images[index] for index in train])
    fallback = torch.stack([images[index].mean((0, 1)) for index in train]).mean(0)
    scores = []
    for index in range(len(images)):
        if index in train:
            continue
        shot = render(Scene((surface,), (), None), cameras[index], outputs=("albedo", "alpha"))
        assert shot.albedo is not None and shot.alpha is not None
        color = shot.albedo + (1 - shot.alpha[..., None]) * fallback
        a, b = ((srgb_from_linear(x).clamp(0, 1) * 255).round() for x in (color, images[index]))
        error = ((a - b) / 255).square().mean(-1)
        seen = shot.alpha > 0.5
        psnr = [-10 * float(part.mean().log10()) for part in (error[seen], error)]
        scores.append((*psnr, float(seen.float().mean())))
    covered, whole, share = np.mean(scores, axis=0)
    return float(covered), float(whole), float(share)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    places: dict[str, Callable[[], list[Row]]] = {
        "motorcycle": motorcycle,
        "redkitchen": redkitchen,
        "fountain": fountain,
    }
    parser.add_argument("names", nargs="*", default=list(places), metavar="NAME")
    parser.add_argument("--json", type=Path, help="write the measures to this file")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.names:
        rows += places[name]()
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
