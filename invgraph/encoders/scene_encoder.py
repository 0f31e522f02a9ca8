"""A network that looks at an image and says what is believed of the scene in it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu, silu

from invgraph.encoders.resnet import ResNet, centred
from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens
from invgraph.scene.distributions import Gaussian, PoseInView
from invgraph.scene.prior import Prior
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknown, Unknowns

SIDE = 64  # pixels of the images that it looks at
_WIDTH = 512
_KEPT = (32, 64, None)  # channels of the features at 1/8, 1/16, 1/32 that the last layers see
_TURN = 0.2  # rad: unit of the rotations about a hypothesis
_NARROWEST = 0.01  # standard deviation, in units of the prior's
_CANDIDATES = 4096


class SceneEncoder(nn.Module):
    """From an image and its lens to a belief over a prior's unknowns.

    The pose of one object has many hypotheses, spread over its prior: the network gives each a
    probability and a Gaussian in the chart around it. What else is free has one Gaussian.

    Few dreams are near any one hypothesis, so what they have in common is said once: one matrix
    towards which all are turned, one that makes hypotheses likely which are like it. What each
    says for itself is added.

    Args:
        prior: whose unknowns are inferred; one of them a :class:`PoseInView`, the others
            :class:`Gaussian`.
        hypotheses: about the rotation.
        network: "light" or "resnet18".

    Raises:
        ValueError: a prior with other distributions.

    Source:
        Probabilities from one matrix as Mohlin et al., Probabilistic orientation estimation with
        matrix Fisher distributions (2020), over a finite set of rotations.
    """

    def __init__(self, prior: Prior, hypotheses: int = 128, network: str = "light") -> None:
        super().__init__()
        poses = {p: d for p, d in prior.distributions.items() if isinstance(d, PoseInView)}
        others = {p: d for p, d in prior.distributions.items() if isinstance(d, Gaussian)}
        if len(poses) != 1 or len(poses) + len(others) != len(prior.unknowns.items):
            raise ValueError(
                "an encoder needs a prior of one pose in view and Gaussians but this one has "
                f"{', '.join(type(d).__name__ for d in prior.distributions.values())}."
            )
        [(self.path, self.pose)], self.others = poses.items(), others
        self.prior = prior
        self.trunk = ResNet(network, patches=True)
        widths = [kept or width for kept, width in zip(_KEPT, self.trunk.widths[1:], strict=True)]
        self.squeezed = nn.ModuleList(
            nn.Conv2d(width, kept, 1)
            for width, kept in zip(self.trunk.widths[1:], _KEPT, strict=True)
            if kept is not None
        )
        cells = sum(w * (SIDE // 2**k) ** 2 for k, w in zip((3, 4, 5), widths, strict=True))
        self.joined = nn.Linear(cells + 1, _WIDTH)
        self.mixed = nn.Linear(_WIDTH, _WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(2))
        self.register_buffer("turns", spread_rotations(self.pose, hypotheses))
        self.turns: Tensor
        size = sum(math.prod(d.scale.shape) for d in others.values())
        self.log_weights = nn.Linear(_WIDTH, hypotheses)
        self.rotation = nn.Linear(_WIDTH, 6 * hypotheses)
        self.common = nn.Linear(_WIDTH, 18)
        self.place = nn.Linear(_WIDTH, 6)
        self.rest = nn.Linear(_WIDTH, 2 * size)
        self.present = nn.Linear(_WIDTH, 1)
        for last in (*self._heads, self.present):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def forward(
        self, images: Float[Tensor, "b 3 s s"], lens: Lens
    ) -> tuple[SceneBelief, Float[Tensor, " b"]]:
        """What is believed, given that the object is there, and the log-odds that it is.

        Args:
            images: sRGB in [0, 1], square, 64 pixels wide.
            lens: theirs, pinholes; one or one per image.
        """
        features = self.trunk(centred(images))[1:]
        cells = [conv(part) for conv, part in zip(self.squeezed, features, strict=False)]
        cells += features[len(cells) :]
        zoom = (lens.focal.mean(-1, keepdim=True) / lens.width).log().expand(len(images), 1)
        seen = torch.cat([*(relu(cell).flatten(1) for cell in cells), zoom], 1)
        # With ReLU and without normalisation three in four of these units soon answer to nothing.
        seen = silu(self.norms[0](self.joined(seen)))
        seen = seen + silu(self.norms[1](self.mixed(seen)))
        with torch.autocast(images.device.type, enabled=False):
            seen = seen.float()
            belief = self._belief(lens, *(layer(seen) for layer in self._heads))
            return belief, self.present(seen)[:, 0]

    def ignorance(self, lens: Lens, count: int) -> SceneBelief:
        """What an encoder believes that has learned nothing: all hypotheses alike, and wide.

        Args:
            lens: of the images; one or one per image.
            count: of the images.
        """
        zeros = (self.turns.new_zeros(count, layer.out_features) for layer in self._heads)
        return self._belief(lens, *zeros)

    @property
    def _heads(self) -> tuple[nn.Linear, ...]:
        """The last layers that tell the belief, in the order of :meth:`_belief`."""
        return (self.log_weights, self.rotation, self.common, self.place, self.rest)

    def _belief(
        self,
        lens: Lens,
        log_weights: Tensor,
        rotation: Tensor,
        common: Tensor,
        place: Tensor,
        rest: Tensor,
    ) -> SceneBelief:
        around, unit = self._charts(lens, len(place))
        where, how_well = place[:, None].chunk(2, -1)
        turn, how_sure = rotation.unflatten(1, (-1, 6)).chunk(2, -1)
        where, how_well = where.expand_as(turn), how_well.expand_as(turn)
        toward, likely = common.unflatten(1, (2, 3, 3)).unbind(1)
        turn = turn + _sine(toward[:, None] @ self.turns.mT) / _TURN
        log_weights = log_weights + torch.einsum("bij,kij->bk", likely, self.turns)
        unit = torch.cat([unit, torch.full_like(unit, _TURN)], -1)[:, None]
        means = {self.path: unit * torch.cat([where, turn], -1)}
        scales = {self.path: torch.diag_embed(unit * _scale(torch.cat([how_well, how_sure], -1)))}
        unknowns = [Unknown(self.path, self.pose.domain, (4, 4), around)]
        rest = rest.unflatten(1, (2, -1))
        start = 0
        for path, distribution in self.others.items():
            spread = distribution.scale.to(rest)
            mean, sure = rest[:, :, start : start + spread.numel()].unbind(1)
            start += spread.numel()
            means[path] = (mean.reshape(-1, *spread.shape) * spread)[:, None]
            scales[path] = torch.diag_embed(_scale(sure) * spread.flatten())[:, None]
            middle = distribution.mean.to(rest)
            unknowns.append(Unknown(path, distribution.domain, distribution.shape, middle))
        return SceneBelief(Unknowns(tuple(unknowns)), log_weights.log_softmax(-1), means, scales)

    def _charts(self, lens: Lens, count: int) -> tuple[Tensor, Tensor]:
        """The hypotheses, ``b k 4 4``, and the units of the way from them, ``b 3`` in metres."""
        pose = self.pose.given(lens)
        low, high = pose.size
        origin = pose.place(lens.focal.new_tensor((low * high) ** 0.5), lens.focal.new_zeros(2))
        origin = origin.expand(count, 3)
        depth = origin[:, 2:]
        across = pose.offset * min(lens.height, lens.width) * depth / lens.focal
        unit = torch.cat([across, 0.5 * math.log(high / low) * depth], -1)
        around = transforms.pose(
            self.turns.expand(count, -1, 3, 3),
            origin[:, None].expand(-1, len(self.turns), -1),
        )
        return around, unit


def _sine(turn: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Of rotations, the axis times the sine of the angle: nearly the chart's coordinates."""
    return (turn - turn.mT).flatten(-2)[..., [7, 2, 3]] / 2


def _scale(raw: Tensor) -> Tensor:
    """Standard deviations, about 1 where the last layer gives 0."""
    return raw.clamp(-6, 2).exp() + _NARROWEST


def spread_rotations(pose: PoseInView, count: int, seed: int = 0) -> Float[Tensor, "k 3 3"]:
    """Rotations of a prior that are as far from one another as can be: farthest-point samples.

    Source:
        Gonzalez, Clustering to minimize the maximum intercluster distance (1985).
    """
    drawn = pose.rotation.sample(_CANDIDATES, torch.Generator().manual_seed(seed))
    chosen = [0]
    nearest = torch.full((len(drawn),), math.inf)
    for _ in range(count - 1):
        # Half the squared chord between rotation matrices grows with the angle.
        away = 3 - (drawn * drawn[chosen[-1]]).sum((1, 2))
        nearest = torch.minimum(nearest, away)
        chosen.append(int(nearest.argmax()))
    return drawn[chosen]
