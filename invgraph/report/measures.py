"""Names, units and roundings of the measures that a run reports."""

KNOWN = {
    "psnr_mask_db": "PSNR inside the mask",
    "ssim_mask": "SSIM inside the mask",
    "mask_iou": "Mask overlap (IoU)",
    "psnr_white_db": "PSNR on white",
    "psnr_whole_db": "PSNR of the whole photo",
    "covered": "Share of the photo covered",
    "depth_px": "Longer side of the depth maps",
    "photos_used": "Photos used",
    "seconds": "Time",
    "chamfer_pct": "Chamfer distance, of the diagonal",
    "albedo_rmse": "Albedo error (RMSE, scale-aligned)",
    "skipped": "Photos left out",
    "light_angle_deg": "Light direction error",
    "score": "Score",
    "score_median": "Score, median",
    "placed": "Frames placed",
    "frames": "Frames",
    "focal_px": "Focal length",
    "difference_median": "Difference of patterns, median",
    "found": "Found",
    "lost": "Lost",
    "absent": "Not there",
    "seconds_per_frame": "Time per photo, median",
    "sigma_mm": "1σ of the position",
    "sigma_deg": "1σ of the rotation",
}
UNITS = {"db": "dB", "deg": "°", "pct": "%", "px": "px", "mm": "mm", "s": "s", "mb": "MB", "m": "m"}
DECIMALS = {"dB": 2, "°": 2, "%": 2, "px": 2, "mm": 2, "s": 2, "MB": 1}


def describe(key: str) -> tuple[str, str]:
    """The label and the unit of a measure, from its name: ``light_angle_deg`` ends in degrees."""
    stem, _, ending = key.rpartition("_")
    unit = UNITS.get(ending, "") if stem else ""
    if key in ("seconds", "seconds_per_frame"):
        unit = "s"
    words = (stem if unit and stem else key).replace("_", " ")
    return KNOWN.get(key, words[:1].upper() + words[1:]), unit


def number(value: int | float, unit: str = "") -> str:
    """``value`` with the digits that its unit deserves; counts stay whole."""
    if unit in DECIMALS:
        return f"{value:.{DECIMALS[unit]}f}"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value)}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 10 else f"{value:.4g}"


def duration(seconds: int | float) -> str:
    """``75`` as ``1 min 15 s``, ``600`` as ``10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min")] if hours else [(minutes, "min"), (left, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
