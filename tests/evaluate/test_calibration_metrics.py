"""Ranks of beliefs that are right, too sure and biased; what weighted samples are worth."""

import pytest
import torch
from torch import Tensor

from invgraph.evaluate.calibration_metrics import effective_samples, rank_deviation, ranks
from invgraph.scene.domains import Free
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknown, Unknowns


def posterior(seen: Tensor, noise: float, surety: float = 1.0, bias: float = 0.0) -> SceneBelief:
    """What follows for a number with a standard normal prior that was seen with noise."""
    gain = 1 / (1 + noise**2)
    spread = torch.full((len(seen), 1, 1, 1), noise * gain**0.5 / surety)
    return SceneBelief(
        Unknowns((Unknown("x", Free(), ()),)),
        torch.zeros(len(seen), 1),
        {"x": (gain * seen + bias)[:, None]},
        {"x": spread},
    )


def deviation(**wrong: float) -> float:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(4000, generator=generator)
    seen = truth + 0.7 * torch.randn(4000, generator=generator)
    samples = posterior(seen, 0.7, **wrong).sample(99, generator)["x"]
    return rank_deviation(ranks(truth, samples), 99)


def test_the_right_posterior_is_calibrated_and_wrong_ones_are_not():
    assert deviation() < 1.8  # chi-squared of 19 degrees of freedom, 1 in 50
    assert deviation(surety=1.3) > 4 and deviation(surety=0.7) > 4 and deviation(bias=0.2) > 4


def test_ranks_by_hand():
    samples = torch.tensor([[0.0, 5.0], [1.0, 6.0], [2.0, 7.0]])
    assert ranks(torch.tensor([1.5, 4.0]), samples).tolist() == [2, 0]


def test_uneven_bins_expect_what_they_hold():
    """25 ranks in 20 bins: every rank four times is as even as can be."""
    assert rank_deviation(torch.arange(25).repeat(4), 24) == 0


def test_too_few_ranks_say_nothing():
    with pytest.raises(ValueError, match="100"):
        rank_deviation(torch.zeros(99, dtype=torch.long), 9)


def test_what_weighted_samples_are_worth():
    log_weights = torch.tensor([[0.0, 0.0], [0.0, -100.0], [0.0, -100.0], [0.0, -100.0]])
    torch.testing.assert_close(effective_samples(log_weights), torch.tensor([4.0, 1.0]))
    half = torch.tensor([0.0, 0.0, -100.0, -100.0])
    assert float(effective_samples(half + 7)) == pytest.approx(2)
