"""Picture files: what was encoded comes back."""

import io

import numpy as np
import pytest
from PIL import Image

from invgraph.files.pictures import encode_jpeg, encode_png


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [
        noise(5, 7),
        noise(5, 7, 3),
        noise(5, 7, 4),
        noise(5, 7).astype(np.uint16) * 257,
        noise(5, 7) > 127,
        noise(10, 14, 3)[::2, ::2],
    ],
    ids=["grey", "colour", "alpha", "16 bits", "1 bit", "strided"],
)
def test_png_gives_back_every_pixel(pixels: np.ndarray):
    image = opened(encode_png(pixels))
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), pixels)


def test_a_higher_level_gives_smaller_files_with_the_same_pixels():
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    fast, small = encode_png(ramp, compress_level=1), encode_png(ramp, compress_level=9)
    assert len(small) < len(fast)
    assert np.array_equal(np.asarray(opened(small)), np.asarray(opened(fast)))


def test_a_higher_quality_gives_nearer_pixels():
    picture = np.asarray(Image.fromarray(noise(4, 4, 3)).resize((64, 64)))
    poor, good = (opened(encode_jpeg(picture, quality)) for quality in (20, 95))
    assert poor.format == good.format == "JPEG"
    errors = [np.abs(np.asarray(image).astype(float) - picture).mean() for image in (poor, good)]
    assert errors[1] < 3 < errors[0]


def test_full_color_keeps_thin_coloured_lines():
    lines = np.zeros((32, 32, 3), np.uint8)
    lines[:, ::2] = (255, 0, 0)
    lines[:, 1::2] = (0, 0, 255)
    errors = []
    for full in (True, False):
        image = opened(encode_jpeg(lines, 95, full_color=full))
        errors.append(np.abs(np.asarray(image).astype(float) - lines).mean())
    assert errors[0] < 5 < errors[1]


def test_optimizing_saves_bytes_and_changes_no_pixel():
    picture = noise(16, 16, 3)
    plain, small = encode_jpeg(picture), encode_jpeg(picture, optimize=True)
    assert len(small) < len(plain)
    assert np.array_equal(np.asarray(opened(small)), np.asarray(opened(plain)))
