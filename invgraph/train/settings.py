"""What a training of depth is asked to do, and the recipes that are known to work."""

from dataclasses import dataclass, field, replace

from invgraph.train.objective import Pieces, Weights

_MULTIPLE = 32  # of image sizes: the networks halve five times


@dataclass(frozen=True)
class DepthSettings:
    """How depth is learned.

    Attributes:
        network: "resnet18" or "light".
        motion: how the camera's motion is known: "found" beforehand by odometry, with multi-view
            depth as a teacher, or "learned" by a network beside the depth.
        height: of the images, pixels.
        width: the same.
        batch: groups of three frames a step, over all processes.
        accumulate: steps whose gradients are summed before the weights move.
        steps: at most.
        rate: of learning, at its highest.
        stride: frames between neighbours of a group where motion is learned.
        scales: sizes at which depth is learned.
        pieces: of the loss.
        weights: of the pieces.
        seed: of weights and groups.
    """

    network: str = "resnet18"
    motion: str = "found"
    height: int = 192
    width: int = 256
    batch: int = 4
    accumulate: int = 1
    steps: int = 4000
    rate: float = 3e-4
    stride: int = 1
    scales: int = 1
    pieces: Pieces = field(default_factory=Pieces)
    weights: Weights = field(default_factory=Weights)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            size = getattr(self, name)
            if size < 2 * _MULTIPLE or size % _MULTIPLE:
                raise ValueError(
                    f"{name} is {size}, expected a multiple of {_MULTIPLE}, {2 * _MULTIPLE} or "
                    "more; round it."
                )
        for name in ("batch", "accumulate", "steps", "stride", "scales"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more.")


_OWN = Pieces(teacher=False)
RECIPES = {
    "multiview": DepthSettings(),
    "motion": DepthSettings(motion="learned", pieces=_OWN),
    "monodepth2": DepthSettings(
        motion="learned",
        scales=4,
        rate=1e-4,
        pieces=replace(_OWN, consistency=False, exposure=False, moving=False, uncertainty=False),
    ),
}
