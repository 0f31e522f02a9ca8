"""What cameras make of colours, against responses that are known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invgraph.photometric.color_density import CUT, color_density
from invgraph.photometric.response import CLIPPED, LIMIT, SPREAD, respond, solve_response

COLORS = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))


def test_responses_by_hand():
    color = torch.tensor([[0.2, 0.4, 0.6], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    for response, expected in (
        # Grey 0.4: 0.2 - 0.2 / 2 and 0.6 + 0.2 / 2; greys stay.
        ((0.5, 0, 0, 0), [[0.1, 0.4, 0.7], [0.5] * 3, [0.0] * 3, [1.0] * 3]),
        # 0.4 * 0.2 * 0.8 more, and so on; black and white stay.
        ((0, 0.4, 0, 0), [[0.264, 0.496, 0.696], [0.6] * 3, [0.0] * 3, [1.0] * 3]),
        # 0.2 * 0.8 * 0.6 = 0.096, 0.4 * 0.6 * 0.2 = 0.048; the middle stays.
        ((0, 0, -0.5, 0), [[0.152, 0.376, 0.624], [0.5] * 3, [0.0] * 3, [1.0] * 3]),
        # A tenth of the way to white.
        ((0, 0, 0, 0.1), [[0.28, 0.46, 0.64], [0.55] * 3, [0.1] * 3, [1.0] * 3]),
        ((0, 0, 0, 0), color.tolist()),
    ):
        found = respond(color, torch.tensor([float(part) for part in response]))
        assert torch.allclose(found, torch.tensor(expected), atol=1e-6)


@given(
    saturation=st.floats(-0.3, 0.4),
    middle=st.floats(-0.25, 0.25),
    contrast=st.floats(-0.4, 0.4),
    black=st.floats(0.0, 0.05),
)
def test_a_response_is_found_again(saturation, middle, contrast, black):
    truth = torch.tensor([saturation, middle, contrast, black])
    seen = respond(COLORS, truth).clamp_max(1)
    found = respond(COLORS, solve_response(COLORS, seen, torch.ones(400))).clamp_max(1)
    error, before = ((part - seen).abs().mean() for part in (found, COLORS))
    assert error < 0.15 * before + 0.002


def test_outliers_and_clipped_colours_say_nothing():
    truth = torch.tensor([0.3, 0.2, 0.0, 0.0])
    seen = respond(COLORS, truth).clamp_max(1)
    seen[:60] = 0.2  # something is in front
    weight = torch.ones(400)
    for rounds, share in ((1, 0.5), (4, 0.2)):
        found = respond(COLORS, solve_response(COLORS, seen, weight, rounds)).clamp_max(1)
        error, before = ((part - seen)[60:].abs().mean() for part in (found, COLORS))
        assert error < share * before
    weight[:60] = 0
    found = respond(COLORS, solve_response(COLORS, seen, weight)).clamp_max(1)
    assert (found - seen)[60:].abs().mean() < 0.1 * before
    white = torch.full((400, 3), 1.0)
    assert torch.equal(solve_response(COLORS, white, torch.ones(400)), torch.zeros(4))


def test_no_colours_no_response_and_one_of_a_batch_equals_it_alone():
    assert torch.equal(solve_response(COLORS, COLORS, torch.zeros(400)), torch.zeros(4))
    seen = torch.stack([COLORS.square(), COLORS.sqrt()])
    drawn = COLORS.expand(2, 400, 3)
    both = solve_response(drawn, seen, torch.ones(2, 400))
    alone = solve_response(COLORS, seen[1], torch.ones(400))
    assert torch.allclose(both[1], alone, atol=1e-4) and not torch.allclose(
        both[0], alone, atol=0.1
    )


def test_nothing_out_of_the_way_is_believed():
    """A colourful object does not explain a grey wall."""
    grey = COLORS.mean(-1, keepdim=True).expand(-1, 3)
    found = solve_response(COLORS, grey, torch.ones(400))
    assert float(found[0]) == pytest.approx(-LIMIT * SPREAD[0])


def test_gradients_of_the_response():
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(30, 3, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    seen = (drawn + 0.1 * drawn * (1 - drawn)).requires_grad_()
    weight = torch.ones(30, dtype=torch.float64, requires_grad=True)
    drawn.requires_grad_()
    response = torch.tensor([0.1, -0.1, 0.2, 0.02], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(respond, (drawn, response))
    # Robust weights are held fixed, as they are in reweighted least squares: none in this check.
    found = solve_response(drawn, seen, weight, rounds=1)
    for gradient in torch.autograd.grad(found.sum(), (drawn, seen, weight)):
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_densities_by_hand():
    drawn, seen = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.6, 0.4, 0.1])
    assert float(color_density(drawn, seen, (0.1,))) == pytest.approx(
        math.exp(-3) / 0.2**3, rel=1e-5
    )
    both = float(color_density(drawn, seen, (0.1, 0.2)))
    assert both == pytest.approx((math.exp(-3) / 0.2**3 + math.exp(-1.5) / 0.4**3) / 2, rel=1e-5)


def test_overexposed_colours_by_hand():
    white, error = torch.ones(3), 0.1
    least = CLIPPED - error  # as bright as this may well be white
    half = float(color_density(torch.full((3,), least), white, (error,)))
    assert half == pytest.approx((CUT / 2) ** 3, rel=1e-4)
    far = float(color_density(torch.full((3,), 3.0), white, (error,)))
    assert far == pytest.approx(CUT**3, rel=1e-4)
    dark = float(color_density(torch.full((3,), least - 3 * error), white, (error,)))
    assert dark == pytest.approx((CUT / 2 * math.exp(-3)) ** 3, rel=1e-4)
    # Channels that are not cut off are compared as ever.
    one = color_density(torch.tensor([3.0, 0.4, 0.3]), torch.tensor([1.0, 0.4, 0.3]), (error,))
    assert float(one) == pytest.approx(CUT / 0.2**2, rel=1e-4)
