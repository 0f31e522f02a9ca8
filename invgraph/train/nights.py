"""Nights of dreams: scenes are rendered many at a time and photographed more than once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from invgraph.scene.prior import Prior
from invgraph.train.dataset import Numbered
from invgraph.train.dreams import Dreams, Sights, dream, imagine

AGAIN = 4  # photographs of each scene
STEPS = 64  # of learning, a night
_AT_ONCE = 64  # scenes that are rendered together
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


class Nights:
    """Dreams by number for the steps of a training.

    To render a scene takes longer than to learn from its image. So the scenes of a night are
    rendered at once, and every step photographs some of them, each before another background and
    by another camera, until all were photographed :data:`AGAIN` times. Which ones is told by the
    numbers alone; what is kept of the present night only saves time. What is held out is dreamt
    afresh.

    Args:
        prior: of one object.
        side: of the images, pixels.
        batch: dreams a step, over all processes.
        seed: of all that is random.

    Source:
        Up to four epochs of the same data are worth nearly as much as fresh data: Muennighoff et
        al., Scaling data-constrained language models (2023).
    """

    def __init__(self, prior: Prior, side: int, batch: int, seed: int) -> None:
        self._prior, self._side, self._batch, self._seed = prior, side, batch, seed
        self._night: tuple[int, int, int] | None = None
        self._sights: Sights | None = None

    def __call__(self, numbers: Tensor) -> Dreams:
        """The dreams with these numbers, which follow one another; the same whenever together."""
        if int(numbers[0]) >= _HELD_OUT:
            generator = self._generator(int(numbers[0]))
            return dream(self._prior, len(numbers), self._side, generator)
        step, slot = divmod(int(numbers[0]), self._batch)
        night, step = divmod(step, STEPS)
        again, part = divmod(step, STEPS // AGAIN)
        sights = self._seen(night, slot, len(numbers))
        order = torch.randperm(len(sights.present), generator=self._generator(night, slot, again))
        picked = order[part * len(numbers) : (part + 1) * len(numbers)]
        return sights[picked].photographed(self._generator(night, slot, STEPS + step))

    def _seen(self, night: int, slot: int, count: int) -> Sights:
        """All scenes of a night for one process."""
        if self._sights is None or self._night != (night, slot, count):
            generator = self._generator(night, slot, -1)
            total = count * STEPS // AGAIN
            sizes = [min(_AT_ONCE, total - first) for first in range(0, total, _AT_ONCE)]
            parts = [imagine(self._prior, size, self._side, generator) for size in sizes]
            self._night, self._sights = (night, slot, count), Sights.join(parts)
        return self._sights

    def _generator(self, *which: int) -> torch.Generator:
        seed = hash((self._seed, self._side, *which)) % (1 << 62)
        return torch.Generator().manual_seed(seed)
