"""Groups of frames to train on: chosen, cut out and varied, all from a number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry.lens import Lens
from invgraph.train.augment import cut_out, recolored
from invgraph.train.clips import Clip
from invgraph.train.dataset import Numbered
from invgraph.train.objective import Teacher
from invgraph.train.stereo import right_from_left
from invgraph.train.supervision import Teaching

PARALLAX = (0.03, 0.15)  # how far the camera moves between frames of a group, share of the depth
_TURN_DEG = 20.0  # at most, between frames of a group
_ZOOM = 1.15  # at most
_GAIN = 0.2  # of brightness, contrast and colour, to either side

Group = tuple[int, int, int | None]  # frames; None: the right photo of the second


@dataclass(frozen=True, eq=False)
class Groups:
    """What one step looks at: a few groups of frames, each of one recording.

    Attributes:
        images: sRGB in [0, 1], as they are.
        varied: the same with other brightness and colours, for the networks.
        lens: of each group, with its window and zoom; guessed where it is unknown.
        zoom: how much larger than in the recording things look.
        clip: index of each group's recording.
        poses: camera_from_world where the motion is known; else None.
        pair: third_from_second where these are a stereo pair; zeros where they are not.
        teacher: depth where it is known; else None.
    """

    images: Float[Tensor, "g n h w 3"]
    varied: Float[Tensor, "g n h w 3"]
    lens: Lens
    zoom: Float[Tensor, " g"]
    clip: Tensor
    poses: Float[Tensor, "g n 4 4"] | None
    pair: Float[Tensor, "g 4 4"]
    teacher: Teacher | None


def collate(items: Sequence[dict[str, Tensor]]) -> Groups:
    """Groups of one step from their parts."""
    parts = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    teacher = None
    if "log_depth" in parts:
        teacher = Teacher(parts.pop("log_depth"), parts.pop("weight"))
    height, width = parts["images"].shape[2:4]
    lens = Lens(parts.pop("focal"), parts.pop("principal"), height, width)
    return Groups(lens=lens, poses=parts.pop("poses", None), teacher=teacher, **parts)


class GroupSet(Numbered):
    """Groups of some recordings.

    Args:
        clips: recordings of one image size.
        teachings: what is known about the motion and depth of each, or None.
        anchors: of each clip, the frames that groups may be chosen from.
        stride: frames between neighbours of a group where the motion is not known.
        vary: groups in random order, with flip, zoom and colours at random.
        most: groups to choose from, evenly spread; all when left out.
        metres: per unit of depth; without it, stereo pairs are not used.
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
        metres: float | None = None,
        seed: int = 0,
    ) -> None:
        self.vary, self.seed = vary, seed
        self._sources = [
            _Source.of(clip, teaching, metres)
            for clip, teaching in zip(clips, teachings, strict=True)
        ]
        self.groups = [
            (number, group)
            for number, (clip, teaching) in enumerate(zip(clips, teachings, strict=True))
            for group in _groups(clip, anchors[number], teaching, stride, metres is not None)
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
        source = self._sources[clip_number]
        images, item = source.load(frames)
        focal, principal = source.lens.focal, source.lens.principal
        height, width = images.shape[1:3]
        zoom = 1.0
        if self.vary:
            zoom = float(rng.uniform(1.0, _ZOOM))
            corner = torch.from_numpy(rng.uniform(0, 1, 2)).float() * (zoom - 1)
            window = (zoom, corner[1].item(), corner[0].item())
            images = cut_out(images.movedim(-1, 1), window).movedim(1, -1)
            for name in ("log_depth", "weight"):
                if name in item:
                    item[name] = cut_out(item[name][:, None], window)[:, 0]
            focal = focal * zoom
            principal = principal * zoom - corner * torch.tensor([float(width), float(height)])
            if rng.random() < 0.5:
                images = images.flip(2)
                principal = torch.stack((width - principal[0], principal[1]))
                mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
                for name in ("log_depth", "weight"):
                    if name in item:
                        item[name] = item[name].flip(2)
                for name in ("poses", "pair"):
                    if name in item:
                        item[name] = mirror @ item[name] @ mirror
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
    clip: Clip, anchors: Sequence[int], teaching: Teaching | None, stride: int, pairs: bool
) -> list[Group]:
    """Each anchor with a frame before it and one after it, or with its right photo in place of one.

    Where a network tells the motion of the next frame, the right photo is the next, and not the one
    before.
    """
    allowed = set(anchors)
    found: list[Group] = []
    for i in anchors:
        pair = pairs and clip.right is not None and bool(clip.right.there[i])
        if teaching is None:
            if i - stride in allowed and (pair or i + stride in allowed):
                found.append((i - stride, i, None if pair else i + stride))
            continue
        before = _partners(i, [j for j in range(i - 1, -1, -1) if j in allowed], teaching)
        after = _partners(i, [j for j in range(i + 1, len(clip)) if j in allowed], teaching)
        if pair:
            found += [(j, i, None) for j in (*before, *after)]
        else:
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

    Where the lens is unknown its focal length is the width. ``right`` is the file of the right
    photos, and ``pair`` the motion from a left camera to the right one, in units of depth.
    """

    store: Path
    lens: Lens
    poses: np.ndarray | None
    log_depth: np.ndarray | None
    weight: np.ndarray | None
    right: Path | None
    pair: np.ndarray

    @staticmethod
    def of(clip: Clip, teaching: Teaching | None, metres: float | None) -> "_Source":
        height, width = clip.images.shape[1:3]
        lens = clip.lens
        if lens is None:
            centre = torch.tensor([width / 2, height / 2])
            lens = Lens(torch.full((2,), float(width)), centre, height, width)
        right, pair = None, np.zeros((4, 4))
        if clip.right is not None and metres is not None:
            right, pair = clip.right.store, right_from_left(clip.right.baseline / metres).numpy()
        taught = (None, None, None)
        if teaching is not None:
            taught = (teaching.poses.numpy(), teaching.log_depth, teaching.weight)
        return _Source(clip.store, lens, *taught, right, pair)

    def load(self, group: Group) -> tuple[Tensor, dict[str, Tensor]]:
        """Images, and what is known of motion and depth."""
        frames = [i for i in group if i is not None]
        images = np.load(self.store, mmap_mode="r", allow_pickle=False)[frames]
        taught = {}
        if self.poses is not None and self.log_depth is not None and self.weight is not None:
            taught = {
                "poses": self.poses[frames],
                "log_depth": self.log_depth[frames],
                "weight": self.weight[frames] / np.float32(255),
            }
        taught["pair"] = np.zeros((4, 4))
        if group[2] is None:
            assert self.right is not None
            beside = np.load(self.right, mmap_mode="r", allow_pickle=False)[group[1]]
            images = np.concatenate((images, beside[None]))
            taught["pair"] = self.pair
            if "poses" in taught:
                taught["poses"] = np.stack((*taught["poses"], self.pair @ taught["poses"][1]))
                for name in ("log_depth", "weight"):
                    taught[name] = np.stack((*taught[name], np.zeros_like(taught[name][0])))
        images = torch.from_numpy(images.astype(np.float32))
        item = {name: torch.from_numpy(x.astype(np.float32)) for name, x in taught.items()}
        return images / 255, item
