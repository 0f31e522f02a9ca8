"""``train_depth``: from recordings to a network that tells depth from one image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from invgraph.data import Capture
from invgraph.encoders import load_pretrained
from invgraph.files.atomic import fingerprint
from invgraph.train.calibrate import depth_model
from invgraph.train.clips import split
from invgraph.train.depth_module import DepthTraining
from invgraph.train.frame_groups import GroupSet
from invgraph.train.loop import Logger, Plan, Trained, given, learn, opened
from invgraph.train.prepare import prepare
from invgraph.train.previews import Panels
from invgraph.train.settings import DepthSettings

_PREPARING = {"found": 0.3, "learned": 0.05}  # share of a training, about
_SCORED = 32  # groups that are held out, at most


def train_depth(
    recordings: Sequence[Capture],
    out: str | Path,
    settings: DepthSettings,
    *,
    resume: bool = False,
    budget_s: float | None = None,
    encoder: str | Path | None = None,
    logger: Logger = "tensorboard",
    workers: int = 1,
    work: str | Path | None = None,
) -> Trained:
    """Learn depth from recordings, without labels.

    The teacher is view synthesis alone: no depth, no pose and no other label is read. Where motion
    is "found", odometry tells how the camera moved, the depth of frames is found from one another,
    and the network learns to tell it from one image; where it is "learned", a second network tells
    the motion, and an unknown focal length is learned, too. A left photo of a stereo pair is also
    explained by the right one; with pairs in every recording depth is in metres.

    Several processes started by torchrun share the batch.

    Args:
        recordings: each of one camera, frames in their order.
        out: run folder; holds ``model.safetensors`` at the end.
        settings: of the training.
        resume: go on with the training in ``out``.
        budget_s: seconds after which training ends, preparation included; None for no limit but
            the steps.
        encoder: file to begin with: what :func:`train_encoder` wrote, or a ResNet-18 with the
            names of torchvision's and timm's.
        logger: where curves go; Weights & Biases must be installed.
        workers: processes that prepare images.
        work: folder for decoded frames and their depth; the user's cache when left out.

    Raises:
        ValueError: recordings that cannot be learned from; a folder that holds another training;
            a loss that is no number any more.
        KeyboardInterrupt: Ctrl-C; a checkpoint holds everything.
    """
    out = Path(out)
    encoder = None if encoder is None else Path(encoder)
    work = None if work is None else Path(work)
    plan = Plan(out, resume, budget_s, logger, workers)
    trunk = None if encoder is None else load_pretrained(encoder, settings.network)
    with opened(plan, "depth", recordings, settings, encoder) as (folder, progress):
        clips, teachings, metres = prepare(
            recordings, settings, work, progress.part(_PREPARING[settings.motion])
        )
        learned, held = zip(*(split(clip) for clip in clips), strict=True)
        shared: Any = {"stride": settings.stride, "metres": metres}
        groups = GroupSet(clips, teachings, learned, seed=settings.seed, **shared)
        scored = GroupSet(clips, teachings, held, vary=False, most=_SCORED, **shared)
        module = DepthTraining(settings, [clip.lens is None for clip in clips], trunk)
        facts = given(clips, settings)
        if encoder is not None:
            facts["encoder"] = fingerprint(encoder)
        panels = Panels(folder, scored)
        scores = (scored, plan.world)
        keeper = learn(plan, folder, module, groups, scores, facts, progress.part(), [panels])
        found = Trained(out / "model.safetensors", module.done, keeper.best, keeper.seconds)
        if folder is not None:
            depth_model(module, clips, scored, metres).save(found.model)
            found.note(folder)
    return found
