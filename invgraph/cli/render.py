"""``invgraph render``: pictures of a saved scene."""

from pathlib import Path
from typing import Annotated, Literal

import tyro


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
    from invgraph.files.atomic import write_atomically
    from invgraph.files.pictures import encode_png
    from invgraph.geometry.color import srgb_bytes_from_linear
    from invgraph.rendering.render import render as render_scene
    from invgraph.report.viewpoints import cameras_of_run, orbit
    from invgraph.runs.reader import read_cameras
    from invgraph.scene.scene_files import load_scene

    scene = load_scene(run)
    if cameras == "orbit":
        chosen = orbit(scene, views, size, read_cameras(run))
    else:
        chosen = cameras_of_run(run, cameras)
    for index, camera in enumerate(chosen):
        image = render_scene(scene, camera, outputs=("color",), backend=backend).color
        name = out if len(chosen) == 1 else out.with_stem(f"{out.stem}_{index:03d}")
        assert image is not None
        write_atomically(name, encode_png(srgb_bytes_from_linear(image).numpy()))
        print(name)
