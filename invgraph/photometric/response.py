"""What a camera makes of colours: saturation and tone curve, solved where they are linear.

Photographs are not renders: between the light and the file are a white balance, a saturation, a
tone curve, flare. The first of them, like exposure, is a factor per channel, which any light holds
already; the others are not, and are solved here. The arguments are square roots of linear values,
near which both cameras' curves and noise are about even.

Source:
    Grossberg & Nayar, Modeling the space of camera response functions (PAMI 2004): a few basis
    functions that vanish at black and white span the responses of real cameras.
"""

import torch
from jaxtyping import Float
from torch import Tensor

CLIPPED = 0.98  # root from which a channel is cut: the light was this bright or brighter
COEFFICIENTS = 4  # saturation, brighter middle, less contrast, lifted black
SPREAD = 0.3, 0.25, 0.4, 0.06  # of them over cameras, standard deviations
LIMIT = 2.0  # standard deviations beyond which nothing is believed
ERROR = 0.08  # of a colour, root of linear
TELLING = 150.0  # colours at most that tell one thing each: errors go together
ROBUST = 1.0  # times the mean error, from which a colour counts less


def solve_response(
    drawn: Float[Tensor, "*batch n 3"],
    seen: Float[Tensor, "*batch n 3"],
    weight: Float[Tensor, "*batch n"],
    rounds: int = 2,
) -> Float[Tensor, "*batch 4"]:
    """The response under which colours that are drawn look most like those that are seen.

    Robust least squares with a ridge towards no change at all. Channels that are cut off at white
    say nothing.

    Args:
        drawn: roots of linear RGB, as rendered.
        seen: roots of linear RGB, of the image, at most 1.
        weight: 0 or more per colour.
        rounds: of reweighting.

    Returns:
        Coefficients for :func:`respond`; 0 where no colour counts.

    Gradients:
        Reach all; zero where a coefficient is at its limit.
    """
    basis = torch.stack(_basis(drawn), -1).flatten(-3, -2)  # 3n 4
    wanted = (seen - drawn).flatten(-2)[..., None]  # 3n 1
    usable = (weight[..., None] * ((seen < CLIPPED) & (drawn < 1))).flatten(-2)[..., None]
    total = usable.sum((-2, -1), keepdim=True).clamp_min(1e-6)
    spread = drawn.new_tensor(SPREAD)
    ridge = torch.diag((ERROR / spread).square() / TELLING)
    found = drawn.new_zeros((*drawn.shape[:-2], COEFFICIENTS))
    for _ in range(rounds):
        error = (wanted - basis @ found[..., None]).detach().abs()
        mean = (usable * error).sum((-2, -1), keepdim=True) / total
        size = error.unflatten(-2, (-1, 3)).mean(-2, keepdim=True) / (
            ROBUST * mean[..., None] + 0.01
        )
        size = size.expand(*size.shape[:-2], 3, 1).flatten(-3, -2)
        weighted = (basis * (usable / (1 + size.square()) / total)).mT
        found = torch.linalg.solve(weighted @ basis + ridge, weighted @ wanted)[..., 0]
        found = found.clamp(-LIMIT * spread, LIMIT * spread)
    return found


def respond(
    drawn: Float[Tensor, "*batch n 3"], response: Float[Tensor, "*batch 4"]
) -> Float[Tensor, "*batch n 3"]:
    """Colours as a camera shows them before it cuts what is brighter than white.

    Args:
        drawn: roots of linear RGB, as rendered.
        response: by :func:`solve_response`; zeros change nothing.

    Gradients:
        Reach both.
    """
    saturation, middle, contrast, black = response[..., None, None, :].unbind(-1)
    root = drawn.clamp(0, 1)
    curve = root * (middle + contrast * (1 - 2 * root)) + black
    change = saturation * (root - root.mean(-1, keepdim=True)) + (1 - root) * curve
    return (drawn + change).clamp_min(0)


def _basis(drawn: Tensor) -> list[Tensor]:
    """Changes of colours per unit of each coefficient, of the shape of the colours."""
    root = drawn.clamp(0, 1)
    grey = root.mean(-1, keepdim=True)
    middle = root * (1 - root)
    return [root - grey, middle, middle * (1 - 2 * root), 1 - root]
