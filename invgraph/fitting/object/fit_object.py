"""The descent on an object: its stages, its clock and its checkpoints."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from invgraph.data.capture import Capture
from invgraph.fitting.object import stages
from invgraph.fitting.object.cameras import Corrections
from invgraph.fitting.object.hull import visual_hull
from invgraph.fitting.object.object_estimate import (
    LIGHT,
    Estimate,
    first_guess,
    with_visibility,
)
from invgraph.fitting.object.per_image_light import PerImageLight
from invgraph.fitting.object.previews import side_by_side
from invgraph.fitting.object.record import write_cameras, write_checkpoint, write_scores
from invgraph.fitting.object.scores import score_all
from invgraph.fitting.object.stages import STAGES, Stage
from invgraph.fitting.object.views import (
    TrainingView,
    TrainingViews,
    load_view,
    surroundings,
    without_outliers,
)
from invgraph.fitting.settings import FitSettings
from invgraph.geometry.mesh import Mesh
from invgraph.runs.folder import METRICS, RunFolder
from invgraph.runs.interrupts import heard
from invgraph.runs.progress import Progress
from invgraph.scene import Scene

SAVE_EVERY_S = 30.0
LOG_EVERY = 10
CAMERA_BONUS = 0.98  # light that follows the camera must explain this much better: it is rarer
PER_IMAGE_BONUS = 0.98  # so does per-image light
# Cameras that move by less are left as they were given (experiments/inexact_cameras.py).
INEXACT_DEG = 1.0
LEAST, MOST = 0.08, 0.5  # shares of the budget that are kept for scores and the report
TEXTURE_S = 15.0  # less is not enough to cut and bake a texture, and to gain from it
REPORT_S = 3.0  # kept for the page itself
ATTACHMENTS_S = 15.0  # at most for the fly-through and the rerun log


def fit_object(
    capture: Capture,
    folder: RunFolder,
    settings: FitSettings,
    *,
    began: float | None = None,
    progress: Progress | None = None,
) -> tuple[Scene, dict[str, Any], KeyboardInterrupt | None]:
    """Reconstruct an object from photographs with masks and cameras.

    A run whose time ends before its last step is not complete: with more of it, it goes on.

    Args:
        capture: the photographs.
        folder: of the run; a checkpoint in it is gone on with.
        settings: time and quality.
        began: what ``time.monotonic()`` showed when the budget began to run; now when left out.
        progress: hears the stages.

    Returns:
        The scene, what ``metrics.json`` holds, and Ctrl-C if it came once there was a scene.

    Raises:
        ValueError: a photo or mask is unusable, or the checkpoint is of another version.
        KeyboardInterrupt: Ctrl-C before there was anything to keep.
    """
    progress = progress or Progress()
    progress.stage("decoding photos")
    began = time.monotonic() if began is None else began
    progress.clock(settings.budget_s, time.monotonic() - began)
    descent = Descent(capture, folder, settings, began)
    if descent.total:  # of a run that was resumed
        progress.clock(settings.budget_s, descent.seconds)
    interrupted = None
    try:
        descent.descend(progress)
    except KeyboardInterrupt as stop:
        heard()
        if descent.estimate is None:
            raise
        interrupted = stop
    descent.save()
    progress.stage("scoring held-out photos")
    scene, metrics = descent.finish()
    if interrupted is None:
        try:
            descent.attach(scene, progress)
        except KeyboardInterrupt as stop:
            heard()
            interrupted = stop
    return scene, metrics, interrupted


class Descent:
    """A fit under way: what a checkpoint holds, and the clock."""

    def __init__(
        self, capture: Capture, folder: RunFolder, settings: FitSettings, began: float
    ) -> None:
        self._began = began
        self.folder, self.settings, self.capture = folder, settings, capture
        self.train = [(i, capture.frames[i]) for i in capture.train]
        self.test = [(i, capture.frames[i]) for i in capture.test]
        self.photos = [load_view(frame) for _, frame in self.train]
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.estimate: Estimate | None = None
        self.stage = 0
        self.step = 0
        self.total = 0
        self.outliers: tuple[int, ...] = ()
        self._saved = time.monotonic()
        self._setup = 0.0
        if (state := folder.load_state()) is not None:
            self._restore(*state)

    def _evidence(self, stage: Stage) -> tuple[list[TrainingView], Tensor]:
        """The training views without outliers, and per view whether its mask counts.

        Suspect masks do not count while the shape is coarse; later they count but where they still
        disagree with it.
        """
        counts = torch.ones(len(self.photos))
        if not stage.textured:
            counts[list(self.outliers)] = 0
            return self.photos, counts
        assert self.estimate is not None
        mesh = self.estimate.frozen().objects[0].mesh
        photos = list(self.photos)
        for i in self.outliers:
            photos[i] = without_outliers(photos[i], mesh)
        return photos, counts

    @property
    def seconds(self) -> float:
        """Time spent, earlier sessions included."""
        return time.monotonic() - self._began

    def descend(self, progress: Progress) -> None:
        """All stages that are not done yet."""
        if self.estimate is None:
            progress.stage("shape from masks")
            for _, frame in self.test:  # a photo that cannot be scored should not cost a fit
                load_view(frame)
            hull = visual_hull(
                [photo.mask.numpy() > 127 for photo in self.photos],
                [photo.camera for photo in self.photos],
            )
            self.outliers = hull.outliers
            write_cameras(self.folder, self.capture, None)
            self._start(hull.mesh, progress)
        assert self.estimate is not None
        spendable = self.settings.budget_s - self._afterwards()
        while self.stage < len(STAGES):
            stage = STAGES[self.stage]
            share = stage.share / sum(later.share for later in STAGES[self.stage :])
            left, baked = spendable - self.seconds, self.estimate.mesh.uv is not None
            if not (stage.textured or (1 - share) * left > TEXTURE_S):
                share = 1.0  # there will be no time for a texture
            if self.step == 0:
                # New triangles take as long as the last ones did, and as long to gain from.
                needed = TEXTURE_S if stage.textured else 2 * self._setup / share
                if left < (0 if baked else needed):
                    break
                self._enter(stage, progress)
            until = self.seconds + (spendable - self.seconds) * share
            progress.stage(_words(stage))
            photos, counts = self._run_stage(stage, until, progress)
            if stage == STAGES[1]:
                self._judge_per_image_light(photos, counts)
            if stage == STAGES[-1] and self.step < stage.steps:
                break  # it goes on from here where more time is given
            self.stage, self.step = self.stage + 1, 0

    def _afterwards(self) -> float:
        """Seconds to keep for scores and report, by those that one held-out photo takes."""
        assert self.estimate is not None
        score_all(self.estimate.scene_at, self.test[:1], self.folder)  # has the kernels compiled
        begin = time.monotonic()
        score_all(self.estimate.scene_at, self.test[:1], self.folder)
        needed = REPORT_S + (time.monotonic() - begin) * len(self.test)
        return self.settings.budget_s * min(max(needed / self.settings.budget_s, LEAST), MOST)

    def _start(self, shape: Mesh, progress: Progress) -> None:
        """Try light that stays with the world and light that stays with the camera.

        Both take equally many steps, after one that has the kernels compiled.
        """
        stage = STAGES[0]
        shape = stages.remesh(shape, stage.edge * stages.diagonal(shape))
        behind = surroundings(self.photos)
        start = first_guess(shape, behind, "world")
        progress.stage("compiling kernels (once per machine)")
        self._try(start, replace(stage, steps=1), math.inf, progress)
        until = self.seconds + 0.5 * stage.share * (1 - LEAST) * self.settings.budget_s
        progress.stage("trying light fixed to the world")
        world, first = self._try(start, stage, until, progress)
        start, stage = first_guess(shape, behind, "camera"), replace(stage, steps=self.step)
        progress.stage("trying light fixed to the camera")
        camera, second = self._try(start, stage, math.inf, progress)
        self.estimate = second if camera < CAMERA_BONUS * world else first
        self.stage, self.step = 1, 0

    def _try(
        self, start: Scene, stage: Stage, until: float, progress: Progress
    ) -> tuple[float, Estimate]:
        """The loss that some steps from a start reach, and the estimate."""
        self.step = 0
        stride = stage.stride * stage.edge * stages.diagonal(start.objects[0].mesh)
        self.estimate = Estimate(start, stride, stage.smoothness)
        photos, counts = self._run_stage(stage, until, progress)
        scene = self.estimate.scene()
        return stages.mean_loss(self.estimate, photos, counts, lambda _: scene), self.estimate

    def _enter(self, stage: Stage, progress: Progress) -> None:
        assert self.estimate is not None
        begin = self.seconds
        scene = with_visibility(self.estimate.frozen(), None)
        size = stages.diagonal(scene.objects[0].mesh)
        if scene.objects[0].mesh.uv is None:
            progress.stage("finer triangles and texture" if stage.textured else "finer triangles")
            scene = stages.retriangulate(scene, stage.edge * size)
            if stage.textured:
                scene = stages.bake_texture(scene, stages.texture_side(self.photos))
        corrections = self._corrections(stage, scene.objects[0].mesh, size)
        self.estimate = Estimate(
            scene,
            stage.stride * stage.edge * size,
            stage.smoothness,
            corrections=corrections,
            per_image_light=self._per_image_light(stage),
        )
        self._setup = self.seconds - begin

    def _corrections(self, stage: Stage, mesh: Mesh, size: float) -> Corrections | None:
        """Cameras are tried in the second stage; when they hardly move they are right as given."""
        assert self.estimate is not None
        if stage == STAGES[1]:
            return Corrections(torch.zeros(len(self.train), 6), mesh.vertices.mean(0), size)
        found = self.estimate.corrections
        return found if found is not None and found.usual_deg > INEXACT_DEG else None

    def _per_image_light(self, stage: Stage) -> PerImageLight | None:
        """Per-image light is tried in the second stage as well.

        Not where held-out photos stand apart, so that no neighbour could tell theirs.
        """
        assert self.estimate is not None
        train = set(self.capture.train)
        between = all({place - 1, place + 1} & train for place in self.capture.test)
        if stage == STAGES[1] and between:
            deltas = torch.zeros(len(self.train), self.estimate.coordinates[LIGHT].numel())
            centres = torch.stack([frame.known_camera.centre for frame in self.capture.frames])
            return PerImageLight(deltas, self.capture.train, centres)
        return self.estimate.per_image_light

    def _judge_per_image_light(self, photos: TrainingViews, counts: Tensor) -> None:
        """Per-image light stays if that of their neighbours explains photos better than the mean.

        That is how held-out photos will be lit.
        """
        assert self.estimate is not None
        estimate, train = self.estimate, self.capture.train
        with torch.no_grad():
            shared = estimate.scene()
            mean = stages.mean_loss(estimate, photos, counts, lambda _: shared)
            near = stages.mean_loss(estimate, photos, counts, lambda i: estimate.scene_at(train[i]))
        if near > PER_IMAGE_BONUS * mean:
            estimate.share_light()

    def _run_stage(
        self, stage: Stage, until: float, progress: Progress
    ) -> tuple[TrainingViews, Tensor]:
        """Descend until the clock shows ``until``; gives the evidence as the stage saw it."""
        assert self.estimate is not None
        estimate = self.estimate
        evidence, counts = self._evidence(stage)
        photos = stages.photos_for(evidence, stage, estimate.mesh)
        begin, first = self.seconds, self.step

        def done(step: int) -> float:
            spent = (self.seconds - begin) / max(until - begin, 1e-9)
            return max(step, first + (stage.steps - first) * spent) / stage.steps

        def report(step: int, measure: Callable[[], tuple[float, float]]) -> None:
            self.step, self.total = step + 1, self.total + 1
            if self.total % LOG_EVERY == 0 or self.total == 1:
                loss, psnr = measure()
                self.folder.log(
                    step=self.total,
                    seconds=round(self.seconds, 2),
                    stage=stage.name,
                    vertices=len(estimate.mesh.vertices),
                    loss=round(loss, 5),
                    psnr_db=round(psnr, 3),
                )
                progress.update(done(step), f"loss {loss:.4f}  PSNR {psnr:.1f} dB")
            if time.monotonic() - self._saved > SAVE_EVERY_S:
                self.save()

        stages.descend(
            estimate,
            photos,
            counts,
            stage,
            self.settings.views,
            self.generator,
            done,
            report,
            first,
        )
        self._preview(photos)
        return photos, counts

    def _preview(self, photos: TrainingViews) -> None:
        assert self.estimate is not None
        batch = photos.batch([0])
        batch = replace(batch, camera=self.estimate.cameras(batch.camera, [0]))
        self.folder.picture(
            f"renders/preview_{self.total:05d}.png", side_by_side(self.estimate.scene([0]), batch)
        )

    def save(self) -> None:
        """Write a checkpoint and the scene as it is."""
        assert self.estimate is not None
        facts = {
            "stage": self.stage,
            "step": self.step,
            "total": self.total,
            "seconds": self.seconds,
            "outliers": list(self.outliers),
        }
        write_checkpoint(self.folder, self.estimate, self.generator, facts)
        self._saved = time.monotonic()

    def _restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        self.total = facts["total"]
        self._began -= facts["seconds"]
        if facts["stage"] == 0:
            return  # which light it is was not decided yet: try both again
        self.stage, self.step = facts["stage"], facts["step"]
        self.outliers = tuple(facts["outliers"])
        self.generator.set_state(tensors.pop("generator"))
        try:
            self.estimate = Estimate.from_state(tensors, facts)
        except KeyError as error:
            raise ValueError(
                f"{self.folder.path}: the checkpoint has no {error}, another version wrote it; "
                "delete the run folder or choose another --out."
            ) from error

    @property
    def unfinished(self) -> list[str]:
        """What there was no time for, in words."""
        if self.stage == len(STAGES):
            return []
        stage = STAGES[self.stage]
        many = f"{self.step} of {stage.steps} steps"
        return [f"the last steps: {many} of stage {stage.name!r} were done"]

    def finish(self) -> tuple[Scene, dict[str, Any]]:
        """Score held-out photos and write the last files."""
        assert self.estimate is not None
        scene, scores = write_scores(self.folder, self.capture, self.estimate, self.outliers)
        metrics = {
            "capture": self.capture.name,
            "seconds": self.seconds,
            "complete": not self.unfinished,
            "unfinished": self.unfinished,
            "skipped": list(self.capture.skipped),
            **scores,
        }
        self.folder.write_json(METRICS, metrics)
        return scene, metrics

    def attach(self, scene: Scene, progress: Progress) -> None:
        """Make the fly-through and the rerun log, as far as the budget allows."""
        from invgraph.report.attachments import write_attachments

        left = self.settings.budget_s - REPORT_S - self.seconds
        photos = (
            (frame.name, photo.color.numpy())
            for (_, frame), photo in zip(self.train, self.photos, strict=True)
        )
        write_attachments(self.folder.path, scene, photos, min(left, ATTACHMENTS_S), progress)


def _words(stage: Stage) -> str:
    return f"shape and {'texture' if stage.textured else 'light'} at {stage.window} px"
