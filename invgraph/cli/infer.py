"""The command line of what was learned: ``invgraph infer depth | scene``."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from invgraph.cli.console import busy, say
from invgraph.cli.options import option

SCORED = ("found", "absent", "score_median", "seconds_per_frame")


def depth(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    video: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")],
    /,
    out: Annotated[Path | None, option("FOLDER")] = None,
    motion: bool = True,
) -> None:
    """Depth, its uncertainty and the camera's path of a video, by a network trained before.

    Writes depth/NAME.npy and .png per frame, depth.mp4, points.ply, the trajectory in TUM's and
    KITTI's format, and recording.rrd for rerun's viewer. Depth is in metres if the training had
    stereo pairs, else in the training's unit: its median depth. The path comes from odometry on
    this very video, scaled to the network's depth.

    Typical uses:
        invgraph infer depth runs/depth_walk walk.mp4
        invgraph infer depth model.safetensors frames --out depth_of_frames --no-motion

    Args:
        model: run folder of a training, or its model.safetensors.
        video: video, or folder of frames.
        out: folder to write; inferred/NAME_OF_THE_VIDEO when left out.
        motion: also find the camera's path; without it, everything is seen from one place.
    """
    say(f"reading {model} and {video}")
    from invgraph.data.recordings import read_recording
    from invgraph.encoders import load_depth_model
    from invgraph.infer.infer_depth import infer_depth

    with busy("decoding frames that are not in the cache yet"):
        network = load_depth_model(model)
        capture = read_recording(video)
    folder = out if out is not None else Path("inferred") / capture.name
    done = infer_depth(network, capture, folder, motion=motion, name=str(model))
    print(f"{'Depth of':16} {len(capture.frames)} frames in {folder / 'depth'}")
    for file in done.files:
        print(f"{'Written':16} {file}")
    for note in done.notes:
        print(f"{'Left out':16} {note}")


def scene(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    images: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")],
    /,
    camera: Annotated[Path | None, option("FILE")] = None,
    out: Annotated[Path | None, option("FOLDER")] = None,
) -> None:
    """Where a known object is in photos, in which pose, light and tint, and how sure that is.

    Each photo is explained on its own: a heat map of where the object is, then a mixture of poses
    and lights, sharpened on the photo by descent. Writes poses.csv with a covariance per photo,
    beliefs/NAME.safetensors, scenes.jsonl with all hypotheses, scene.glb of the surest photo,
    turntable.mp4, and report.html. Where the object is not, the score is below a half and no pose
    is told. The same command goes on after Ctrl-C or a kill.

    Typical uses:
        invgraph infer scene runs/scene_mug photo.jpg --camera cam.json
        invgraph infer scene model.safetensors my_photos --out runs/mugs

    Args:
        model: run folder of `invgraph train scene`, or its model.safetensors.
        images: a photo, a folder of photos or a capture; of any size.
        camera: JSON file with the intrinsics: px, py, u0, v0 (ViSP), K or cam_K, fx, fy, cx, cy
            (BOP), or fl_x (transforms.json). Left out where the capture knows its cameras.
        out: folder to write; inferred/NAME_OF_THE_IMAGES when left out.
    """
    say(f"reading {model} and {images}")
    from invgraph.fitting.pose.sequence import read_sequence
    from invgraph.fitting.scene.scene_model import load_scene_model
    from invgraph.infer.infer_scene import infer_scene
    from invgraph.report.measures import describe, number
    from invgraph.runs.reader import finite

    network = load_scene_model(model)
    capture = read_sequence(images)
    folder = out if out is not None else Path("inferred") / capture.name
    weights = model / "model.safetensors" if model.is_dir() else model
    done = infer_scene(network, capture, folder, camera=camera, weights=weights)
    for key in SCORED:
        if (value := finite(done.metrics.get(key))) is not None:
            label, unit = describe(key)
            print(f"{label:24} {number(value, unit)} {unit}".rstrip())
    print(f"{'Poses':24} {folder / 'poses.csv'}")
    print(f"{'Report':24} {done.report}")
    if skipped := done.metrics.get("skipped"):
        print(f"invgraph: {len(skipped)} left out, first {skipped[0]}", file=sys.stderr)


COMMANDS = {"depth": depth, "scene": scene}
