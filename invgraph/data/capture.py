"""A capture: photographs of one scene, each with the camera that took it where that is known."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from invgraph.data.bounds import Bounds, bounds_from_frames
from invgraph.data.frame import CAMERAS_REMEDY, Frame
from invgraph.data.truth import Truth


@dataclass(frozen=True, eq=False)
class Capture:
    """Photographs of one scene.

    Args:
        name: the folder's name.
        frames: in the order of the capture's own list.
        test: indices of the held-out frames.
        truth: what is known besides the photographs; for evaluation only.
        box: corners (lower, upper) of the object's bounding box in the world, if the capture
            states it.
        points: sparse points on the surfaces, world frame, if the capture has them.
        skipped: what could not be read, one "name: reason" each.
        kind: the format, in words.
        source: the file or folder that was read; None if it was made in memory.
    """

    name: str
    frames: tuple[Frame, ...]
    test: tuple[int, ...]
    truth: Truth | None = None
    box: Float[Tensor, "2 3"] | None = None
    points: Float[Tensor, "n 3"] | None = None
    skipped: tuple[str, ...] = ()
    kind: str = ""
    source: Path | None = None

    @property
    def has_cameras(self) -> bool:
        """Whether the camera of every frame is known."""
        return all(frame.camera is not None for frame in self.frames)

    @property
    def has_masks(self) -> bool:
        """Whether every frame has a mask."""
        return all(frame.mask_source is not None for frame in self.frames)

    def require_cameras(self) -> None:
        """Refuse a capture with unknown cameras.

        Raises:
            ValueError: a frame has no camera.
        """
        unknown = [frame for frame in self.frames if frame.camera is None]
        self._refuse(unknown, "camera", CAMERAS_REMEDY)

    def require_masks(self) -> None:
        """Refuse a capture in which some photos have no mask.

        Raises:
            ValueError: a frame has no mask.
        """
        bare = [frame for frame in self.frames if frame.mask_source is None]
        self._refuse(bare, "mask", "add masks or an alpha channel.")

    def _refuse(self, frames: list[Frame], lacking: str, remedy: str) -> None:
        if frames:
            raise ValueError(
                f"{self.name}: {len(frames)} of {len(self.frames)} photos have no {lacking} "
                f"(first {frames[0].image_path}); {remedy}"
            )

    @property
    def train(self) -> tuple[int, ...]:
        """Indices of the frames that are not held out."""
        held_out = set(self.test)
        return tuple(index for index in range(len(self.frames)) if index not in held_out)

    def bounds(self) -> Bounds:
        """Estimate where the object is, from the training frames' cameras and masks.

        Decodes up to 48 masks; keep the result.

        Raises:
            ValueError: the cameras and masks agree on no place for an object.
        """
        return bounds_from_frames([self.frames[index] for index in self.train], self.box)
