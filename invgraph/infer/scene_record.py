"""What is kept of a scene that was inferred: its pose, numbers, pictures, and the scene itself."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.frame import Frame
from invgraph.data.object_pose_files import PoseRow
from invgraph.fitting.scene.find import FoundScene, fixed_light
from invgraph.fitting.scene.main_light import believed_direction, main_direction, unevenness
from invgraph.fitting.scene.object_prior import LIGHT, POSE, ROUGHNESS, TINT
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.fitting.scene.view import look_through
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.infer.hypotheses import (
    Hypothesis,
    around_object,
    file_scene,
    hypotheses,
    viewpoints,
)
from invgraph.rendering import harmonics
from invgraph.report.overlay import SIDE, draw_overlay
from invgraph.report.scene_pictures import (
    Picture,
    ghosts,
    heat_over,
    light_ball,
    surface_pictures,
)
from invgraph.runs.scene_records import HypothesisRecord, SceneRecord
from invgraph.scene import Scene
from invgraph.scene.heat_map import HeatMap
from invgraph.scene.scene_belief import SceneBelief

CONE = 0.9  # how often the cone about the main light should hold it
FOUND = 0.5  # least score of an object that is there
VIEW_SIDE, GHOST_SIDE, GHOSTS = 320, 240, 32  # pixels, and samples of a belief
TOLD = 8  # hypotheses in the record
COVER = 0.2  # of its diameter: the standard deviation of a ball's pixels along one axis, about
CELLS = 160  # of the heat map along the photo's longer side


@dataclass(frozen=True, eq=False)
class Placed:
    """The likeliest scene in the object's own frame, and the cameras that see it.

    Attributes:
        scene: the mesh is in its file's frame.
        photo: the photo's camera.
        view: one at the same place that looks at the object.
    """

    scene: Scene
    photo: Camera
    view: Camera


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of one photo.

    Attributes:
        row: for the table of poses.
        record: the rest in numbers.
        belief: after descent, in the view's frame.
        pictures: by role.
        placed: None where the object was not found.
    """

    row: PoseRow
    record: SceneRecord
    belief: SceneBelief
    pictures: dict[str, Picture]
    placed: Placed | None


@torch.no_grad()
def keep(
    model: SceneModel,
    frame: Frame,
    photo: Float[Tensor, "h w 3"],
    lens: Lens,
    found: FoundScene,
    stem: str,
    seconds: float,
) -> Kept:
    """Everything about one photo.

    Args:
        model: that inferred it.
        frame: the photo.
        photo: the same, linear RGB.
        lens: of the photo.
        found: what was inferred.
        stem: of its files.
        seconds: that it took.
    """
    told = hypotheses(model.known, found.belief, found.view.camera_from_view[0])
    score = found.score if math.isfinite(found.score) else 0.0
    agreement = found.agreement if math.isfinite(found.agreement) else -1e6
    best = told[0]
    sound = best.camera_from_object.isfinite().all() and best.covariance.isfinite().all()
    there = score >= FOUND and bool(sound)
    present = float(found.heat.present[0])
    record = SceneRecord(frame.name, stem, there, score, present, agreement, seconds)
    covariance = best.covariance.numpy() if there else np.diag(np.full(6, np.inf))
    row = PoseRow(
        frame.name,
        there,
        score,
        best.camera_from_object.double().numpy(),
        covariance,
        len(told) if there else 0,
        seconds,
    )
    small = frame.thumbnail(SIDE)
    heat = covered(found.heat).picture(*frame.size, stride=max(1, max(frame.size) // CELLS))[0]
    warm = heat_over(small, heat, present)
    if not there:
        return Kept(row, record, found.belief, {"where": small, "heat": warm}, None)
    camera_from_view = found.view.camera_from_view[0]
    scene = file_scene(model.known, best, camera_from_view.mT)
    overlay = draw_overlay(small, scene, Camera(lens, torch.eye(4)), row)
    pictures = {
        "photo": small,
        "render": overlay.render,
        "difference": overlay.difference,
        "where": overlay.outlined,
        "heat": warm,
    }
    pictures, record = _looked_at(model, photo, lens, found, told, pictures, record)
    placed, camera_from_object = around_object(scene)
    view = _view(found, VIEW_SIDE)
    looking = Camera(view, camera_from_view.mT @ camera_from_object)
    where = Placed(placed, Camera(lens, camera_from_object), looking)
    return Kept(row, record, found.belief, pictures, where)


def _looked_at(
    model: SceneModel,
    photo: Tensor,
    lens: Lens,
    found: FoundScene,
    told: list[Hypothesis],
    pictures: dict[str, Picture],
    record: SceneRecord,
) -> tuple[dict[str, Picture], SceneRecord]:
    """With what a camera says that looks at the object."""
    camera_from_view = found.view.camera_from_view[0]
    prior = model.known.detailed
    large, medium = _view(found, VIEW_SIDE), _view(found, GHOST_SIDE)
    best = fixed_light(prior.scene(told[0].values))
    crop = look_through(photo, lens, large, camera_from_view)
    surface, depth = surface_pictures(best, large, crop)
    crop = look_through(photo, lens, medium, camera_from_view)
    samples = [
        {path: value[:, 0] for path, value in belief.sample(GHOSTS, generator).items()}
        for belief in (found.guess, found.belief)
        for generator in [torch.Generator().manual_seed(0)]
    ]
    guess, belief = (ghosts(fixed_light(prior.scene(each)), medium, crop) for each in samples)
    turn = camera_from_view[:3, :3]
    [towards], [cone] = believed_direction(found.belief, CONE, torch.Generator().manual_seed(0))
    towards = turn @ towards
    light = harmonics.rotate(told[0].values[LIGHT], turn.mT)
    ball = light_ball(light, towards, main_direction(samples[1][LIGHT]) @ turn.mT)
    record = replace(
        record,
        hypotheses=tuple(_numbers(each) for each in told[:TOLD]),
        towards=tuple(towards.tolist()),
        uneven=float(unevenness(told[0].values[LIGHT])),
        light_cone_deg=math.degrees(float(cone)),
        depth=depth,
        guess=_pairs(viewpoints(samples[0][POSE])),
        belief=_pairs(viewpoints(samples[1][POSE])),
    )
    more = {"guess": guess, "belief": belief, "light": ball}
    return {**pictures, **surface, **more}, record


def covered(heat: HeatMap) -> HeatMap:
    """Where the object's pixels may be, about: the places of its centre, widened by its size."""
    reach = COVER * heat.means[..., 2:].exp()
    wide = (heat.scales[..., :2].square() + reach.square()).sqrt()
    return replace(heat, scales=torch.cat([wide, heat.scales[..., 2:]], -1))


def _view(found: FoundScene, side: int) -> Lens:
    return found.view.lens[0].resize(side, side)


def _pairs(angles: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple((round(a, 1), round(b, 1)) for a, b in angles.tolist())


def _numbers(hypothesis: Hypothesis) -> HypothesisRecord:
    values, spread = hypothesis.values, hypothesis.covariance
    return HypothesisRecord(
        hypothesis.probability,
        tuple(viewpoints(values[POSE]).tolist()),
        float(values[POSE][:3, 3].norm()),
        1e3 * float(spread[:3, :3].trace().clamp_min(0).sqrt()),
        math.degrees(float(spread[3:, 3:].trace().clamp_min(0).sqrt())),
        tuple(values[TINT].tolist()),
        float(values[ROUGHNESS]),
        tuple(tuple(row) for row in hypothesis.camera_from_object.tolist()),
    )
