"""What every training has in common: the rate of learning, and weights that are averaged."""

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import lightning
import torch
from torch import Tensor

from invgraph.geometry.tensor_tree import map_tensors
from invgraph.train.settings import Settings

_WARM = 100  # steps until the rate of learning is at its highest
_LONGEST = 1.0  # norm of all gradients together
_KEEP = 0.998  # of the averaged weights, at each step


class NotFinite(ValueError):
    """The loss is no number any more."""


class Learning(lightning.LightningModule):
    """Networks and one step of learning.

    A training says which ``networks`` it has and what the loss of a batch is (:meth:`explain`).

    Args:
        settings: of the training.

    Attributes:
        networks: names of the attributes that are learned, and averaged.
        images: in one item of a batch.
        score: name of the part of the loss by which held-out items are judged.
        averaged: running mean of the networks' weights: the result.
        done: steps so far.
        spent: tells the share of the time for training that is over.
    """

    networks: ClassVar[tuple[str, ...]]
    images: ClassVar[int]
    score: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.averaged: dict[str, Tensor] = {}
        self.done = 0
        self.spent: Callable[[], float] = lambda: 0.0

    def complete(self) -> None:
        """To be called once the networks are there."""
        self.to(memory_format=torch.channels_last)
        self.averaged = {name: value.detach().clone() for name, value in self._weights()}

    def explain(self, batch: Any) -> dict[str, Tensor]:
        """The ``loss`` of a batch, and its parts."""
        raise NotImplementedError

    def families(self) -> list[dict[str, Any]]:
        """Parameters that are learned, each family with its rate."""
        networks = [value for _, value in self._weights()]
        return [{"params": networks, "lr": self.settings.rate, "weight_decay": 1e-2}]

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.named_parameters():
            if name.split(".")[0] in self.networks:
                yield name, value

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return map_tensors(lambda tensor: tensor.to(device), batch)

    def training_step(self, batch: Any) -> Tensor:
        parts = self.explain(batch)
        loss = parts["loss"]
        if not bool(torch.isfinite(loss)):
            raise NotFinite(f"the loss is {float(loss.detach())} at step {self.done}")
        self.log_dict({f"train/{name}": part.detach() for name, part in parts.items()})
        return loss

    def validation_step(self, batch: Any) -> None:
        score = self.explain(batch)[self.score]
        if not bool(torch.isfinite(score)):
            raise NotFinite(f"the held-out loss is {float(score)} at step {self.done}")
        self.log(f"held_out/{self.score}", score, on_epoch=True, sync_dist=True, batch_size=1)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.families(), fused=True)
        first = self.done

        def share_of_rate(moved: int) -> float:
            """Up in the first steps, then down along a cosine, to the last step or second."""
            done = first + moved * self.settings.accumulate
            share = min(max(done / self.settings.steps, self.spent()), 1.0)
            return min((done + 1) / _WARM, 0.5 * (1 + math.cos(math.pi * share)) + 0.01)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        # Lightning clips for no optimizer that is fused, as one that scales gradients would be.
        torch.nn.utils.clip_grad_norm_(self.parameters(), _LONGEST)

    @torch.no_grad()
    def average(self) -> None:
        """Let the averaged weights follow the weights."""
        keep = min(_KEEP, (1 + self.done) / (10 + self.done))
        for name, value in self._weights():
            self.averaged[name].lerp_(value, 1 - keep)

    @torch.no_grad()
    def use(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put weights in place of those of the networks; returns what was there."""
        own = dict(self._weights())
        before = {name: own[name].detach().clone() for name in weights}
        for name, value in weights.items():
            own[name].copy_(value)
        return before
