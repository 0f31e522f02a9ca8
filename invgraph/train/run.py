"""``train_depth``: from recordings to a network that tells depth from one image."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch

from invgraph.data import Capture
from invgraph.encoders import load_pretrained
from invgraph.files import write_atomically
from invgraph.fit.progress import Meter
from invgraph.train.clips import Clip
from invgraph.train.groups import GroupSet
from invgraph.train.loop import Keeper, Numbers, Shown, loader
from invgraph.train.material import prepare
from invgraph.train.model import depth_model
from invgraph.train.module import DepthTraining, NotFinite
from invgraph.train.panels import Panels
from invgraph.train.settings import DepthSettings

_HELD_OUT = 4  # blocks of each clip
_HELD_SHARE = 0.1  # of its frames
_SCORES = 20  # held-out scores over a training
_SCORED = 32  # groups, at most
_PATIENCE = 6
_FRAMES = 3  # of a group

Logger = Literal["tensorboard", "wandb", "none"]


@dataclass(frozen=True, eq=False)
class Trained:
    """What training left.

    Attributes:
        model: file of the network.
        steps: taken.
        held_out: best photometric loss on frames that were not learned from.
        seconds: of steps.
    """

    model: Path
    steps: int
    held_out: float
    seconds: float


def train_depth(
    recordings: Sequence[Capture],
    out: Path,
    settings: DepthSettings,
    *,
    resume: bool = False,
    budget_s: float | None = None,
    encoder: Path | None = None,
    logger: Logger = "tensorboard",
    workers: int = 1,
    work: Path | None = None,
) -> Trained:
    """Learn depth from recordings, without labels.

    The teacher is view synthesis alone: no depth, no pose and no other label is read. Where motion
    is "found", odometry tells how the camera moved, the depth of frames is found from one another,
    and the network learns to tell it from one image; where it is "learned", a second network tells
    the motion, and an unknown focal length is learned, too.

    Several processes started by torchrun share the batch.

    Args:
        recordings: each of one camera, frames in their order.
        out: run folder; holds ``model.safetensors`` at the end.
        settings: of the training.
        resume: go on with the training in ``out``.
        budget_s: seconds after which training ends; None for no limit but the steps.
        encoder: safetensors file of a ResNet-18 to begin with.
        logger: where curves go; Weights & Biases must be installed.
        workers: processes that prepare images.
        work: folder for decoded frames and their depth; the user's cache when left out.

    Raises:
        ValueError: recordings that cannot be learned from; a folder that holds another training;
            a loss that is no number any more.
        KeyboardInterrupt: Ctrl-C; a checkpoint holds everything.
    """
    import lightning

    checkpoint = out / "checkpoint.safetensors"
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if checkpoint.exists() and not resume:
        raise ValueError(
            f"{out} holds a training; continue it by --resume or choose another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    with Meter() as meter, _quiet():
        clips, teachings = prepare(recordings, settings, work, meter)
        held = [_blocks(len(clip)) for clip in clips]
        learned = [sorted(set(range(len(c))) - set(h)) for c, h in zip(clips, held, strict=True)]
        groups = GroupSet(clips, teachings, learned, stride=settings.stride, seed=settings.seed)
        scored = GroupSet(clips, teachings, held, stride=settings.stride, vary=False, most=_SCORED)
        unknown = [clip.lens is None for clip in clips]
        trunk = None if encoder is None else load_pretrained(encoder)
        module = DepthTraining(settings, unknown, trunk)
        keeper = Keeper(checkpoint, _facts(clips, settings), budget_s, _PATIENCE)
        keeper.restore(module)
        module.spent = keeper.share
        first, last = module.done, settings.steps
        batches = loader(groups, Numbers(settings.batch, first, last, rank, world), workers)
        scores = loader(scored, Numbers(world, 0, max(len(scored) // world, 1), rank, world), 0)
        trainer = lightning.Trainer(
            devices=local,
            num_nodes=world // local,
            strategy="ddp" if world > 1 else "auto",
            precision="bf16-mixed",
            max_epochs=1,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=1.0,
            val_check_interval=min(max(last // _SCORES, 1), max(last - first, 1)),
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=_logger(logger, out),
            log_every_n_steps=20,
            callbacks=[keeper, Shown(meter, keeper, _FRAMES * settings.batch), Panels(out, scored)],
        )
        try:
            if first < last:
                trainer.fit(module, batches, scores)
        except NotFinite as error:
            kept = f"{checkpoint} holds the weights of some steps before"
            raise ValueError(
                f"{error}; {kept if checkpoint.exists() else 'nothing was kept yet'}; "
                "use a lower --rate."
            ) from error
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
    found = Trained(out / "model.safetensors", module.done, keeper.best, keeper.seconds)
    if rank == 0:
        module.use(module.averaged)
        depth_model(module, clips, scored).save(found.model)
        facts = {**asdict(found), "model": str(found.model), "settings": asdict(settings)}
        write_atomically(out / "training.json", (json.dumps(facts, indent=1) + "\n").encode())
    return found


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


def _blocks(count: int) -> list[int]:
    """Frames that are held out: a few runs, spread over the recording."""
    length = max(round(_HELD_SHARE * count / _HELD_OUT), _FRAMES)
    starts = {int((k + 0.5) * count / _HELD_OUT) - length // 2 for k in range(_HELD_OUT)}
    return sorted({i for start in starts for i in range(max(start, 0), min(start + length, count))})


def _facts(clips: Sequence[Clip], settings: DepthSettings) -> dict[str, Any]:
    """What a training that is resumed has to have in common with what was begun."""
    kept = {name: value for name, value in asdict(settings).items() if name != "rate"}
    return {"settings": kept, "frames": [list(clip.prints) for clip in clips]}


def _logger(name: Logger, out: Path) -> Any:
    if name == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(out, name="curves", version="")
    if name == "wandb":
        if find_spec("wandb") is None:
            raise ValueError("--logger wandb needs the package wandb; pip install wandb.")
        from lightning.pytorch.loggers import WandbLogger

        return WandbLogger(project="invgraph", save_dir=str(out))
    return False
