"""What a capture holds, in words and pictures."""

from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.images import UnreadableImage
from invgraph.files.atomic import write_atomically
from invgraph.files.pictures import encode_png

_CELL, _COLUMNS, _MOST_CELLS, _LABEL = 160, 8, 48, 16
_PANEL, _PAD = 480, 40
_INK, _PAPER, _TRAIN, _TEST, _POINT = (
    (32, 32, 32),
    (255, 255, 255),
    (0, 90, 181),
    (220, 50, 32),
    (150, 150, 150),
)


def facts(capture: Capture) -> list[tuple[str, str]]:
    """A table about the capture: (what, how much) rows."""
    frames = capture.frames
    sizes = sorted({frame.size for frame in frames})
    shown = ", ".join(f"{height}x{width}" for height, width in sizes[:3])
    rows = [
        ("recognised as", capture.kind or "unknown"),
        ("photos", f"{len(frames)}, of which {len(capture.test)} held out"),
        ("size (h x w)", shown + (f" and {len(sizes) - 3} others" if len(sizes) > 3 else "")),
        ("cameras", _share(sum(frame.camera is not None for frame in frames), len(frames))),
    ]
    lenses = [frame.known_lens for frame in frames]
    known = [lens for lens in lenses if lens is not None]
    text = _share(len(known), len(frames))
    if known:
        spread = sorted(lens.focal.mean().item() for lens in known)
        text += f", focal length {spread[0]:.1f}"
        text += f" to {spread[-1]:.1f} px" if spread[-1] - spread[0] > 0.05 else " px"
        text += ", distortion" if any(lens.distortion is not None for lens in known) else ""
    rows.append(("intrinsics", text))
    sources = sorted({frame.mask_source for frame in frames if frame.mask_source is not None})
    masked = sum(frame.mask_source is not None for frame in frames)
    rows.append(
        ("masks", _share(masked, len(frames)) + (f" ({', '.join(sources)})" if sources else ""))
    )
    times = [frame.time for frame in frames if frame.time is not None]
    if times:
        rows.append(("times", f"{max(times) - min(times):.2f} s from first to last"))
    baselines = [frame.right.baseline for frame in frames if frame.right is not None]
    if baselines:
        share = _share(len(baselines), len(frames))
        rows.append(("right photos", f"{share}, baseline {baselines[0]:.3f} m"))
    if capture.points is not None:
        rows.append(("sparse points", str(len(capture.points))))
    if capture.box is not None:
        rows.append(("bounding box", "stated"))
    rows.append(("truth", _truth(capture)))
    rows.append(("left out", str(len(capture.skipped))))
    return rows


def _share(count: int, total: int) -> str:
    return "all" if count == total else "none" if count == 0 else f"{count} of {total}"


def _truth(capture: Capture) -> str:
    truth = capture.truth
    if truth is None:
        return "none"
    found = ["scene"] if truth.scene is not None else []
    for name in ("poses", "depth", "disparity", "objects"):
        count = sum(bool(entry is not None and entry != ()) for entry in getattr(truth, name))
        if count:
            found.append(f"{name} of {count} photos")
    return ", ".join(found) + " (evaluation only)"


def missing(capture: Capture) -> list[str]:
    """What the capture lacks for reconstruction, each with its remedy."""
    found = []
    if not capture.has_cameras:
        keep = all(frame.lens is not None for frame in capture.frames)
        found.append(
            f"cameras: estimate them with COLMAP{', keeping the intrinsics' if keep else ''}, and "
            "give the folder of its model"
        )
    if not capture.has_masks:
        found.append(
            "masks: needed to reconstruct an object, not a place; add masks/NAME.png, white on the "
            "object, or an alpha channel"
        )
    if not capture.test:
        found.append("held-out photos: new views cannot be scored")
    return found


def contact_sheet(capture: Capture) -> tuple[bytes, list[str]]:
    """A PNG of up to 48 photos, evenly chosen, and which of these cannot be decoded.

    Returns:
        The PNG, and one "name: reason" per photo that is shown as a cross.
    """
    from PIL import Image, ImageDraw

    count = len(capture.frames)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_CELLS)).round().astype(int))
    rows = -(-len(chosen) // _COLUMNS)
    columns = min(len(chosen), _COLUMNS)
    sheet = Image.new("RGB", (columns * _CELL, rows * (_CELL + _LABEL)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    held_out, damaged = set(capture.test), []
    for place, index in enumerate(chosen.tolist()):
        frame = capture.frames[index]
        left, top = place % _COLUMNS * _CELL, place // _COLUMNS * (_CELL + _LABEL)
        try:
            picture = frame.thumbnail(_CELL - 4)
            offset = [(_CELL - side) // 2 for side in (picture.shape[1], picture.shape[0])]
            sheet.paste(Image.fromarray(picture), (left + offset[0], top + offset[1]))
        except UnreadableImage as error:
            damaged.append(f"{frame.name}: {error}")
            edge = (left + 4, top + 4, left + _CELL - 4, top + _CELL - 4)
            draw.line(edge, fill=_TEST, width=2)
            draw.line((edge[0], edge[3], edge[2], edge[1]), fill=_TEST, width=2)
        color = _TEST if index in held_out else _INK
        draw.text((left + 4, top + _CELL), _printable(frame.name)[-24:], fill=color)
    return encode_png(np.asarray(sheet)), damaged


def camera_picture(capture: Capture) -> bytes | None:
    """A PNG of the cameras from three sides: held-out ones red, the others blue, points grey.

    Measured poses (truth) are drawn where the capture has no cameras. None without either.
    """
    from PIL import Image, ImageDraw

    poses = _poses(capture)
    if not poses:
        return None
    index = [i for i, _ in poses]
    matrices = torch.stack([pose for _, pose in poses]).double()
    rotations = matrices[:, :3, :3]
    centres = -(rotations.transpose(1, 2) @ matrices[:, :3, 3:])[..., 0]
    forward = rotations[:, 2]
    cloud = torch.empty(0, 3, dtype=torch.float64)
    if capture.points is not None:
        points = capture.points.double()
        near = points[:: max(1, len(points) // 4000)]
        middle = near.median(0).values
        far = (near - middle).norm(dim=1)
        cloud = near[far <= 3 * far.median() + 1e-12]
    everything = torch.cat([centres, cloud])
    lower, upper = everything.amin(0), everything.amax(0)
    span = float((upper - lower).max().clamp_min(1e-9))
    picture = Image.new("RGB", (3 * _PANEL, _PANEL), _PAPER)
    draw = ImageDraw.Draw(picture)
    scale = (_PANEL - 2 * _PAD) / span
    middle = (lower + upper) / 2
    held_out = set(capture.test)
    for panel, (across, down) in enumerate(((0, 2), (0, 1), (2, 1))):
        axes = torch.tensor([across, down])
        origin = torch.tensor([_PANEL * (panel + 0.5), _PANEL / 2], dtype=torch.float64)

        def place(values: torch.Tensor, axes=axes, origin=origin) -> list[list[float]]:
            return ((values - middle)[:, axes] * scale + origin).tolist()

        for u, v in place(cloud):
            draw.point((u, v), fill=_POINT)
        tips = place(centres + forward * (14 / scale))
        for i, (u, v), tip in zip(index, place(centres), tips, strict=True):
            color = _TEST if i in held_out else _TRAIN
            draw.line((u, v, *tip), fill=color, width=1)
            draw.ellipse((u - 2.5, v - 2.5, u + 2.5, v + 2.5), fill=color)
        names = "xyz"
        title = f"{names[across]} right, {names[down]} down; width {span:.4g}"
        draw.text((panel * _PANEL + 8, 8), title, fill=_INK)
    if not capture.has_cameras:
        draw.text((8, _PANEL - 20), "measured poses (evaluation only)", fill=_TEST)
    return encode_png(np.asarray(picture))


def _poses(capture: Capture) -> list[tuple[int, torch.Tensor]]:
    given = [
        (i, frame.camera.camera_from_world)
        for i, frame in enumerate(capture.frames)
        if frame.camera is not None
    ]
    if given or capture.truth is None:
        return given
    return [(i, pose) for i, pose in enumerate(capture.truth.poses) if pose is not None]


def write_pictures(capture: Capture, out: Path) -> tuple[list[Path], list[str]]:
    """Write ``contact_sheet.png`` and, where there are poses, ``cameras.png``.

    Returns:
        The files, and one "name: reason" per shown photo that cannot be decoded.
    """
    sheet, damaged = contact_sheet(capture)
    write_atomically(out / "contact_sheet.png", sheet)
    files = [out / "contact_sheet.png"]
    cameras = camera_picture(capture)
    if cameras is not None:
        write_atomically(out / "cameras.png", cameras)
        files.append(out / "cameras.png")
    return files, damaged


def _printable(name: str) -> str:
    """Text that Pillow's built-in font can draw."""
    return name.encode("latin-1", errors="replace").decode("latin-1")
