"""The command line: ``invgraph fit | train | infer | eval | render | report | view | data``."""

import contextlib
import io
import math
import re
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
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
    invgraph fit my_photos --object mug.obj                    finds an object in each photo
    invgraph train depth walk.mp4                              learns depth from raw video
    invgraph train encoder walk.mp4                            pre-trains its encoder, unlabelled
    invgraph infer depth runs/depth_walk other.mp4             depth of another video
    invgraph render runs/my_photos --views 8 --out orbit.png   pictures from all around
    invgraph view runs/my_photos                               opens the report in a browser
    invgraph report runs/my_photos                             builds report.html again
    invgraph eval odometry trajectory_tum.txt groundtruth.txt  scores a camera's motion
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
    model: Annotated[Path | None, tyro.conf.arg(name="object", metavar="MODEL")] = None,
    pose: Annotated[Path | None, tyro.conf.arg(metavar="INIT")] = None,
    camera: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    object_scale: Annotated[float | None, tyro.conf.arg(metavar="METRES")] = None,
) -> None:
    """Reconstruct an object from photos, or find the pose of a known one in them.

    The capture is a folder with photos and cameras: Blender or nerfstudio `transforms.json`, a
    COLMAP model, LLFF `poses_bounds.npy`, or Middlebury `*_par.txt`; masks as files or as alpha.
    Photos without cameras have them found first. Every 8th photo is held out for scoring unless the
    capture names a test split. What comes out is shape, texture, gloss and light.

    With --object, a mesh file, the capture may also be one photo, and what comes out is where that
    object is in each photo, with a covariance: poses.csv, poses_bop.csv, overlays, a film. Only the
    lens of the camera has to be known, not its place; masks, --budget and --seed are not used.

    Typical uses:
        invgraph fit my_photos
        invgraph fit my_photos --out runs/second_try --budget 90s --seed 1
        invgraph fit my_photos --resume
        invgraph fit my_photos --object mug.obj --pose first.json --camera cam.json
        invgraph fit photo.jpg --object obj_000005.ply --object-scale 0.001

    Args:
        capture: folder of the capture.
        out: run folder to write; runs/NAME_OF_THE_CAPTURE when left out.
        budget: time to spend, such as 90s, 10m or 1h.
        seed: of the random choices; the same seed gives the same run.
        resume: go on with the run in the run folder.
        model: mesh of a known object (OBJ, PLY, GLB, STL) whose pose is wanted.
        pose: JSON file with camera_from_object in the first photo, 4x4, metres; without it the
            object is searched for.
        camera: JSON file with the intrinsics: px, py, u0, v0 (ViSP), K or cam_K, fx, fy, cx, cy
            (BOP), or fl_x (transforms.json).
        object_scale: metres per unit of the model file, 0.001 for millimetres.
    """
    seconds = parse_budget(budget)
    from invgraph.report.words import describe, number

    given = {"--pose": pose, "--camera": camera, "--object-scale": object_scale}
    options = [word for name, value in given.items() if value is not None for word in (name, value)]
    if model is None and options:
        raise ValueError(f"{options[0]} is about a known object; name its mesh by --object.")
    folder = out if out is not None else Path("runs") / capture.resolve().name
    try:
        if model is None:
            from invgraph.fit import FitSettings
            from invgraph.fit import fit as run_fit

            settings = FitSettings(budget_s=seconds, seed=seed)
            result = run_fit(capture, folder, settings, resume=resume)
        else:
            from invgraph.tracking.run import track_object

            options = ["--object", model, *options]
            result = track_object(
                capture,
                model,
                folder,
                init=pose,
                camera=camera,
                scale=object_scale,
                resume=resume,
            )
    except KeyboardInterrupt:
        words = ["invgraph", "fit", capture, *options, "--out", folder, "--resume"]
        again = shlex.join(str(word) for word in words)
        raise KeyboardInterrupt(f"stopped; go on with: {again}") from None
    measures = ("psnr_mask_db", "ssim_mask", "mask_iou", "found", "lost", "score_median")
    for key in measures:
        if key in result.metrics:
            label, unit = describe(key)
            print(f"{label:24} {number(result.metrics[key], unit)} {unit}".rstrip())
    print(f"{'Report':24} {result.report}")
    if skipped := result.metrics.get("skipped"):
        many = "1 photo was" if len(skipped) == 1 else f"{len(skipped)} photos were"
        print(
            f"invgraph: {many} left out, first {skipped[0]}; "
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

    The fly-through (flythrough.mp4) and the recording for rerun's viewer (recording.rrd) are made
    as well where the folder lacks one, which takes about half a minute.

    Typical use:
        invgraph report runs/my_photos

    Args:
        run: the folder that `invgraph fit` wrote.
    """
    from invgraph.report import write_report
    from invgraph.report.attachments import complete_attachments

    complete_attachments(run)
    print(write_report(run))


def view(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    port: int = 0,
    browser: bool = True,
) -> None:
    """Show the report of a run in a browser; Ctrl-C ends it.

    Only this computer can reach the page: it is served on 127.0.0.1, read-only, and nothing outside
    of the run folder is given out. From another computer, forward the port through ssh:
    ssh -L 8000:127.0.0.1:8000 HOST, with `invgraph view RUN --port 8000 --no-browser` there.

    Typical uses:
        invgraph view runs/my_photos
        invgraph view runs/my_photos --port 8000 --no-browser

    Args:
        run: the folder that `invgraph fit` wrote.
        port: to listen on; 0 takes a free one.
        browser: open the page in the default browser, where there is a screen.
    """
    from invgraph.serve import open_browser, report_server

    with contextlib.suppress(KeyboardInterrupt), report_server(run, port) as server:
        print(f"{server.url}  (Ctrl-C ends)", flush=True)
        if browser:
            open_browser(server.url)
        server.serve_forever()


COMMANDS = {"fit": fit, "render": render, "report": report, "view": view}
GROUPS = {
    "data": "Look at captures, fetch public ones, convert between formats.",
    "train": "Learn from raw recordings, without labels.",
    "infer": "Apply what was learned.",
    "eval": "Score depth and trajectories against measured truth.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code: 0, 2 for a mistake, 130 for Ctrl-C."""
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    try:
        if name in GROUPS:
            _run_of_group(name, *(rest or ["--help"]))
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


def _run_of_group(group: str, name: str, *rest: str) -> None:
    commands = import_module(f"invgraph.cli_{group}").COMMANDS
    if name in ("-h", "--help"):
        print(f"usage: invgraph {group} COMMAND ...\n\n{GROUPS[group]}\n")
        for key, command in commands.items():
            print(f"    {key:8} {(command.__doc__ or '').splitlines()[0]}")
        print(f"\n`invgraph {group} COMMAND --help` explains each command.")
        return
    if name not in commands:
        known = ", ".join(commands)
        raise ValueError(f"expected one of {known} but got {name!r}; see --help.")
    tyro.cli(commands[name], prog=f"invgraph {group} {name}", args=rest)


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
