"""The command line of evaluation: ``invgraph eval depth | odometry | scene``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from invgraph.cli.options import option

if TYPE_CHECKING:
    from invgraph.data import Capture
    from invgraph.data.trajectory_files import Trajectory
    from invgraph.evaluate.depth_score import DepthScore
    from invgraph.runs.predictions import Predictions

# Name, heading, unit, which way is better.
DEPTH_ROWS = (
    ("abs_rel", "AbsRel", "ratio", "lower"),
    ("sq_rel", "SqRel", "m", "lower"),
    ("rmse", "RMSE", "m", "lower"),
    ("rmse_log", "RMSE log", "ratio", "lower"),
    ("d1", "d1 (< 1.25)", "share", "higher"),
    ("d2", "d2 (< 1.25^2)", "share", "higher"),
    ("d3", "d3 (< 1.25^3)", "share", "higher"),
)
SCENE_ROWS = (
    ("found_pct", "Found", "%", "higher"),
    ("success_pct", "Found and right", "%", "higher"),
    ("found_of_absent_pct", "Found where it is not", "%", "lower"),
    ("found_auroc", "AUROC of the score", "%", "higher"),
    ("translation_mm", "Translation, median", "mm", "lower"),
    ("rotation_deg", "Rotation, median", "deg", "lower"),
    ("coverage_90_pct", "In 90 % ellipsoid", "%", "nearer 90"),
)
UNCERTAINTY_ROWS = (("abs_rel", "AbsRel"), ("rmse", "RMSE"), ("d1", "1 - d1"))


def depth(
    predictions: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PREDICTIONS")],
    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")],
    /,
    json_file: Annotated[Path | None, option("FILE", "json")] = None,
    plot: Annotated[Path | None, option("SVG")] = None,
    near: float = 1e-3,
    far: float = 80.0,
    garg_crop: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    allow_trained: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Score depth maps against measured depth, by the protocol of monocular depth networks.

    Scaled errors are after per-image median scaling; unscaled ones show the depth as it is, and the
    spread of the scale ratios says whether one scale would do. With uncertainty: AUSE, AURG and the
    share of pixels inside the predicted 90 % interval. Numbers are means over images.

    Typical uses:
        invgraph eval depth runs/kitchen redkitchen
        invgraph eval depth runs/drive kitti --garg-crop --json scores.json --plot curve.svg

    Args:
        predictions: folder that `invgraph infer depth` wrote.
        capture: folder of the capture, with measured depth; its frames have the same names.
        json_file: file for the numbers: a list of name, value, unit, better.
        plot: file for the sparsification curve of AbsRel.
        near: metres above which measured depth counts.
        far: metres below which measured depth counts.
        garg_crop: score the usual part of KITTI's images only.
        allow_trained: score frames that the model was trained on.
    """
    from invgraph.data import read_capture
    from invgraph.evaluate.depth_metrics import scored_pixels
    from invgraph.evaluate.depth_score import score_depth, summarise
    from invgraph.runs.predictions import read_depth, read_index

    facts = read_index(predictions)
    found = read_capture(capture)
    chosen = _with_truth(facts, found)
    if not allow_trained:
        _refuse_trained(facts, found, chosen)
    assert found.truth is not None
    scores: list[DepthScore] = []
    bare: list[str] = []
    for index in chosen:
        measured = found.truth.depth[index]
        name = found.frames[index].name
        assert measured is not None
        truth = measured.load()
        estimate, sigma = read_depth(predictions, name)
        limits: dict[str, Any] = {"near": near, "far": far, "garg_crop": garg_crop}
        try:
            if bool(scored_pixels(truth, **limits).any()):
                scores.append(score_depth(estimate, truth, sigma, **limits))
            else:
                bare.append(name)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    values = summarise(scores)
    crop = ", Garg crop" if garg_crop else ""
    print(f"{'Images':16} {len(scores)} of {len(facts.frames)} predictions have measured depth")
    if bare:
        print(f"{'Left out':16} {len(bare)} without any in range, first {bare[0]}")
    print(f"{'Range':16} {near:g} to {far:g} m{crop}\n")
    _print_depth(values)
    if json_file is not None:
        _write_rows(json_file, _depth_measures(values))
    if plot is not None:
        _write_plot(plot, scores)


def odometry(
    estimate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ESTIMATE")],
    reference: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="REFERENCE")],
    /,
    json_file: Annotated[Path | None, option("FILE", "json")] = None,
    delta: int = 1,
    lengths: tuple[float, ...] = (),
) -> None:
    """Score a trajectory against the true one, over its whole length.

    Everything is given twice: after the best rigid motion (SE(3)), and after the best similarity
    (Sim(3)), which is for single cameras, since they cannot know the scale.

    Typical uses:
        invgraph eval odometry trajectory_tum.txt groundtruth.txt
        invgraph eval odometry trajectory_kitti.txt kitti/09 --json scores.json
        invgraph eval odometry trajectory_kitti.txt short_drive --lengths 10 20 30 40 50

    Args:
        estimate: trajectory in TUM or KITTI format.
        reference: the same, or a capture with measured poses. Poses belong together by time; where
            a KITTI file has no times, by their order.
        json_file: file for the numbers: a list of name, value, unit, better.
        delta: frames that relative errors are over.
        lengths: of the segments for t_err and r_err, metres; 100 to 800 as in KITTI when left out.
    """
    from invgraph.evaluate import trajectory_metrics as metrics

    ours, theirs = _read_pair(estimate, reference)
    paired, truth = metrics.associate(ours, theirs)
    path = float(metrics.path_length(truth)[-1])
    spans = lengths or metrics.KITTI_LENGTHS
    long_enough = bool(lengths) or path > min(spans)
    columns: dict[str, dict[str, float]] = {}
    scale = 1.0
    for name in ("se3", "sim3"):
        aligned, scale = metrics.align(paired, truth, scale=name == "sim3")
        shift, angle = metrics.relative_errors(aligned, truth, delta)
        columns[name] = {
            "ate": metrics.ate_rmse(aligned, truth),
            "rpe_translation": shift,
            "rpe_rotation": angle,
        }
        if long_enough:
            errors = metrics.kitti_errors(aligned, truth, spans)
            columns[name] |= {"t_err": errors.t_err_pct, "r_err": errors.r_err_deg_per_100m}
            used = ", ".join(f"{length:g}" for length in errors.lengths)
            segments = f"{errors.segments} segments of {used} m"
    rows = [
        ("ate", "ATE RMSE", "m"),
        ("rpe_translation", f"RPE over {delta}", "m"),
        ("rpe_rotation", f"RPE over {delta}", "deg"),
        ("t_err", "t_err", "%"),
        ("r_err", "r_err", "deg/100 m"),
    ]
    print(f"{'Poses':22} {len(paired)} of {len(ours)}, reference has {len(theirs)}")
    print(f"{'Path':22} {path:.4g} m")
    print(f"{'Scale of Sim(3)':22} {scale:.4g}")
    if long_enough:
        print(f"{'t_err, r_err':22} {segments}")
    else:
        print(f"{'t_err, r_err':22} none: the path is shorter than {min(spans):g} m; see --lengths")
    print(f"\n{'':22} {'SE(3)':>10} {'Sim(3)':>10}")
    measures = []
    for key, heading, unit in rows:
        if key in columns["se3"]:
            pair = [columns[name][key] for name in ("se3", "sim3")]
            label = f"{heading} ({unit})"
            print(f"{label:22} {pair[0]:10.4f} {pair[1]:10.4f}")
            for name, value in zip(("se3", "sim3"), pair, strict=True):
                measures.append(_row(f"{key}/{name}", value, unit, "lower"))
    if json_file is not None:
        _write_rows(json_file, measures)


def scene(
    found: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    truth: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRUTH")],
    /,
    object: Annotated[Path | None, option("MESH")] = None,
    object_scale: Annotated[float | None, option("METRES")] = None,
    json_file: Annotated[Path | None, option("FILE", "json")] = None,
) -> None:
    """Score where a known object was found in photos against true poses.

    The run is one of `invgraph infer scene` or `invgraph fit --object`. Errors are medians over the
    photos in which the object was found and is; the ellipsoid is that of the covariance. With the
    object's mesh a pose is right if the mesh's points are off by less than a tenth of its diameter
    on average (ADD).

    Typical uses:
        invgraph eval scene inferred/photos truth.json
        invgraph eval scene inferred/photos truth.json --object mug.obj --json scores.json

    Args:
        found: run folder with poses.csv.
        truth: JSON file with camera_from_object: a 4x4 matrix, metres, by the name of each photo as
            in poses.csv, or null where the object is not in it. Other photos are not scored.
        object: mesh file of the object.
        object_scale: metres per unit of the mesh file, such as 0.001 for millimetres.
        json_file: file for the numbers: a list of name, value, unit, better.
    """
    from invgraph.data.object_pose_files import read_rows, read_true_poses
    from invgraph.evaluate.object_score import score_objects

    table = found / "poses.csv"
    if not table.is_file():
        raise ValueError(f"{table} does not exist; give a run of infer scene or of fit --object.")
    poses, rows = read_true_poses(truth), read_rows(table)
    if not rows:
        raise ValueError(f"{table} holds no poses; go on with the run, or give another.")
    points, diameter = None, 0.0
    if object is not None:
        from invgraph.fitting.pose import load_object

        known = load_object(object, object_scale)
        points, diameter = known.mesh.vertices, known.diameter
    try:
        scores = score_objects(rows, poses, points, diameter)
    except ValueError as error:
        raise ValueError(f"{truth}: {error}") from error
    scored = sum(row.frame in poses for row in rows)
    print(f"{'Photos':24} {scored} of {len(rows)} have a truth\n")
    measures = []
    for name, heading, unit, better in SCENE_ROWS:
        if name in scores:
            print(f"{heading:24} {scores[name]:10.2f} {unit}")
            measures.append(_row(name, scores[name], unit, better))
    if json_file is not None:
        _write_rows(json_file, measures)


COMMANDS = {"depth": depth, "odometry": odometry, "scene": scene}


def _with_truth(facts: "Predictions", capture: "Capture") -> list[int]:
    """Indices of the capture's frames that are predicted and have measured depth."""
    measured = capture.truth.depth if capture.truth is not None else ()
    if not any(entry is not None for entry in measured):
        raise ValueError(
            f"{capture.name} has no measured depth; give a capture with it, such as 7-Scenes or "
            "TUM RGB-D."
        )
    predicted = set(facts.frames)
    names = [frame.name for frame in capture.frames]
    if not predicted & set(names):
        first = facts.frames[0] if facts.frames else "none"
        raise ValueError(
            f"no prediction is named as a frame of {capture.name}: the first is {first}, the "
            f"capture's first {names[0]}; give the capture that was predicted."
        )
    chosen = [i for i, name in enumerate(names) if name in predicted and measured[i] is not None]
    if not chosen:
        raise ValueError(
            f"none of the {len(predicted)} predictions is of a frame with measured depth; "
            f"{capture.name} has it for {sum(entry is not None for entry in measured)} frames."
        )
    return chosen


def _refuse_trained(facts: "Predictions", capture: "Capture", chosen: list[int]) -> None:
    from invgraph.files.atomic import fingerprint

    if facts.trained_on is None:
        raise ValueError(
            "infer.json does not say what the model was trained on (trained_on), so an overlap "
            "cannot be ruled out; give --allow-trained to score anyway."
        )
    frames = [capture.frames[index] for index in chosen] if facts.trained_on else []
    seen = [frame.name for frame in frames if fingerprint(frame.image_path) in facts.trained_on]
    if seen:
        raise ValueError(
            f"the model was trained on {len(seen)} of the {len(chosen)} frames to score (first "
            f"{seen[0]}); predict other frames, or give --allow-trained to score them anyway."
        )


def _read_pair(estimate: Path, reference: Path) -> "tuple[Trajectory, Trajectory]":
    """Both trajectories with times that can be compared."""
    from invgraph.data import read_capture
    from invgraph.data.trajectory_files import has_times, read_trajectory
    from invgraph.data.video import SUFFIXES
    from invgraph.evaluate.trajectory_truth import true_trajectory

    ours = read_trajectory(estimate)
    clock = has_times(estimate)
    if reference.is_dir() or reference.suffix.lower() in SUFFIXES:
        capture = read_capture(reference)
        theirs, count = true_trajectory(capture, clock=clock), len(capture.frames)
    else:
        theirs = read_trajectory(reference)
        count = len(theirs)
        if clock != has_times(reference):
            clock = False
            ours, theirs = _counted(ours), _counted(theirs)
    if not clock and len(ours) != count:
        raise ValueError(
            f"{estimate} has {len(ours)} poses but {reference} {count}, and without times it is "
            "not known which belong together; give both in TUM format."
        )
    return ours, theirs


def _counted(trajectory: "Trajectory") -> "Trajectory":
    import torch

    from invgraph.data.trajectory_files import Trajectory

    times = torch.arange(len(trajectory), dtype=torch.float64)
    return Trajectory(trajectory.world_from_camera, times)


def _print_depth(values: dict[str, float]) -> None:
    print(f"{'':16} {'scaled':>10} {'unscaled':>10}")
    for name, heading, unit, _ in DEPTH_ROWS:
        label = f"{heading} (m)" if unit == "m" else heading
        print(f"{label:16} {values[name]:10.4f} {values[f'unscaled/{name}']:10.4f}")
    print(
        f"\n{'Scale ratio':16} median {values['scale_ratio_median']:.4g}, "
        f"spread {values['scale_ratio_spread']:.4f}"
    )
    if "coverage_90_pct" not in values:
        return
    print(f"\n{'':16} {'AUSE':>10} {'AURG':>10}")
    for name, heading in UNCERTAINTY_ROWS:
        print(f"{heading:16} {values[f'ause/{name}']:10.4f} {values[f'aurg/{name}']:10.4f}")
    print(f"{'In 90 % interval':16} {values['coverage_90_pct']:10.2f} %")


def _depth_measures(values: dict[str, float]) -> list[dict[str, Any]]:
    rows = []
    for prefix in ("", "unscaled/"):
        for name, _, unit, better in DEPTH_ROWS:
            rows.append(_row(prefix + name, values[prefix + name], unit, better))
    # Neither more nor less is better for these two.
    rows.append(_row("scale_ratio_median", values["scale_ratio_median"], "ratio", "nearer 1"))
    rows.append(_row("scale_ratio_spread", values["scale_ratio_spread"], "ratio", "lower"))
    if "coverage_90_pct" in values:
        units = {name: unit for name, _, unit, _ in DEPTH_ROWS}
        for name, _ in UNCERTAINTY_ROWS:
            rows.append(_row(f"ause/{name}", values[f"ause/{name}"], units[name], "lower"))
            rows.append(_row(f"aurg/{name}", values[f"aurg/{name}"], units[name], "higher"))
        rows.append(_row("coverage_90_pct", values["coverage_90_pct"], "%", "nearer 90"))
    return rows


def _write_plot(path: Path, scores: "list[DepthScore]") -> None:
    from invgraph.evaluate.depth_score import mean_sparsification
    from invgraph.files.atomic import write_atomically
    from invgraph.report.curves import curves_svg

    curve = mean_sparsification(scores, "abs_rel")
    named = {
        "by predicted uncertainty": curve.error.tolist(),
        "by true error": curve.oracle.tolist(),
        "at random": [float(curve.error[0])] * len(curve.error),
    }
    share = [100 * part for part in curve.removed.tolist()]
    svg = curves_svg(share, named, "pixels left out (%)", "AbsRel of the others")
    write_atomically(path, svg.encode())


def _row(name: str, value: float, unit: str, better: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "better": better}


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    from invgraph.files.atomic import write_atomically

    write_atomically(path, (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode())
