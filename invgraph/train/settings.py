"""What a training is asked to do, and the recipes for depth that are known to work."""

import math
from dataclasses import dataclass, field, fields

from invgraph.train.objective import Pieces, Weights

_MULTIPLE = 32  # of image sizes: the networks halve five times


@dataclass(frozen=True)
class Settings:
    """What every training has to be told.

    Attributes:
        network: "resnet18" or "light".
        height: of the images, pixels.
        width: the same.
        batch: items a step, over all processes.
        accumulate: steps whose gradients are summed before the weights move.
        steps: at most.
        rate: of learning, at its highest.
        seed: of weights and items.
    """

    network: str = "resnet18"
    height: int = 192
    width: int = 256
    batch: int = 4
    accumulate: int = 1
    steps: int = 4000
    rate: float = 3e-4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            size = getattr(self, name)
            if size < 2 * _MULTIPLE or size % _MULTIPLE:
                raise ValueError(
                    f"{name} is {size}, expected a multiple of {_MULTIPLE}, {2 * _MULTIPLE} or "
                    "more; round it."
                )
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "seed" and type(value) is int and value < 1:
                raise ValueError(f"{each.name} is {value}, expected 1 or more.")
        if not (0 < self.rate < math.inf):
            raise ValueError(f"rate is {self.rate}, expected a positive number such as 1e-4.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}, expected a number from 0 to 2**63 - 1.")


@dataclass(frozen=True)
class DepthSettings(Settings):
    """How depth is learned, from groups of three frames.

    Attributes:
        motion: how the camera's motion is known: "found" beforehand by odometry, with multi-view
            depth as a teacher, or "learned" by a network beside the depth.
        stride: frames between neighbours of a group where motion is learned.
        scales: sizes at which depth is learned.
        pieces: of the loss.
        weights: of the pieces.
    """

    motion: str = "found"
    stride: int = 1
    scales: int = 1
    pieces: Pieces = field(default_factory=Pieces)
    weights: Weights = field(default_factory=Weights)


@dataclass(frozen=True)
class ContrastSettings(Settings):
    """How an encoder is learned, from pairs of views.

    Attributes:
        reach: frames from one view of a pair to the other, at most; other views as near as that
            are not told apart.
        temperature: of the similarities: the lower, the more the most similar others count.
    """

    batch: int = 32
    steps: int = 2000
    reach: int = 8
    temperature: float = 0.1


@dataclass(frozen=True)
class SceneSettings(Settings):
    """How an encoder of scenes is learned, from dreams.

    Attributes:
        hypotheses: about the rotation of the object.
        upright: whether it always stands, and is seen from above.
        object_scale: metres per unit of its file; None if that is in metres.
    """

    network: str = "light"
    height: int = 64
    width: int = 64
    batch: int = 64
    steps: int = 60_000
    rate: float = 2e-3
    hypotheses: int = 128
    upright: bool = True
    object_scale: float | None = None


RECIPES = {
    "multiview": DepthSettings(pieces=Pieces(unit=False)),
    "motion": DepthSettings(motion="learned", pieces=Pieces(teacher=False)),
    "monodepth2": DepthSettings(
        motion="learned",
        scales=4,
        rate=1e-4,
        pieces=Pieces(
            consistency=False,
            exposure=False,
            moving=False,
            teacher=False,
            uncertainty=False,
            unit=False,
        ),
    ),
}
