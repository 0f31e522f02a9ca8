"""What is believed about where in an image an object is, and how large."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_DRAWN = 64  # components of which a picture is made


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A distribution over absence and places ``(u, v, log d)``: a mixture of Gaussians.

    A place is the pixel at which the object's centre is seen, and the natural logarithm of the
    diameter in pixels that the ball about it has there.

    Attributes:
        log_weights: logarithms of the components' probabilities; with absence they sum to 1.
        log_absent: of the probability that the object is not in the image.
        means: of the components.
        scales: their standard deviations.
    """

    log_weights: Float[Tensor, "b n"]
    log_absent: Float[Tensor, " b"]
    means: Float[Tensor, "b n 3"]
    scales: Float[Tensor, "b n 3"]

    @property
    def present(self) -> Float[Tensor, " b"]:
        """The probability that the object is in the image."""
        return -torch.expm1(self.log_absent)

    def log_prob(self, places: Float[Tensor, "b 3"]) -> Float[Tensor, " b"]:
        """Logarithm of the density that the object is there, per pixel, pixel and unit of log d.

        Gradients:
            Reach the places and every tensor of the belief.
        """
        unit = (places[:, None] - self.means) / self.scales
        normal = -0.5 * unit.square() - self.scales.log() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(self.log_weights + normal.sum(-1), -1)

    def top(self, count: int) -> tuple[Float[Tensor, "b k 3"], Float[Tensor, "b k"]]:
        """The likeliest places that are apart, and the probability about each, likeliest first.

        Components whose centre is within the ball of a likelier one, of about its size, are one
        with it. Where fewer are apart than are asked for, the rest have probability 0.
        """
        weights = self.log_weights.exp()
        places, held = [], []
        for _ in range(count):
            best = weights.argmax(-1)
            place = self.means[torch.arange(len(best)), best]
            away = (self.means[..., :2] - place[:, None, :2]).norm(dim=-1)
            near = away < 0.5 * place[:, None, 2].exp()
            near &= (self.means[..., 2] - place[:, None, 2]).abs() < math.log(2)
            share = weights * near
            held.append(share.sum(-1))
            total = share.sum(-1, keepdim=True)[..., None].clamp_min(1e-30)
            together = (share[..., None] * self.means).sum(1, keepdim=True) / total
            places.append(torch.where(total > 1e-30, together, place[:, None])[:, 0])
            weights = weights * ~near
        return torch.stack(places, 1), torch.stack(held, 1)

    def picture(self, height: int, width: int, stride: int = 4) -> Float[Tensor, "b h w"]:
        """The density of the centre at every ``stride``-th pixel, per pixel, whatever the size."""
        log_weights, which = self.log_weights.topk(min(_DRAWN, self.log_weights.shape[-1]), -1)
        index = which[..., None].expand(*which.shape, 3)
        means, scales = self.means.gather(1, index), self.scales.gather(1, index)
        across, down = (
            torch.arange(min(stride, size) / 2, size, stride, device=means.device)
            for size in (width, height)
        )
        u, v = (
            torch.distributions.Normal(means[..., axis, None], scales[..., axis, None])
            .log_prob(at)
            .exp()
            for axis, at in ((0, across), (1, down))
        )
        return torch.einsum("bn,bnv,bnu->bvu", log_weights.exp(), v, u)
