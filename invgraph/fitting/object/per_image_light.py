"""Per-image light: what changes when lamps, exposure or the set-up do."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding

RIDGE = 1e-3  # cost of a squared coefficient: what a photo does not show stays as in the others


class PerImageLight:
    """How the light of every training photo differs from the light that all share.

    Photos that follow each other in the capture, from places near each other, are assumed to be lit
    alike: that gives held-out photos a light without using them.

    Args:
        deltas: per training photo, what to add to the shared spherical harmonics (``k 3``, as one
            row).
        places: of the training photos in the order of the capture, rising.
        centres: of all photos' cameras in the order of the capture, world frame.
    """

    def __init__(
        self,
        deltas: Float[Tensor, "n k3"],
        places: Sequence[int],
        centres: Float[Tensor, "all 3"],
    ) -> None:
        self.deltas = deltas.detach().clone().requires_grad_()
        self.places, self.centres = tuple(places), centres

    def own(self, photos: Sequence[int]) -> Float[Tensor, "b k 3"]:
        """What to add for training photos (rows of ``deltas``); gradients reach these rows."""
        return embedding(torch.tensor(photos), self.deltas, sparse=True).unflatten(1, (-1, 3))

    @property
    def mean(self) -> Float[Tensor, "k 3"]:
        """What to add where no photo is meant."""
        return self.deltas.detach().mean(0).unflatten(0, (-1, 3))

    def around(self, place: int) -> Float[Tensor, "k 3"]:
        """What to add at a place of the capture, between the training photos before and after it.

        The nearer camera of the two counts more, in proportion to the other's distance. The photo
        at ``place`` itself does not count.
        """
        before = [row for row, other in enumerate(self.places) if other < place][-1:]
        after = [row for row, other in enumerate(self.places) if other > place][:1]
        rows = before + after
        there = self.centres[[self.places[row] for row in rows]]
        distance = (there - self.centres[place]).norm(dim=-1)
        weight = 1 / distance.clamp_min(1e-6 * distance.max().clamp_min(1e-12))
        return (weight / weight.sum() @ self.deltas.detach()[rows]).unflatten(0, (-1, 3))

    def cost(self, photos: Sequence[int]) -> Float[Tensor, ""]:
        """Ridge penalty of training photos, a mean over them."""
        return RIDGE * self.own(photos).square().sum((-1, -2)).mean()
