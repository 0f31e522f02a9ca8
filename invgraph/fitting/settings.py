"""What a fit may spend."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FitSettings:
    """What a fit may spend.

    Attributes:
        budget_s: wall time for everything, seconds; a fast machine needs less.
        seed: of the order of the photos.
        views: photos per step.
    """

    budget_s: float = 600.0
    seed: int = 0
    views: int = 4

    def __post_init__(self) -> None:
        if not self.budget_s > 0 or self.views < 1:
            raise ValueError(
                "expected a positive budget and at least 1 view but got "
                f"{self.budget_s} s and {self.views}; change the settings."
            )
