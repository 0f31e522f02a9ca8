"""Pictures of what is learned, for a person to judge while it is being learned."""

from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from invgraph.files.pictures import encode_png
from invgraph.fitting.scene.memory import recall
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import bytes_from_unit, srgb_from_linear
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.report.depth_view import LEVELS, colours
from invgraph.runs.folder import RunFolder
from invgraph.scene.belief import DepthBelief
from invgraph.train.frame_groups import GroupSet
from invgraph.train.pairs import PairSet
from invgraph.train.sleep import Sleep

_SHOWN = 4
_DREAMS, _JUDGED = 12, 96
_EXTREMES = (0.02, 0.98)  # quantiles of inverse depth that take the first and the last colour
_UNSURE = 0.5  # Laplace scale that takes the last colour
_PAIRS = 24  # views of them are compared with one another
_NEAREST = 3
_EDGE = 3  # pixels
_RIGHT = (60, 200, 110)


class Panels(lightning.Callback):
    """Photo, depth and uncertainty of a few held-out frames, at every held-out score.

    Written to ``renders/`` in the run folder, and to TensorBoard where it is in use.

    Args:
        folder: of the run; None in a process that does not write.
        groups: held out.
    """

    def __init__(self, folder: RunFolder | None, groups: GroupSet) -> None:
        self._folder = folder
        step = -(-len(groups) // _SHOWN)
        self._images = torch.stack([groups[i]["images"][0] for i in range(0, len(groups), step)])

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self._folder is None:
            return
        with torch.no_grad():
            belief = pl_module.depth(self._images.movedim(-1, 1).to(pl_module.device))[0]
        picture = panel(self._images, DepthBelief(belief.log_depth.cpu(), belief.scale.cpu()))
        self._folder.write(f"renders/preview_{pl_module.done:06d}.png", encode_png(picture))
        write = getattr(getattr(trainer.logger, "experiment", None), "add_image", None)
        if write is not None:
            write("held_out/panel", picture, pl_module.done, dataformats="HWC")


class Neighbours(lightning.Callback):
    """Held-out views, each beside those that the encoder finds most alike, at every score.

    The other view of the pair has a green frame. Written to ``renders/`` in the run folder.

    Args:
        folder: of the run; None in a process that does not write.
        pairs: held out.
    """

    def __init__(self, folder: RunFolder | None, pairs: PairSet) -> None:
        self._folder = folder
        self._views = torch.cat([pairs[i]["views"] for i in range(min(len(pairs), _PAIRS))])

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self._folder is None:
            return
        with torch.no_grad():
            embedded = pl_module.embed(self._views.movedim(-1, 1).to(pl_module.device))
        picture = neighbours(self._views, embedded.float().cpu())
        self._folder.write(f"renders/preview_{pl_module.done:06d}.png", encode_png(picture))


class Dreamt(lightning.Callback):
    """What the encoder believes to see, below what it is shown, at every held-out score.

    Held-out dreams; the worst of more of them; and, once they are explained, photos. Written to
    ``renders/`` in the run folder, and to TensorBoard where it is in use.

    Args:
        folder: of the run; None in a process that does not write.
    """

    def __init__(self, folder: RunFolder | None) -> None:
        self._folder = folder

    @torch.no_grad()
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self._folder is None:
            return
        numbers = Sleep.held_out(_JUDGED)
        dreams = pl_module.dreams(Sleep.collate([numbers[i] for i in range(_JUDGED)]))
        belief, _ = pl_module.encoder(dreams.images.to(pl_module.device), dreams.lens)
        surprise = torch.where(dreams.present, -belief.log_prob(dreams.values).cpu(), -torch.inf)
        worst = surprise.argsort(descending=True)[:_DREAMS]
        rows = []
        for which in (torch.arange(_DREAMS), worst):
            images, lens = dreams.images[which], _some(dreams.lens, which)
            rows += [images.movedim(1, -1), _believed(pl_module, images, lens)]
        if pl_module.memories:
            generator = torch.Generator().manual_seed(0)
            prior = pl_module.known.prior
            photos, lens, _, _ = recall(pl_module.memories, prior, _DREAMS, generator)
            shown = srgb_from_linear(photos).clamp(0, 1)
            rows += [shown, _believed(pl_module, shown.movedim(-1, 1), lens)]
        picture = bytes_from_unit(torch.cat([torch.cat([*row], 1) for row in rows])).numpy()
        self._folder.write(f"renders/preview_{pl_module.done:06d}.png", encode_png(picture))
        write = getattr(getattr(trainer.logger, "experiment", None), "add_image", None)
        if write is not None:
            write("held_out/dreams", picture, pl_module.done, dataformats="HWC")


def _some(lens: Lens, which: Tensor) -> Lens:
    return replace(
        lens, focal=lens.focal[which], principal=lens.principal.expand(len(lens.focal), 2)[which]
    )


def _believed(module: Any, images: Float[Tensor, "b 3 s s"], lens: Lens) -> Tensor:
    """The likeliest scenes, ``b s s 3``, about as bright as images are."""
    belief, _ = module.encoder(images.to(module.device), lens)
    camera = Camera(lens, torch.eye(4).expand(len(images), 4, 4))
    color = render(module.known.prior.scene(belief.mode), camera, outputs=("color",)).color
    assert color is not None
    level = color.mean((1, 2, 3), keepdim=True).clamp_min(1e-3)
    return srgb_from_linear((0.08 * color / level).clamp(0, 1))


def neighbours(
    views: Float[Tensor, "v h w 3"], embedded: Float[Tensor, "v d"]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Rows of a view and the views whose embeddings have the largest cosine with its own.

    Args:
        views: sRGB in [0, 1]; views 2k and 2k+1 are a pair.
        embedded: of any length.
    """
    unit = normalize(embedded, dim=1)
    alike = (unit @ unit.mT).fill_diagonal_(-torch.inf)
    shown = range(0, 2 * min(_SHOWN, len(views) // 2), 2)
    nearest = alike.topk(min(_NEAREST, len(views) - 1)).indices
    rows = []
    for query in shown:
        row = [bytes_from_unit(views[query]).numpy()]
        for other in nearest[query].tolist():
            picture = bytes_from_unit(views[other]).numpy().copy()
            if other == query ^ 1:
                picture[:_EDGE] = picture[-_EDGE:] = _RIGHT
                picture[:, :_EDGE] = picture[:, -_EDGE:] = _RIGHT
            row.append(picture)
        rows.append(np.concatenate(row, 1))
    return np.concatenate(rows)


def panel(
    images: Float[Tensor, "b h w 3"], belief: DepthBelief
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Rows of photo, depth (near is light) and uncertainty (unsure is light).

    Args:
        images: sRGB in [0, 1].
        belief: ``b`` maps of any size.
    """
    rows = []
    for image, log_depth, scale in zip(images, belief.log_depth, belief.scale, strict=True):
        inverse = (-log_depth).exp()
        low, high = inverse.quantile(torch.tensor(_EXTREMES)).tolist()
        maps = ((inverse - low) / max(high - low, 1e-9), scale / _UNSURE)
        size = (image.shape[0], image.shape[1])
        large = [interpolate(x[None, None], size, mode="bilinear")[0, 0] for x in maps]
        indices = [(x.clamp(0, 1) * (LEVELS - 1)).round().long().numpy() for x in large]
        photo = bytes_from_unit(image).numpy()
        rows.append(np.concatenate([photo, *(colours()[index] for index in indices)], 1))
    return np.concatenate(rows)
