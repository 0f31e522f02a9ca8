"""The report of scenes that were inferred from photos."""

import math
from html import escape
from pathlib import Path

import numpy as np

from invgraph.report.attachments import film_player, how_to_get
from invgraph.report.comparison import comparison_section
from invgraph.report.layout import Page, numbers_table
from invgraph.report.pictures import data_uris
from invgraph.report.view_map import view_map
from invgraph.report.viewer import viewer_section
from invgraph.runs.reader import SCENES, RunContents
from invgraph.runs.scene_records import HypothesisRecord, SceneRecord, read_records

HEADLINES = ("found", "absent", "score_median", "seconds_per_frame")
SHOWN = 12  # photos with all their pictures
ROWS_SHOWN = 2000
BUDGET = 8_000_000  # bytes of all pictures
MAPS = {
    "view": "What the camera sees that looks at it",
    "synthesis": "The inferred scene, rendered",
    "gap": "Their difference, magnified",
    "distance": "Distance",
    "normal": "Normals",
    "albedo": "Albedo: the surface without its light",
}
DOUBTED = 0.5  # probability by the finder alone, below which the page says so
EVEN = 0.15  # share by which the light from its main direction exceeds the mean, hardly to be seen


def write_scene_page(folder: RunContents) -> Path:
    """Build ``report.html`` of a run of inferred scenes, and give its path."""
    records = read_records(folder.path / SCENES)
    missing = list(folder.missing)
    if not records:
        missing.append(f"{SCENES} (what was inferred)")
    elif folder.metrics.get("complete") is False:
        total = folder.metrics.get("photos")
        missing.append(f"{len(records)} of {total} photos are explained; the film comes at the end")
    page = Page(folder, _lead(folder, records), missing)
    page.sections += [
        _film(folder, records),
        comparison_section(page, "Photos and re-synthesis"),
        *_photos(folder, records),
        viewer_section(page, np.zeros((0, 3), np.float32)),
        _details(folder, records),
    ]
    return page.write(HEADLINES)


def _lead(folder: RunContents, records: list[SceneRecord]) -> str:
    name = escape(str(folder.metrics.get("object") or "An object"))
    found = sum(record.found for record in records)
    photos = "1 photo" if len(records) == 1 else f"{len(records)} photos"
    return (
        f"{name}: found in {found} of {photos}. An encoder says what each photo may show, and "
        "descent through the renderer sharpens that on the photo. What stays uncertain is drawn."
    )


def _film(folder: RunContents, records: list[SceneRecord]) -> str:
    if not any(record.found for record in records):
        return ""
    film = film_player(
        folder.film,
        "The photo's object, beside its inferred scene turning",
        "Left, the photo about the object. Right, what was inferred turns about its vertical axis "
        "while its light stands still.",
        how_to_get("film", "av", "av"),
    )
    return (
        '<section class="film" aria-labelledby="film-title"><h2 id="film-title">'
        f"From one photo to a scene</h2>{film}</section>"
    )


def _photos(folder: RunContents, records: list[SceneRecord]) -> list[str]:
    shown = records[:: max(1, -(-len(records) // SHOWN))]
    roles = ("where", "heat", *MAPS, "guess", "belief", "light")
    files = [
        (record.stem, role, file)
        for record in shown
        for role in roles
        if (file := _picture(folder, record.stem, role)) is not None
    ]
    uris = data_uris([file for *_, file in files], BUDGET)
    found: dict[str, dict[str, str]] = {}
    for (stem, role, _), uri in zip(files, uris, strict=True):
        if uri is not None:
            found.setdefault(stem, {})[role] = uri
    left = len(records) - len(shown)
    sections = [
        _photo(index, record, found.get(record.stem, {})) for index, record in enumerate(shown)
    ]
    if left:
        sections.append(
            f'<p class="hint">{left} more photos are not drawn here; they are in the table below '
            f"and in <code>{SCENES}</code>.</p>"
        )
    return sections


def _picture(folder: RunContents, stem: str, role: str) -> Path | None:
    """A picture of the run; none where there is none, or where a name leads out of the folder."""
    renders = (folder.path / "renders").resolve()
    file = renders / f"{stem}_{role}.png"
    safe = file.is_file() and file.resolve().parent == renders
    return file if safe and renders.is_relative_to(folder.path.resolve()) else None


def _photo(index: int, record: SceneRecord, pictures: dict[str, str]) -> str:
    title = f"photo-{index}"
    head = f'<h2 id="{title}">{escape(record.frame)} {_badge(record)}</h2>'
    outlined = "The photo with the outline of the likeliest pose" if record.found else "The photo"
    where = _figure("where", pictures, outlined, record.frame) + _figure(
        "heat",
        pictures,
        "Where the finder expects it: bright is likely; it gives the object a probability of "
        f"{record.present:.2f}",
        f"Heat map of {record.frame}",
    )
    if not record.found:
        words = (
            f"The object is not in this photo: the probability that it is, is {record.score:.2f}. "
            "No pose is told."
        )
        body = f'<p class="verdict">{words}</p><div class="where">{where}</div>'
        return f'<section aria-labelledby="{title}">{head}{body}</section>'
    near_far = "" if not record.depth else f", {record.depth[0]:.3f} to {record.depth[1]:.3f} m"
    words = {**MAPS, "distance": f"{MAPS['distance']}{near_far}; near is light"}
    maps = "".join(
        _figure(role, pictures, words[role], f"{role} of {record.frame}") for role in MAPS
    )
    best = record.hypotheses[0] if record.hypotheses else None
    summary = "" if best is None else f'<p class="verdict">{_summary(record, best)}</p>'
    return (
        f'<section aria-labelledby="{title}">{head}{summary}'
        f'<div class="where">{where}</div><div class="maps six">{maps}</div>'
        f"{_doubts(record, pictures)}{_light(record, pictures)}{_hypotheses(record)}</section>"
    )


def _badge(record: SceneRecord) -> str:
    kind, word = ("there", "found") if record.found else ("gone", "not there")
    return f'<span class="badge {kind}">{word} · score {record.score:.2f}</span>'


def _summary(record: SceneRecord, best: HypothesisRecord) -> str:
    azimuth, elevation = best.viewpoint
    above = "above" if elevation >= 0 else "below"
    others = len(record.hypotheses) - 1
    rest = (
        "No other pose is probable."
        if not others
        else f"{others} other {'pose is' if others == 1 else 'poses are'} possible, see below."
    )
    if record.present < DOUBTED:
        rest += f" The finder doubts that it is there: {record.present:.2f}."
    return (
        f"{1e3 * best.distance_m:.0f} mm away, seen from {abs(elevation):.0f}° {above} its "
        f"horizon at azimuth {azimuth:.0f}°; ± {best.sigma_mm:.1f} mm and "
        f"± {best.sigma_deg:.1f}° (1σ). {rest}"
    )


def _doubts(record: SceneRecord, pictures: dict[str, str]) -> str:
    name = record.frame
    guess = _figure(
        "guess", pictures, "The encoder's guess, 32 samples over each other", f"Guess on {name}"
    )
    belief = _figure(
        "belief", pictures, "After descent, 32 samples over each other", f"Belief on {name}"
    )
    drawing = view_map(record.guess, record.belief)
    if drawing:
        drawing = (
            f'<figure>{drawing}<span class="key test">guess</span> &nbsp; '
            '<span class="key train">after descent</span><br>'
            "From where it is seen: the middle is from above, the ring its horizon</figure>"
        )
    if not (guess or belief or drawing):
        return ""
    return (
        '<h3>What is believed of the pose</h3><p class="hint">Sharp where the samples agree, '
        f'ghosts where they do not.</p><div class="maps three">{guess}{belief}{drawing}</div>'
    )


def _light(record: SceneRecord, pictures: dict[str, str]) -> str:
    if "light" not in pictures:
        return ""
    ball = _figure(
        "light", pictures, "The inferred light on a white ball", f"Light of {record.frame}"
    )
    return (
        f'<h3>What is believed of the light</h3><div class="lit">{ball}<p>{light_words(record)} '
        '<span class="hint">Green is the likeliest direction and orange are samples of the belief; '
        "filled in front of the ball, rings behind it.</span></p></div>"
    )


def light_words(record: SceneRecord) -> str:
    """Where the light comes from, in a sentence, as the photographer sees it."""
    if record.uneven < EVEN:
        return "The light is nearly even from all sides."
    x, y, z = record.towards
    named = (
        *((abs(y), "above" if y < 0 else "below"), (abs(x), "the left" if x < 0 else "the right")),
        (abs(z), "the camera's side" if z < 0 else "behind the object"),
    )
    sides = [word for share, word in named if share > 0.35]
    angle = math.degrees(math.acos(max(-1.0, min(1.0, -z))))
    return (
        f"Most light comes from {' and '.join(sides)}, {angle:.0f}° off the direction to the "
        f"camera, {100 * record.uneven:.0f} % stronger than the mean of all directions. A cone of "
        f"{record.light_cone_deg:.0f}° to all sides should hold that direction in 90 %."
    )


def _hypotheses(record: SceneRecord) -> str:
    if not record.hypotheses:
        return ""
    head = "".join(
        f"<th>{word}</th>"
        for word in (
            *("probability", "azimuth °", "elevation °", "mm away", "1σ mm", "1σ °"),
            *("turn °", "tint", "roughness"),
        )
    )
    best = record.hypotheses[0]
    body = "".join(
        f"<tr><td>{index + 1}</td><td>{each.probability:.3f}</td>"
        f"<td>{each.viewpoint[0]:.0f}</td><td>{each.viewpoint[1]:.0f}</td>"
        f"<td>{1e3 * each.distance_m:.1f}</td><td>{each.sigma_mm:.2f}</td>"
        f"<td>{each.sigma_deg:.2f}</td><td>{_turn(each, best):.1f}</td><td>{_tint(each)}</td>"
        f"<td>{each.roughness:.2f}</td></tr>"
        for index, each in enumerate(record.hypotheses)
    )
    return (
        "<h3>Hypotheses</h3><div class='scroll'><table>"
        f"<tr><th></th>{head}</tr>{body}</table></div>"
        f'<p class="hint">Score {record.score:.3f}, found in {record.seconds:.1f} s. Azimuth is '
        "from the object's z axis towards its x axis; the turn is from the first hypothesis.</p>"
    )


def _turn(one: HypothesisRecord, other: HypothesisRecord) -> float:
    a, b = (np.array(each.camera_from_object)[:3, :3] for each in (one, other))
    return math.degrees(math.acos(float(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1))))


def _tint(each: HypothesisRecord) -> str:
    levels = [round(255 * min(max(0.5 * part, 0.0), 1.0) ** (1 / 2.2)) for part in each.tint]
    color = ",".join(map(str, levels))
    numbers = ", ".join(f"{part:.2f}" for part in each.tint)
    return f'<span class="swatch" style="background:rgb({color})"></span>{numbers}'


def _figure(role: str, pictures: dict[str, str], caption: str, label: str) -> str:
    if role not in pictures:
        return ""
    return (
        f'<figure><img alt="{escape(label)}" src="{pictures[role]}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _details(folder: RunContents, records: list[SceneRecord]) -> str:
    table = numbers_table(folder.metrics, (*HEADLINES, "views", "capture", "object"))
    lines = ""
    if records:
        step = -(-len(records) // ROWS_SHOWN)
        words = ("", "score", "azimuth °", "elevation °", "mm away", "1σ mm", "1σ °", "s")
        head = "".join(f"<th>{word}</th>" for word in words)
        body = "".join(_line(record) for record in records[::step])
        some = "" if step == 1 else f", every {step}th"
        lines = (
            f"<details><summary>Poses in {len(records)} photos{some}</summary><div class='scroll'>"
            f"<table><tr><th>Photo</th>{head}</tr>{body}</table></div></details>"
        )
    if not (table or lines):
        return ""
    return f"<section><h2>In numbers</h2>{table}{lines}</section>"


def _line(record: SceneRecord) -> str:
    where: tuple[str, ...] = ("–",) * 5
    if record.found and record.hypotheses:
        best = record.hypotheses[0]
        where = (
            *(f"{angle:.0f}" for angle in best.viewpoint),
            f"{1e3 * best.distance_m:.1f}",
            f"{best.sigma_mm:.2f}",
            f"{best.sigma_deg:.2f}",
        )
    cells = (f"{record.score:.3f}", *where, f"{record.seconds:.1f}")
    rest = "".join(f"<td>{cell}</td>" for cell in cells)
    word = "found" if record.found else "not there"
    return f"<tr><td>{escape(record.frame)}</td><td>{word}</td>{rest}</tr>"
