"""Pairs of views that show the same: crops of frames that follow closely on one another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from invgraph.train.augment import recolored
from invgraph.train.clips import Clip
from invgraph.train.dataset import Numbered

_AREA = 0.25  # of the image, that a view has at least
_ASPECT = 0.75  # of a view, relative to the image, and its inverse
_GAIN = 0.5  # of brightness, contrast and colour, to either side
_COLORED = 0.8  # share of views whose colours are changed
_GREY = 0.2  # share of views without colours


@dataclass(frozen=True, eq=False)
class Pairs:
    """What one step looks at: pairs of views, each of one recording.

    Attributes:
        views: sRGB in [0, 1].
        clip: index of each pair's recording.
        frame: of the recording, that each view is of.
    """

    views: Float[Tensor, "b 2 h w 3"]
    clip: Int[Tensor, " b"]
    frame: Int[Tensor, "b 2"]


def collate(items: Sequence[dict[str, Tensor]]) -> Pairs:
    """Pairs of one step from their parts."""
    return Pairs(**{name: torch.stack([item[name] for item in items]) for name in items[0]})


class PairSet(Numbered):
    """Pairs of views of some recordings.

    A pair is of two frames, at least one and at most ``reach`` apart, either one first. Each is cut
    out, flipped and coloured by itself.

    Args:
        clips: recordings of one image size.
        frames: of each clip, those that pairs may be chosen from.
        reach: frames.
        seed: of the choices.

    Raises:
        ValueError: all frames are near one another.
    """

    collate = staticmethod(collate)

    def __init__(
        self, clips: Sequence[Clip], frames: Sequence[Sequence[int]], *, reach: int, seed: int = 0
    ) -> None:
        self.stores, self.seed = [clip.store for clip in clips], seed
        self.partners = [
            (number, anchor, near)
            for number, chosen in enumerate(frames)
            for anchor in chosen
            if (near := [j for j in chosen if 0 < abs(j - anchor) <= reach])
        ]
        spans = [chosen[-1] - chosen[0] for chosen in frames if len(chosen)]
        if not self.partners or (len(spans) == 1 and spans[0] <= reach):
            raise ValueError(
                f"no frames are more than {reach} apart, so there is nothing to tell apart; give a "
                "longer recording, or several."
            )

    def __len__(self) -> int:
        return len(self.partners)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, number))
        clip, anchor, near = self.partners[int(rng.integers(len(self.partners)))]
        frames = (anchor, near[int(rng.integers(len(near)))])
        images = np.load(self.stores[clip], mmap_mode="r", allow_pickle=False)[list(frames)]
        images = torch.from_numpy(images.astype(np.float32) / 255)
        views = torch.stack([view(image, rng) for image in images])
        return {"views": views, "clip": torch.tensor(clip), "frame": torch.tensor(frames)}


def view(image: Float[Tensor, "h w 3"], rng: np.random.Generator) -> Float[Tensor, "h w 3"]:
    """A part of an image at its size, perhaps flipped, with other colours or none.

    Args:
        image: sRGB in [0, 1].
        rng: decides.

    Source:
        Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020),
        appendix A, without its blur; crops are larger, as a small one may show no part of another
        frame's.
    """
    size = image.shape[:2]
    area = rng.uniform(_AREA, 1.0)
    aspect = np.exp(rng.uniform(np.log(_ASPECT), -np.log(_ASPECT)))
    shares = np.minimum(np.sqrt([area / aspect, area * aspect]), 1.0)
    height, width = (max(round(share * side), 1) for share, side in zip(shares, size, strict=True))
    top, left = (int(rng.integers(a - b + 1)) for a, b in zip(size, (height, width), strict=True))
    planes = image[top : top + height, left : left + width].movedim(-1, 0)[None]
    planes = interpolate(planes, size, mode="bilinear", antialias=True)
    found = planes[0].movedim(0, -1).clamp(0, 1)
    if rng.random() < 0.5:
        found = found.flip(1)
    if rng.random() < _COLORED:
        found = recolored(found[None], rng, _GAIN)[0]
    if rng.random() < _GREY:
        found = found.mean(-1, keepdim=True).expand_as(found)
    return found


def near(clip: Int[Tensor, " b"], frame: Int[Tensor, "b 2"], reach: int) -> Bool[Tensor, "v v"]:
    """Which views, two of each pair in turn, are of frames of one recording within ``reach``.

    Args:
        clip: index of each pair's recording.
        frame: that each view is of.
        reach: frames.
    """
    clip, frame = clip.repeat_interleave(2), frame.flatten()
    apart = (frame[:, None] - frame[None]).abs()
    return (clip[:, None] == clip[None]) & (apart <= reach)
