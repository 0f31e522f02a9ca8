"""Poses in one image: refined from starts, judged, and compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.pose.assess import Assessment, assess
from invgraph.fitting.pose.color_model import MARGIN, ColorModel, learn_palette
from invgraph.fitting.pose.hypotheses import Comparison, descend
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.pose.mixture import WORSE, Candidate, is_there
from invgraph.fitting.pose.refine import Fit, refine
from invgraph.fitting.pose.window import Target, Window, crop_window
from invgraph.geometry.transforms import difference

STRIDES = (5, 3, 2, 1, 1)  # px between samples across the outline, step by step
ROUNDS = 4  # of refinement when the colours around the object are not known yet,
ROUGH_ROUNDS = 2  # and the first of them, in which nothing is taken to be in front of the object
# Rounds in which the likeliest pose comes to rest without what hides it, and their strides.
SETTLING, FINE = 4, (2, 1, 1)
# Steps on the likelihood from poses that were found, px across renders, and how many are refined.
POLISHING, POLISHED_PX, POLISHED = 4, 56.0, 4
FARTHER = 2.0  # times the distance: nothing moves so far between images, no start is so wrong
# Log-likelihood near an expected pose from which nothing is looked for elsewhere: where a look at
# development frames was worth it, descents that were right had 118 and more, wrong ones 61 at most.
CERTAIN = 100.0
USUAL = 0.1, 0.25  # error of an expected pose: relative to its distance, and rad
SURPRISE = 3.0  # weight of its logarithm in the likelihood


@dataclass(frozen=True, eq=False)
class ImageDescent:
    """One image in which an object is looked for.

    Attributes:
        model: the object.
        target: the image.
        colors: of the object and of what surrounds it, as far as they are known.
        expected: about where the object is, ``camera_from_object``; None if nothing tells.
    """

    model: KnownObject
    target: Target
    colors: ColorModel
    expected: Float[Tensor, "4 4"] | None

    def descend(
        self,
        starts: Sequence[Tensor],
        strides: tuple[int, ...] = STRIDES,
        rounds: int = 0,
    ) -> list[Candidate]:
        """Refine every start, the likeliest result first.

        With rounds, a result is the likeliest pose after any of them, or the start itself; its
        covariance is that of the last.

        Args:
            rounds: how often the palette is learnt where the pose has come to and the pose refined
                with it; 0 to trust the palette.
        """
        found = []
        for start in starts:
            fit = Fit(start, torch.zeros(6, 6))
            seen = best = self.judge(start) if rounds else None
            pose = start
            for turn in range(max(rounds, 1)):
                if rounds and seen is not None:
                    window, verdict = seen
                    hidden = verdict.hidden if turn >= ROUGH_ROUNDS else None
                    fit = self._refined(fit.pose, window, strides, hidden)
                else:
                    fit = refine(
                        self.model,
                        self.target,
                        self.colors.palette,
                        self.colors.vertex_colors,
                        fit.pose,
                        strides,
                    )
                seen = self.judge(fit.pose) if fit else None
                if fit is None or seen is None:
                    break
                if best is None or seen[1].likelihood > best[1].likelihood:
                    pose, best = fit.pose, seen
            if best is not None and fit is not None:
                window, verdict = best
                likelihood = verdict.likelihood - self._surprise(pose)
                found.append(
                    (replace(fit, pose=pose), window, replace(verdict, likelihood=likelihood))
                )
        return sorted(found, key=lambda item: -item[2].likelihood)

    def try_starts(self, starts: list[Tensor]) -> list[Candidate]:
        """Descend on the likelihood itself from some poses, and refine what has become likeliest.

        A refinement alone is faster, but led astray by what is in front of the object.
        """
        if not starts:
            return []
        comparison = Comparison(self.model, self.target, self.colors.vertex_colors, POLISHED_PX)
        polished = descend(comparison, torch.stack(starts), POLISHING)
        best = comparison.likelihood(polished).argsort(descending=True)[:POLISHED]
        return self.descend(list(polished[best]), rounds=ROUNDS)

    def settle(self, chosen: Candidate) -> Candidate:
        """The likeliest pose, refined until it rests.

        The likelihood tells hypotheses apart, but between poses that are millimetres apart it is
        rough: pixels count as a whole, and colours of what hides the object count too. Least
        squares without the hidden pixels is finer. The hypothesis stays as likely as it was.
        """
        fit, window, verdict = chosen
        for _ in range(SETTLING):
            finer = self._refined(fit.pose, window, FINE, verdict.hidden)
            seen = self.judge(finer.pose) if finer else None
            if finer is None or seen is None:
                break
            likelihood = seen[1].likelihood - self._surprise(finer.pose)
            if likelihood < chosen[2].likelihood - WORSE:
                break
            fit, (window, verdict) = finer, seen
        return fit, window, replace(verdict, likelihood=chosen[2].likelihood)

    def clear(self, chosen: Candidate, clear: float = -math.inf) -> bool:
        """Whether the object is there, and its outline as clear.

        Near an expected pose, given colours may tell enough without the outline.
        """
        _, _, verdict = chosen
        given = self.colors.vertex_colors.source == "given" and self.expected is not None
        certain = given and verdict.likelihood >= CERTAIN
        return is_there(verdict) and (certain or verdict.border >= clear)

    def judge(self, pose: Tensor) -> tuple[Window, Assessment] | None:
        """What the image says about a pose; None if it is out of the question."""
        if self._far_off(pose):
            return None
        window = crop_window(self.model, self.target.camera, pose, MARGIN)
        if window is None:
            return None
        verdict = assess(
            self.model, self.target, self.colors.palette, self.colors.vertex_colors, pose, window
        )
        return None if verdict is None else (window, verdict)

    def _refined(
        self,
        pose: Tensor,
        window: Window,
        strides: tuple[int, ...],
        hidden: Tensor | None,
    ) -> Fit | None:
        """A pose refined by the colours that are around it, without those of hidden pixels.

        While it is not known what hides the object, the camera is not solved, either.
        """
        any_camera = hidden is not None
        palette = learn_palette(
            self.model,
            self.target,
            pose,
            window,
            self.colors.vertex_colors,
            self.colors.palette,
            hidden,
            any_camera,
        )
        hidden = None if hidden is None else window.paste(hidden)
        return refine(
            self.model,
            self.target,
            palette,
            self.colors.vertex_colors,
            pose,
            strides,
            hidden,
            any_camera,
        )

    def _surprise(self, pose: Tensor) -> float:
        """What it costs to be far from where the object is expected: no more than it must."""
        if self.expected is None:
            return 0.0
        step = difference(self.expected, pose)
        share = float(step[:3].norm() / self.expected[2, 3]) / USUAL[0]
        return SURPRISE * math.log1p(share**2 + (float(step[3:].norm()) / USUAL[1]) ** 2)

    def _far_off(self, pose: Tensor) -> bool:
        """Whether the object would be at quite another distance than where it is expected."""
        if self.expected is None:
            return False
        return not 1 / FARTHER < float(pose[2, 3] / self.expected[2, 3]) < FARTHER
