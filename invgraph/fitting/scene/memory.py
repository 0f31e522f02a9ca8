"""What photos without labels are believed to show, as weighted samples to learn from."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.evaluate.calibration_metrics import effective_samples
from invgraph.fitting.scene.descent import Objective, draw
from invgraph.fitting.scene.find import FoundScene
from invgraph.fitting.scene.object_prior import LIGHT, POSE
from invgraph.fitting.scene.view import look_at_window
from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens
from invgraph.rendering import harmonics
from invgraph.scene.distributions import PoseInView
from invgraph.scene.prior import Prior

DRAWS = 32  # scenes of each photo
WIDER = 1.6  # times the window: what is kept of a photo, so that other windows may be cut from it
KEPT_SIDE = 128  # pixels of it


@dataclass(frozen=True, eq=False)
class Memory:
    """A photo, and scenes that explain it.

    Attributes:
        image: the object and what is around it, linear RGB.
        lens: of the image.
        values: of the prior's unknowns in n scenes, the world being the image's camera.
        weights: probabilities of these scenes.
        score: the probability that the object is there.
    """

    image: Float[Tensor, "s s 3"]
    lens: Lens
    values: dict[str, Tensor]
    weights: Float[Tensor, " n"]
    score: float

    @property
    def effective(self) -> float:
        """Of how many equally good scenes these are worth."""
        return float(effective_samples(self.weights.log()))


@torch.no_grad()
def remember(
    prior: Prior,
    found: FoundScene,
    photo: Float[Tensor, "h w 3"],
    lens: Lens,
    generator: torch.Generator,
) -> Memory:
    """Scenes drawn from what is believed after descent, weighted by how well they explain a photo.

    The weights are likelihood times what the encoder guessed, over the density from which they were
    drawn; the light of each scene is the one that is best for it, the camera that of the likeliest.

    Args:
        prior: of the scenes.
        found: where and what the object is.
        photo: linear RGB.
        lens: of the photo.
        generator: of the draws.

    Source:
        The wake phase of Le et al., Revisiting reweighted wake-sleep for models with stochastic
        control flow (2019), with descent in place of more samples.
    """
    view = found.view
    objective = Objective.of(prior.given(view.lens), found.guess, view.images, view.lens)
    objective = objective.of_any_camera({p: v[None, None] for p, v in found.values.items()})
    moving = found.belief.marginal([u.path for u in prior.unknowns if u.path != LIGHT])
    told = moving.sample(DRAWS, generator)
    light = found.values[LIGHT].expand(DRAWS, 1, 9, 3)
    for _ in range(2):
        drawn = draw(objective.prior, {**told, LIGHT: light}, view.lens)
        light = objective.likelihood.light(drawn, light)
    drawn = draw(objective.prior, {**told, LIGHT: light}, view.lens)
    log_weights = objective.likelihood.log_prob(drawn) + objective.believed.log_prob(told)
    log_weights = (log_weights - moving.log_prob(told))[:, 0]
    image, wide, camera_from_wide = _around(view.lens, view.camera_from_view[0], photo, lens)
    wide_from_view = transforms.invert(camera_from_wide) @ view.camera_from_view[0]
    values = _seen_from(wide_from_view, {p: v[:, 0] for p, v in {**told, LIGHT: light}.items()})
    return Memory(image, wide, values, log_weights.softmax(0), found.score)


def _around(
    lens: Lens, camera_from_view: Tensor, photo: Tensor, of_photo: Lens
) -> tuple[Tensor, Lens, Tensor]:
    """What is seen around a view, from the photo."""
    axis = camera_from_view[:3, 2]
    centre, _ = of_photo.project(axis[None])
    # Pixels of the photo per pixel of the view, there.
    aside = camera_from_view[:3, :3] @ torch.tensor([1e-3, 0.0, 1.0])
    beside, _ = of_photo.project(aside[None])
    side = float((beside - centre).norm() / (1e-3 * lens.focal.mean())) * lens.width
    return look_at_window(photo, of_photo, centre[0], WIDER * side, KEPT_SIDE)


def _seen_from(new_from_old: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same scenes with another camera's frame as the world."""
    light = harmonics.rotate(values[LIGHT], new_from_old[:3, :3].mT)
    return {**values, POSE: new_from_old @ values[POSE], LIGHT: light}


@torch.no_grad()
def recall(
    memories: list[Memory], prior: Prior, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "b s s 3"], Lens, dict[str, Tensor], Float[Tensor, " b"]]:
    """Windows of photos as the prior has them, and a scene that explains each.

    Args:
        memories: of photos, one or more.
        prior: says how large and how far off the middle the object is in a window.
        count: of the windows.
        generator: of what is chosen.

    Returns:
        Images, linear RGB; their lenses; values by path; how sure it is that the object is there.
    """
    pose = prior.distributions[POSE]
    assert isinstance(pose, PoseInView)
    low, high = pose.size
    which = torch.randint(len(memories), (count,), generator=generator).tolist()
    sizes = low * (high / low) ** torch.rand(count, generator=generator)
    offsets = pose.offset * (2 * torch.rand(count, 2, generator=generator) - 1)
    images, lenses, values = [], [], []
    for index, size, offset in zip(which, sizes.tolist(), offsets, strict=True):
        memory = memories[index]
        drawn = int(torch.multinomial(memory.weights, 1, generator=generator))
        scene = {path: value[drawn] for path, value in memory.values.items()}
        origin = scene[POSE][:3, 3]
        pixel, _ = memory.lens.project(origin[None])
        diameter = 2 * pose.radius * float(memory.lens.focal.mean() / origin[2])
        side = diameter / size
        image, lens, turn = look_at_window(
            memory.image, memory.lens, pixel[0] - side * offset, side
        )
        images.append(image)
        lenses.append(lens)
        values.append(_seen_from(transforms.invert(turn), scene))
    together = replace(
        lenses[0],
        focal=torch.stack([lens.focal for lens in lenses]),
        principal=torch.stack([lens.principal for lens in lenses]),
    )
    scores = torch.tensor([memories[index].score for index in which])
    stacked = {path: torch.stack([scene[path] for scene in values]) for path in values[0]}
    return torch.stack(images), together, stacked, scores
