"""Whether beliefs are as sure as they may be: ranks and coverage of what is true."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def ranks(
    truth: Float[Tensor, "*batch"], samples: Float[Tensor, " n *batch"]
) -> Int[Tensor, "*batch"]:
    """How many samples of its belief lie below each true value: 0 to n, all alike likely if right.

    Source:
        Talts et al., Validating Bayesian inference algorithms with simulation-based calibration
        (2018).
    """
    return (samples < truth).sum(0)


def rank_deviation(found: Int[Tensor, " m"], samples: int) -> float:
    """How far ranks are from uniform, in units of what chance explains: about 1 if they are.

    The statistic is chi-squared of up to twenty bins over its expectation; beyond 2 hardly by
    chance.

    Args:
        found: ranks, 0 to ``samples``.
        samples: each truth was compared with.

    Raises:
        ValueError: there are fewer than 100 ranks.
    """
    if len(found) < 100:
        raise ValueError(f"calibration needs 100 ranks or more but got {len(found)}.")
    bins = min(20, samples + 1)
    # Where ranks do not divide evenly, bins hold unequal numbers of them.
    bin_of_rank = ((torch.arange(samples + 1) + 0.5) / (samples + 1) * bins).long()
    expected = torch.bincount(bin_of_rank, minlength=bins) * len(found) / (samples + 1)
    counts = torch.bincount(bin_of_rank[found], minlength=bins)
    return float(((counts - expected).square() / expected).sum() / (bins - 1))


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a score of the positive is above one of the negative, ties counting half.

    This is the area under the receiver operating characteristic.
    """
    wins = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    return sum(wins) / len(wins)


def effective_samples(log_weights: Float[Tensor, " n *batch"]) -> Float[Tensor, "*batch"]:
    """Of how many equally good samples weighted ones are worth: 1 to n.

    Args:
        log_weights: logarithms of importance weights, up to a constant.

    Source:
        Kong, A note on importance sampling using standardized weights (1992).
    """
    weights = log_weights.softmax(0)
    return 1 / weights.square().sum(0)
