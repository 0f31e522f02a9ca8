"""The command line of captures: ``invgraph data inspect | download | convert``."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from invgraph.cli.options import option


def inspect(
    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")],
    /,
    out: Annotated[Path | None, option("FOLDER")] = None,
) -> None:
    """Say what a folder or video was recognised as, what it holds and what it lacks.

    Writes contact_sheet.png (held-out photos have red names) and, where poses are known,
    cameras.png.

    Typical uses:
        invgraph data inspect my_photos
        invgraph data inspect walk.mp4 --out looked_at

    Args:
        capture: folder or video.
        out: folder for the pictures; inspected/NAME_OF_THE_CAPTURE when left out.
    """
    from invgraph.data import read_capture
    from invgraph.data.inspect import facts, missing, write_pictures

    found = read_capture(capture)
    for label, text in facts(found):
        print(f"{label:16} {text}")
    folder = out if out is not None else Path("inspected") / found.name
    files, damaged = write_pictures(found, folder)
    for reason in (*found.skipped, *damaged):
        print(f"{'left out' if reason in found.skipped else 'damaged':16} {reason}")
    for text in missing(found):
        print(f"{'missing':16} {text}")
    for file in files:
        print(f"{'picture':16} {file}")


def download(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = "",
    /,
    out: Annotated[Path | None, option("FOLDER")] = None,
    mirror: Annotated[str | None, option("URL")] = None,
) -> None:
    """Fetch a well-known public capture; without a name, list them with their licences.

    An interrupted download goes on where it stopped when the command is run again.

    Typical uses:
        invgraph data download
        invgraph data download motorcycle-stereo
        invgraph data download tum-fr1-xyz --mirror https://example.org/tum

    Args:
        name: of the data set.
        out: folder to create; captures/NAME when left out.
        mirror: address of a folder that holds the same files.
    """
    from invgraph.data.datasets import DATASETS
    from invgraph.data.download import download as fetch

    if not name:
        for key, dataset in DATASETS.items():
            print(f"{key}\n    {dataset.title}\n    licence: {dataset.licence}")
            checked = "sha256 known" if dataset.verified else "UNVERIFIED: no known checksum"
            print(f"    {_megabytes(dataset.size)}, {checked}\n    {dataset.page}")
        return
    if name not in DATASETS:
        raise ValueError(f"expected one of {', '.join(DATASETS)} but got {name!r}.")
    dataset = DATASETS[name]
    print(f"{name}: {dataset.title}\nlicence: {dataset.licence}; see {dataset.page}")
    if not dataset.verified:
        print("UNVERIFIED: no checksum of this data set is known; damage cannot be noticed.")
    folder = out if out is not None else Path("captures") / name
    from invgraph.runs.progress import Meter

    names = [file.name for file in dataset.files]
    with Meter() as progress:
        begun = ""

        def show(file: str, done: int, total: int | None) -> None:
            nonlocal begun
            if file != begun:
                progress.stage(file, (names.index(file) + 1) / len(names))
                begun = file
            progress.update(done / total if total else 0.0, _megabytes(done))

        sums = fetch(dataset, folder, mirror=mirror, progress=show)
    for file in dataset.files:
        verdict = "verified" if file.sha256 else "UNVERIFIED"
        print(f"{verdict} sha256 {sums[file.name]} {file.name}")
    print(folder / dataset.capture)


def convert(
    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    /,
    to: Literal["transforms", "colmap", "kitti"],
    true_cameras: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Write a capture with cameras in another program's format.

    Typical uses:
        invgraph data convert temple for_nerfstudio --to transforms
        invgraph data convert my_photos for_colmap --to colmap
        invgraph data convert redkitchen for_colmap --to colmap --true-cameras

    Args:
        capture: folder of the capture.
        out: new or empty folder to write.
        to: transforms (nerfstudio, instant-ngp), colmap (text model) or kitti (odometry).
        true_cameras: use the measured poses of data sets that have them for evaluation.
    """
    from invgraph.data import read_capture, with_true_cameras
    from invgraph.data.export import write_capture

    found = read_capture(capture)
    if true_cameras:
        found = with_true_cameras(found)
    print(write_capture(found, out, to))
    for reason in found.skipped:
        print(f"left out {reason}")
    if to == "kitti" and any(frame.mask_source for frame in found.frames):
        print("left out the masks, for which KITTI has no place; transforms and colmap have one")


COMMANDS = {"inspect": inspect, "download": download, "convert": convert}


def _megabytes(size: int | None) -> str:
    return "size unknown" if size is None else f"{size / 1e6:.1f} MB"
