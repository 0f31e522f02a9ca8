"""Distributions over what an image leaves uncertain."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.geometry import transforms

_DRAWS = 512  # samples for what has no closed form
# Quantiles of the chi-squared distribution with 6 degrees of freedom.
_CHI2_6 = {0.5: 5.348, 0.9: 10.645, 0.95: 12.592, 0.99: 16.812}


@dataclass(frozen=True, eq=False)
class PoseBelief:
    """A small distribution over the pose of an object: a mixture of Gaussians on SE(3).

    A Gaussian around a hypothesis is one over ``(rho, phi)``, in the camera's axes: the object's
    origin is at ``t + rho`` (metres) and its rotation is ``exp(phi) R`` (radians).

    Attributes:
        poses: ``camera_from_object`` of the hypotheses, the most likely one first.
        weights: probability of each hypothesis; they sum to 1 and do not rise.
        covariances: of ``(rho, phi)`` around each hypothesis, m and rad.
        score: how much of what the best pose predicts is seen in the image, 0 to 1.
        found: whether the image shows the object; if not, ``poses`` are guesses.
    """

    poses: Float[Tensor, "k 4 4"]
    weights: Float[Tensor, " k"]
    covariances: Float[Tensor, "k 6 6"]
    score: float
    found: bool

    @property
    def pose(self) -> Float[Tensor, "4 4"]:
        """``camera_from_object`` of the most likely hypothesis."""
        return self.poses[0]

    @property
    def covariance(self) -> Float[Tensor, "6 6"]:
        """Covariance around the most likely hypothesis."""
        return self.covariances[0]

    @property
    def mode(self) -> Float[Tensor, "4 4"]:
        """The middle of the hypothesis whose density is highest there."""
        return self.poses[self.log_prob(self.poses).argmax()]

    def log_prob(self, poses: Float[Tensor, "n 4 4"]) -> Float[Tensor, " n"]:
        """Logarithm of the density, per cubic metre and volume of rotations (in all 8 pi^2).

        Exact as long as the Gaussians are narrow.

        Gradients:
            Reach the poses and every tensor of the belief.
        """
        twist = transforms.difference(self.poses, poses[:, None])
        factor = torch.linalg.cholesky(self.covariances)
        unit = torch.linalg.solve_triangular(factor, twist[..., None], upper=False)[..., 0]
        spread = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 3 * math.log(2 * math.pi)
        volume = transforms.log_volume_so3(twist[..., 3:])
        each = self.weights.log() - 0.5 * unit.square().sum(-1) - spread - volume
        return torch.logsumexp(each, -1)

    def entropy(self, generator: torch.Generator | None = None) -> Float[Tensor, ""]:
        """Minus the mean logarithm of the density, estimated from samples of the belief."""
        return -self.log_prob(self.sample(_DRAWS, generator)).mean()

    def sample(
        self, count: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n 4 4"]:
        """Poses drawn from the mixture."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, 6, 1, generator=generator)
        twist = torch.linalg.cholesky(self.covariances)[which] @ noise
        return transforms.perturb(self.poses[which], twist[..., 0])

    def contains(self, pose: Float[Tensor, "4 4"], share: float = 0.9) -> bool:
        """Whether a pose lies in the region that should hold the truth this often.

        The region is the union of the hypotheses' ellipsoids of that share.

        Raises:
            ValueError: another share than 0.5, 0.9, 0.95 or 0.99.
        """
        if share not in _CHI2_6:
            raise ValueError(f"share should be one of {sorted(_CHI2_6)} but is {share}.")
        twist = transforms.difference(self.poses, pose)
        distance2 = (twist * torch.linalg.solve(self.covariances, twist)).sum(-1)
        return bool((distance2 <= _CHI2_6[share]).any())

    def spread(self) -> tuple[float, float]:
        """Standard deviations of the best hypothesis: translation, m, and rotation, rad.

        Each is the root of the summed variances along the three axes.
        """
        variance = self.covariance.diagonal()
        return math.sqrt(float(variance[:3].sum())), math.sqrt(float(variance[3:].sum()))


@dataclass(frozen=True, eq=False)
class DepthBelief:
    """A distribution over the depth of every pixel: Laplace in the logarithm of depth.

    Attributes:
        log_depth: natural logarithm of the median depth.
        scale: the Laplace distribution's scale; 0.1 is about 10 % of the depth.
    """

    log_depth: Float[Tensor, "*batch h w"]
    scale: Float[Tensor, "*batch h w"]

    @property
    def depth(self) -> Float[Tensor, "*batch h w"]:
        """Median depth, along the optical axis."""
        return self.log_depth.exp()

    @property
    def sigma(self) -> Float[Tensor, "*batch h w"]:
        """Standard deviation of the logarithm of depth."""
        return math.sqrt(2) * self.scale

    @property
    def mode(self) -> Float[Tensor, "*batch h w"]:
        """The likeliest depth: the median one, as long as the scale is below 1."""
        return self.depth

    def log_prob(self, depth: Float[Tensor, "*#batch h w"]) -> Float[Tensor, "*batch h w"]:
        """Logarithm of each pixel's density, per unit of depth.

        Gradients:
            Reach the depth and both tensors of the belief.
        """
        away = (depth.log() - self.log_depth).abs()
        return -away / self.scale - (2 * self.scale).log() - depth.log()

    def entropy(self) -> Float[Tensor, "*batch h w"]:
        """Minus the mean logarithm of each pixel's density."""
        return 1 + (2 * self.scale).log() + self.log_depth

    def contains(
        self, depth: Float[Tensor, "*#batch h w"], share: float = 0.9
    ) -> Bool[Tensor, "*batch h w"]:
        """Whether depths lie in :meth:`interval`."""
        nearest, farthest = self.interval(share)
        return (depth >= nearest) & (depth <= farthest)

    def interval(
        self, share: float = 0.9
    ) -> tuple[Float[Tensor, "*batch h w"], Float[Tensor, "*batch h w"]]:
        """Depths between which the true one should lie this often."""
        reach = -math.log1p(-share) * self.scale
        return (self.log_depth - reach).exp(), (self.log_depth + reach).exp()

    def sample(
        self, count: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n *batch h w"]:
        """Depth maps drawn from the belief, every pixel on its own."""
        shape, device = (count, *self.log_depth.shape), self.log_depth.device
        uniform = torch.rand(shape, generator=generator, device=device) - 0.5
        noise = -uniform.sign() * torch.log1p(-2 * uniform.abs())
        return (self.log_depth + self.scale * noise).exp()
