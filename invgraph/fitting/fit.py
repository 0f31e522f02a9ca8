"""``fit``: from photographs to a scene, a run folder and a report."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from invgraph.data.capture import Capture
from invgraph.data.recognise import read_capture
from invgraph.fitting.cameras import recover_cameras
from invgraph.fitting.motion import follow_camera
from invgraph.fitting.object.fit_object import fit_object
from invgraph.fitting.place.fit_place import fit_place, require_enough
from invgraph.fitting.settings import FitSettings
from invgraph.report import write_report
from invgraph.report.measures import duration
from invgraph.runs.facts import Kind, RunFacts, facts_of, identity
from invgraph.runs.folder import RunFolder, check_out
from invgraph.runs.progress import Meter, OutOfTime, Progress
from invgraph.scene import Scene
from invgraph.scene.scene_files import load_scene

PLACE = (
    "without masks, all that is in view is reconstructed, as a surface; for one object alone, with "
    "its gloss and light, put a mask of each photo into a folder masks (docs/captures.md)"
)
CAMERA_SHARE = 0.5  # of the budget, that finding cameras may take
CAMERA_S = 1.0  # that finding a photo's camera takes, about


@dataclass(frozen=True)
class FitResult:
    """What came out.

    Attributes:
        scene: the fitted scene.
        metrics: what ``metrics.json`` holds.
        run: the run folder.
        report: the report page.
    """

    scene: Scene
    metrics: dict[str, Any]
    run: Path
    report: Path


def fit(
    capture: Capture | str | Path,
    out: str | Path,
    settings: FitSettings = FitSettings(),
    *,
    resume: bool = False,
    began: float | None = None,
) -> FitResult:
    """Reconstruct an object from photographs with masks, or a place from photographs without.

    Cameras that the photographs lack are found from the photographs first.

    The masks give a first shape; then shape, albedo, roughness, metalness and light descend
    together on the photometric and silhouette losses, from coarse photos and triangles to fine
    ones. Whether the light stays with the world or with the camera is decided by which explains the
    photos better, and whether each photo gets a light of its own by how well that of its neighbours
    in the capture explains it: a held-out photo is lit as those, and the scene in the run folder
    has the mean of all. Cameras that turn out to be inexact descend as well; they are written to
    ``cameras.json``, and those of held-out photos stay as given. Held-out photos are only looked at
    for the final scores.

    Args:
        capture: photographs, or the folder that holds them.
        out: run folder to write.
        settings: time and quality.
        resume: go on with the run in ``out``; a finished one is returned as it is.
        began: what ``time.monotonic()`` showed when the budget began to run; now when left out.

    Returns:
        The scene, its scores and where the report is.

    Raises:
        ValueError: the photos, masks, cameras or the run folder are unusable; the message says
            which and why.
        KeyboardInterrupt: after Ctrl-C, once what there is was scored and written.
    """
    began = time.monotonic() if began is None else began
    out = Path(out)
    check_out(out, resume)
    with Meter() as progress:
        return _fit(capture, out, settings, resume, began, progress)


def _fit(
    capture: Capture | str | Path,
    out: Path,
    settings: FitSettings,
    resume: bool,
    began: float,
    progress: Progress,
) -> FitResult:
    progress.stage("reading photos", 0.01)
    capture = capture if isinstance(capture, Capture) else read_capture(capture)
    place = not any(frame.mask_source for frame in capture.frames)
    kind: Kind = "place" if place else "object"
    facts = RunFacts(
        kind, capture.name, identity([capture], settings.seed), facts_of(capture), asdict(settings)
    )
    with RunFolder(out, facts, resume) as folder:
        if resume and (metrics := folder.finished()) is not None:
            return _finished(folder, metrics)
        progress.note(_opening(capture, settings.budget_s))
        if place:
            progress.note(PLACE)
            require_enough(capture)
        else:
            capture.require_masks()
        if not capture.has_cameras:
            # About as much of the run as they take, so that the time left is about right.
            work = len(capture.frames) * CAMERA_S
            share = work / (work + settings.budget_s)
            left = CAMERA_SHARE * settings.budget_s - (time.monotonic() - began)
            part = progress.part(share, seconds=left)
            try:
                capture = _with_cameras(capture, folder, settings.seed, part)
            except OutOfTime:
                raise ValueError(
                    f"{capture.name}: half of --budget {duration(settings.budget_s)} was not "
                    f"enough to find the cameras of its {len(capture.frames)} photos; go on by "
                    "--resume with a longer --budget, or give fewer photos."
                ) from None
        if place:
            found = fit_place(
                capture, folder, settings.budget_s, began=began, progress=progress.part()
            )
        else:
            found = fit_object(capture, folder, settings, began=began, progress=progress.part())
        scene, metrics, interrupted = found
        progress.stage("writing the report")
        report = write_report(folder.path)
    if interrupted is not None:
        raise interrupted
    return FitResult(scene, metrics, folder.path, report)


def _opening(capture: Capture, budget_s: float) -> str:
    """What was found, and what becomes of it, in a line."""
    frames = capture.frames
    sources = sorted({frame.mask_source for frame in frames if frame.mask_source is not None})
    names = ["files" if source == "file" else source for source in sources]
    masks = f"masks from {' and '.join(names)}" if names else "no masks"
    held_out = f" ({len(capture.test)} held out)" if capture.test else ""
    cameras = "cameras from the capture" if capture.has_cameras else "cameras to be found"
    kind = "an object" if names else "taken as a place"
    return (
        f"{capture.name}: {len(frames)} photos{held_out}, {masks}, {cameras}; {kind}, "
        f"{duration(budget_s)}"
    )


def _with_cameras(capture: Capture, folder: RunFolder, seed: int, progress: Progress) -> Capture:
    """The photos of which the camera could be found; kept in the run folder.

    A video's camera is followed from frame to frame, unless that fails.
    """
    moving = all(frame.time is not None for frame in capture.frames)
    if moving and not any(frame.mask_source for frame in capture.frames):
        try:
            return follow_camera(capture, folder.path / "odometry", progress=progress.part(0.5))
        except ValueError as error:
            progress.note(f"frames taken as photos on their own: {error}")
    return recover_cameras(capture, folder.path / "sfm", seed=seed, progress=progress.part())


def _finished(folder: RunFolder, metrics: dict[str, Any]) -> FitResult:
    report = folder.path / "report.html"
    if not report.exists():
        write_report(folder.path)
    return FitResult(load_scene(folder.path), metrics, folder.path, report)
