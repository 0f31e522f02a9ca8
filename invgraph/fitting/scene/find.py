"""From a photo to what is believed of the scene with a known object in it."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.scene.descent import descend
from invgraph.fitting.scene.object_prior import POSE
from invgraph.fitting.scene.scene_model import SceneModel
from invgraph.fitting.scene.sharpen import sharpened
from invgraph.fitting.scene.view import look_at_window
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.scene.distributions import PoseInView
from invgraph.scene.heat_map import HeatMap
from invgraph.scene.scene import Scene
from invgraph.scene.scene_belief import SceneBelief

WINDOWS = 3  # places of a photo that are looked at
# Evidence at which the object is as probably there as not, and over which that changes by e.
EVEN, STEEP = 15.0, 5.0


@dataclass(frozen=True, eq=False)
class Views:
    """What cameras see that look straight at places of one photo.

    Attributes:
        images: linear RGB.
        lens: theirs, pinholes.
        camera_from_view: rotations from their frames to the photo's camera.
    """

    images: Float[Tensor, "b s s 3"]
    lens: Lens
    camera_from_view: Float[Tensor, "b 4 4"]

    def __getitem__(self, index: int) -> "Views":
        """One of them, still with its axis."""
        part = slice(index, index + 1)
        lens = replace(self.lens, focal=self.lens.focal[part], principal=self.lens.principal[part])
        return Views(self.images[part], lens, self.camera_from_view[part])


@dataclass(frozen=True, eq=False)
class FoundScene:
    """What is believed of the scene in a photo. The world is the frame of the view.

    Attributes:
        heat: where in the photo the object is, by the finder.
        view: the window in which it is.
        guess: what the encoder believes about that window.
        belief: the same after descent.
        values: of the prior's unknowns in the likeliest scene, ``*shape`` by path.
        evidence: logarithm of how much likelier the window's pixels are with the object.
        score: the probability that the object is there.
        camera_from_object: its likeliest pose; the object's frame is its file's.
    """

    heat: HeatMap
    view: Views
    guess: SceneBelief
    belief: SceneBelief
    values: dict[str, Tensor]
    evidence: float
    score: float
    camera_from_object: Float[Tensor, "4 4"]

    def scene(self, model: SceneModel) -> Scene:
        """The likeliest scene; :meth:`camera` sees it as the photo does."""
        return fixed_light(model.known.prior.scene(self.values))

    def camera(self, lens: Lens) -> Camera:
        """The photo's camera."""
        return Camera(lens, self.view.camera_from_view[0])


def fixed_light(scene: Scene) -> Scene:
    """A scene in a view's frame whose light stays there when another camera looks at it."""
    return replace(scene, lights=tuple(replace(light, frame="world") for light in scene.lights))


def look_at_places(
    model: SceneModel, photo: Float[Tensor, "h w 3"], lens: Lens, places: Float[Tensor, "k 3"]
) -> Views:
    """Views in which the object is as large as the encoder expects it.

    Args:
        model: says how large that is.
        photo: linear RGB.
        lens: of the photo.
        places: pixel and logarithm of the diameter, as :class:`HeatMap` tells them.
    """
    pose = model.known.prior.distributions[POSE]
    assert isinstance(pose, PoseInView)
    sides = places[:, 2].exp() / math.sqrt(pose.size[0] * pose.size[1])
    seen = [
        look_at_window(photo, lens, place, side)
        for place, side in zip(places[:, :2], sides.tolist(), strict=True)
    ]
    images, lenses, turns = zip(*seen, strict=True)
    together = replace(
        lenses[0],
        focal=torch.stack([each.focal for each in lenses]),
        principal=torch.stack([each.principal for each in lenses]),
    )
    return Views(torch.stack(images), together, torch.stack(turns))


def find_scene(
    model: SceneModel, photo: Float[Tensor, "h w 3"], lens: Lens, windows: int = WINDOWS
) -> FoundScene:
    """Where in a photo the object is, in which pose and light, and how sure that is.

    The finder tells where to look, the encoder what to expect there, and descent sharpens it; the
    window whose pixels the object explains best is the answer.

    Args:
        model: trained on the object.
        photo: linear RGB, of any size.
        lens: of the photo.
        windows: how many places are looked at.
    """
    heat = model.heat(photo)
    places, held = heat.top(windows)
    views = look_at_places(model, photo, lens, places[0])
    guess, _ = model(views.images, views.lens)
    prior = model.known.prior.given(views.lens)
    ends = descend(prior, guess, views.images, views.lens)
    evidence = ends.log_likelihood[0] + held[0].clamp_min(1e-6).log()
    best = int(evidence.argmax())
    view, guess, ends = views[best], guess[best], ends[best]
    belief = sharpened(prior.given(view.lens), guess, ends, view.images, view.lens)
    values = {path: value[0, 0] for path, value in ends.values.items()}
    likely = float(ends.log_likelihood[0, 0])
    pose = model.known.camera_from_object(view.camera_from_view[0] @ values[POSE])
    score = float(torch.tensor((likely - EVEN) / STEEP).sigmoid())
    return FoundScene(heat, view, guess, belief, values, likely, score, pose)
