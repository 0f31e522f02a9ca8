"""What following an object leaves in its run folder, besides the poses themselves."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invgraph.data import Capture, Frame
from invgraph.data.images import UnreadableImage
from invgraph.data.object_pose_files import PoseRow, bop_number, read_hypotheses, write_bop
from invgraph.files.pictures import encode_jpeg, encode_png
from invgraph.geometry.camera import Camera
from invgraph.report.film import encode_film
from invgraph.report.overlay import SIDE, Overlay, draw_overlay
from invgraph.report.pose_rerun_log import write_track_rerun_log
from invgraph.runs.folder import RunFolder, file_stem
from invgraph.runs.progress import Progress
from invgraph.runs.reader import HYPOTHESES, OVERLAYS, ROLES, TRACK_FILM
from invgraph.scene import Scene

COVERED = "covered"  # folder of masks of what is in front of the object
SHOWN = 12  # photos that the report compares with their renders
RATE = 12  # photos a second in the film


def measures(
    capture: Capture, rows: Sequence[PoseRow], name: str, skipped: Sequence[str]
) -> dict[str, Any]:
    """What ``metrics.json`` holds of a run that is not yet complete."""
    scores = [row.score for row in rows if row.found]
    return {
        "capture": capture.name,
        "object": name,
        "complete": False,
        "photos": len(capture.frames),
        "found": len(scores),
        "lost": len(rows) - len(scores),
        **({"score_median": float(np.median(scores))} if scores else {}),
        "ambiguous": sum(row.found and row.hypotheses > 1 for row in rows),
        "seconds": sum(row.seconds for row in rows),
        "seconds_per_frame": float(np.median([row.seconds for row in rows])),
        "skipped": list(skipped),
    }


def write_results(folder: RunFolder, capture: Capture, rows: Sequence[PoseRow], name: str) -> None:
    """Write ``poses_bop.csv``.

    Scene, image and object have the numbers that their files are named by, as in BOP's own data;
    others are scene 0, object 1, and images by their place.
    """
    stems = {frame.name: frame.image_path.stem for frame in capture.frames}
    places = {frame.name: place for place, frame in enumerate(capture.frames)}
    numbered = [bop_number(stem, -1) for stem in stems.values()]
    unique = -1 not in numbered and len(set(numbered)) == len(numbered)
    images = dict(zip(stems, numbered, strict=True)) if unique else places
    write_bop(
        folder.path / "poses_bop.csv",
        [(images[row.frame], row) for row in rows],
        bop_number(capture.name, 0),
        bop_number(name, 1),
    )


def write_overlays(
    folder: RunFolder,
    photos: Sequence[tuple[int, PoseRow, Frame]],
    appearance: Callable[[PoseRow], Scene],
    camera: Camera,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Write ``overlays/*.jpg``, and photo, render and difference of some photos for the report.

    Overlays that are there already stay.

    Args:
        photos: place among the rows, pose, and the photo itself.
        appearance: the object as it looked in a photo; its pose does not matter.
        camera: at the world's origin.
        progress: hears how many are drawn.

    Returns:
        The scores of the photos that the report compares.
    """
    progress = progress or Progress()
    progress.stage("drawing overlays")
    hypotheses = read_hypotheses(folder.path / HYPOTHESES)
    places = [place for place, row, _ in photos if row.found] or [place for place, *_ in photos]
    compared = set(places[:: -(-len(places) // SHOWN)])
    for role in ROLES:
        for file in (folder.path / "renders").glob(f"*_{role}.png"):
            file.unlink()
    views = []
    for done, (place, row, frame) in enumerate(photos):
        stem = file_stem(place, row.frame)
        target = folder.path / OVERLAYS / f"{stem}.jpg"
        if place not in compared and target.is_file():
            continue
        with contextlib.suppress(UnreadableImage):  # it could be read before
            overlay = draw_overlay(
                frame.thumbnail(SIDE),
                appearance(row),
                camera,
                row,
                _mask(folder.path / COVERED / f"{stem}.png"),
                hypotheses.get(row.frame, [])[1:],
            )
            folder.write(f"{OVERLAYS}/{stem}.jpg", encode_jpeg(overlay.panel))
            if place in compared:
                views.append(_compare(folder, stem, row, overlay))
        progress.update((done + 1) / len(photos), f"{done + 1} of {len(photos)} photos")
    return views


def _compare(folder: RunFolder, stem: str, row: PoseRow, overlay: Overlay) -> dict[str, Any]:
    for role in ("photo", "render", "difference"):
        folder.write(
            f"renders/{stem}_{role}.png", encode_png(getattr(overlay, role), compress_level=3)
        )
    sigmas = {"sigma_mm": row.sigma_mm, "sigma_deg": row.sigma_deg}
    finite = {name: value for name, value in sigmas.items() if np.isfinite(value)}
    return {"name": row.frame, "split": "test", "score": row.score, **finite}


def write_attachments(folder: RunFolder, rows: Sequence[PoseRow]) -> None:
    """Write the film of all overlays, and the rerun log where rerun is installed."""
    from PIL import Image

    def panels() -> Iterator[np.ndarray]:
        for place, row in enumerate(rows):
            path = folder.path / OVERLAYS / f"{file_stem(place, row.frame)}.jpg"
            if path.is_file():
                with Image.open(path, formats=("JPEG",)) as image:
                    yield np.asarray(image.convert("RGB"))

    folder.write(TRACK_FILM, encode_film(panels(), RATE))
    with contextlib.suppress(ImportError):
        write_track_rerun_log(folder.path)


def _mask(path: Path) -> np.ndarray | None:
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image.convert("L")) > 127
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
