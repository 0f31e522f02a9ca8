"""Durations such as 90s, 10m or 1.5h, as people write them."""

import math
import re


def parse_budget(text: str) -> float:
    """Seconds in a duration such as ``90s``, ``10m`` or ``1.5h``.

    Raises:
        ValueError: anything else, or no time at all.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip().lower())
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(f"expected a time such as 90s, 10m or 1.5h for --budget but got {text!r}.")
    return seconds
