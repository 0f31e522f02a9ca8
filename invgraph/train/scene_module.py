"""The network of a training of scenes, and one step of it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.scene.object_prior import POSE, ObjectPrior
from invgraph.train.base_module import Learning
from invgraph.train.dataset import Numbered
from invgraph.train.dreams import Dreams, dream
from invgraph.train.settings import SceneSettings

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


class SceneTraining(Learning):
    """An encoder of scenes learned from dreams: images whose causes are known.

    The loss is minus the logarithm of the density that the belief gives to the causes; where the
    object is absent, only that it is.

    Args:
        settings: of the training.
        known: the prior.

    Source:
        The sleep phase of Hinton et al., The wake-sleep algorithm for unsupervised neural networks
        (1995); today also called neural posterior estimation (Papamakarios & Murray 2016).
    """

    networks = ("encoder",)
    images = 1
    score = "loss"
    settings: SceneSettings

    def __init__(self, settings: SceneSettings, known: ObjectPrior) -> None:
        super().__init__(settings)
        self.known = known
        self.encoder = SceneEncoder(known.prior, settings.hypotheses, settings.network)
        self.complete()

    def dreams(self, numbers: Tensor) -> Dreams:
        """The dreams with these numbers; the same whenever they are dreamt together."""
        seed = hash((self.settings.seed, int(numbers[0]))) % (1 << 62)
        generator = torch.Generator().manual_seed(seed)
        with torch.autocast(self.device.type, enabled=False):
            return dream(self.known.prior, len(numbers), self.settings.width, generator)

    def explain(self, numbers: Tensor) -> dict[str, Tensor]:
        dreams = self.dreams(numbers)
        images = dreams.images.contiguous(memory_format=torch.channels_last)
        belief, present = self.encoder(images, dreams.lens)
        with torch.autocast(self.device.type, enabled=False):
            there = dreams.present.float()
            share = there / there.sum().clamp_min(1)
            parts = {"loss": -(belief.log_prob(dreams.values) * share).sum()}
            parts["presence"] = binary_cross_entropy_with_logits(present, there)
            parts["loss"] = parts["loss"] + parts["presence"]
            with torch.no_grad():
                pose = belief.marginal([POSE])
                parts["pose"] = -(pose.log_prob(dreams.values) * share).sum()
                turn = pose.mode[POSE][:, :3, :3] * dreams.values[POSE][:, :3, :3]
                cosine = (turn.sum((1, 2)) - 1) / 2
                angle = cosine.clamp(-1, 1).acos().rad2deg()[dreams.present]
                parts["rotation_deg"] = angle.median() if len(angle) else angle.new_zeros(())
        return parts
