"""``infer_scene``: what a trained encoder and descent say of the scene in each photo."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from invgraph.data import Capture
from invgraph.data.frame import Frame
from invgraph.data.images import UnreadableImage
from invgraph.data.intrinsics import KINDS, read_intrinsics
from invgraph.data.object_pose_files import PoseRow, append_row, read_rows, write_rows
from invgraph.files.atomic import fingerprint
from invgraph.files.pictures import encode_png
from invgraph.fitting.pose.track_object import TrackResult
from invgraph.fitting.scene.find import find_scene
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.geometry.lens import Lens
from invgraph.infer.scene_record import keep
from invgraph.report import write_report
from invgraph.report.turntable import VIEW, write_turntable
from invgraph.runs.facts import RunFacts, facts_of, identity
from invgraph.runs.folder import METRICS, RENDERS, RunFolder, check_out, file_stem
from invgraph.runs.interrupts import heard
from invgraph.runs.progress import Meter, Progress
from invgraph.runs.reader import SCENES, TRACK
from invgraph.runs.scene_records import append_record, best_of, read_records
from invgraph.scene.scene_files import save_scene

BELIEFS = "beliefs"  # folder


def infer_scene(
    model: SceneModel,
    capture: Capture,
    out: str | Path,
    *,
    camera: str | Path | None = None,
    weights: str | Path,
) -> TrackResult:
    """Find a known object in photos, each on its own, with its light and what else it may be.

    The run folder gets the row of each photo in ``poses.csv`` at once; film and report follow when
    all are done. A run that was cut short goes on when it is begun again in the same folder.

    Args:
        model: trained on the object.
        capture: the photos, of any sizes; cameras' poses are not looked at.
        out: run folder to write.
        camera: JSON file with the intrinsics, in place of those of the capture.
        weights: the file of the model.

    Raises:
        ValueError: photos, intrinsics or folder are unusable; the message says which and why.
        KeyboardInterrupt: after Ctrl-C, once what there is was written.
    """
    out = Path(out)
    camera = None if camera is None else Path(camera)
    weights = Path(weights)
    check_out(out, resume=True)
    lenses = {frame.name: lens_of(frame, camera) for frame in capture.frames}
    name = str(model.facts["name"])
    told = [lens.facts for lens in lenses.values()]
    settings = {"model": str(weights), "camera": None if camera is None else str(camera)}
    facts = RunFacts(
        "scenes",
        f"{name} in {capture.name}",
        identity([capture], fingerprint(weights), told),
        facts_of(capture),
        settings,
    )
    with RunFolder(out, facts, resume=True) as folder, Meter() as progress:
        if folder.finished() is not None:
            raise ValueError(f"{out} holds a finished result; remove it or choose another --out.")
        count = len(capture.frames)
        photos = "1 photo" if count == 1 else f"{count} photos"
        progress.note(f"{name} in {photos} of {capture.name}")
        work = _Work(model, capture, lenses, folder)
        interrupted = None
        try:
            work.infer(progress.part(0.9))
            if not work.rows:
                raise ValueError(f"no photo could be read, first {work.skipped[0]}")
            work.finish(progress.part())
        except KeyboardInterrupt as stop:
            heard()
            if not work.rows:
                raise
            interrupted = stop
        metrics = work.measures(complete=interrupted is None)
        folder.write_json(METRICS, metrics)
        report = write_report(folder.path)
    if interrupted is not None:
        raise interrupted
    return TrackResult(tuple(work.rows), metrics, folder.path, report)


def lens_of(frame: Frame, file: Path | None) -> Lens:
    """The lens of one photo.

    Args:
        frame: the photo.
        file: JSON with intrinsics that take the place of the photo's.

    Raises:
        ValueError: unknown or damaged intrinsics.
    """
    lens = frame.known_lens
    if file is not None:
        lens = read_intrinsics(file, frame.image_path, frame.size, as_stored=frame.as_stored)
    if lens is None:
        raise ValueError(
            f"{frame.image_path}: the intrinsics of its camera are unknown; give them by "
            f"--camera FILE, or as cam.json beside the photos: JSON with {KINDS}."
        )
    return lens


class _Work:
    """A run under way; what is in its folder is read back first."""

    def __init__(
        self, model: SceneModel, capture: Capture, lenses: dict[str, Lens], folder: RunFolder
    ) -> None:
        self.model, self.capture, self.lenses, self.folder = model, capture, lenses, folder
        self.skipped: list[str] = list(capture.skipped)
        self.rows: list[PoseRow] = []
        best = best_of(read_records(folder.path / SCENES))
        self.surest = -math.inf if best is None else best.agreement  # of the scene in the folder
        table = folder.path / TRACK
        if table.is_file():
            self.rows = read_rows(table)
            write_rows(table, self.rows)  # without a row that a kill cut off

    def infer(self, progress: Progress) -> None:
        """The photos that have no row yet; unreadable ones are left out."""
        progress.stage("explaining photos")
        frames = self.capture.frames
        done = {row.frame for row in self.rows}
        began = time.monotonic()
        for index, frame in enumerate(frames):
            if frame.name not in done:
                try:
                    self._explain(index, frame, began)
                except UnreadableImage as error:
                    self.skipped.append(f"{frame.name}: {error}")
            found = sum(row.found for row in self.rows)
            facts = f"{index + 1} of {len(frames)} photos, found in {found}"
            progress.update((index + 1) / len(frames), facts)

    def _explain(self, index: int, frame: Frame, began: float) -> None:
        start = time.monotonic()
        photo, lens = frame.load()[0], self.lenses[frame.name]
        found = find_scene(self.model, photo, lens)
        seconds = time.monotonic() - start
        stem = file_stem(index, frame.name)
        kept = keep(self.model, frame, photo, lens, found, stem, seconds)
        row, folder = kept.row, self.folder
        kept.belief.save(folder.path / BELIEFS / f"{stem}.safetensors")
        for role, picture in kept.pictures.items():
            folder.write(f"{RENDERS}/{stem}_{role}.png", encode_png(picture, compress_level=3))
        if kept.placed is not None and kept.record.agreement > self.surest:
            self.surest = kept.record.agreement
            save_scene(kept.placed.scene, folder.path)
            cameras = [(frame.name, "test", kept.placed.photo), (stem, VIEW, kept.placed.view)]
            folder.write_cameras(cameras)
        append_record(folder.path / SCENES, kept.record)
        append_row(folder.path / TRACK, row)  # last: now the photo is done
        self.rows.append(row)
        folder.log(
            seconds=time.monotonic() - began,
            frame=frame.name,
            found=int(row.found),
            score=row.score,
            sigma_mm=row.sigma_mm,
            sigma_deg=row.sigma_deg,
        )

    def finish(self, progress: Progress) -> None:
        """Write the film."""
        progress.stage("film of the likeliest scene")
        try:
            write_turntable(self.folder.path)
        except ImportError:
            progress.note("no film: pip install av, then invgraph report makes it")

    def measures(self, complete: bool) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        found = [row for row in self.rows if row.found]
        return {
            "capture": self.capture.name,
            "object": str(self.model.facts["name"]),
            "complete": complete,
            "photos": len(self.capture.frames),
            "found": len(found),
            "absent": len(self.rows) - len(found),
            **({"score_median": float(np.median([row.score for row in found]))} if found else {}),
            "ambiguous": sum(row.hypotheses > 1 for row in found),
            "seconds": sum(row.seconds for row in self.rows),
            "seconds_per_frame": float(np.median([row.seconds for row in self.rows])),
            "skipped": self.skipped,
            "views": [
                {
                    "name": row.frame,
                    "split": "test",
                    "score": row.score,
                    "sigma_mm": row.sigma_mm,
                    "sigma_deg": row.sigma_deg,
                }
                for row in found
            ],
        }
