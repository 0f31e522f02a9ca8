"""Beliefs are distributions: they integrate to one, are sampled, conditioned, and tell coverage."""

import math

import pytest
import torch

from invgraph.geometry.transforms import exp_so3, perturb, pose
from invgraph.scene.distributions import AnyRotation
from invgraph.scene.domains import Free, Positive, RigidPose
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknown, Unknowns


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers() -> SceneBelief:
    """Two hypotheses about a number above zero and a pair of numbers."""
    return SceneBelief(
        Unknowns((Unknown("size", Positive(), ()), Unknown("pair", Free(), (2,)))),
        torch.tensor([0.3, 0.7]).log(),
        {"size": torch.tensor([0.0, 1.0]), "pair": torch.tensor([[1.0, 2.0], [-1.0, 0.0]])},
        {
            "size": torch.tensor([0.2, 0.4])[:, None, None],
            "pair": torch.tensor([[[0.5, 0.0], [0.3, 0.2]], [[1.0, 0.0], [-0.4, 0.6]]]),
        },
    )


def poses(batch: int = 2, spread: float = 0.1) -> SceneBelief:
    """Three hypotheses about a pose for every item of a batch."""
    turns = exp_so3(torch.randn(batch, 3, 3, generator=draw(3)))
    around = pose(turns, torch.randn(batch, 3, 3, generator=draw(4)))
    lower = torch.randn(batch, 3, 6, 6, generator=draw(5)).tril(-1)
    scale = spread * (torch.eye(6) + 0.3 * lower)
    logits = torch.randn(batch, 3, generator=draw(6))
    return SceneBelief(
        Unknowns((Unknown("pose", RigidPose(), (4, 4), around),)),
        logits.log_softmax(-1),
        {"pose": 0.1 * torch.randn(batch, 3, 6, generator=draw(7))},
        {"pose": scale},
    )


def test_the_density_of_numbers_is_a_mixture_of_normals():
    size, pair = torch.tensor([0.8, 3.0]), torch.tensor([[1.0, 2.0], [0.3, -0.2]])
    belief, expected = numbers(), []
    for k in range(2):
        of_size = torch.distributions.LogNormal(
            belief.means["size"][k], belief.scales["size"][k, 0, 0]
        )
        of_pair = torch.distributions.MultivariateNormal(
            belief.means["pair"][k], scale_tril=belief.scales["pair"][k]
        )
        expected.append(belief.log_weights[k] + of_size.log_prob(size) + of_pair.log_prob(pair))
    found = belief.log_prob({"size": size, "pair": pair})
    torch.testing.assert_close(found, torch.stack(expected).logsumexp(0))


def test_a_density_over_poses_integrates_to_one():
    """Importance sampling from all rotations and a box about the hypotheses."""
    around = pose(exp_so3(torch.tensor([[0.3, 0.1, -0.2], [1.0, -0.5, 0.4]])), torch.zeros(2, 3))
    belief = SceneBelief(
        Unknowns((Unknown("pose", RigidPose(), (4, 4), around),)),
        torch.tensor([0.4, 0.6]).log(),
        {"pose": torch.zeros(2, 6)},
        {"pose": torch.diag(torch.tensor([0.2, 0.2, 0.2, 0.4, 0.4, 0.4])).expand(2, 6, 6)},
    )
    count = 400_000
    places = 1.6 * torch.rand(count, 3, generator=draw()) - 0.8
    values = pose(AnyRotation().sample(count, draw(1)), places)
    log_volume = math.log(8 * math.pi**2 * 1.6**3)
    ratio = (belief.log_prob({"pose": values}) + log_volume).exp()
    error = float(ratio.std()) / count**0.5
    assert error < 0.03 and float(ratio.mean()) == pytest.approx(1, abs=4 * error)


def test_samples_follow_the_density():
    belief = numbers()
    drawn = belief.sample(40_000, draw())
    size = drawn["size"].sort().values
    parts = [torch.distributions.LogNormal(m, s) for m, s in ((0.0, 0.2), (1.0, 0.4))]
    expected = 0.3 * parts[0].cdf(size) + 0.7 * parts[1].cdf(size)
    found = (torch.arange(len(size)) + 0.5) / len(size)
    assert float((expected - found).abs().max()) < 1.63 / 40_000**0.5  # Kolmogorov, 1 %
    mean = 0.3 * belief.means["pair"][0] + 0.7 * belief.means["pair"][1]
    torch.testing.assert_close(drawn["pair"].mean(0), mean, atol=0.02, rtol=0)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_region_of_a_share_holds_that_share(share):
    belief = poses()
    drawn = belief.sample(3000, draw())
    inside = belief.contains(drawn, share, draw(1)).float().mean(0)
    assert inside.shape == (2,) and float((inside - share).abs().max()) < 0.05
    far = {"pose": perturb(drawn["pose"], torch.tensor([9.0, 0, 0, 0, 0, 0]))}
    assert not belief.contains(far, share).any()


def test_items_of_a_batch_are_as_alone():
    belief = poses()
    drawn = belief.sample(5, draw())
    together = belief.log_prob(drawn)
    for item in range(2):
        unknown = belief.unknowns.items[0]
        assert unknown.around is not None
        alone = SceneBelief(
            Unknowns((Unknown("pose", RigidPose(), (4, 4), unknown.around[item]),)),
            belief.log_weights[item],
            {"pose": belief.means["pose"][item]},
            {"pose": belief.scales["pose"][item]},
        )
        torch.testing.assert_close(
            alone.log_prob({"pose": drawn["pose"][:, item]}), together[:, item]
        )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_all_of_a_batch_share_is_not_cut(count):
    middle = torch.tensor([1.0, 2.0, 3.0])  # no more axes than its own, and perhaps as long
    belief = SceneBelief(
        Unknowns((Unknown("tint", Positive(), (3,), middle),)),
        torch.zeros(count, 1),
        {"tint": torch.randn(count, 1, 3, generator=draw())},
        {"tint": 0.1 * torch.eye(3).expand(1, 1, 3, 3)},
    )
    for item in range(count):
        alone = belief[item].mode["tint"]
        torch.testing.assert_close(alone, belief.mode["tint"][item : item + 1])


def test_a_belief_is_what_is_known_of_one_times_what_follows_for_the_other():
    belief = numbers()
    values = {"size": torch.tensor([0.5, 1.0, 4.0]), "pair": torch.randn(3, 2, generator=draw())}
    together = belief.log_prob(values)
    one = belief.marginal(["size"]).log_prob({"size": values["size"]})
    other = [
        belief.condition({"size": size}).log_prob({"pair": pair})
        for size, pair in zip(values["size"], values["pair"], strict=True)
    ]
    torch.testing.assert_close(together, one + torch.stack(other))


def test_entropy_of_one_gaussian_by_hand():
    belief = numbers().top(1).marginal(["pair"])
    expected = math.log(2 * math.pi * math.e) + math.log(1.0 * 0.6)
    assert float(belief.entropy(draw())) == pytest.approx(expected, abs=0.15)


def test_the_mode_is_the_middle_of_the_densest_hypothesis():
    mode = numbers().mode  # 0.7 of a wide hypothesis is less dense than 0.3 of a narrow one
    torch.testing.assert_close(mode["pair"], torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(mode["size"], torch.tensor(1.0))
    belief = poses()
    assert belief.mode["pose"].shape == (2, 4, 4)
    at_mode = belief.log_prob(belief.mode)
    assert (at_mode >= belief.log_prob(belief.sample(200, draw())).quantile(0.5, 0)).all()


def test_the_likeliest_hypotheses_come_first():
    belief = poses()
    best = belief.top(2)
    expected = belief.log_weights.sort(-1, descending=True).values[:, :2].log_softmax(-1)
    torch.testing.assert_close(best.log_weights, expected)
    assert best.batch_shape == (2,) and best.mode["pose"].shape == (2, 4, 4)


def test_gradients_of_the_density():
    base = poses(1)
    around = base.unknowns.items[0].around
    assert around is not None
    value = perturb(around[:, 0], torch.full((1, 6), 0.05)).double()

    def density(logits, mean, scale, twist):
        belief = SceneBelief(
            Unknowns((Unknown("pose", RigidPose(), (4, 4), around.double()),)),
            logits.log_softmax(-1), {"pose": mean}, {"pose": scale.tril()},
        )  # fmt: skip
        return belief.log_prob({"pose": perturb(value, twist)})

    inputs = (base.log_weights, base.means["pose"], base.scales["pose"], torch.zeros(1, 6))
    inputs = tuple(tensor.double().requires_grad_() for tensor in inputs)
    assert torch.autograd.gradcheck(density, inputs)


def test_what_does_not_belong_is_refused():
    with pytest.raises(ValueError, match="expected some of size, pair"):
        numbers().marginal(["weight"])
    with pytest.raises(ValueError, match="but got none"):
        numbers().condition({"size": torch.tensor(1.0), "pair": torch.zeros(2)})
    with pytest.raises(ValueError, match="between 0 and 1"):
        numbers().contains({"size": torch.tensor(1.0), "pair": torch.zeros(2)}, 1.0)
    with pytest.raises(ValueError, match="in this order"):
        SceneBelief(numbers().unknowns, torch.zeros(1), {}, {})
