"""How well are places measured from photos?

    python experiments/places.py [motorcycle] [redkitchen] [fountain] [--json FILE]

- motorcycle: a rectified stereo pair (Middlebury 2014, 741x500). bad2_pct is the share of all
  pixels with truth whose disparity is off by more than 2 px, median_px the median error over the
  matched ones, which for us are all. OpenCV's semi-global matching runs on the same pair; its
  unmatched pixels count as wrong.
- redkitchen: every 10th of 100 frames (7-Scenes). The files hold focal length and poses of the
  depth camera, so a lens shared by all frames, its distortion and small corrections of the poses
  are found first by bundle adjustment of features that match between every 10th of 310 frames
  (pycolmap finds them); depth is found for the ten frames and from them alone. The sensor's depth,
  lifted by the files' camera, is projected into the corrected one; abs_rel is the mean of
  |depth - sensor| / sensor over all of its pixels that land in the photo, whether we are confident
  or not, averaged over frames. abs_rel_pixelwise compares pixel by pixel, as if both cameras were
  one; abs_rel_confident counts confident pixels alone. seconds is the whole run.
- fountain: 11 photos with measured cameras (Strecha et al. 2008, 768x512); photos 0 and 8 are held
  out, the others are fused and the held-out ones rendered. psnr_db is over the pixels that the mesh
  covers, psnr_whole_db over all of them with the mean colour of the other photos where it does not.
  Once with the cameras given, once with our own, found from all photos without the given ones;
  camera_centre_pct is how far their centres then are from the given ones after alignment, of the
  diagonal of the given centres' bounding box.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from measures import Row, command_line, row, write
from PIL import Image
from torch import Tensor

from invgraph.data import read_capture, with_true_cameras
from invgraph.data.images import load_image
from invgraph.evaluate.similarity import camera_centre_pct
from invgraph.fitting.cameras import recover_cameras
from invgraph.fitting.place import DepthMap, Matches, estimate_depth, fuse, refine_cameras
from invgraph.fitting.place.images import UndistortedImages
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.scene import Scene

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
KITCHEN_SIZE, KITCHEN_SOURCES, FOUNTAIN_SIZE = 160, 8, 400
FEWEST_MATCHES = 20


def motorcycle() -> list[Row]:
    folder = DATA / "motorcycle_stereo"
    paths = [folder / "motorcycle_left.png", folder / "motorcycle_right.png"]
    images = [load_image(path)[0] for path in paths]
    height, width = images[0].shape[:2]
    # Any focal length and baseline give the same disparities.
    focal, baseline = 1000.0, 1.0
    principal = torch.tensor([width / 2, height / 2])
    left = Camera(Lens(torch.full((2,), focal), principal, height, width), torch.eye(4))
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
    frames = [capture.frames[index] for index in range(0, 310, 10)]
    refined, residual = refine_cameras(
        [frame.known_camera for frame in frames], _matches([frame.image_path for frame in frames])
    )
    frames = [
        replace(frame, camera=camera) for frame, camera in zip(frames[:10], refined, strict=False)
    ]
    photos = UndistortedImages(frames)
    maps = estimate_depth(photos, photos.cameras, size=KITCHEN_SIZE, sources=KITCHEN_SOURCES)
    seconds = time.perf_counter() - start
    assert capture.truth is not None
    errors = []
    for index, item in zip(range(0, 100, 10), maps, strict=True):
        measured = capture.truth.depth[index]
        assert measured is not None
        errors.append(_depth_errors(item, measured.load(), capture.frames[index].known_camera))
    projected, confident, pixelwise = np.mean(errors, axis=0)
    return [
        row("redkitchen/abs_rel", projected, ""),
        row("redkitchen/abs_rel_confident", confident, ""),
        row("redkitchen/abs_rel_pixelwise", pixelwise, ""),
        row("redkitchen/seconds", seconds, "s"),
        row("redkitchen/focal_px", float(refined[0].focal[0]), "px"),
        row("redkitchen/reprojection_px", residual, "px"),
    ]


def _depth_errors(item: DepthMap, measured: Tensor, sensor: Camera) -> tuple[float, float, float]:
    """AbsRel of the sensor's pixels projected into our camera, of the confident ones, and of equal
    pixels."""
    points = sensor.unproject(measured)[measured > 0]
    pixels, truth = item.camera.project(points)
    size = torch.tensor([item.camera.width, item.camera.height])
    inside = ((pixels >= 0) & (pixels < size)).all(-1)
    column, line = pixels[inside].long().unbind(-1)
    error = (item.depth[line, column] / truth[inside] - 1).abs()
    confident = error[item.confidence[line, column] >= 0.5]
    step = measured.shape[0] // item.camera.height
    same = measured[step // 2 :: step, step // 2 :: step][: size[1], : size[0]]
    naive = (item.depth / same - 1).abs()[same > 0]
    return float(error.mean()), float(confident.mean()), float(naive.mean())


def _matches(paths: list[Path]) -> list[Matches]:
    """Features that match between photos near each other in time, geometrically verified."""
    import pycolmap

    pycolmap.logging.minloglevel = 2  # errors
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.sift.max_num_features, extraction.sift.first_octave = 1500, 0
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap, pairing.quadratic_overlap = 8, False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "features.db"
        names = [path.name for path in paths]
        pycolmap.extract_features(
            file, paths[0].parent, image_names=names, extraction_options=extraction
        )
        pycolmap.match_sequential(file, pairing_options=pairing)
        stored = pycolmap.Database.open(file)
        ids = {image.name: image.image_id for image in stored.read_all_images()}
        found = []
        for second, path in enumerate(paths):
            for first in range(max(0, second - pairing.overlap), second):
                a, b = ids[paths[first].name], ids[path.name]
                pairs = np.asarray(stored.read_two_view_geometry(a, b).inlier_matches)
                if len(pairs) >= FEWEST_MATCHES:
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
    given = [frame.known_camera for frame in frames]
    with tempfile.TemporaryDirectory() as work:
        capture = recover_cameras(read_capture(folder / "images_4"), Path(work))
    found = sorted(capture.frames, key=lambda frame: frame.name)
    rows = []
    if len(found) == len(given):
        own = [frame.known_camera for frame in found]
        centres, reference = (torch.stack([c.centre for c in x]).double() for x in (own, given))
        error = camera_centre_pct(centres, reference)
        rows.append(row("fountain/camera_centre_pct", error, "%"))
    for name, photos in (("given", frames), ("own", found)):
        if len(photos) == len(frames):
            straight = UndistortedImages(photos)
            rows += _fountain(name, list(straight), straight.cameras)
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
    maps: Sequence[DepthMap], images: list[Tensor], cameras: list[Camera], train: list[int]
) -> tuple[float, float, float]:
    """Mean PSNR of held-out photos over covered pixels, over all, and the share covered."""
    surface = fuse(maps, [images[index] for index in train], confidence=0.25)
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
    parser = command_line(__doc__)
    places: dict[str, Callable[[], list[Row]]] = {
        "motorcycle": motorcycle,
        "redkitchen": redkitchen,
        "fountain": fountain,
    }
    parser.add_argument("names", nargs="*", default=list(places), metavar="NAME")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.names:
        rows += places[name]()
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
