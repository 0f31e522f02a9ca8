"""Descent on likelihood times belief: what an encoder guessed is sharpened on the image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.scene.likelihood import Likelihood
from invgraph.fitting.scene.object_prior import LIGHT, POSE, ROUGHNESS, TINT
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.rendering.result import Render
from invgraph.scene.prior import Prior
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknowns

STARTS, TRIED = 6, 10  # hypotheses from which is descended, and steps after which
KEPT, STEPS = 2, 40  # so many are kept, down to the last step
BELIEVED = 16  # hypotheses of the belief that count
# One unit of descent: metres relative to the distance, radians, logarithms.
UNITS = {POSE: 3 * (0.025,) + 3 * (0.1,), TINT: 3 * (0.05,), ROUGHNESS: (0.2,)}
RATE = 0.25  # of these units, the first step


@dataclass(frozen=True, eq=False)
class Descended:
    """Where descents ended: n starts in each of b images, the best first.

    Attributes:
        values: by path, ``n b *shape``.
        log_likelihood: of the image.
        log_posterior: the same times the belief.
    """

    values: dict[str, Tensor]
    log_likelihood: Float[Tensor, "n b"]
    log_posterior: Float[Tensor, "n b"]

    def __getitem__(self, index: int) -> "Descended":
        """Those in one image, still with its axis."""
        part = slice(index, index + 1)
        values = {path: value[:, part] for path, value in self.values.items()}
        return Descended(values, self.log_likelihood[:, part], self.log_posterior[:, part])


def descend(
    prior: Prior,
    belief: SceneBelief,
    images: Float[Tensor, "b h w 3"],
    lens: Lens,
    starts: int = STARTS,
    kept: int = KEPT,
    steps: int = STEPS,
) -> Descended:
    """From the likeliest hypotheses of a belief to the scenes that explain the images best.

    Maximises the image's likelihood times the belief: the likelihood alone ends at wrong poses that
    happen to look alike, more often than it should, since no renderer is the world. The light is
    solved at every step (:meth:`Likelihood.light`), as what is linear need not be searched.

    Args:
        prior: of scenes with one object, as :func:`object_prior` makes it.
        belief: about the images, over the prior's unknowns.
        images: linear RGB.
        lens: theirs; one or one per image.
        starts: hypotheses from which is descended.
        kept: of them, that go on after the first steps.
        steps: of those.
    """
    hypotheses = belief.top(min(starts, belief.log_weights.shape[-1]))
    values = {path: value.detach() for path, value in hypotheses.middles().items()}
    objective = Objective.of(prior, belief, images, lens)
    first = min(TRIED, steps)
    values = objective.run(values, 0, first, steps)
    if first < steps:
        best = objective.sorted(values)
        values = {path: value[:kept] for path, value in best.values.items()}
        values = objective.of_any_camera(values).run(values, first, steps, steps)
    return objective.of_any_camera(values).sorted(values)


@dataclass(frozen=True, eq=False)
class Objective:
    """The logarithm of likelihood times belief, of scenes under the best light for each.

    Attributes:
        prior: of the scenes.
        likelihood: of the images.
        believed: about all unknowns but the light.
        lens: of the images.
    """

    prior: Prior
    likelihood: Likelihood
    believed: SceneBelief
    lens: Lens

    @staticmethod
    def of(
        prior: Prior, belief: SceneBelief, images: Float[Tensor, "b h w 3"], lens: Lens
    ) -> "Objective":
        """Of images, linear RGB, about which something is believed."""
        moving = [unknown.path for unknown in prior.unknowns if unknown.path != LIGHT]
        believed = belief.top(min(BELIEVED, belief.log_weights.shape[-1])).marginal(moving)
        return Objective(prior, Likelihood.of(images), believed, lens)

    @torch.no_grad()
    def of_any_camera(self, values: dict[str, Tensor]) -> "Objective":
        """The same for what the images' cameras saw, told from each of some scenes."""
        drawn = draw(self.prior, self.lit(values), self.lens)
        return replace(self, likelihood=self.likelihood.of_any_camera(drawn))

    def run(
        self, values: dict[str, Tensor], first: int, last: int, steps: int
    ) -> dict[str, Tensor]:
        """Some of the steps, with Adam in coordinates around where they begin."""
        values = dict(values)
        light = values.pop(LIGHT)
        free = [u for u in self.prior.unknowns if u.path != LIGHT]
        tangents = Unknowns(tuple(replace(u, around=values[u.path]) for u in free))
        unit = units(tangents, values)
        moved = torch.zeros_like(unit, requires_grad=True)
        optimizer = torch.optim.Adam([moved], RATE, betas=(0.8, 0.95))
        for step in range(first, last):
            optimizer.param_groups[0]["lr"] = RATE * _cosine(step / steps)
            slope, light = self.slope(tangents, unit * moved.detach(), light)
            moved.grad = -unit * slope
            optimizer.step()
        with torch.no_grad():
            return {**tangents.values(unit * moved), LIGHT: light}

    def slope(self, tangents: Unknowns, at: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient at coordinates of all unknowns but the light, and the light there.

        Args:
            tangents: have the coordinates.
            at: ``n b m``.
            light: to begin with, ``n b 9 3``.
        """
        at = at.detach().requires_grad_()
        with torch.enable_grad():
            now = tangents.values(at)
            drawn = draw(self.prior, {**now, LIGHT: light}, self.lens)
            light = self.likelihood.light(drawn, light)
            value = self.likelihood.log_prob(drawn) + self.believed.log_prob(now)
            [slope] = torch.autograd.grad(value.sum(), at)
        return slope.nan_to_num(0.0), light

    @torch.no_grad()
    def lit(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values under the best light for them, in two rounds from the one they have."""
        values = dict(values)
        for _ in range(2):
            drawn = draw(self.prior, values, self.lens)
            values[LIGHT] = self.likelihood.light(drawn, values[LIGHT])
        return values

    @torch.no_grad()
    def sorted(self, values: dict[str, Tensor]) -> Descended:
        """How good values are, under the best light for them."""
        values = self.lit(values)
        log_likelihood = self.likelihood.log_prob(draw(self.prior, values, self.lens))
        told = {path: value for path, value in values.items() if path != LIGHT}
        log_posterior = log_likelihood + self.believed.log_prob(told)
        order = log_posterior.argsort(0, descending=True)
        found = {path: _sorted(value, order) for path, value in values.items()}
        return Descended(found, _sorted(log_likelihood, order), _sorted(log_posterior, order))


@torch.no_grad()
def spread_belief(
    encoder: SceneEncoder, images: Float[Tensor, "b h w 3"], lens: Lens
) -> SceneBelief:
    """What is believed without a network: hypotheses weighted by the likelihood of the images.

    Args:
        encoder: whose hypotheses and prior are meant; its weights are not used.
        images: linear RGB.
        lens: theirs.
    """
    belief = encoder.ignorance(lens, len(images))
    likelihood = Likelihood.of(images)
    values = belief.middles()
    for _ in range(2):
        drawn = draw(encoder.prior, values, lens)
        values[LIGHT] = likelihood.light(drawn, values[LIGHT])
    log_prob = likelihood.log_prob(draw(encoder.prior, values, lens)).mT
    return replace(belief, log_weights=log_prob.log_softmax(-1))


def draw(prior: Prior, values: Mapping[str, Tensor], lens: Lens) -> Render:
    """What scenes look like to a camera in the origin."""
    camera = Camera(lens, torch.eye(4).expand(*lens.batch_shape, 4, 4))
    return render(prior.scene(values), camera, outputs=("color", "alpha", "albedo", "normal"))


def units(tangents: Unknowns, begin: Mapping[str, Tensor]) -> Float[Tensor, "n b m"]:
    """How far one unit of descent goes, per coordinate."""
    depth = begin[POSE][..., 2, 3, None]
    parts = []
    for unknown in tangents:
        unit = depth.new_tensor(UNITS[unknown.path]).expand(*depth.shape[:-1], -1)
        if unknown.path == POSE:
            unit = torch.cat([unit[..., :3] * depth, unit[..., 3:]], -1)
        parts.append(unit)
    return torch.cat(parts, -1)


def _cosine(share: float) -> float:
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share))


def _sorted(value: Tensor, order: Tensor) -> Tensor:
    index = order.reshape(*order.shape, *(1,) * (value.ndim - 2)).expand_as(value)
    return value.gather(0, index)
