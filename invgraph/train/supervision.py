"""What the frames of a recording teach about each other: the camera's motion and depth."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from invgraph.data.cache import cache_folder
from invgraph.files.tensors import read_tensors, write_tensors
from invgraph.fitting.place import estimate_depth
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import linear_from_srgb
from invgraph.runs.progress import Progress
from invgraph.train.clips import Clip

_SOURCES = 8
_MOST = 300  # frames whose depth is found; the others learn by view synthesis alone
_VERSION = 1  # of the files in the cache


@dataclass(frozen=True, eq=False)
class Teaching:
    """Motion and depth of a clip, in units of its median depth.

    Attributes:
        poses: camera_from_world, float64.
        log_depth: natural logarithm at half the images' size, float16, ``n h w``.
        weight: 0 to 255, how far each depth is confirmed; 0 where there is none.
    """

    poses: Float[Tensor, "n 4 4"]
    log_depth: np.ndarray
    weight: np.ndarray

    def typical_depth(self, frame: int) -> float:
        """Median depth of a frame, or of the recording where the frame has none."""
        seen = self.weight[frame] > 0
        return float(np.exp(np.median(self.log_depth[frame][seen]))) if seen.any() else 1.0


def teach(
    clip: Clip,
    poses: Float[Tensor, "n 4 4"],
    points: Float[Tensor, "m 3"],
    *,
    work: Path | None = None,
    progress: Progress | None = None,
) -> Teaching:
    """Find the depth of a clip's frames from its other frames, with the camera's motion known.

    Args:
        clip: with its lens.
        poses: camera_from_world of every frame, in any unit.
        points: sparse points of the scene, world frame.
        work: folder for what is found, by which a killed run goes on; ``cache_folder() /
            "teachings"`` when left out.
        progress: hears the stages.

    Raises:
        ValueError: frames that show nothing in common.
    """
    assert clip.lens is not None
    chosen = list(range(0, len(clip), -(-len(clip) // _MOST)))
    folder = (work if work is not None else cache_folder() / "teachings") / _key(clip, poses)
    store = folder / "teaching.safetensors"
    remedy = "delete it to find the depth again"
    kept = read_tensors(store, remedy)
    if kept is None:
        cameras = [Camera(clip.lens, poses[i].to(clip.lens.focal.dtype)) for i in chosen]
        maps = estimate_depth(
            _Photos(clip, chosen),
            cameras,
            points=points.float(),
            sources=_SOURCES,
            size=max(clip.images.shape[1:3]) // 2,
            keep=folder / "maps",
            progress=progress,
        )
        depth = torch.stack([item.depth for item in maps])
        weight = torch.stack([item.confidence for item in maps])
        write_tensors(store, {"depth": depth.half(), "weight": (weight * 255).byte()}, {})
        kept = read_tensors(store, remedy)
        assert kept is not None
        shutil.rmtree(folder / "maps")
    depth, weight = kept[0]["depth"].float(), kept[0]["weight"]
    unit = float(depth[weight > 0].median())
    half = (clip.images.shape[1] // 2, clip.images.shape[2] // 2)
    whole = np.zeros((len(clip), *half), np.float16)
    sure = np.zeros((len(clip), *half), np.uint8)
    whole[chosen] = interpolate((depth / unit).log()[:, None], half)[:, 0].half().numpy()
    sure[chosen] = interpolate(weight[:, None].float(), half)[:, 0].byte().numpy()
    scaled = poses.double().clone()
    scaled[:, :3, 3] /= unit
    return Teaching(scaled, whole, sure)


class _Photos(Sequence[Tensor]):
    """Some frames of a clip as linear images, decoded when asked for."""

    def __init__(self, clip: Clip, chosen: list[int]) -> None:
        self._clip, self._chosen = clip, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, place: int) -> Tensor:  # type: ignore[override]
        if not 0 <= place < len(self._chosen):
            raise IndexError(place)
        return linear_from_srgb(self._clip.image(self._chosen[place]))


def _key(clip: Clip, poses: Tensor) -> str:
    assert clip.lens is not None
    digest = hashlib.sha256(str((_VERSION, clip.prints, clip.images.shape)).encode())
    for tensor in (poses.double(), clip.lens.focal.double(), clip.lens.principal.double()):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
