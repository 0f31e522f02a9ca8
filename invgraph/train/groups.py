"""Groups of frames to train on: chosen, cut out and varied, all from a number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.train.clips import Clip
from invgraph.train.numbered import Numbered
from invgraph.train.objective import Teacher
from invgraph.train.teaching import Teaching

PARALLAX = (0.03, 0.15)  # how far the camera moves between frames of a group, share of the depth
_TURN_DEG = 20.0  # at most, between frames of a group
_ZOOM = 1.15  # at most
_GAIN = 0.2  # of brightness, contrast and colour, to either side


@dataclass(frozen=True, eq=False)
class Groups:
    """What one step looks at: a few groups of frames, each of one recording.

    Attributes:
        images: sRGB in [0, 1], as they are.
        varied: the same with other brightness and colours, for the networks.
        focal: pixels.
        principal: pixels.
        zoom: how much larger than in the recording things look.
        clip: index of each group's recording.
        poses: camera_from_world where the motion is known; else None.
        teacher: depth where it is known; else None.
    """

    images: Float[Tensor, "g n h w 3"]
    varied: Float[Tensor, "g n h w 3"]
    focal: Float[Tensor, "g 2"]
    principal: Float[Tensor, "g 2"]
    zoom: Float[Tensor, " g"]
    clip: Tensor
    poses: Float[Tensor, "g n 4 4"] | None
    teacher: Teacher | None


def collate(items: Sequence[dict[str, Tensor]]) -> Groups:
    """Groups of one step from their parts."""
    parts = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    teacher = None
    if "log_depth" in parts:
        teacher = Teacher(parts.pop("log_depth"), parts.pop("weight"))
    return Groups(poses=parts.pop("poses", None), teacher=teacher, **parts)


class GroupSet(Numbered):
    """Groups of some recordings.

    Args:
        clips: recordings of one image size.
        teachings: what is known about the motion and depth of each, or None.
        anchors: of each clip, the frames that groups may be chosen from.
        stride: frames between neighbours of a group where the motion is not known.
        vary: groups in random order, with flip, zoom and colours at random.
        most: groups to choose from, evenly spread; all when left out.
        seed: of the choices.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        clips: Sequence[Clip],
        teachings: Sequence[Teaching | None],
        anchors: Sequence[Sequence[int]],
        *,
        stride: int = 1,
        vary: bool = True,
        most: int | None = None,
        seed: int = 0,
    ) -> None:
        self.vary, self.seed = vary, seed
        self._sources = [
            _Source.of(clip, teaching) for clip, teaching in zip(clips, teachings, strict=True)
        ]
        self.groups = [
            (number, group)
            for number, (clip, teaching) in enumerate(zip(clips, teachings, strict=True))
            for group in _groups(anchors[number], teaching, stride, len(clip))
        ]
        if not self.groups:
            raise ValueError(
                "no three frames show enough motion to learn from; give a longer recording, or a "
                "larger --stride."
            )
        if most is not None:
            self.groups = self.groups[:: -(-len(self.groups) // most)]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, number))
        which = int(rng.integers(len(self.groups))) if self.vary else number % len(self.groups)
        clip_number, frames = self.groups[which]
        images, focal, principal, item = self._sources[clip_number].load(list(frames))
        height, width = images.shape[1:3]
        zoom = 1.0
        if self.vary:
            zoom = float(rng.uniform(1.0, _ZOOM))
            corner = torch.from_numpy(rng.uniform(0, 1, 2)).float() * (zoom - 1)
            window = (zoom, corner[1].item(), corner[0].item())
            images = _cut(images.movedim(-1, 1), window).movedim(1, -1)
            for name in ("log_depth", "weight"):
                if name in item:
                    item[name] = _cut(item[name][:, None], window)[:, 0]
            focal = focal * zoom
            principal = principal * zoom - corner * torch.tensor([float(width), float(height)])
            if rng.random() < 0.5:
                images = images.flip(2)
                principal = torch.stack((width - principal[0], principal[1]))
                mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
                for name in ("log_depth", "weight"):
                    if name in item:
                        item[name] = item[name].flip(2)
                if "poses" in item:
                    item["poses"] = mirror @ item["poses"] @ mirror
        varied = recolored(images, rng, _GAIN) if self.vary else images
        return {
            "images": images,
            "varied": varied,
            "focal": focal,
            "principal": principal,
            "zoom": torch.tensor(zoom),
            "clip": torch.tensor(clip_number),
            **item,
        }


def _groups(
    anchors: Sequence[int], teaching: Teaching | None, stride: int, count: int
) -> list[tuple[int, int, int]]:
    """Each anchor with a frame before it and one after it."""
    allowed = set(anchors)
    if teaching is None:
        near = [(i - stride, i, i + stride) for i in anchors]
        return [group for group in near if group[0] in allowed and group[2] in allowed]
    found = []
    for i in anchors:
        before = _partners(i, [j for j in range(i - 1, -1, -1) if j in allowed], teaching)
        after = _partners(i, [j for j in range(i + 1, count) if j in allowed], teaching)
        found += [(a, i, b) for a, b in zip(before, after, strict=False)]
    return found


def _partners(anchor: int, others: list[int], teaching: Teaching) -> list[int]:
    """Frames on one side of an anchor, from little parallax to much."""
    low, high = PARALLAX
    here = teaching.poses[anchor]
    depth = teaching.typical_depth(anchor)
    found: list[int] = []
    reached = 0.0
    for j in others:
        motion = teaching.poses[j] @ torch.linalg.inv(here)
        cosine = (float(motion[:3, :3].diagonal().sum()) - 1) / 2
        parallax = float(motion[:3, 3].norm()) / depth
        if cosine < math.cos(math.radians(_TURN_DEG)) or parallax > high:
            break
        if parallax >= max(low, 1.5 * reached):
            found.append(j)
            reached = parallax
    return found


@dataclass(frozen=True, eq=False)
class _Source:
    """What is loaded of a recording, light enough to be sent to other processes.

    Where the focal length is unknown it is the width.
    """

    store: Path
    focal: np.ndarray
    principal: np.ndarray
    poses: np.ndarray | None
    log_depth: np.ndarray | None
    weight: np.ndarray | None

    @staticmethod
    def of(clip: Clip, teaching: Teaching | None) -> "_Source":
        height, width = clip.images.shape[1:3]
        focal, principal = np.full(2, width, np.float32), np.array([width / 2, height / 2])
        if clip.lens is not None:
            focal, principal = clip.lens.focal.numpy(), clip.lens.principal.numpy()
        if teaching is None:
            return _Source(clip.store, focal, principal, None, None, None)
        poses = teaching.poses.numpy()
        return _Source(clip.store, focal, principal, poses, teaching.log_depth, teaching.weight)

    def load(self, frames: list[int]) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Images, focal length, principal point, and what is taught."""
        images = np.load(self.store, mmap_mode="r", allow_pickle=False)[frames]
        taught = {}
        if self.poses is not None and self.log_depth is not None and self.weight is not None:
            taught = {
                "poses": self.poses[frames],
                "log_depth": self.log_depth[frames],
                "weight": self.weight[frames] / np.float32(255),
            }
        images, focal, principal = (
            torch.from_numpy(x.astype(np.float32)) for x in (images, self.focal, self.principal)
        )
        item = {name: torch.from_numpy(x.astype(np.float32)) for name, x in taught.items()}
        return images / 255, focal, principal, item


def _cut(planes: Tensor, window: tuple[float, float, float]) -> Tensor:
    """A window of images, enlarged to their size: zoom, then the corner's offset, in sizes."""
    zoom, top, left = window
    height, width = planes.shape[-2:]
    grid = torch.nn.functional.affine_grid(
        torch.tensor(
            [
                [1 / zoom, 0.0, (2 * left + 1) / zoom - 1],
                [0.0, 1 / zoom, (2 * top + 1) / zoom - 1],
            ]
        ).expand(len(planes), 2, 3),
        [len(planes), 1, height, width],
        align_corners=False,
    )
    return torch.nn.functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)


def recolored(
    images: Float[Tensor, "n h w 3"], rng: np.random.Generator, gain: float
) -> Float[Tensor, "n h w 3"]:
    """The same change of brightness, contrast and colour for all frames.

    Args:
        images: sRGB in [0, 1].
        rng: decides.
        gain: of each, to either side.
    """
    bright, contrast, vivid = (float(x) for x in rng.uniform(1 - gain, 1 + gain, 3))
    tint = torch.from_numpy(rng.uniform(1 - gain / 4, 1 + gain / 4, 3)).float()
    mean = images.mean()
    images = (images - mean) * contrast + mean * bright
    grey = images.mean(-1, keepdim=True)
    return (((images - grey) * vivid + grey) * tint).clamp(0, 1)
