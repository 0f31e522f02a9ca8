"""The run that follows an object through photos."""

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invgraph.data import Capture, Frame
from invgraph.data.images import UnreadableImage
from invgraph.data.object_pose_files import (
    PoseRow,
    append_hypotheses,
    append_row,
    drop_cut_line,
    read_pose,
    read_rows,
    write_rows,
)
from invgraph.files.atomic import fingerprint
from invgraph.files.pictures import encode_png
from invgraph.fitting.pose.known_object import KnownObject, load_object
from invgraph.fitting.pose.record import (
    COVERED,
    measures,
    write_attachments,
    write_overlays,
    write_results,
)
from invgraph.fitting.pose.sequence import one_lens, read_sequence
from invgraph.fitting.pose.track import Guess, Tracked, track
from invgraph.fitting.scene.guesses import Guesses
from invgraph.fitting.scene.scene_model import load_scene_model
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.report import write_report
from invgraph.report.overlay import SIDE, draw_overlay
from invgraph.runs.facts import RunFacts, facts_of, identity
from invgraph.runs.folder import METRICS, RENDERS, RunFolder, check_out, file_stem
from invgraph.runs.interrupts import heard
from invgraph.runs.progress import Meter, Progress
from invgraph.runs.reader import HYPOTHESES, TRACK
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.scene.scene_files import load_scene, save_scene

SAVE_EVERY_S = 30.0
COVERED_SIDE = 640  # of the masks of what is in front of the object, pixels
QUICK = 24  # overlays after Ctrl-C
GREY, GREY_LIGHT = 0.5, 2.5  # of a model whose colours and light nobody has found


@dataclass(frozen=True, eq=False)
class TrackResult:
    """What came out.

    Attributes:
        rows: the pose in each photo that could be read.
        metrics: what ``metrics.json`` holds.
        run: the run folder.
        report: the report page.
    """

    rows: tuple[PoseRow, ...]
    metrics: dict[str, Any]
    run: Path
    report: Path


def track_object(
    images: str | Path,
    model: str | Path,
    out: str | Path,
    *,
    init: str | Path | None = None,
    camera: str | Path | None = None,
    scale: float | None = None,
    encoder: str | Path | None = None,
    resume: bool = False,
) -> TrackResult:
    """Find the pose of a known object in photos, each from that of the one before.

    The run folder gets a row of ``poses.csv`` for each photo at once; overlays, film, rerun log and
    report follow when all photos are done.

    Args:
        images: a capture, or one photo; cameras' poses are not looked at.
        model: mesh file of the object.
        out: run folder to write.
        init: JSON file with ``camera_from_object`` in the first photo, 4x4, metres; without it the
            object is searched for.
        camera: JSON file with the intrinsics, in place of those of the capture.
        scale: metres per unit of the model file.
        encoder: what `invgraph train scene` made of the same object: it tells where the object may
            be, and no search is needed where it is right.
        resume: go on after the last photo of the run in ``out``; a finished one is returned as it
            is.

    Raises:
        ValueError: the photos, model, initial pose, intrinsics, encoder or run folder are unusable;
            the message says which and why.
        KeyboardInterrupt: after Ctrl-C, once what there is was written.
    """
    images = Path(images)
    model = Path(model)
    out = Path(out)
    init = None if init is None else Path(init)
    camera = None if camera is None else Path(camera)
    encoder = None if encoder is None else Path(encoder)
    check_out(out, resume)
    with Meter() as progress:
        progress.stage("reading photos and model", 0.02)
        capture = read_sequence(images)
        lens = one_lens(capture, camera)
        known = load_object(model, scale)
        start = None if init is None else torch.from_numpy(read_pose(init)).float()
        guesser = None if encoder is None else load_scene_model(encoder)
        guess = None if guesser is None else Guesses(guesser, known)
        decides = [fingerprint(model), scale, lens.facts]
        decides += [] if guesser is None else [guesser.fingerprint()]
        given = {"object": model, "pose": init, "camera": camera, "encoder": encoder}
        settings = {key: None if path is None else str(path) for key, path in given.items()}
        facts = RunFacts(
            "pose",
            f"{known.name} in {capture.name}",
            identity([capture], *decides),
            facts_of(capture),
            {**settings, "object_scale": scale},
        )
        with RunFolder(out, facts, resume) as folder:
            if resume and (metrics := folder.finished()) is not None:
                return _finished(folder, metrics)
            progress.note(_opening(capture, known.name, camera))
            for note in known.notes:
                progress.note(note)
            tracking = _Tracking(capture, folder, known, lens, guess)
            interrupted = None
            try:
                tracking.follow(start, progress.part(0.8))
            except KeyboardInterrupt as stop:
                heard()
                interrupted = stop
            if not tracking.rows:
                raise interrupted or ValueError(
                    f"{images}: no photo could be read, first {tracking.skipped[0]}"
                )
            try:
                metrics = tracking.finish(progress.part(0.99), quick=interrupted is not None)
            except KeyboardInterrupt as stop:
                heard()
                interrupted = stop
                metrics = {}
            progress.stage("writing the report")
            report = write_report(folder.path)
    if interrupted is not None:
        raise interrupted
    return TrackResult(tuple(tracking.rows), metrics, folder.path, report)


def _opening(capture: Capture, name: str, camera: Path | None) -> str:
    """What was found, in a line."""
    count = len(capture.frames)
    photos = "1 photo" if count == 1 else f"{count} photos"
    source = "the capture" if camera is None else camera.name
    return f"{name} in {photos} of {capture.name}, lens from {source}"


def _finished(folder: RunFolder, metrics: dict[str, Any]) -> TrackResult:
    report = folder.path / "report.html"
    if not report.is_file():
        write_report(folder.path)
    return TrackResult(tuple(read_rows(folder.path / TRACK)), metrics, folder.path, report)


class _Tracking:
    """A run under way; what is in its folder is read back first.

    Raises:
        ValueError: the poses there are of other photos.
    """

    def __init__(
        self,
        capture: Capture,
        folder: RunFolder,
        model: KnownObject,
        lens: Lens,
        guess: Guess | None,
    ) -> None:
        self.capture, self.folder, self.model, self.guess = capture, folder, model, guess
        self.camera = Camera(lens, torch.eye(4))
        self.rows: list[PoseRow] = []
        self.skipped: list[str] = list(capture.skipped)
        self.next = 0  # place in the capture
        self.lights: dict[str, tuple] = {}
        self.scene: Scene | None = None
        self._began = time.monotonic()
        self._saved = self._began - SAVE_EVERY_S
        table = folder.path / TRACK
        if not table.is_file():
            return
        self.rows = read_rows(table)
        places = {frame.name: place for place, frame in enumerate(capture.frames)}
        known = [places.get(row.frame, -1) for row in self.rows]
        if -1 in known or known != sorted(known):
            raise ValueError(f"{table} is about other photos; choose another --out.")
        self.next = known[-1] + 1 if known else 0
        write_rows(table, self.rows)  # without a row that a kill cut off
        drop_cut_line(folder.path / HYPOTHESES)
        with contextlib.suppress(ValueError):
            self.scene = load_scene(folder.path)

    def _start(self, given: Tensor | None) -> Tensor | None:
        """Where to look in the next photo; None for everywhere.

        Where the object was lost the place it was last at would teach wrong colours, so an object
        of known colours is searched for.
        """
        poses = [row.pose for row in self.rows if row.found]
        if not poses:
            return given
        if not self.rows[-1].found and self.model.albedo is not None:
            return None
        return torch.from_numpy(poses[-1]).float()

    def follow(self, start: Tensor | None, progress: Progress) -> None:
        """Find the object in the photos that are left; unreadable ones are left out."""
        progress.stage("finding the object")
        frames, repainted = self.capture.frames, False
        while self.next < len(frames):
            left, begin = frames[self.next :], self._start(start)
            try:
                for tracked in track(left, self.camera.lens, self.model, begin, self.guess):
                    self._keep(tracked)
                    if tracked.learnt and self.model.albedo is not None and not repainted:
                        repainted = True
                        progress.note(
                            f"{self.model.name} has another colour in {tracked.frame.name} than in "
                            "its file, so colours are learnt from the photos."
                        )
                    found = sum(row.found for row in self.rows)
                    progress.update(
                        self.next / len(frames),
                        f"{self.next} of {len(frames)} photos, found in {found}",
                    )
                return
            except UnreadableImage as error:
                self.skipped.append(f"{frames[self.next].name}: {error}")
                self.next += 1

    def _keep(self, tracked: Tracked) -> None:
        """Write what a kill must not take."""
        belief, name = tracked.belief, tracked.frame.name
        row = PoseRow.of(name, belief, float(tracked.seconds))
        if row.hypotheses > 1:
            append_hypotheses(self.folder.path / HYPOTHESES, name, belief)
        covered = tracked.hidden.numpy()
        if row.found and covered.any():
            step = -(-max(covered.shape) // COVERED_SIDE)
            self._write_mask(file_stem(len(self.rows), name), covered[::step, ::step])
        append_row(self.folder.path / TRACK, row)
        self.rows.append(row)
        self.next += 1
        self.folder.log(
            seconds=time.monotonic() - self._began,
            frame=name,
            found=int(row.found),
            score=row.score,
            sigma_mm=row.sigma_mm,
            sigma_deg=row.sigma_deg,
        )
        if row.found:
            self.scene = replace(tracked.scene, background=None)
            self.lights[name] = tracked.scene.lights
            if time.monotonic() - self._saved > SAVE_EVERY_S:
                self._saved = time.monotonic()
                save_scene(self.scene, self.folder.path)
                self._preview(row, tracked.frame)

    def _preview(self, row: PoseRow, frame: Frame) -> None:
        overlay = draw_overlay(frame.thumbnail(SIDE), self._appearance(row), self.camera, row)
        name = f"{RENDERS}/preview_{len(self.rows):06d}.png"
        self.folder.write(name, encode_png(overlay.panel))

    def _write_mask(self, stem: str, mask: np.ndarray) -> None:
        self.folder.write(f"{COVERED}/{stem}.png", encode_png(mask, compress_level=1))

    def finish(self, progress: Progress, quick: bool) -> dict[str, Any]:
        """Write everything but the rows.

        Args:
            quick: overlays of some photos alone, neither film nor rerun log.

        Returns:
            What ``metrics.json`` holds.
        """
        if self.scene is not None:
            save_scene(self.scene, self.folder.path)
        # The frame of the one camera is the world's.
        self.folder.write_cameras([(self.rows[-1].frame, "test", self.camera)])
        write_results(self.folder, self.capture, self.rows, self.model.name)
        found = measures(self.capture, self.rows, self.model.name, self.skipped)
        self.folder.write_json(METRICS, found)
        places = range(0, len(self.rows), -(-len(self.rows) // QUICK) if quick else 1)
        photos = {frame.name: frame for frame in self.capture.frames}
        found["views"] = write_overlays(
            self.folder,
            [(place, self.rows[place], photos[self.rows[place].frame]) for place in places],
            self._appearance,
            self.camera,
            progress.part(1.0 if quick else 0.7),
        )
        if not quick:
            progress.stage("film and rerun log")
            write_attachments(self.folder, self.rows)
            found["complete"] = True
        self.folder.write_json(METRICS, found)
        return found

    def _appearance(self, row: PoseRow) -> Scene:
        """The object as it was last seen, in the light of one photo where that is still known."""
        scene = self.scene
        if scene is None:
            light = SphericalHarmonicLight(torch.full((1, 3), GREY_LIGHT))
            grey = torch.full((3,), GREY)
            surface = Material(grey, torch.ones(1), torch.zeros(1))
            if self.model.albedo is not None:
                surface = replace(surface, albedo=self.model.albedo, albedo_kind="vertex")
            scene = Scene((Object(self.model.mesh, torch.eye(4), surface),), (light,))
        return replace(scene, lights=self.lights.get(row.frame, scene.lights))
