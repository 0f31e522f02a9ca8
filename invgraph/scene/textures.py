"""Textures of mesh files: finding them beside the model, decoding them, looking colours up."""

import io
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from invgraph.files.opening import FORMATS, require_memory
from invgraph.geometry.color import linear_from_srgb

Wrap = Literal["repeat", "mirror", "clamp"]
_NAMED = 80  # characters of a name in a message
_NUDGE = 1e-3  # how far towards its faces a texture coordinate is looked at to choose the tile


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture of colours.

    Attributes:
        source: the picture file, or its bytes.
        name: for messages.
        wrap: what is beyond [0, 1] in u and in v.
    """

    source: Path | bytes
    name: str
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")

    @cached_property
    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """sRGB, row 0 on top.

        Raises:
            ValueError: the picture is damaged, too large, or of another kind.
        """
        from PIL import Image

        file = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(file, formats=FORMATS) as image:
                    require_memory(Path(self.name), image.height, image.width)
                    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
                        raise ValueError("expected 8 or 16 bits per channel, not 32")
                    if image.mode.startswith("I"):  # grey of 16 bits
                        grey = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
                        return np.repeat(grey[..., None], 3, -1)
                    return np.array(image.convert("RGB"))
        except Exception as error:  # Pillow's readers raise whatever their parsing trips over
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise ValueError(
                f"its texture {self.name} cannot be read ({reason}); "
                "save it as PNG or JPEG, or remove it from the model."
            ) from error

    def colors(
        self, uv: Float[Tensor, "n 2"], towards: Float[Tensor, "n 2"]
    ) -> Float[Tensor, "n 3"]:
        """Linear RGB, interpolated between the centres of pixels, never across a border.

        Args:
            uv: v = 0 is the top row.
            towards: where the faces of each point lie in the texture: on the border of two tiles
                this says which one is meant.
        """
        pixels = torch.from_numpy(self.pixels)
        columns, rows = (
            _between(uv[:, axis], towards[:, axis], self.wrap[axis], pixels.shape[1 - axis])
            for axis in (0, 1)
        )
        color = torch.zeros(len(uv), 3)
        for row, down in rows:
            for column, along in columns:
                level = linear_from_srgb(pixels[row, column].float() / 255)
                color += (down * along)[:, None].float() * level
        return color


def _between(place: Tensor, towards: Tensor, wrap: Wrap, size: int) -> list[tuple[Tensor, Tensor]]:
    """The two pixels beside each place along one axis, with their weights."""
    if wrap != "clamp":
        tile = torch.lerp(place, towards, _NUDGE).floor()
        place = place - tile
        if wrap == "mirror":
            place = torch.where(tile.remainder(2) == 1, 1 - place, place)
    place = (place * size - 0.5).clamp(0, size - 1)
    low = place.floor().long()
    return [(low, 1 - (place - low)), ((low + 1).clamp_max(size - 1), place - low)]


def file_beside(folder: Path, name: str) -> Path | None:
    """The file that a model names, or None if there is no such file in the model's folder.

    Case and the direction of slashes do not matter. A path that leads out of the folder stands for
    its last part; a link that does is not followed.

    Args:
        folder: of the model.
        name: never trusted; bytes that are no UTF-8 are surrogates in it.
    """
    name = name.strip().strip("\"'").replace("\\", "/")
    parts = [part for part in re.sub(r"^[A-Za-z]:", "", name).split("/") if part not in ("", ".")]
    if not parts or "\0" in name or len(name) > 1024:
        return None
    latin = [p.encode("utf-8", "surrogateescape").decode("latin-1") for p in parts]
    for candidate in (parts, latin, parts[-1:], latin[-1:]):
        found = None if ".." in candidate else _found(folder, candidate)
        if found is not None:
            return found
    return None


def _found(folder: Path, parts: list[str]) -> Path | None:
    here = folder
    try:
        for part in parts:
            exact = here / part
            if not exact.exists():
                matches = [each for each in here.iterdir() if each.name.lower() == part.lower()]
                if not matches:
                    return None
                exact = min(matches)
            here = exact
        inside = here.resolve().is_relative_to(folder.resolve())
        return here if inside and here.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def quoted(name: str) -> str:
    """A name out of a file for a message of one line; of a long one, both ends."""
    text = ascii(name)
    return text if len(text) <= _NAMED else f"{text[:20]}...{text[23 - _NAMED :]}"
