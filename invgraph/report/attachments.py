"""What lies beside the page: a film and a rerun log."""

import base64
import contextlib
import math
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from invgraph.report.pose_rerun_log import write_track_rerun_log
from invgraph.report.turntable import write_turntable
from invgraph.runs.progress import Progress
from invgraph.runs.reader import FILM, RERUN_LOG, RunContents, read_run
from invgraph.scene import Scene
from invgraph.scene.scene_files import load_scene

FILM_BUDGET = 4_000_000  # bytes; a larger film stays beside the page
LEAST_S = 3.0  # in less, neither can be made


def write_attachments(
    run: Path,
    scene: Scene,
    photos: Iterable[tuple[str, np.ndarray]] = (),
    seconds: float = math.inf,
    progress: Progress | None = None,
) -> None:
    """Make ``flythrough.mp4`` and ``recording.rrd`` anew.

    What there is no time or no package for is left out; :func:`invgraph.report.write_report` says
    how to get it.

    Args:
        run: the folder that a fit wrote.
        scene: what it found.
        photos: training photos for the rerun log, by name, ``h w 3`` bytes.
        seconds: to spend at most, about.
        progress: hears the stages.

    Raises:
        ValueError: ``run`` holds nothing that a fit writes.
    """
    from invgraph.report.film import write_film
    from invgraph.report.rerun_log import write_rerun_log

    progress = progress or Progress()
    progress.stage("rerun log", 0.3)
    until = time.monotonic() + seconds
    for name in (FILM, RERUN_LOG):  # of another scene by now
        (run / name).unlink(missing_ok=True)
    if seconds > LEAST_S:
        with contextlib.suppress(ImportError):
            write_rerun_log(run, photos)
    if (left := until - time.monotonic()) > LEAST_S:
        with contextlib.suppress(ImportError):
            write_film(run, scene, left, progress.part())


def complete_attachments(run: Path) -> None:
    """Make the film and the rerun log of a run where they are absent or older than its scene.

    A run without a readable scene is left as it is: the report says what it lacks. The film of an
    object that was followed needs its photos, so only the log is made.

    Raises:
        ValueError: ``run`` is not a folder, or holds nothing that a fit writes.
    """
    folder = read_run(run)
    if folder.kind == "pose":
        if folder.rerun_log is None:
            with contextlib.suppress(ImportError):
                write_track_rerun_log(run)
        return
    if folder.kind == "scenes":
        if folder.film is None:
            with contextlib.suppress(ImportError):
                write_turntable(run)
        return
    try:
        made = (run / "scene.json").stat().st_mtime_ns
        files = [file for file in (folder.film, folder.rerun_log) if file is not None]
        fresh = sum(file.stat().st_mtime_ns >= made for file in files)
        if fresh < sum(find_spec(module) is not None for module in ("av", "rerun")):
            write_attachments(run, load_scene(run))
    except (FileNotFoundError, ValueError):
        return


def attachments_section(folder: RunContents) -> str:
    """The film and the way to the rerun log, as HTML; empty for a run without a mesh."""
    if folder.glb is None:
        return ""
    film = film_player(
        folder.film,
        "Fly-through of the fitted scene",
        "Every picture is rendered from the fitted scene.",
        how_to_get("fly-through", "av", "av"),
    )
    log = rerun_link(folder.rerun_log, "Mesh, cameras, photos and depth")
    return f"""<section aria-labelledby="film-title"><h2 id="film-title">Fly-through</h2>
{film}
{log}</section>"""


def film_player(file: Path | None, label: str, words: str, without: str) -> str:
    """A film inside the page, or the way to it where it is too large, as HTML.

    Args:
        file: None if there is none.
        label: for who cannot see it.
        words: what it shows.
        without: HTML to show instead where there is no film.
    """
    if file is None:
        return f'<p class="hint">{without}</p>'
    size = file.stat().st_size
    link = f'<a href="{file.name}" download>{file.name}</a> ({size / 1e6:.1f} MB)'
    if size > FILM_BUDGET:
        return f'<p class="hint">Too large for this page; it is the file {link} beside it.</p>'
    data = base64.b64encode(file.read_bytes()).decode()
    return (
        f'<p class="hint">{words} Also beside this page: '
        f'{link}.</p><video controls loop muted playsinline preload="metadata" '
        f'aria-label="{label}" src="data:video/mp4;base64,{data}"></video>'
    )


def rerun_link(file: Path | None, words: str) -> str:
    """The way to the rerun log, or how to make it, as HTML.

    Args:
        file: None if there is none.
        words: what it holds.
    """
    if file is None:
        hint = how_to_get("log for rerun's viewer", "rerun", "rerun-sdk")
        return f'<p class="hint">{hint}</p>'
    return (
        f'<p class="hint">{words} to explore: <a href="{RERUN_LOG}" '
        f"download>{RERUN_LOG}</a> ({file.stat().st_size / 1e6:.1f} MB). Open it with "
        f"<code>rerun {RERUN_LOG}</code> (<code>pip install rerun-sdk</code>).</p>"
    )


def how_to_get(what: str, module: str, package: str) -> str:
    """What to do about a film or rerun log that is absent, as HTML."""
    remedy = "<code>invgraph report RUN</code> makes it."
    if find_spec(module) is None:
        return f"No {what}: <code>pip install {package}</code>, then {remedy}"
    return f"No {what} yet: {remedy}"
