"""What watches over a training: its checkpoint, its end, and what a person sees of it."""

import math
import time
from collections import deque
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.runs.folder import RunFolder
from invgraph.runs.interrupts import heard
from invgraph.runs.progress import Progress
from invgraph.train.base_module import Learning

_EVERY_S = 120.0  # between checkpoints
_LOG_EVERY = 10  # steps


class Keeper(lightning.Callback):
    """Checkpoints that survive a kill at any moment, the way back to them, and when to end.

    A checkpoint is one file, replaced whole: weights, their running mean, the optimiser's state and
    how far the training is. Nothing in it is code.

    Args:
        path: of the checkpoint.
        facts: to keep beside the weights, JSON.
        budget_s: seconds after which training ends, over all its parts; None for no limit.
        patience: held-out scores in a row without a better one after which training ends.
        began: what ``time.monotonic()`` showed when this part of the training began to prepare.
    """

    def __init__(
        self,
        path: Path,
        facts: dict[str, Any],
        budget_s: float | None,
        patience: int,
        began: float,
    ) -> None:
        self.path, self.facts, self.budget_s, self.patience = path, facts, budget_s, patience
        self.best, self.since, self.spent = math.inf, 0, 0.0
        self._began, self._saved = began, time.monotonic()
        self._optimizer: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    @property
    def seconds(self) -> float:
        """Spent so far, over all parts of the training, preparation included."""
        return self.spent + time.monotonic() - self._began

    def share(self) -> float:
        """Of the time that is over."""
        return 0.0 if self.budget_s is None else self.seconds / self.budget_s

    def restore(self, module: Learning) -> bool:
        """Take up weights and counts from the checkpoint; whether there is one.

        Raises:
            ValueError: the checkpoint is damaged or of another training.
        """
        stored = read_tensors(self.path, "delete it and train again")
        if stored is None:
            return False
        tensors, facts = stored
        if facts.get("given") != self.facts:
            raise ValueError(
                f"{self.path} was begun with other recordings or settings; resume with those, or "
                "choose another --out."
            )
        try:
            module.load_state_dict(_part(tensors, "weights."))
            averaged = _part(tensors, "averaged.")
            for name in module.averaged:
                module.averaged[name].copy_(averaged[name])
            module.done, self.spent = int(facts["done"]), float(facts["spent"])
            self.best, self.since = float(facts["best"] or math.inf), int(facts["since"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged; delete it and train again.") from error
        self._optimizer = _part(tensors, "optimizer.")
        return True

    def save(self, module: Learning, optimizer: torch.optim.Optimizer) -> None:
        """Replace the checkpoint."""
        parameters = [p for family in optimizer.param_groups for p in family["params"]]
        tensors = {f"weights.{name}": x for name, x in module.state_dict().items()}
        tensors |= {f"averaged.{name}": x for name, x in module.averaged.items()}
        for index, parameter in enumerate(parameters):
            for name, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{name}"] = value
        write_tensors(
            self.path,
            {name: x.cpu() for name, x in tensors.items()},
            {
                "given": self.facts,
                "done": module.done,
                "spent": self.seconds,
                "best": self.best if math.isfinite(self.best) else None,
                "since": self.since,
            },
        )
        self._saved = time.monotonic()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._saved = time.monotonic()
        pl_module.averaged = {n: x.to(pl_module.device) for n, x in pl_module.averaged.items()}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        optimizer = trainer.optimizers[0]
        parameters = [p for family in optimizer.param_groups for p in family["params"]]
        for key, value in self._optimizer.items():
            index, name = key.split(".")
            parameter = parameters[int(index)]
            if name != "step":  # a fused optimizer takes it to lie in memory as its parameter does
                value = torch.empty_like(parameter).copy_(value)
            optimizer.state[parameter][name] = value.to(parameter.device)
        self._optimizer = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        pl_module.done += 1
        pl_module.average()
        if trainer.is_global_zero and time.monotonic() - self._saved > _EVERY_S:
            self.save(pl_module, trainer.optimizers[0])
        if trainer.strategy.reduce_boolean_decision(self.share() > 1, all=False):
            trainer.should_stop = True

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """The averaged weights are what is scored."""
        self._weights = pl_module.use(pl_module.averaged)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._put_back(pl_module)
        score = float(trainer.callback_metrics[f"held_out/{pl_module.score}"])
        self.since = 0 if score < self.best else self.since + 1
        self.best = min(self.best, score)
        if self.since >= self.patience:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self.save(pl_module, trainer.optimizers[0])

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Ctrl-C loses nothing; after a loss that is no number the last checkpoint stays."""
        interrupted = isinstance(exception, KeyboardInterrupt)
        heard()
        self._put_back(pl_module)
        if interrupted and trainer.is_global_zero and trainer.optimizers:
            self.save(pl_module, trainer.optimizers[0])

    def _put_back(self, module: Learning) -> None:
        """Weights that learn, in place of the averaged ones that were scored."""
        module.use(self._weights)
        self._weights = {}


class Shown(lightning.Callback):
    """Progress for a person: steps, images a second and the loss.

    Args:
        progress: hears them.
        folder: of the run, which gets the curves; None in a process that does not write.
        keeper: knows the time spent, and what there is in all.
        images: of one step.
    """

    def __init__(
        self, progress: Progress, folder: RunFolder | None, keeper: Keeper, images: int
    ) -> None:
        self._progress, self._folder, self._keeper = progress, folder, keeper
        self._images = images
        self._recent: deque[float] = deque(maxlen=50)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        self._progress.stage("training")
        if self._keeper.budget_s is not None:
            self._progress.clock(self._keeper.budget_s, self._keeper.seconds)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._recent.append(time.monotonic())
        if not trainer.is_global_zero:
            return
        done, steps = pl_module.done, pl_module.settings.steps
        best, loss = self._keeper.best, float(outputs["loss"])
        if self._folder is not None and (done % _LOG_EVERY == 0 or done in (1, steps)):
            self._folder.log(
                step=done,
                seconds=round(self._keeper.seconds, 2),
                stage="training",
                loss=round(loss, 5),
                held_out=round(best, 5) if best < math.inf else "",
            )
        if len(self._recent) < 2:
            return
        pace = (len(self._recent) - 1) / (self._recent[-1] - self._recent[0])
        held_out = f", held out {best:.4f}" if best < math.inf else ""  # before the first check
        self._progress.update(
            done / steps,
            f"step {done} of {steps}, {pace * self._images:.1f} images/s, "
            f"loss {loss:.4f}{held_out}",
        )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: x for name, x in tensors.items() if name.startswith(prefix)}
