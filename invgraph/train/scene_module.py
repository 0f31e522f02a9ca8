"""The network of a training of scenes, and one step of it."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from invgraph.encoders.finder import SEEN, STEP, Finder
from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.scene.memory import Memory, recall
from invgraph.fitting.scene.object_prior import POSE, ObjectPrior, with_shadows
from invgraph.geometry.color import srgb_from_linear
from invgraph.scene.distributions import PoseInView
from invgraph.scene.scene_belief import SceneBelief
from invgraph.train.base_module import Learning
from invgraph.train.dreams import Dreams
from invgraph.train.settings import SceneSettings
from invgraph.train.sleep import Recurring

CANVAS = 96  # pixels of the sides of the finder's dreams
LEAST, MOST = 16.0, 80.0  # diameter of the object's ball in them, pixels
OTHERS = 0.1  # weight of all that is not the pose: light has many numbers, which drown it
_FEWER, _EVERY = 4, 4  # dreams of the encoder for one of the finder; steps of which one is its, too
_AWAKE = 4  # dreams for one window of a photo


class SceneTraining(Learning):
    """An encoder of scenes learned from dreams: images whose causes are known.

    The loss is minus the logarithm of the density that the belief gives to the causes; where the
    object is absent, only that it is. The finder learns the same way, from fewer and larger dreams
    in which the object is anywhere and of any size. Where it wakes, the encoder learns from windows
    of photos, too, once there are ``memories`` of them.

    Args:
        settings: of the training.
        known: the prior.
        wake: learn from memories.

    Attributes:
        memories: of photos without labels, and of scenes that explain them.

    Source:
        The sleep phase of Hinton et al., The wake-sleep algorithm for unsupervised neural networks
        (1995); today also called neural posterior estimation (Papamakarios & Murray 2016).
    """

    networks = ("encoder", "finder")
    images = 1
    score = "loss"
    settings: SceneSettings

    def __init__(self, settings: SceneSettings, known: ObjectPrior, wake: bool = False) -> None:
        super().__init__(settings)
        self.known, self._wake = known, wake
        prior = with_shadows(known.prior)
        pose = prior.distributions[POSE]
        assert isinstance(pose, PoseInView)
        self._radius = pose.radius
        anywhere = replace(pose, size=(LEAST / CANVAS, MOST / CANVAS), offset=0.5)
        anywhere = replace(prior, distributions={**prior.distributions, POSE: anywhere})
        self._near, self._anywhere = (
            Recurring(what, side, settings.batch, settings.seed)
            for what, side in ((prior, settings.width), (anywhere, CANVAS))
        )
        self.encoder = SceneEncoder(known.prior, settings.hypotheses, settings.network)
        self.finder = Finder(settings.network)
        self.memories: list[Memory] = []
        self.complete()

    def dreams(self, numbers: Tensor) -> Dreams:
        """The dreams with these numbers; the same whenever they are dreamt together."""
        with torch.autocast(self.device.type, enabled=False):
            return self._near(numbers)

    def explain(self, numbers: Tensor) -> dict[str, Tensor]:
        dreams = self.dreams(numbers)
        images = dreams.images.contiguous(memory_format=torch.channels_last)
        belief, present = self.encoder(images, dreams.lens)
        with torch.autocast(self.device.type, enabled=False):
            there = dreams.present.float()
            share = there / there.sum().clamp_min(1)
            pose, others = _surprise(belief, dreams.values)
            parts = {"pose": (pose * share).sum(), "others": (others * share).sum()}
            parts["presence"] = binary_cross_entropy_with_logits(present, there)
            parts["loss"] = parts["pose"] + OTHERS * parts["others"] + parts["presence"]
            if not self.training or int(numbers[0]) // self.settings.batch % _EVERY == _EVERY - 1:
                parts["place"] = self.place_loss(numbers[: max(len(numbers) // _FEWER, 1)])
                parts["loss"] = parts["loss"] + parts["place"]
            if self._wake and self.memories and self.training:
                count = max(len(numbers) // _AWAKE, 1)
                parts["awake"] = self.wake_loss(int(numbers[0]), count)
                parts["loss"] = parts["loss"] + count / len(numbers) * parts["awake"]
            with torch.no_grad():
                turn = belief.marginal([POSE]).mode[POSE] * dreams.values[POSE]
                cosine = (turn[:, :3, :3].sum((1, 2)) - 1) / 2
                angle = cosine.clamp(-1, 1).acos().rad2deg()[dreams.present]
                parts["rotation_deg"] = angle.median() if len(angle) else angle.new_zeros(())
        return parts

    def wake_loss(self, number: int, count: int) -> Tensor:
        """How little the encoder believes in the scenes that explain windows of photos.

        Args:
            number: tells which.
            count: of the windows.
        """
        generator = torch.Generator().manual_seed(hash((self.settings.seed, number)) % (1 << 62))
        images, lens, values, scores = recall(self.memories, self.known.prior, count, generator)
        planes = srgb_from_linear(images).clamp(0, 1).movedim(-1, 1)
        belief, _ = self.encoder(planes.contiguous(memory_format=torch.channels_last), lens)
        pose, others = _surprise(belief, values)
        return ((pose + OTHERS * others) * scores).mean()

    def place_loss(self, numbers: Tensor) -> Tensor:
        """How wrong the finder is about the dreams with these numbers; they have their own size."""
        with torch.autocast(self.device.type, enabled=False):
            dreams = self._anywhere(numbers)
        heat = self.finder(dreams.images, (1.0, 1 / STEP))
        with torch.autocast(self.device.type, enabled=False):
            places = dreams.places(POSE, self._radius)
            low, high = math.log(SEEN[0]), math.log(SEEN[1] * STEP)
            there = dreams.present & (places[:, 2] >= low) & (places[:, 2] <= high)
            return -torch.where(there, heat.log_prob(places), heat.log_absent).mean()


def _surprise(belief: SceneBelief, values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Minus the logarithms of the densities of the pose and of all else."""
    others = belief.marginal([path for path in belief.means if path != POSE])
    return -belief.marginal([POSE]).log_prob(values), -others.log_prob(values)
