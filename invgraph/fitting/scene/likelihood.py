"""How likely an image is, given what a scene would look like in it."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.photometric.light import solve_light
from invgraph.photometric.response import CLIPPED, respond, solve_response
from invgraph.rendering import harmonics
from invgraph.rendering.result import Render

# Chosen, like the steps of descents, on path-traced crops (experiments/scene_crops.py, dev).
BORDER = 64  # pixels of an image's border that tell what is behind the object
BEHIND = 0.1  # mean difference of colours behind, root of linear, from one of these
ERROR = 0.16  # mean error of a colour that was rendered, root of linear
ODD = 0.1  # share of the object's pixels that show something else, of any colour
TOGETHER = 12.0  # pixels that err together and so tell one thing


@dataclass(frozen=True, eq=False)
class Likelihood:
    """What images say of scenes: an object before a background that is not modelled.

    A pixel shows the object with the probability of its coverage, in the colour that is rendered
    but for an error, or, if something hides it, in any colour; else it shows what is behind, in
    one of the colours along the image's border. Errors of neighbouring pixels go together, so that
    so many of them count as one.

    Attributes:
        roots: square roots of linear RGB: noise is about alike there in dark and bright places.
        behind: density of each pixel's colour if it shows the background.
    """

    roots: Float[Tensor, "*#n b h w 3"]
    behind: Float[Tensor, "b h w"]

    @staticmethod
    def of(images: Float[Tensor, "b h w 3"]) -> "Likelihood":
        """From images, linear RGB."""
        roots = images.clamp_min(0).sqrt()
        rim = torch.cat([roots[:, 0], roots[:, -1], roots[:, :, 0], roots[:, :, -1]], 1)
        seen = rim[:, :: max(rim.shape[1] // BORDER, 1)]
        away = torch.cdist(roots.flatten(1, 2), seen, p=1).unflatten(1, roots.shape[1:3])
        density = _laplace(away, BEHIND).mean(-1)
        return Likelihood(roots, (1 - ODD) * density + ODD)

    @torch.no_grad()
    def of_any_camera(self, drawn: Render) -> "Likelihood":
        """Of the images without what their camera made of the colours, told from each scene.

        Exposure and white balance are the light's. Saturation and tone curve are solved, and taken
        off where the object is; what is cut off at white was as bright as it is drawn, if that is
        brighter.

        Args:
            drawn: colour and coverage, ``n b h w ...``.

        Source:
            :mod:`invgraph.photometric.response`.
        """
        own = _own(drawn)
        weight = self.belongs(drawn) * (drawn.alpha == 1)
        flat, seen = (x.flatten(-3, -2) for x in (own, self.roots.expand_as(own)))
        change = respond(flat, solve_response(flat, seen, weight.flatten(-2))) - flat
        roots = (self.roots - change.unflatten(-2, own.shape[-3:-1])).clamp_min(0)
        roots = torch.where((self.roots > CLIPPED) & (own > roots), own, roots)
        assert drawn.alpha is not None
        return replace(self, roots=torch.where((drawn.alpha > 0)[..., None], roots, self.roots))

    def log_prob(self, drawn: Render) -> Float[Tensor, "n b"]:
        """Logarithm of how much likelier the images are with the objects than without.

        Args:
            drawn: colour and coverage, ``n b h w ...``, of n scenes for each image.

        Gradients:
            Reach both.
        """
        shown = self._shown(drawn)
        assert drawn.alpha is not None
        mixed = drawn.alpha * shown + (1 - drawn.alpha) * self.behind
        return (mixed / self.behind).log().sum((-1, -2)) / TOGETHER

    def belongs(self, drawn: Render) -> Float[Tensor, "n b h w"]:
        """The probability that a pixel shows the object rather than something else."""
        error = (1 - ODD) * self._rendered(drawn)
        assert drawn.alpha is not None
        total = drawn.alpha * (error + ODD) + (1 - drawn.alpha) * self.behind
        return drawn.alpha * error / total

    @torch.no_grad()
    def agreement(self, drawn: Render) -> Float[Tensor, "n b"]:
        """How alike the patterns of the images and of the rendered objects are: up to 1.

        The correlation of their colours over the pixels of an object, each channel about its mean,
        in which pixels count by how likely they show it. Other things may have an object's colours,
        and be likelier than their background; its pattern they do not have.

        Args:
            drawn: colour and coverage.
        """
        assert drawn.color is not None and drawn.alpha is not None
        weight = (self.belongs(drawn) * (drawn.alpha == 1)).flatten(-2)[..., None]
        weight = weight / weight.sum(-2, keepdim=True).clamp_min(1e-9)
        seen = self.roots.expand_as(drawn.color).flatten(-3, -2)
        shown = drawn.color.clamp_min(0).sqrt().flatten(-3, -2)
        seen, shown = (x - (weight * x).sum(-2, keepdim=True) for x in (seen, shown))
        products = [
            (weight * x * y).sum((-1, -2)) for x, y in ((seen, shown), (seen, seen), (shown, shown))
        ]
        return products[0] / (products[1] * products[2]).sqrt().clamp_min(1e-9)

    @torch.no_grad()
    def light(
        self, drawn: Render, coefficients: Float[Tensor, "n b 9 3"]
    ) -> Float[Tensor, "n b 9 3"]:
        """The lights under which the scenes look most like the images, camera frame.

        One round of robust least squares: pixels count by how likely they show the object under the
        light so far, and what is not matt in them is taken as it was rendered.

        Args:
            drawn: colour, coverage, albedo and normals under the light so far.
            coefficients: of that light.
        """
        assert drawn.color is not None and drawn.albedo is not None and drawn.normal is not None
        batch = drawn.color.shape[:2]
        normal, albedo = drawn.normal.flatten(0, 1), drawn.albedo.flatten(0, 1)
        irradiance = harmonics.irradiance_coefficients(coefficients.flatten(0, 1))
        matt = harmonics.evaluate(irradiance, normal.flatten(1, 2)) / math.pi
        matt = albedo * matt.unflatten(1, normal.shape[1:3])
        image = self.roots.square().expand_as(drawn.color).flatten(0, 1)
        wanted = image - (drawn.color.flatten(0, 1) - matt)
        weight = self.belongs(drawn) * (drawn.alpha == 1)
        found = solve_light(wanted, albedo, normal, weight.flatten(0, 1))
        return found.unflatten(0, batch)

    def _shown(self, drawn: Render) -> Tensor:
        """Density of the images' colours where they show the object or what hides it."""
        return (1 - ODD) * self._rendered(drawn) + ODD

    def _rendered(self, drawn: Render) -> Tensor:
        return _laplace((_own(drawn) - self.roots).abs().sum(-1), ERROR)


def _own(drawn: Render) -> Float[Tensor, "n b h w 3"]:
    """Roots of the object's own colours: at its outline, what was blended with black is undone."""
    assert drawn.color is not None and drawn.alpha is not None
    return (drawn.color / drawn.alpha[..., None].clamp_min(0.05)).clamp_min(1e-4).sqrt()


def _laplace(away: Tensor, error: float) -> Tensor:
    """Density of three roots whose differences sum to ``away``."""
    return torch.exp(-away / error) / (2 * error) ** 3
