"""What photos' depths say about each other."""

from collections.abc import Sequence

import numpy as np

from invgraph.fitting.place.maps import Maps
from invgraph.fitting.place.sweep import PosedImage
from invgraph.fitting.place.views import centre, matrix, rotation, transfer, translation
from invgraph.geometry.camera import Camera


def agreement(
    index: int,
    views: Sequence[Camera],
    inverse_depths: Maps | Sequence[np.ndarray],
    sources: list[int],
    tolerance: float,
) -> np.ndarray:
    """How many sources confirm each pixel's depth.

    Args:
        index: the reference among ``views``.
        views: all of them, at the resolution of their maps.
        inverse_depths: maps of at least the reference and the sources.
        sources: which photos are asked.
        tolerance: how far off, in pixels, a pixel may arrive on its way there and back.

    Source:
        The test is that of Yao et al., MVSNet (2018), section 4.2.
    """
    from invgraph.fitting.place import agreement_cpu
    from invgraph.kernels.threads import launch

    here = inverse_depths[index]
    votes = np.zeros(here.shape, np.int32)
    for other in sources:
        forth = transfer(views[index], views[other])
        back = transfer(views[other], views[index])
        there = inverse_depths[other]
        launch(agreement_cpu.agree, here, there, forth, back, float(tolerance), votes)
    return votes


def fill(
    inverse_depth: np.ndarray, valid: np.ndarray, photo: PosedImage, source: PosedImage
) -> np.ndarray:
    """Inverse depth with gaps filled from the farther side along epipolar lines.

    Args:
        inverse_depth: ``h w``.
        valid: ``h w`` bool; where nothing is valid on a line, the map's median is put.
        photo: whose depth it is.
        source: what the gaps are hidden from.
    """
    from invgraph.fitting.place import agreement_cpu
    from invgraph.kernels.threads import launch

    view = photo.view
    epipole = matrix(view) @ (rotation(view) @ centre(source.view) + translation(view))
    filled = np.empty_like(inverse_depth)
    launch(agreement_cpu.fill, inverse_depth, valid, epipole, filled)
    middle = np.median(inverse_depth[valid]) if valid.any() else np.median(inverse_depth)
    filled[filled < 0] = middle
    return filled
