"""``infer_depth``: a trained network applied to a recording."""

from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from invgraph.data import Capture
from invgraph.data.cache import cache_folder
from invgraph.encoders import DepthModel
from invgraph.fitting.motion import follow_camera
from invgraph.geometry.lens import Lens
from invgraph.infer.depth_writer import DepthWriter
from invgraph.runs.facts import RunFacts, facts_of, identity
from invgraph.runs.folder import METRICS, RunFolder, check_out
from invgraph.runs.predictions import INDEX, kept_depth
from invgraph.runs.progress import Meter

_COMPARED = 10  # frames
_FEWEST = 30  # points of the path's map in a frame, to compare scales


def infer_depth(
    model: DepthModel, capture: Capture, folder: str | Path, *, motion: bool = True, name: str = ""
) -> DepthWriter:
    """Write the depth of every frame of a recording, and the camera's path.

    Args:
        model: what tells depth.
        capture: frames of one camera in their order; without a known lens it is the model's.
        folder: to write.
        motion: find the path, too; where that fails it is left out and noted.
        name: of the model, for the facts.

    Returns:
        The finished run, with its files and notes.

    Raises:
        ValueError: frames that cannot be read, or a folder with a finished result or none of ours.

    A run that was cut short goes on when it is begun again in the same folder: depth maps that are
    there are not inferred anew.
    """
    folder = Path(folder)
    if (folder / INDEX).exists():
        raise ValueError(f"{folder} holds a finished result; remove it or choose another --out.")
    check_out(folder, resume=True)
    frames = capture.frames
    lens = frames[0].known_lens
    height, width = frames[0].size
    if lens is None:
        focal = torch.full((2,), float(model.facts["focal"][0] * width))
        lens = Lens(focal, torch.tensor([width / 2, height / 2]), height, width)
    metric = model.facts.get("metres") is not None
    facts = {"model": name, "trained_on": model.facts["trained_on"], "metric": metric}
    settings = {"model": name, "motion": motion}
    known = identity([capture], facts, model.fingerprint())
    asked = RunFacts("inference", capture.name, known, facts_of(capture), settings)
    with RunFolder(folder, asked, resume=True) as opened, Meter() as progress:
        words = "depth and the camera's path" if motion else "depth alone"
        progress.note(f"{capture.name}: {len(frames)} frames, {width}x{height}; {words}")
        path: dict[str, Tensor] = {}
        notes = []
        if motion:
            try:
                followed = follow_camera(
                    capture, cache_folder() / "motions", progress=progress.part(0.5)
                )
            except ValueError as error:
                notes.append(f"the trajectory: {error}")
            else:
                lens = followed.frames[0].known_camera.lens
                factor = _scale(model, followed)
                for frame in followed.frames:
                    pose = torch.linalg.inv(frame.known_camera.camera_from_world.double())
                    pose[:3, 3] *= factor
                    path[frame.name] = pose
        progress.stage("depth of frames")
        began = perf_counter()
        clock = all(frame.time is not None for frame in frames)
        with DepthWriter(folder, lens, facts, clock=clock) as writer:
            writer.notes.extend(notes)
            for index, frame in enumerate(frames):
                image = frame.load()[0]
                time = frame.time if clock and frame.time is not None else float(index)
                kept = kept_depth(folder, frame.name)
                if kept is None:
                    belief = model(image[None])
                    depth, sigma = belief.depth[0], belief.sigma[0]
                    opened.log(
                        seconds=perf_counter() - began,
                        frame=frame.name,
                        depth_median=float(depth.median()),
                        sigma_median=float(sigma.median()),
                    )
                else:
                    depth, sigma = kept
                writer.add(frame.name, time, image, depth, sigma, path.get(frame.name))
                progress.update((index + 1) / len(frames), f"{index + 1} of {len(frames)} frames")
        opened.write_json(
            METRICS,
            {"complete": True, "frames": len(frames), "placed": len(path), "notes": writer.notes},
        )
    return writer


def _scale(model: DepthModel, followed: Capture) -> float:
    """The factor from the path's unit to that of the network's depth, over some of the frames."""
    assert followed.points is not None
    ratios = []
    for frame in followed.frames[:: -(-len(followed.frames) // _COMPARED)]:
        camera = frame.known_camera
        pixels, ahead = camera.project(followed.points)
        size = pixels.new_tensor([camera.width, camera.height])
        seen = (ahead > 0) & ((pixels >= 0) & (pixels < size)).all(-1)
        if int(seen.sum()) < _FEWEST:
            continue
        column, row = pixels[seen].long().unbind(-1)
        depth = model(frame.load()[0][None]).depth[0]
        ratios.append((depth[row, column] / ahead[seen]).median())
    return float(torch.stack(ratios).median()) if ratios else 1.0
