"""A place from photographs without masks: depth per photo, fused into one coloured surface."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invgraph.data import Capture, Frame
from invgraph.evaluate import image_metrics as metrics
from invgraph.fitting.object.record import write_cameras
from invgraph.fitting.place import DepthMap, estimate_depth, fuse
from invgraph.fitting.place.images import UndistortedImages
from invgraph.geometry.color import linear_from_srgb
from invgraph.photometric.warp import undistort
from invgraph.rendering.render import render
from invgraph.runs.folder import METRICS, RunFolder, file_stem
from invgraph.runs.interrupts import heard
from invgraph.runs.progress import Progress
from invgraph.scene import Scene
from invgraph.scene.scene_files import save_scene

SIZES = (200, 400, 800)  # longer sides of the photos on which depth is found, one after another
GROWTH = 8.0  # how much longer the next size takes: four times the pixels, twice the depths
SHARE = 0.7  # of the budget for depth; the rest is for the surface, the scores and the report
PHOTO_S = 1.0  # a photo at the first size takes no longer, on any machine worth using
FEWEST = 3  # photos to fit, besides those held out
SOURCES = 6
CONFIDENCE = 0.3  # of depths that make the surface: with many photos around, two of six agree


@dataclass(frozen=True)
class PlaceScore:
    """Scores of one held-out photo, at its full size.

    Attributes:
        psnr_mask_db: over the pixels that the surface covers, sRGB 8-bit values in [0, 1].
        ssim_mask: structural similarity, its map averaged there.
        psnr_whole_db: over all pixels, with the mean colour of the other photos where nothing is.
        covered: share of the pixels that the surface covers.
    """

    name: str
    psnr_mask_db: float
    ssim_mask: float
    psnr_whole_db: float
    covered: float


def fit_place(
    capture: Capture,
    folder: RunFolder,
    budget_s: float,
    *,
    began: float | None = None,
    progress: Progress | None = None,
) -> tuple[Scene, dict[str, Any], KeyboardInterrupt | None]:
    """Reconstruct a place; finished depth maps stay in the run folder and are used again.

    Depth is found on small photos first, then on larger ones while the budget lasts. Of more photos
    than it allows, evenly spaced ones are used. A run that had no time for all photos, or for the
    largest size, is not complete: with more of it, it goes on.

    Args:
        capture: photographs with cameras; masks are not looked at.
        folder: of the run.
        budget_s: wall time, seconds.
        began: what ``time.monotonic()`` showed when the budget began to run; now when left out.
        progress: hears the stages.

    Returns:
        The scene, what ``metrics.json`` holds, and Ctrl-C if it came after the first size.

    Raises:
        ValueError: too few photos, or photos that show nothing in common.
        KeyboardInterrupt: Ctrl-C before there was anything to keep.
    """
    began = time.monotonic() if began is None else began
    spent = time.monotonic() - began
    progress = progress or Progress()
    progress.clock(budget_s, spent)
    require_enough(capture)
    spendable = SHARE * budget_s
    most = int(max(spendable - spent, 0.0) / PHOTO_S)
    train = _thinned([capture.frames[i] for i in capture.train], most)
    used = {frame.name for frame in train}
    unused = [
        f"{capture.frames[i].name}: no time for it within the budget"
        for i in capture.train
        if capture.frames[i].name not in used
    ]
    if unused:
        progress.note(f"{len(train)} photos are used, as the budget has no time for more")
    photos = UndistortedImages(train)
    write_cameras(folder, capture, None)
    points = None if capture.points is None else capture.points.float()
    maps: Sequence[DepthMap] = []
    reached, interrupted = 0, None
    try:
        for size in SIZES:
            start = time.monotonic()
            maps = estimate_depth(
                photos,
                photos.cameras,
                points=points if _all_see(points, photos) else None,
                sources=SOURCES,
                size=size,
                keep=folder.path / "depth",
                progress=progress.part(name=f"depth at {size} px"),
            )
            reached, now = size, time.monotonic()
            _note_size(folder, size, now - began, maps)
            if now - began + GROWTH * (now - start) > spendable:
                break
    except KeyboardInterrupt as stop:
        heard()
        if not maps:
            raise
        interrupted = stop
    unfinished = [f"{len(unused)} of {len(capture.train)} photos"] if unused else []
    if reached != SIZES[-1]:
        unfinished.append(f"depth at {SIZES[-1]} px; it was found at {reached} px")
    surface = fuse(maps, photos, confidence=CONFIDENCE, progress=progress.part())
    scene = Scene((surface,), (), None)
    save_scene(scene, folder.path)
    progress.stage("scoring held-out photos")
    views = _score_all(scene, capture, photos, folder)
    rows = [{"split": "test", **vars(view)} for view in views]
    names = ("psnr_mask_db", "ssim_mask", "psnr_whole_db", "covered")
    found = {
        "capture": capture.name,
        **{name: value for name in names if (value := _mean(rows, name)) is not None},
        "seconds": time.monotonic() - began,
        "complete": not unfinished,
        "unfinished": unfinished,
        "depth_px": max(maps[0].camera.height, maps[0].camera.width),
        "photos_used": len(train),
        "skipped": [*capture.skipped, *unused],
        "views": [_finite(row) for row in rows],
    }
    folder.write_json(METRICS, found)
    return scene, found, interrupted


def _note_size(folder: RunFolder, size: int, seconds: float, maps: Sequence[DepthMap]) -> None:
    """A row of the log, and a preview: inverse depth of the photo in the middle, near is light."""
    share = sum(float((each.confidence > CONFIDENCE).float().mean()) for each in maps) / len(maps)
    folder.log(
        step=size, seconds=round(seconds, 2), stage=f"depth at {size} px", confirmed=round(share, 4)
    )
    inverse = 1 / maps[len(maps) // 2].depth
    grey = inverse / inverse.max()
    folder.picture(f"renders/preview_{size:05d}.png", grey[..., None].expand(-1, -1, 3))


def require_enough(capture: Capture) -> None:
    """Refuse captures without masks of too few photos.

    Raises:
        ValueError: there are too few.
    """
    if len(capture.train) < FEWEST:
        raise ValueError(
            f"{capture.name}: {len(capture.train)} photos without masks besides those held out, "
            f"but a place needs at least {FEWEST}; add photos that overlap, or masks if it is an "
            "object."
        )


def _thinned(frames: list[Frame], most: int) -> list[Frame]:
    most = max(most, FEWEST)
    if len(frames) <= most:
        return frames
    return [frames[int(place * len(frames) / most)] for place in range(most)]


def _all_see(points: Tensor | None, photos: UndistortedImages) -> bool:
    """Whether sparse points can bound the depths of every photo."""
    if points is None:
        return False
    for camera in photos.cameras:
        pixels, z = camera.project(points)
        size = pixels.new_tensor([camera.width, camera.height])
        if ((z > 0) & ((pixels > 0) & (pixels < size)).all(-1)).sum() < 50:
            return False
    return True


@torch.no_grad()
def _score_all(
    scene: Scene, capture: Capture, photos: UndistortedImages, folder: RunFolder
) -> list[PlaceScore]:
    """Score held-out photos and leave photo, render and difference of each in ``renders/``."""
    step = max(1, len(photos) // 16)
    means = [photos[index].mean((0, 1)) for index in range(0, len(photos), step)]
    fallback = torch.stack(means).mean(0)
    scores = []
    for index in capture.test:
        frame = capture.frames[index]
        photo, camera = undistort(frame.load()[0], frame.known_camera)
        shot = render(scene, camera, outputs=("color", "alpha"))
        assert shot.color is not None and shot.alpha is not None
        color = shot.color + (1 - shot.alpha[..., None]) * fallback
        seen = (shot.alpha > 0.5).float()
        ours, theirs = metrics.display(color), metrics.display(photo)
        covered = float(seen.mean())
        scores.append(
            PlaceScore(
                frame.name,
                metrics.psnr_mask(ours, theirs, seen) if covered else math.nan,
                metrics.ssim(ours * seen[..., None], theirs * seen[..., None], seen)
                if covered
                else math.nan,
                metrics.psnr(ours, theirs),
                covered,
            )
        )
        stem = f"renders/{file_stem(index, frame.name)}"
        folder.picture(f"{stem}_photo.png", photo)
        folder.picture(f"{stem}_render.png", color)
        gap = (ours - theirs).abs()
        folder.picture(f"{stem}_difference.png", linear_from_srgb((3 * gap).clamp(0, 1)))
    return scores


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if math.isfinite(row[name])]
    return sum(values) / len(values) if values else None


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
