"""From how far away is the pose of a known object found, and is its uncertainty honest?

    python experiments/refine_pose.py [rendered] [real] [hidden] [growth] [--count N] [--first SEED]
                                      [--names NAME ...] [--upright] [--encoder RUN ...]
                                      [--camera random]
                                      [--starts START ...] [--json FILE]

Starts are the true pose, shifted by exactly 1, 4 or 16 cm in a random direction and turned by 1, 10
or 40 degrees about a random axis; `none` is no start at all. A direction is drawn again where the
object's centre would leave the picture, since such a start is refused. One image each, no video.

- rendered: frames by Mitsuba 3 with exact poses (`pose_frames.py` says what they show), the objects
  spot, bob, dragon and cube in turn, or, with --names, only those frames that show one of some.
  Shape and colours of the object are told, light is not. With --upright the objects stand on the
  table, and trials and measures are called `upright`. With --encoder, too, what `invgraph train
  scene` learned of some of the objects says where to look first; only frames of these are tried,
  and trials and measures are called `encoder`, without --upright `any_way_up`: that is for what
  learned with --any-way-up. With --camera random each goes through another
  camera's response (`camera_response.py`: exposure to overexposure, white balance, tone curve,
  saturation, sharpening, JPEG, noise), half of the textures that are told are too dark, and trials
  and measures are called `camera`; seeds below 25 are for development.
- real: dragon and cube of desk_objects, 640x480, frames spread over all 99. Colours are what
  frame 0 shows at the initial pose that is given there, and their median where it shows nothing;
  the truth moves with the tag board and is good to about 1 cm, which is near the limit for
  success, and to 4 cm in the worst frames, so read the errors, too.
- hidden: dragon behind a box or a hand, 0 to 60 % of its silhouette, starts of 10 degrees; a plot.
- growth: how the covariance grows with blur, occlusion and distance; spot, starts of 1 degree.

Success: the object is said to be found and ADD is below 10 % of its diameter; not ADD-S, as colours
make even the cube's sides differ. translation_mm and rotation_deg are medians of the successes,
with `_all` of all answers. wrong_pct: said to be found, but no success. coverage_90_pct is the
share of rendered frames whose truth is in the 90 % region, over the successes from starts of 1 and
10 degrees: the uncertainty about the right answer; with `_all` over everything said to be found.
Of `camera`, success_pct is the share of poses that are right, said to be found or not,
found_of_right_pct the share of these that are said to be found, and wrong_but_found_pct the share
of all answers that are said to be found and are not right.

Answers are appended to a file in --work as they come, and not computed twice: take another folder
for another version of the code.

Rendering takes 4 to 8 CPU seconds a frame, the first time only; with 50 seeds there are 606
answers, each of which costs what `estimate_pose` takes (`seconds`).
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from types import MappingProxyType

import torch
import track_desk
from camera_response import CameraResponse
from measures import Row, command_line, drawing, write
from pose_frames import Take, pose_frame
from pose_models import NAMES, model_file
from torch import Tensor

from invgraph.data import read_capture
from invgraph.evaluate.pose_metrics import add_distance, pose_error
from invgraph.fitting.pose import KnownObject, Tracker, estimate_pose, load_object
from invgraph.fitting.scene.guesses import Guesses
from invgraph.fitting.scene.scene_model import load_scene_model
from invgraph.geometry.camera import Camera
from invgraph.geometry.sampling import sample_surface
from invgraph.geometry.transforms import exp_so3, pose
from invgraph.report.charts import Axis, line_chart
from invgraph.runs.progress import Meter
from invgraph.scene.belief import PoseBelief

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("INVGRAPH_DATA", ROOT.parent / "shared" / "data"))
STARTS = {"1deg": (1.0, 0.01), "10deg": (10.0, 0.04), "40deg": (40.0, 0.16)}  # degrees, metres
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
HIDDEN_SEEDS, GROWTH_SEEDS = 10, 4
SHARP = {"distance": 0.5}
WORSE = {
    "sharp, 0.50 m": {},
    "defocus 2 px": {"defocus_px": 2.0},
    "defocus 4 px": {"defocus_px": 4.0},
    "shake 6 px": {"motion_px": 6.0},
    "shake 12 px": {"motion_px": 12.0},
    "30 % hidden": {"hidden": 0.3},
    "50 % hidden": {"hidden": 0.5},
    "0.65 m": {"distance": 0.65},
    "0.80 m": {"distance": 0.8},
}
SUCCESS = 0.1  # of the diameter
Estimate = Callable[..., PoseBelief]  # of image, lens, model and initial pose, or None
SHOWN = ("rendered", "upright", "encoder", "any_way_up")  # labels of path-traced frames
Key = tuple[str, str, str, int, str]  # part, start, name, seed, case


@dataclass(frozen=True)
class Trial:
    """One answer and how far it is from the truth."""

    part: str
    start: str
    name: str
    seed: int
    case: str
    found: bool
    score: float
    add_share: float  # of the diameter
    translation_mm: float
    rotation_deg: float
    inside: bool  # the truth, in the 90 % region
    spread_mm: float
    spread_deg: float
    seconds: float

    @property
    def right(self) -> bool:
        return self.add_share < SUCCESS

    @property
    def success(self) -> bool:
        return self.found and self.right

    @property
    def key(self) -> Key:
        return self.part, self.start, self.name, self.seed, self.case


Kept = Mapping[Key, Trial]
NOTHING: Kept = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Subject:
    """An object, and points of its surface by which poses are compared."""

    name: str
    model: KnownObject
    points: Tensor

    @staticmethod
    def of(name: str, model: KnownObject) -> "Subject":
        points, _ = sample_surface(model.mesh, 5000, torch.Generator().manual_seed(0))
        return Subject(name, model, points)


def perturbed(truth: Tensor, camera: Camera, start: str, seed: int) -> Tensor:
    """A start exactly as far from the truth as its name says, in view of the camera."""
    degrees, metres = STARTS[start]
    generator = torch.Generator().manual_seed(seed)
    while True:
        axis, way = torch.nn.functional.normalize(torch.randn(2, 3, generator=generator), dim=-1)
        turned = exp_so3(axis * math.radians(degrees)) @ truth[:3, :3]
        moved = truth[:3, 3] + metres * way
        (u, v), depth = (part[0] for part in camera.project(moved[None]))
        if depth > 0.05 and 0 < u < camera.width and 0 < v < camera.height:
            return pose(turned, moved)


def attempt(
    estimate: Estimate,
    item: Subject,
    image: Tensor,
    camera: Camera,
    truth: Tensor,
    part: str,
    start: str,
    seed: int,
    case: str = "",
    kept: Kept = NOTHING,
) -> Trial:
    """The answer to one image; one that is kept is not computed again."""
    if (part, start, item.name, seed, case) in kept:
        return kept[part, start, item.name, seed, case]
    init = None if start == "none" else perturbed(truth, camera, start, seed)
    began = time.perf_counter()
    belief = estimate(image, camera.lens, item.model, init)
    seconds = time.perf_counter() - began
    shift, turn = pose_error(belief.pose, truth)
    variance = belief.covariance.diagonal()
    return Trial(
        part, start, item.name, seed, case, belief.found, belief.score,
        add_distance(item.points, belief.pose, truth) / item.model.diameter,
        1000 * shift, turn, belief.contains(truth, 0.9),
        1000 * variance[:3].sum().sqrt().item(),
        math.degrees(variance[3:].sum().sqrt().item()), seconds,
    )  # fmt: skip


def told(name: str, work: Path) -> Subject:
    return Subject.of(name, load_object(model_file(name, DATA, work / "models")))


def rendered(
    estimate: Estimate,
    count: int,
    work: Path,
    kept: Kept = NOTHING,
    starts: Sequence[str] = (*STARTS, "none"),
    upright: bool = False,
    other_camera: bool = False,
    encoders: Sequence[Path] = (),
    first: int = 0,
    names: Sequence[str] = NAMES,
) -> Iterator[Trial]:
    items = {name: told(name, work) for name in NAMES}
    models = {model.known.name: model for model in map(load_scene_model, encoders)}
    guesses = {name: Guesses(model, items[name].model) for name, model in models.items()}
    part = "camera" if other_camera else "upright" if upright else "rendered"
    if guesses:
        part = "encoder" if upright else "any_way_up"
    for seed in range(first, first + count):
        take = Take(NAMES[seed % len(NAMES)], seed, upright=upright)
        if take.name not in names or (guesses and take.name not in guesses):
            continue
        frame = pose_frame(take, DATA, work / "frames")
        item, image = items[take.name], frame.image
        if other_camera:
            item, image = other(item, image, CameraResponse.random(seed), seed)
        for start in starts:
            answer = partial(estimate, guess=guesses[take.name]) if guesses else estimate
            yield attempt(answer, item, image, frame.camera, frame.camera_from_object, part,
                          start, seed, kept=kept)  # fmt: skip


def other(
    item: Subject, image: Tensor, response: CameraResponse, seed: int
) -> tuple[Subject, Tensor]:
    """The picture as another camera shows it, and the object as it is told along with it."""
    albedo = item.model.albedo
    told_albedo = None if albedo is None else response.texture(albedo)
    return replace(item, model=item.model.painted(told_albedo)), response.photograph(image, seed)


def real(estimate: Estimate, count: int, work: Path, kept: Kept = NOTHING) -> Iterator[Trial]:
    capture = read_capture(track_desk.DATA)
    lens = capture.frames[0].lens
    assert lens is not None
    camera = Camera(lens, torch.eye(4))
    for name in ("dragon", "cube"):
        init = track_desk.start(name)
        truth = track_desk.by_board(init)
        model = track_desk.colorless(name)
        first = Tracker(model, lens, init)
        first.step(capture.frames[0].load()[0])
        assert first.color_model is not None
        item = Subject.of(name, model.painted(first.color_model.vertex_colors.albedo))
        for seed in range(count):
            index = 1 + 41 * seed % (len(capture.frames) - 1)
            image = capture.frames[index].load()[0]
            for start in STARTS:
                yield attempt(estimate, item, image, camera, truth[index], "real", start, seed,
                              kept=kept)  # fmt: skip


def hidden(estimate: Estimate, count: int, work: Path, kept: Kept = NOTHING) -> Iterator[Trial]:
    item = told("dragon", work)
    for share in SHARES:
        for seed in range(min(count, HIDDEN_SEEDS)):
            frame = pose_frame(Take("dragon", seed, hidden=share), DATA, work / "frames")
            yield attempt(estimate, item, frame.image, frame.camera, frame.camera_from_object,
                          "hidden", "10deg", seed, f"{100 * share:.0f}pct", kept)  # fmt: skip


def growth(estimate: Estimate, count: int, work: Path, kept: Kept = NOTHING) -> Iterator[Trial]:
    item = told("spot", work)
    for case, changes in WORSE.items():
        for seed in range(min(count, GROWTH_SEEDS)):
            take = replace(Take("spot", seed, distance=0.5), **changes)
            frame = pose_frame(take, DATA, work / "frames")
            yield attempt(estimate, item, frame.image, frame.camera, frame.camera_from_object,
                          "growth", "1deg", seed, case, kept)  # fmt: skip


# Each part and how many answers it gives.
PARTS: dict[str, tuple[Callable[..., Iterator[Trial]], Callable[[int], int]]] = {
    "rendered": (rendered, lambda count: (len(STARTS) + 1) * count),
    "real": (real, lambda count: 2 * len(STARTS) * count),
    "hidden": (hidden, lambda count: len(SHARES) * min(count, HIDDEN_SEEDS)),
    "growth": (growth, lambda count: len(WORSE) * min(count, GROWTH_SEEDS)),
}


def read_trials(file: Path) -> dict[Key, Trial]:
    """The answers that a file keeps."""
    lines = file.read_text().splitlines() if file.exists() else []
    trials = [Trial(**json.loads(line)) for line in lines]
    return {trial.key: trial for trial in trials}


def percent(flags: Sequence[bool]) -> float:
    return 100 * sum(flags) / len(flags) if flags else math.nan


def middle(values: Sequence[float]) -> float:
    return median(values) if values else math.nan


def row(name: str, value: float, unit: str, better: str) -> Row:
    return {"name": name, "value": value, "unit": unit, "better": better}


def measures(trials: Sequence[Trial], label: str) -> list[Row]:
    """The measures of trials that belong together."""
    good = [trial for trial in trials if trial.success]
    rows = [
        row(f"success_pct/{label}", percent([t.success for t in trials]), "%", "higher"),
        row(
            f"wrong_pct/{label}", percent([t.found and not t.success for t in trials]), "%", "lower"
        ),
        row(f"seconds/{label}", middle([t.seconds for t in trials]), "s", "lower"),
    ]
    for end, chosen in (("", good), ("_all", trials)):
        shift, turn = [t.translation_mm for t in chosen], [t.rotation_deg for t in chosen]
        rows.append(row(f"translation_mm{end}/{label}", middle(shift), "mm", "lower"))
        rows.append(row(f"rotation_deg{end}/{label}", middle(turn), "deg", "lower"))
    return rows


def camera_measures(trials: Sequence[Trial]) -> list[Row]:
    """Whether poses are right under other cameras, and whether they are said to be found."""
    rows = []
    for start in (*dict.fromkeys(t.start for t in trials), ""):
        some = [t for t in trials if start in ("", t.start)]
        end = f"/camera/{start}" if start else ""
        right, wrong = [t.right for t in some], [t.found and not t.right for t in some]
        found = [t.found for t in some if t.right]
        if start:
            rows.append(row(f"success_pct{end}", percent(right), "%", "higher"))
        rows.append(row(f"found_of_right_pct{end}", percent(found), "%", "higher"))
        rows.append(row(f"wrong_but_found_pct{end}", percent(wrong), "%", "lower"))
    return rows


def coverage(trials: Sequence[Trial], label: str = "") -> list[Row]:
    near = [t.inside for t in trials if t.success and t.start in ("1deg", "10deg")]
    everyone = [t.inside for t in trials if t.found]
    return [
        row(f"coverage_90_pct{label}", percent(near), "%", "higher"),
        row(f"coverage_90_pct_all{label}", percent(everyone), "%", "higher"),
    ]


def grown(trials: Sequence[Trial]) -> list[Row]:
    """Spread in each case over that of the same pose in the sharp picture, median of successes."""
    sharp = {t.seed: t for t in trials if t.case == next(iter(WORSE)) and t.success}
    rows = []
    for case in WORSE:
        some = [t for t in trials if t.case == case and t.success and t.seed in sharp]
        shift = [t.spread_mm / sharp[t.seed].spread_mm for t in some]
        turn = [t.spread_deg / sharp[t.seed].spread_deg for t in some]
        rows.append(row(f"growth_translation/{case}", middle(shift), "", "higher"))
        rows.append(row(f"growth_rotation/{case}", middle(turn), "", "higher"))
    return rows


def table(trials: Sequence[Trial], by: Callable[[Trial], str]) -> str:
    """One line per group, in the order of appearance."""
    lines = [
        f"{'':16}    n success wrong |  successes: mm deg |        all: mm deg |"
        "     spread: mm deg | in 90 % |    s"
    ]
    for group in dict.fromkeys(by(t) for t in trials):
        some = [t for t in trials if by(t) == group]
        good, sure = [t for t in some if t.success], [t for t in some if t.found]
        wrong = percent([t.found and not t.success for t in some])
        pairs = [
            ([t.translation_mm for t in good], [t.rotation_deg for t in good]),
            ([t.translation_mm for t in some], [t.rotation_deg for t in some]),
            ([t.spread_mm for t in sure], [t.spread_deg for t in sure]),
        ]
        lines.append(
            f"{group:16} {len(some):4} {percent([t.success for t in some]):6.0f}% {wrong:4.0f}% |"
            + "".join(f"{middle(shift):10.2f} {middle(turn):8.2f} |" for shift, turn in pairs)
            + f"{percent([t.inside for t in sure]):7.0f}% | {middle([t.seconds for t in some]):.2f}"
        )
    return "\n".join(lines)


def plot(trials: Sequence[Trial]) -> str:
    """Success against the hidden share, as an SVG file."""
    cases = list(dict.fromkeys(t.case for t in trials))
    success = [percent([t.success for t in trials if t.case == case]) for case in cases]
    shares = [float(case.removesuffix("pct")) for case in cases]
    chart = line_chart(
        shares, success, [""] * len(shares), Axis("silhouette hidden", "%"), Axis("success", "%")
    )
    return drawing(chart)


def report(trials: Sequence[Trial], work: Path) -> list[Row]:
    """Print the tables, write the plot, and collect the measures."""
    rows = []
    for part in dict.fromkeys(t.part for t in trials):
        some = [t for t in trials if t.part == part]
        print(f"\n{part}", table(some, lambda t: t.case or t.start), sep="\n")
        if part == "camera":
            rows += camera_measures(some)
        if part in (*SHOWN, "real"):
            print(table(some, lambda t: f"{t.name} {t.start}"))
            for start in dict.fromkeys(t.start for t in some):
                rows += measures([t for t in some if t.start == start], f"{part}/{start}")
        if part in SHOWN:
            rows += coverage(some, "" if part == "rendered" else f"/{part}")
        if part == "hidden":
            for case in dict.fromkeys(t.case for t in some):
                rows += measures([t for t in some if t.case == case], f"hidden/{case}")
            (work / "hidden.svg").write_text(plot(some))
        if part == "growth":
            rows += grown(some)
    return [entry for entry in rows if not math.isnan(float(entry["value"]))]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART")
    parser.add_argument("--count", type=int, default=50, help="seeds per start")
    parser.add_argument("--first", type=int, default=0, help="seed of rendered frames")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "refine_pose")
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES, help="of rendered")
    parser.add_argument("--upright", action="store_true", help="rendered objects stand")
    parser.add_argument(
        "--encoder", type=Path, nargs="+", default=[], metavar="RUN", help="of rendered objects"
    )
    parser.add_argument("--camera", choices=["random"], help="responses of rendered frames")
    every = (*STARTS, "none")
    parser.add_argument("--starts", nargs="+", choices=every, default=every, help="of rendered")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; choose among {', '.join(PARTS)}")

    trials: list[Trial] = []
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.encoder and arguments.camera:
        parser.error("--encoder is tried without --camera; leave one of them out")
    end = "_camera" * bool(arguments.camera) + "_upright" * arguments.upright
    end += "_encoder" * bool(arguments.encoder)
    file = arguments.work / f"trials{end}.jsonl"
    kept = read_trials(file)
    with Meter() as progress, file.open("a") as more:
        for number, part in enumerate(arguments.parts, 1):
            run, wanted = PARTS[part]
            total = wanted(arguments.count)
            if run is rendered:
                total = len(arguments.starts) * arguments.count
                run = partial(
                    rendered,
                    starts=arguments.starts,
                    upright=arguments.upright,
                    other_camera=arguments.camera is not None,
                    encoders=arguments.encoder,
                    first=arguments.first,
                    names=arguments.names,
                )
            progress.stage(part, number / len(arguments.parts))
            answers = run(estimate_pose, arguments.count, arguments.work, kept=kept)
            for done, trial in enumerate(answers, 1):
                trials.append(trial)
                if trial.key not in kept:
                    print(json.dumps(asdict(trial)), file=more, flush=True)
                progress.update(done / total, f"{done} of {total}")
    rows = report(trials, arguments.work)
    for entry in rows:
        print(f"{entry['name']:40} {entry['value']:10.3f} {entry['unit']}")
    print(f"every answer: {file}")
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
