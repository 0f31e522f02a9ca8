"""``train_encoder``: from recordings to an encoder that knows what belongs together."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from invgraph.data import Capture
from invgraph.encoders import ResNet, centred, save_encoder
from invgraph.train.base_module import Learning
from invgraph.train.clips import Clip, read_clip, split
from invgraph.train.loop import Logger, Plan, Trained, given, learn, opened
from invgraph.train.pairs import Pairs, PairSet, near
from invgraph.train.previews import Neighbours
from invgraph.train.settings import ContrastSettings

_EMBEDDED = 128  # numbers by which views are compared
_READING = 0.05  # share of a training, about


def nt_xent(
    embedded: Float[Tensor, "v d"], ignored: Bool[Tensor, "v v"], temperature: float
) -> Float[Tensor, ""]:
    """NT-Xent: how hard the other view of a pair is to tell from all others, a mean over views.

    Args:
        embedded: views 2k and 2k+1 are a pair; of any length.
        ignored: pairs of views that need not be told apart; the two of a pair always count.
        temperature: of the cosines.

    Gradients:
        Reach ``embedded``; zero between views that are ignored.

    Source:
        Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020),
        equation 1; what is ignored is ours.
    """
    unit = normalize(embedded, dim=1)
    number = torch.arange(len(unit), device=unit.device)
    partner = number ^ 1
    left_out = ignored.clone()
    left_out[number, partner] = False
    left_out[number, number] = True
    alike = (unit @ unit.mT / temperature).masked_fill(left_out, -torch.inf)
    return cross_entropy(alike, partner)


class Contrast(Learning):
    """An encoder learned from pairs of views.

    Args:
        settings: of the training.

    Attributes:
        encoder: the result.
        head: from the mean of its coarsest features to what is compared.

    Source:
        Chen et al. (2020), section 2.1. Frames shortly after one another as pairs: Sermanet et al.,
        Time-Contrastive Networks (2018), section III.
    """

    networks = ("encoder", "head")
    images = 2
    score = "loss"
    settings: ContrastSettings

    def __init__(self, settings: ContrastSettings) -> None:
        super().__init__(settings)
        self.encoder = ResNet(settings.network)
        width = self.encoder.widths[-1]
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, _EMBEDDED, bias=False)
        )
        self.complete()

    def embed(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """What views are compared by; ``images`` are sRGB in [0, 1]."""
        return self.head(self.encoder(centred(images))[-1].mean((2, 3)))

    def explain(self, pairs: Pairs) -> dict[str, Tensor]:
        embedded = self.embed(pairs.views.flatten(0, 1).movedim(-1, 1)).float()
        # Views of other processes are others to tell apart, too.
        embedded = self._everywhere(embedded)
        clip, frame = self._everywhere(pairs.clip), self._everywhere(pairs.frame)
        ignored = near(clip, frame, self.settings.reach)
        with torch.autocast(self.device.type, enabled=False):
            return {"loss": nt_xent(embedded, ignored, self.settings.temperature)}

    def _everywhere(self, local: Tensor) -> Tensor:
        """The rows of all processes; gradients go back to each."""
        if not torch.distributed.is_initialized():
            return local
        found = self.all_gather(local, sync_grads=local.is_floating_point())
        assert isinstance(found, Tensor)
        return found.flatten(0, 1)


def train_encoder(
    recordings: Sequence[Capture],
    out: str | Path,
    settings: ContrastSettings,
    *,
    resume: bool = False,
    budget_s: float | None = None,
    logger: Logger = "tensorboard",
    workers: int = 1,
    work: str | Path | None = None,
) -> Trained:
    """Learn an encoder from recordings, without labels, for other trainings to begin with.

    Views of frames that follow closely on one another are to look alike, views of others not.

    Several processes started by torchrun share the batch; the loss is that of the whole batch.

    Args:
        recordings: each of one camera, frames in their order.
        out: run folder; holds ``encoder.safetensors`` at the end.
        settings: of the training.
        resume: go on with the training in ``out``.
        budget_s: seconds after which training ends, preparation included; None for no limit but
            the steps.
        logger: where curves go; Weights & Biases must be installed.
        workers: processes that prepare images.
        work: folder for decoded frames; the user's cache when left out.

    Raises:
        ValueError: recordings that cannot be learned from; a folder that holds another training;
            a loss that is no number any more.
        KeyboardInterrupt: Ctrl-C; a checkpoint holds everything.
    """
    out = Path(out)
    work = None if work is None else Path(work)
    plan = Plan(out, resume, budget_s, logger, workers)
    size, reach, seed = (settings.height, settings.width), settings.reach, settings.seed
    with opened(plan, "encoder", recordings, settings) as (folder, progress):
        clips: list[Clip] = []
        for index, capture in enumerate(recordings):
            share = _READING * (index + 1) / len(recordings)
            clips.append(
                read_clip(
                    capture.name,
                    capture.frames,
                    size,
                    work=work and work / "clips",
                    progress=progress.part(share, capture.name),
                )
            )
        learned, held = zip(*(split(clip) for clip in clips), strict=True)
        module = Contrast(settings)
        held_out = PairSet(clips, held, reach=reach, seed=seed)
        keeper = learn(
            plan,
            folder,
            module,
            PairSet(clips, learned, reach=reach, seed=seed),
            (held_out, settings.batch),
            given(clips, settings),
            progress.part(),
            [Neighbours(folder, held_out)],
        )
        found = Trained(out / "encoder.safetensors", module.done, keeper.best, keeper.seconds)
        if folder is not None:
            module.encoder.seen = frozenset(mark for clip in clips for mark in clip.prints)
            save_encoder(found.model, module.encoder)
            found.note(folder)
    return found
