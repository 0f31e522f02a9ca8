"""``invgraph fit``: a scene, or the poses of a known object, from photographs."""

import sys
import time
from pathlib import Path
from typing import Annotated

import tyro

from invgraph.cli.budget import parse_budget
from invgraph.cli.console import say
from invgraph.cli.options import option


def fit(
    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")],
    /,
    out: Annotated[Path | None, option("RUN")] = None,
    budget: Annotated[str, tyro.conf.arg(metavar="TIME")] = "10m",
    seed: int = 0,
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    model: Annotated[Path | None, option("MODEL", "object")] = None,
    pose: Annotated[Path | None, option("INIT")] = None,
    camera: Annotated[Path | None, option("FILE")] = None,
    object_scale: Annotated[float | None, option("METRES")] = None,
    encoder: Annotated[Path | None, option("MODEL")] = None,
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
        invgraph fit photo.jpg --object mug.obj --encoder runs/scene_mug

    Args:
        capture: folder of the capture.
        out: run folder to write; runs/NAME_OF_THE_CAPTURE when left out.
        budget: time to spend, such as 90s, 10m or 1h; finding cameras may take half of it. A run
            that needs more goes on by --resume with a longer one.
        seed: of the random choices; the same seed gives the same run.
        resume: go on with the run in the run folder.
        model: mesh of a known object (OBJ, PLY, GLB, STL) whose pose is wanted.
        pose: JSON file with camera_from_object in the first photo, 4x4, metres; without it the
            object is searched for.
        camera: JSON file with the intrinsics: px, py, u0, v0 (ViSP), K or cam_K, fx, fy, cx, cy
            (BOP), or fl_x (transforms.json).
        object_scale: metres per unit of the model file, 0.001 for millimetres.
        encoder: what `invgraph train scene --object` made of the same mesh: it finds the object
            where no pose is given, in a fraction of the time of a search.
    """
    began = time.monotonic()  # importing takes seconds, too
    seconds = parse_budget(budget)
    say(f"reading {capture}")
    from invgraph.report.measures import describe, number
    from invgraph.runs.reader import finite

    given = {
        "--pose": pose,
        "--camera": camera,
        "--object-scale": object_scale,
        "--encoder": encoder,
    }
    options = [name for name, value in given.items() if value is not None]
    if model is None and options:
        raise ValueError(f"{options[0]} is about a known object; name its mesh by --object.")
    folder = out if out is not None else Path("runs") / capture.resolve().name
    if model is None:
        from invgraph.fitting.fit import fit as run_fit
        from invgraph.fitting.settings import FitSettings

        settings = FitSettings(budget_s=seconds, seed=seed)
        result = run_fit(capture, folder, settings, resume=resume, began=began)
    else:
        from invgraph.fitting.pose.track_object import track_object

        result = track_object(
            capture,
            model,
            folder,
            init=pose,
            camera=camera,
            scale=object_scale,
            encoder=encoder,
            resume=resume,
        )
    measures = ("psnr_mask_db", "ssim_mask", "mask_iou", "found", "lost", "score_median")
    for key in measures:
        if (value := finite(result.metrics.get(key))) is not None:
            label, unit = describe(key)
            print(f"{label:24} {number(value, unit)} {unit}".rstrip())
    print(f"{'Report':24} {result.report}")
    if skipped := result.metrics.get("skipped"):
        many = "1 photo was" if len(skipped) == 1 else f"{len(skipped)} photos were"
        print(
            f"invgraph: {many} left out, first {skipped[0]}; "
            f"{folder / 'metrics.json'} lists them all.",
            file=sys.stderr,
        )
