"""Light that changes from photo to photo, as it does when lamps, exposure or the set-up move."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding

RIDGE = 3e-4  # cost of a squared coefficient: what a photo does not show stays as in the others


class Drift:
    """How the light of every training photo differs from the light that all share.

    Photos that follow each other in the capture are assumed to be lit alike: that gives held-out
    photos a light without a look at them.

    Args:
        deltas: per training photo, what to add to the shared spherical harmonics (``k 3``, as one
            row).
        places: of the training photos in the order of the capture, rising.
    """

    def __init__(self, deltas: Float[Tensor, "n k3"], places: Sequence[int]) -> None:
        self.deltas = deltas.detach().clone().requires_grad_()
        self.places = tuple(places)

    def own(self, photos: Sequence[int]) -> Float[Tensor, "b k 3"]:
        """What to add for training photos (rows of ``deltas``); gradients reach these rows."""
        return embedding(torch.tensor(photos), self.deltas, sparse=True).unflatten(1, (-1, 3))

    @property
    def mean(self) -> Float[Tensor, "k 3"]:
        """What to add where no photo is meant."""
        return self.deltas.detach().mean(0).unflatten(0, (-1, 3))

    def around(self, place: int) -> Float[Tensor, "k 3"]:
        """What to add at a place of the capture: the mean of the training photos next to it.

        The photo at ``place`` itself does not count.
        """
        before = [row for row, other in enumerate(self.places) if other < place][-1:]
        after = [row for row, other in enumerate(self.places) if other > place][:1]
        return self.deltas.detach()[before + after].mean(0).unflatten(0, (-1, 3))

    def cost(self, photos: Sequence[int]) -> Float[Tensor, ""]:
        """Ridge penalty of training photos, a mean over them."""
        return RIDGE * self.own(photos).square().sum((-1, -2)).mean()
