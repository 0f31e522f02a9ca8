"""Dreams by number: a quarter of those of a step are new, the others recur."""

from collections.abc import Sequence

import torch
from torch import Tensor

from invgraph.scene.prior import Prior
from invgraph.train.dataset import Numbered
from invgraph.train.dreams import Dreams, Sights, dream, imagine

LATER = 256  # steps after which a dream recurs
TIMES = 4  # that it is looked at
_EVER = 1 << 40  # more dreams than anybody waits for
_HELD_OUT = 1 << 41  # numbers from here on are of dreams that are not learned from


class Sleep(Numbered):
    """Dreams by number; they are dreamt where they are looked at, many at a time.

    Args:
        first: number of the first.
        count: how many there are.
    """

    def __init__(self, first: int = 0, count: int = _EVER) -> None:
        self._first, self._count = first, count

    @staticmethod
    def held_out(count: int) -> "Sleep":
        """Dreams that no training sees."""
        return Sleep(_HELD_OUT, count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return {"number": torch.tensor(self._first + number)}

    @staticmethod
    def collate(items: Sequence[dict[str, Tensor]]) -> Tensor:
        return torch.stack([item["number"] for item in items])


class Recurring:
    """Dreams by number for the steps of a training; each recurs :data:`TIMES` - 1 times.

    To render a scene takes longer than to learn from its image. So a quarter of the scenes of a
    step are new, and the others are those that were new :data:`LATER` steps before and twice and
    thrice as long ago, photographed before another background by another camera. Sooner, an encoder
    recognises them. Which scenes they are follows from the numbers; that they are kept only saves
    time. What is held out never recurs.

    Args:
        prior: of one object.
        side: of the images, pixels.
        batch: dreams a step, over all processes.
        seed: of all that is random.
    """

    def __init__(self, prior: Prior, side: int, batch: int, seed: int) -> None:
        self._prior, self._side, self._batch, self._seed = prior, side, batch, seed
        self._kept: dict[tuple[int, int, int], Sights] = {}

    def __call__(self, numbers: Tensor) -> Dreams:
        """The dreams with these numbers, which follow one another; the same whenever together."""
        first, count = int(numbers[0]), len(numbers)
        if first >= _HELD_OUT:
            return dream(self._prior, count, self._side, self._generator(first))
        step, slot = divmod(first, self._batch)
        new = -(-count // TIMES)
        before = range(step, step - TIMES * LATER, -LATER)
        sights = Sights.join([self._seen(when, slot, new) for when in before])
        return sights[:count].photographed(self._generator(first, count))

    def _seen(self, step: int, slot: int, count: int) -> Sights:
        """The scenes that are new in a step, for one process."""
        which = (step, slot, count)
        if which not in self._kept:
            oldest = step - (TIMES - 1) * LATER
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] >= oldest}
            generator = self._generator(*which)
            self._kept[which] = imagine(self._prior, count, self._side, generator)
        return self._kept[which]

    def _generator(self, *which: int) -> torch.Generator:
        seed = hash((self._seed, self._side, *which)) % (1 << 62)
        return torch.Generator().manual_seed(seed)
