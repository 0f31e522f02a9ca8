"""Does the fit find the true object behind the embedded photographs?

    python experiments/fit_embedded.py [--out RUN] [--json FILE]

Fits the bird whistle of assets/, whose photographs were path-traced by Mitsuba 3 and not by our
renderer, and compares with the true mesh, albedo and light. At most 8 minutes on 2 cores; a
finished run is scored again at once. Expected: chamfer_pct below 1, psnr_mask_db above 30. Albedo
is compared where both surfaces are seen from the held-out cameras, after the best scale per
channel.
"""

from pathlib import Path

import torch
from measures import command_line, row, write

from invgraph.data import read_capture
from invgraph.evaluate.direction_metrics import angular_error_deg
from invgraph.evaluate.image_metrics import albedo_rmse
from invgraph.evaluate.shape_metrics import chamfer_pct
from invgraph.fitting.fit import fit
from invgraph.fitting.settings import FitSettings
from invgraph.geometry.camera import stack
from invgraph.rendering.render import render
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight

ROOT = Path(__file__).resolve().parent.parent
BUDGET_S = 440.0


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bird_whistle")
    arguments = parser.parse_args()

    capture = read_capture(ROOT / "assets" / "bird_whistle")
    result = fit(capture, arguments.out, FitSettings(budget_s=BUDGET_S), resume=True)
    assert capture.truth is not None and capture.truth.scene is not None
    truth = capture.truth.scene

    (found,) = result.scene.objects
    (light,) = result.scene.lights
    assert isinstance(light, SphericalHarmonicLight)
    cameras = [capture.frames[i].known_camera for i in capture.test]
    rows = [
        row("chamfer_pct", chamfer_pct(found.mesh, truth.mesh()), "%"),
        row("psnr_mask_db", result.metrics["psnr_mask_db"], "dB", "higher"),
        row("ssim_mask", result.metrics["ssim_mask"], "", "higher"),
        row("mask_iou", result.metrics["mask_iou"], "", "higher"),
        row("albedo_rmse", albedo_error(result.scene, true_scene(truth), cameras), ""),
        row("light_angle_deg", light_angle(light, cameras[0], truth), "deg"),
        row("seconds", result.metrics["seconds"], "s"),
    ]
    print(f"open {result.report} in a browser to look at the reconstruction")
    write(rows, arguments.json)


def true_scene(truth) -> Scene:
    """The true surface with its true albedo, unlit."""
    material = Material(truth.albedo(), torch.ones(1), torch.zeros(1), albedo_kind="texture")
    return Scene((Object(truth.mesh(), torch.eye(4), material),), (), None)


def albedo_error(scene: Scene, true: Scene, cameras) -> float:
    """Scale-aligned error over the pixels that both surfaces fill."""
    with torch.no_grad():
        ours, theirs = (
            render(each, stack(cameras), outputs=("albedo", "alpha")) for each in (scene, true)
        )
    assert ours.albedo is not None and ours.alpha is not None
    assert theirs.albedo is not None and theirs.alpha is not None
    both = torch.minimum(ours.alpha, theirs.alpha) > 0.999
    return albedo_rmse(
        ours.albedo.flatten(0, 1), theirs.albedo.flatten(0, 1), both.float().flatten(0, 1)
    )


def light_angle(light: SphericalHarmonicLight, camera, truth) -> float:
    """Angle between the directions that most light comes from, world frame."""
    direction = light.coefficients.mean(1)[[3, 1, 2]]  # rows 1, 2, 3 are multiples of y, z, x
    if light.frame == "camera":
        direction = camera.camera_from_world[:3, :3].T @ direction
    return angular_error_deg(direction, truth.light_direction()).item()


if __name__ == "__main__":
    main()
