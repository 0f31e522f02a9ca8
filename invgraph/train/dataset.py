"""What is learned from, by number: so that a kill loses nothing and processes can share it."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, Sampler


class Numbered(Dataset):
    """Item number 0, 1, 2, ... of some recordings: the same number always gives the same item.

    So that training can go on after a kill exactly where it was, and processes share the numbers.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        raise NotImplementedError

    @staticmethod
    def collate(items: Sequence[dict[str, Tensor]]) -> Any:
        """The items of one step from their parts."""
        raise NotImplementedError


class Numbers(Sampler):
    """The numbers of the items of each step that belong to one process.

    Args:
        batch: items a step, over all processes.
        first: step to begin with.
        last: step to end before.
        rank: of this process.
        world: how many processes there are.
    """

    def __init__(self, batch: int, first: int, last: int, rank: int = 0, world: int = 1) -> None:
        if batch % world:
            raise ValueError(
                f"a batch of {batch} groups cannot be shared by {world} processes; choose a "
                "multiple."
            )
        self._batch, self._first, self._last = batch, first, last
        self._share, self._rank = batch // world, rank

    def __len__(self) -> int:
        return max(self._last - self._first, 0)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._first, self._last):
            begin = step * self._batch + self._rank * self._share
            yield list(range(begin, begin + self._share))
