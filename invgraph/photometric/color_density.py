"""How likely a colour is where another one is expected: an error, and a sensor that is cut off."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.photometric.response import CLIPPED

# Density of a channel that is surely cut off, relative to the uniform one: it has one value, so as
# peaked as histograms of colours are there.
CUT = 11.0


def color_density(
    drawn: Float[Tensor, "*batch 3"], seen: Float[Tensor, "*batch 3"], errors: tuple[float, ...]
) -> Float[Tensor, "*batch"]:
    """Density of colours that are known but for an error, relative to the uniform one.

    Laplace's in each channel. Where a channel is cut off at white, it is the probability that the
    light was as bright: else what is overexposed would show the object no better than anything.

    Args:
        drawn: roots of linear RGB that are expected; above 1 if brighter than white.
        seen: roots of linear RGB of the image, at most 1.
        errors: mean differences of one channel, equally likely.

    Gradients:
        Reach ``drawn`` and ``seen``.
    """
    found = likely_error((drawn - seen).abs().sum(-1), errors)
    clipped = (seen > CLIPPED).any(-1)
    if not bool(clipped.any()):
        return found
    drawn, seen = drawn[clipped], seen[clipped]
    cut = torch.stack([_channels(drawn, seen, error).prod(-1) for error in errors]).mean(0)
    return found.masked_scatter(clipped, cut)


def likely_error(
    away: Float[Tensor, "*shape"], usual: tuple[float, ...]
) -> Float[Tensor, "*shape"]:
    """Density of a colour that is known but for an error, relative to the uniform one.

    Args:
        away: sum of the differences of the three roots of colours.
        usual: mean differences of one channel, equally likely.
    """
    parts = [torch.exp(-away / error) / (2 * error) ** 3 for error in usual]
    return torch.stack(parts).mean(0)


def _channels(drawn: Tensor, seen: Tensor, error: float) -> Tensor:
    # The light that was solved for is the least that explains white: an error less will do.
    above = drawn - (CLIPPED - error)
    tail = 0.5 * torch.exp(-above.abs() / error)
    cut = CUT * torch.where(above < 0, tail, 1 - tail)
    other = torch.exp(-(drawn - seen).abs() / error) / (2 * error)
    return torch.where(seen > CLIPPED, cut, other)
