"""The command line of what was learned: ``invgraph infer depth``."""

from pathlib import Path
from typing import Annotated

import tyro

from invgraph.cli.console import busy, say


def depth(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    video: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")],
    /,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None,
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


COMMANDS = {"depth": depth}
