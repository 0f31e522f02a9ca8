"""A first depth of a reference image: plane sweep under semi-global smoothness."""

from dataclasses import dataclass

import numpy as np

from invgraph.fitting.place.views import motion, transfer
from invgraph.geometry.camera import Camera

SMALL, LARGE = 80.0, 600.0  # penalties of semi-global matching; costs go up to 255


@dataclass(frozen=True)
class PosedImage:
    """A posed image, as matching wants it.

    Attributes:
        view: its camera.
        color: ``h w 3`` float32, sRGB in [0, 1].
        grey: ``h w`` float32.
    """

    view: Camera
    color: np.ndarray
    grey: np.ndarray

    @staticmethod
    def of(color: np.ndarray, view: Camera) -> "PosedImage":
        """The image with its luma."""
        grey = color @ np.array([0.299, 0.587, 0.114], np.float32)
        return PosedImage(view, color, np.ascontiguousarray(grey))


def match(photo: PosedImage, sources: list[PosedImage], planes: np.ndarray) -> np.ndarray:
    """Inverse depth per pixel by plane sweep and semi-global matching.

    Args:
        photo: the reference.
        sources: photos of the same place from elsewhere.
        planes: inverse depths to try, evenly spaced.

    Returns:
        Inverse depth, ``h w``.

    Source:
        Collins, A space-sweep approach to true multi-image matching (1996); Zabih & Woodfill,
        Non-parametric local transforms (1994), for the census; Kang et al., Handling occlusions in
        dense multi-view stereo (2001), for the better half of the sources; Hirschmüller, Stereo
        processing by semiglobal matching (2008).
    """
    from invgraph.fitting.place import sweep_cpu
    from invgraph.kernels.threads import launch

    height, width = photo.grey.shape
    sizes = np.array([source.grey.shape for source in sources])
    stacked = np.zeros((len(sources), *sizes.max(0)), np.float32)
    for index, source in enumerate(sources):
        stacked[index, : sizes[index, 0], : sizes[index, 1]] = source.grey
    matrices = np.stack([transfer(photo.view, source.view) for source in sources])
    volume = np.empty((height, width, len(planes)), np.uint8)
    launch(
        sweep_cpu.sweep,
        photo.grey,
        stacked,
        sizes,
        matrices.astype(np.float32),
        planes.astype(np.float32),
        volume,
    )
    total = np.zeros(volume.shape, np.float32)
    launch(sweep_cpu.aggregate, volume, photo.color, np.float32(SMALL), np.float32(LARGE), total)
    index = np.empty((height, width), np.float32)
    launch(sweep_cpu.pick, total, index)
    step = (planes[-1] - planes[0]) / (len(planes) - 1)
    return (planes[0] + index * step).astype(np.float32)


def spaced(low: float, high: float, view: Camera, sources: list[Camera], most: int) -> np.ndarray:
    """Inverse depths about a pixel apart in the source that moves most."""
    moves = max(motion(view, source, (low + high) / 2) for source in sources)
    count = int(np.clip(np.ceil((high - low) * moves) + 1, 16, most))
    return np.linspace(low, high, count)
