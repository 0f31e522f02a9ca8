"""The command line: ``invgraph fit | render | report | data``."""

import io
import math
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from torch import Tensor

EXAMPLES = """\
Start with a folder of photos whose cameras are known:

    invgraph fit my_photos --budget 10m                        writes runs/my_photos
    invgraph data inspect my_photos                            says what it holds and lacks
    invgraph fit my_photos --resume                            goes on after Ctrl-C or a kill
    invgraph render runs/my_photos --views 8 --out orbit.png   pictures from all around
    invgraph report runs/my_photos                             builds report.html again
"""


def parse_budget(text: str) -> float:
    """Seconds in a duration such as ``90s``, ``10m`` or ``1.5h``.

    Raises:
        ValueError: anything else, or no time at all.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip().lower())
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(f"expected a time such as 90s, 10m or 1.5h for --budget but got {text!r}.")
    return seconds


def fit(
    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")],
    /,
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None,
    budget: Annotated[str, tyro.conf.arg(metavar="TIME")] = "10m",
    seed: int = 0,
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Reconstruct an object from photos: shape, texture, gloss and light.

    The capture is a folder with photos and cameras: Blender or nerfstudio `transforms.json`, a
    COLMAP model, LLFF `poses_bounds.npy`, or Middlebury `*_par.txt`; masks as files or as alpha.
    Photos without cameras have them found first. Every 8th photo is held out for scoring unless the
    capture names a test split.

    Typical uses:
        invgraph fit my_photos
        invgraph fit my_photos --out runs/second_try --budget 90s --seed 1
        invgraph fit my_photos --resume

    Args:
        capture: folder of the capture.
        out: run folder to write; runs/NAME_OF_THE_CAPTURE when left out.
        budget: time to spend, such as 90s, 10m or 1h.
        seed: of the random choices; the same seed gives the same run.
        resume: go on with the run in the run folder.
    """
    seconds = parse_budget(budget)
    from invgraph.fit import FitSettings
    from invgraph.fit import fit as run_fit
    from invgraph.report.words import describe, number

    folder = out if out is not None else Path("runs") / capture.resolve().name
    try:
        result = run_fit(capture, folder, FitSettings(budget_s=seconds, seed=seed), resume=resume)
    except KeyboardInterrupt:
        again = shlex.join(["invgraph", "fit", str(capture), "--out", str(folder), "--resume"])
        raise KeyboardInterrupt(f"stopped; go on with: {again}") from None
    for key in ("psnr_mask_db", "ssim_mask", "mask_iou"):
        if key in result.metrics:
            label, unit = describe(key)
            print(f"{label:24} {number(result.metrics[key], unit)} {unit}".rstrip())
    print(f"{'Report':24} {result.report}")
    if skipped := result.metrics.get("skipped"):
        print(
            f"invgraph: {len(skipped)} photos were left out, first {skipped[0]}; "
            f"{folder / 'metrics.json'} lists them all.",
            file=sys.stderr,
        )


def render(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    out: Annotated[Path, tyro.conf.arg(metavar="PNG")],
    cameras: Literal["orbit", "test", "train"] = "orbit",
    views: int = 1,
    size: int = 512,
    backend: Literal["raster", "mitsuba", "pytorch3d"] = "raster",
) -> None:
    """Render a saved scene from an orbit around it, or from the cameras of its photos.

    Typical uses:
        invgraph render runs/my_photos --out front.png
        invgraph render runs/my_photos --out orbit.png --views 36 --size 800
        invgraph render runs/my_photos --out photo.png --cameras test

    Args:
        run: run folder, or any folder with a scene.json.
        out: PNG to write; several views get numbers: orbit_000.png, orbit_001.png, ...
        cameras: an orbit, or the cameras that took the held-out (test) or other (train) photos.
        views: pictures on the orbit, evenly spaced.
        size: height and width of pictures on the orbit, pixels.
        backend: what renders; mitsuba and pytorch3d must be installed.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"expected a file name that ends in .png for --out but got {out}.")
    if views < 1 or not 1 <= size <= 8192:
        raise ValueError(
            f"expected at least 1 view of 1 to 8192 pixels but got {views} of {size}; "
            "change --views or --size."
        )
    from invgraph.render import render as render_scene
    from invgraph.report.run_folder import read_poses
    from invgraph.scene_files import load_scene
    from invgraph.viewpoints import cameras_of_run, orbit

    scene = load_scene(run)
    if cameras == "orbit":
        chosen = orbit(scene, views, size, read_poses(run))
    else:
        chosen = cameras_of_run(run, cameras)
    for index, camera in enumerate(chosen):
        image = render_scene(scene, camera, outputs=("color",), backend=backend).color
        name = out if len(chosen) == 1 else out.with_stem(f"{out.stem}_{index:03d}")
        _write_png(name, image)
        print(name)


def report(run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")], /) -> None:
    """Build report.html again from the files of a run folder, finished or not.

    Typical use:
        invgraph report runs/my_photos

    Args:
        run: the folder that `invgraph fit` wrote.
    """
    from invgraph.report import write_report

    print(write_report(run))


COMMANDS = {"fit": fit, "render": render, "report": report}
GROUPS = {"data": "Look at captures, fetch public ones, convert between formats."}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code: 0, 2 for a mistake, 130 for Ctrl-C."""
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    try:
        if name == "data":
            from invgraph.cli_data import run

            run(rest)
            return 0
        if name not in COMMANDS:
            known = ", ".join([*COMMANDS, *GROUPS])
            raise ValueError(f"expected one of {known} but got {name!r}; see --help.")
        tyro.cli(COMMANDS[name], prog=f"invgraph {name}", args=rest)
    except KeyboardInterrupt as stop:
        print(f"\ninvgraph: {str(stop) or 'stopped'}", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"invgraph: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _help() -> str:
    lines = ["usage: invgraph COMMAND ...", "", "Explain photographs by a scene.", ""]
    for name, command in COMMANDS.items():
        lines.append(f"    {name:8} {(command.__doc__ or '').splitlines()[0]}")
    lines += [f"    {name:8} {text}" for name, text in GROUPS.items()]
    return "\n".join([*lines, "", EXAMPLES, "`invgraph COMMAND --help` explains each command."])


def _write_png(path: Path, image: "Tensor | None") -> None:
    from PIL import Image

    from invgraph.color import srgb_from_linear
    from invgraph.files import write_atomically

    assert image is not None
    pixels = (srgb_from_linear(image.clamp(0, 1)) * 255).round().byte().numpy()
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    write_atomically(path, data.getvalue())


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
