"""Colours and display matrices of videos, by hand."""

import math
import shlex
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invgraph.data.video import read_video

SIZE = (64, 96)
# Luma weights of red and blue by the matrix's number in H.273.
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114)}
WEIGHTS |= {7: (0.212, 0.087), 9: (0.2627, 0.0593)}
RED, TEAL = (200, 40, 40), (30, 150, 170)


def planes(rgb: np.ndarray, matrix: int, full: bool) -> np.ndarray:
    """Levels of luma and colour differences, ``3 h w`` (ITU-T H.273, equations 38 to 62)."""
    red_weight, blue_weight = WEIGHTS[matrix]
    red, green, blue = np.moveaxis(rgb.astype(np.float64) / 255, -1, 0)
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    cb, cr = (blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight)
    if full:
        levels = [255 * luma, 255 * cb + 128, 255 * cr + 128]
    else:
        levels = [219 * luma + 16, 224 * cb + 128, 224 * cr + 128]
    return np.stack(levels).round().clip(0, 255).astype(np.uint8)


def write_colors(
    path: Path, matrix: int, curve=1, primaries=1, full=False, colors=(RED, TEAL), size=SIZE
) -> None:
    """Two frames of two colours, side by side and the other way round, without loss."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p"
        context = stream.codec_context
        context.colorspace, context.color_trc, context.color_primaries = matrix, curve, primaries
        context.color_range = 2 if full else 1
        for first, second in (colors, colors[::-1]):
            rgb = np.empty((*size, 3), np.uint8)
            rgb[:, : size[1] // 2], rgb[:, size[1] // 2 :] = first, second
            frame = av.VideoFrame.from_ndarray(planes(rgb, matrix, full), format="yuv444p")
            frame.colorspace, frame.color_range = matrix, 2 if full else 1
            frame.color_trc, frame.color_primaries = curve, primaries
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def shown_colors(path: Path, work: Path) -> list[list[int]]:
    """The colours of the first frame, left and right."""
    photo = read_video(path, work=work).frames[0]
    pixels = np.asarray(Image.open(photo.image_path)).astype(int)
    assert pixels.shape == (*SIZE, 3)
    places = (slice(8, 40), slice(56, 88))
    return [pixels[10:-10, place].mean((0, 1)).round().tolist() for place in places]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_every_matrix_gives_its_colours_back(tmp_path, matrix, full):
    write_colors(tmp_path / "v.mkv", matrix, full=full)
    found = shown_colors(tmp_path / "v.mkv", tmp_path / "work")
    assert np.abs(np.array(found) - (RED, TEAL)).max() <= 3


def test_wide_primaries_become_those_of_srgb(tmp_path):
    # sRGB (200, 40, 40) is linear (0.5776, 0.0212, 0.0212). By the matrix of BT.2087 that is
    # (0.3703, 0.0596, 0.0303) of BT.2020, encoded (164, 69, 49).
    write_colors(tmp_path / "v.mkv", 9, curve=14, primaries=9, colors=((164, 69, 49), (255,) * 3))
    found = shown_colors(tmp_path / "v.mkv", tmp_path / "work")
    assert np.abs(np.array(found) - (RED, (255,) * 3)).max() <= 4
    # P3 has sRGB's blue, and 0.8225 0.1774, 0.0332 0.9669 in its rows: (0.4788, 0.0396, 0.0294).
    write_colors(tmp_path / "p.mkv", 1, curve=13, primaries=12, colors=((184, 56, 48), (77,) * 3))
    found = shown_colors(tmp_path / "p.mkv", tmp_path / "work")
    assert np.abs(np.array(found) - (RED, (77,) * 3)).max() <= 4


@pytest.mark.parametrize(
    ("curve", "name"), [(16, "PQ"), (18, "HLG"), (8, "linear"), (9, "logarithmic"), (17, "DCI")]
)
def test_high_dynamic_range_is_refused_with_the_command_that_converts_it(tmp_path, curve, name):
    path = tmp_path / "my film.mkv"
    write_colors(path, 9, curve=curve, primaries=9)
    with pytest.raises(ValueError, match=f"film.mkv has the transfer curve {name}; ") as caught:
        read_video(path, work=tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == [] and "\n" not in str(caught.value)
    words = shlex.split(str(caught.value).partition("convert it by: ")[2])
    assert words[:3] == ["ffmpeg", "-i", str(path)] and words[3] == "-vf"
    assert "p=bt709" in words[4] and words[-1] == str(tmp_path / "my film_sdr.mp4")


@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_other_matrices_are_refused(tmp_path, monkeypatch, matrix):
    monkeypatch.setitem(WEIGHTS, matrix, WEIGHTS[1])
    write_colors(tmp_path / "v.mkv", matrix)
    with pytest.raises(ValueError, match=f"a colour matrix of number {matrix}; convert it by: ff"):
        read_video(tmp_path / "v.mkv", work=tmp_path / "work")


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        # a b c d of x' = a x + c y, y' = b x + d y, with y downwards.
        ((1, 0, 0, 1), lambda p: p),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
        ((0, -1, -1, 0), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
    ],
)
def test_display_matrices_turn_and_mirror(tmp_path, numbers, expected):
    import av

    # Dark but for the top-left quarter (red), the top-right (green), the bottom-left (blue).
    rgb = np.full((64, 96, 3), 20, np.uint8)
    rgb[:32, :48], rgb[:32, 48:], rgb[32:, :48] = (220, 30, 30), (30, 220, 30), (30, 30, 220)
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.height, stream.width = rgb.shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        a, b, c, d = (value << 16 for value in numbers)
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for shade in (0, 30):
            frame = av.VideoFrame.from_ndarray(rgb + np.uint8(shade), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frame = read_video(tmp_path / "v.mp4", work=tmp_path / "work").frames[0]
    shown = np.asarray(Image.open(frame.image_path)).astype(int)
    truth = expected(rgb).astype(int)
    assert shown.shape == truth.shape == (*frame.size, 3)
    assert np.abs(shown - truth).mean() < 6


def test_wide_pixels_and_their_matrix_at_once(tmp_path):
    import av

    rgb = np.full((32, 32, 3), 20, np.uint8)
    rgb[:16, :16] = (220, 30, 30)
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.height, stream.width = rgb.shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        stream.set_display_matrix([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30])
        for shade in (0, 30):
            frame = av.VideoFrame.from_ndarray(rgb + np.uint8(shade), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frame = read_video(tmp_path / "v.mp4", work=tmp_path / "work").frames[0]
    # Twice as wide as high, then turned clockwise: red is at the top right.
    assert frame.size == (64, 32)
    shown = np.asarray(Image.open(frame.image_path)).astype(int)
    assert shown[5, 25, 0] > 180 and shown[5, 5, 0] < 60 and shown[60, 25, 0] < 60


def test_videos_larger_than_the_memory_are_refused(tmp_path, monkeypatch):
    write_colors(tmp_path / "v.mkv", 1)
    monkeypatch.setattr("invgraph.files.opening.available_bytes", lambda: 64 * 6000)
    with pytest.raises(ValueError, match=r"v\.mkv is 64x96 \(h x w\), more than the 0\.0 million"):
        read_video(tmp_path / "v.mkv", work=tmp_path / "work")
    assert math.prod(SIZE) == 6144
