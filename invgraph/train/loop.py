"""The training loop: what happens around the steps of every training."""

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from torch.utils.data import DataLoader

from invgraph.data import Capture
from invgraph.files.atomic import fingerprint, writing
from invgraph.runs.facts import Kind, RunFacts, facts_of, identity
from invgraph.runs.folder import CHECKPOINT, METRICS, RunFolder
from invgraph.runs.progress import Meter, Progress
from invgraph.train.base_module import Learning, NotFinite
from invgraph.train.checkpoint import Keeper, Shown
from invgraph.train.clips import Clip
from invgraph.train.dataset import Numbered, Numbers
from invgraph.train.settings import Settings

_SCORES = 20  # held-out scores over a training
_PATIENCE = 6

Logger = Literal["tensorboard", "wandb", "none"]


@dataclass(frozen=True)
class Plan:
    """Where a training goes, and how long.

    Several processes started by torchrun share it.

    Attributes:
        out: run folder.
        resume: go on with the training in it.
        budget_s: seconds after which training ends; None for no limit but the steps.
        logger: where curves go; Weights & Biases must be installed.
        workers: processes that prepare images.
        began: what ``time.monotonic()`` showed when the plan was made: the budget runs from there.
    """

    out: Path
    resume: bool = False
    budget_s: float | None = None
    logger: Logger = "tensorboard"
    workers: int = 1
    began: float = field(default_factory=time.monotonic)

    @property
    def checkpoint(self) -> Path:
        return self.out / CHECKPOINT

    @property
    def rank(self) -> int:
        """Of this process."""
        return int(os.environ.get("RANK", 0))

    @property
    def world(self) -> int:
        """How many processes there are."""
        return int(os.environ.get("WORLD_SIZE", 1))


@dataclass(frozen=True, eq=False)
class Trained:
    """What training left.

    Attributes:
        model: file of the network.
        steps: taken.
        held_out: best loss on frames that were not learned from.
        seconds: spent, preparation included.
    """

    model: Path
    steps: int
    held_out: float
    seconds: float

    def note(self, folder: RunFolder) -> None:
        """Write ``metrics.json``."""
        found = {**asdict(self), "model": self.model.name, "complete": True}
        folder.write_json(METRICS, found)


@contextmanager
def opened(
    plan: Plan,
    kind: Kind,
    recordings: Sequence[Capture],
    settings: Settings,
    encoder: Path | None = None,
    known: Path | None = None,
) -> Iterator[tuple[RunFolder | None, Progress]]:
    """The run folder of a training, and its progress; torch is seeded.

    Of several processes one writes and shows how far it is; the others have no folder.

    Args:
        plan: of the training.
        kind: of run.
        recordings: that are learned from.
        settings: of the training.
        encoder: file with weights that it begins with.
        known: model file of an object that is learned about.

    Raises:
        ValueError: the folder cannot be written to or gone on with.
    """
    name = " + ".join([*([known.stem] if known else []), *(c.name for c in recordings)])
    read = {"recordings": [facts_of(capture) for capture in recordings]}
    options = {
        "budget_s": plan.budget_s,
        "logger": plan.logger,
        "workers": plan.workers,
        "encoder": None if encoder is None else str(encoder),
        "object": None if known is None else str(known),
    }
    begins = [None if file is None else fingerprint(file) for file in (encoder, known)]
    work = identity(recordings, kept(settings), *begins)
    facts = RunFacts(kind, name, work, read, {**options, **asdict(settings)})
    with contextlib.ExitStack() as stack:
        folder, progress = None, Progress()
        if plan.rank == 0:
            folder = stack.enter_context(RunFolder(plan.out, facts, plan.resume))
            progress = stack.enter_context(Meter())
        if recordings:
            progress.note(_opening(recordings, settings))
        torch.manual_seed(settings.seed)
        stack.enter_context(_quiet())
        stack.enter_context(_without_subnormals())
        yield folder, progress


def _opening(recordings: Sequence[Capture], settings: Settings) -> str:
    """What is learned from, in a line."""
    count = sum(len(capture.frames) for capture in recordings)
    sizes = {frame.size for capture in recordings for frame in capture.frames}
    size = "{1}x{0}".format(*sizes.pop()) if len(sizes) == 1 else f"{len(sizes)} sizes"
    many = "1 recording" if len(recordings) == 1 else f"{len(recordings)} recordings"
    return f"{many}, {count} frames, {size} to {settings.width}x{settings.height}"


def learn(
    plan: Plan,
    folder: RunFolder | None,
    module: Learning,
    learned: Numbered,
    scored: tuple[Numbered, int],
    facts: dict[str, Any],
    progress: Progress,
    callbacks: Sequence[lightning.Callback] = (),
) -> Keeper:
    """Train until the last step, the end of the time, or no better score.

    Args:
        plan: of the training.
        folder: of the run; None in a process that does not write.
        module: what learns; has its averaged weights afterwards.
        learned: items to learn from.
        scored: items held out, and how many of them are judged at a time.
        facts: what a training that is resumed has to have in common with what was begun, JSON.
        progress: hears the steps.
        callbacks: further ones.

    Returns:
        The keeper of the checkpoint, which knows the best score and the time spent.

    Raises:
        ValueError: the checkpoint is of another training; the loss is no number any more.
        KeyboardInterrupt: Ctrl-C; a checkpoint holds everything.
    """
    settings, rank, world = module.settings, plan.rank, plan.world
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    keeper = Keeper(plan.checkpoint, facts, plan.budget_s, _PATIENCE, plan.began)
    keeper.restore(module)
    module.spent = keeper.share
    first, last = module.done, settings.steps
    batches = loader(learned, Numbers(settings.batch, first, last, rank, world), plan.workers)
    held_out, at_once = scored
    judged = Numbers(at_once, 0, max(len(held_out) // at_once, 1), rank, world)
    trainer = lightning.Trainer(
        devices=local,
        num_nodes=world // local,
        strategy="ddp_find_unused_parameters_true" if world > 1 else "auto",
        precision=_precision(),
        max_epochs=1,
        accumulate_grad_batches=settings.accumulate,
        val_check_interval=min(max(last // _SCORES, 1), max(last - first, 1)),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=_logger(plan),
        log_every_n_steps=20,
        callbacks=[
            keeper,
            Shown(progress, folder, keeper, module.images * settings.batch),
            *callbacks,
        ],
    )
    left = plan.budget_s is None or keeper.spent < plan.budget_s
    more = first < last and keeper.since < _PATIENCE and left
    if more and folder is not None and folder.finished() is not None:
        folder.reopen()
    try:
        if more:
            with writing(plan.out):  # TensorBoard's files
                trainer.fit(module, batches, loader(held_out, judged, 0))
    except NotFinite as error:
        kept = f"{plan.checkpoint} holds the weights of some steps before"
        raise ValueError(
            f"{error}; {kept if plan.checkpoint.exists() else 'nothing was kept yet'}; "
            "use a lower --rate."
        ) from error
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    module.use(module.averaged)
    return keeper


def kept(settings: Settings) -> dict[str, Any]:
    """The settings that may not change on the way."""
    return {name: value for name, value in asdict(settings).items() if name != "rate"}


def given(clips: Sequence[Clip], settings: Settings) -> dict[str, Any]:
    """What a training that is resumed has to have in common with what was begun."""
    return {"settings": kept(settings), "frames": [list(clip.prints) for clip in clips]}


def loader(items: Numbered, numbers: Numbers, workers: int) -> DataLoader:
    """Batches, made ready by other processes while the last one is learned from."""
    return DataLoader(
        items,
        batch_sampler=numbers,
        collate_fn=items.collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="forkserver" if workers else None,
    )


def _precision() -> Literal["bf16-mixed", "32-true"]:
    """bf16 where the machine multiplies matrices of it; elsewhere that is as fast at best."""
    if torch.cuda.is_available():
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities().get("amx_bf16", False)
    return "bf16-mixed" if has else "32-true"


@contextmanager
def _without_subnormals() -> Iterator[None]:
    """Numbers below 1.2e-38 count as 0.

    Processors take a hundred times as long over them, and the moments of weights that no gradient
    reaches any more all get there: a fifth of a step went into those.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice, which is about what is done here on purpose."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)


def _logger(plan: Plan) -> Any:
    if plan.logger == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(plan.out, name="curves", version="")
    if plan.logger == "wandb":
        if find_spec("wandb") is None:
            raise ValueError("--logger wandb needs the package wandb; pip install wandb.")
        from lightning.pytorch.loggers import WandbLogger

        return WandbLogger(project="invgraph", save_dir=str(plan.out))
    return False
