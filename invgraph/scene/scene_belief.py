"""What is believed of a scene after an image was seen: a mixture over its unknowns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.scene.belief_files import read_belief, write_belief
from invgraph.scene.unknowns import Unknown, Unknowns

_LOG_2PI = math.log(2 * math.pi)
_MODES = 8  # hypotheses whose middles are candidates for the mode
_DRAWS = 512  # samples for what has no closed form


@dataclass(frozen=True, eq=False)
class SceneBelief:
    """Hypotheses about one scene or a batch of them, each a Gaussian in coordinates around itself.

    A hypothesis says something about every unknown: a normal distribution in the coordinates
    around a value (:class:`invgraph.scene.domains.Domain`), independent of the other unknowns.
    What hangs together (a view and its light) does so through several hypotheses. The density is
    exact as long as Gaussians on curved domains are narrow.

    Attributes:
        unknowns: around the hypotheses: ``around`` is None or ``(*#batch, #k, *shape)``.
        log_weights: logarithms of the hypotheses' probabilities, which sum to 1.
        means: path to ``(*#batch, #k, *coordinates)``, usually near zero.
        scales: path to Cholesky factors ``(*#batch, #k, m, m)`` of the covariances of the ``m``
            coordinates, lower triangular.
    """

    unknowns: Unknowns
    log_weights: Float[Tensor, "*batch k"]
    means: Mapping[str, Tensor]
    scales: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        paths = [unknown.path for unknown in self.unknowns]
        if list(self.means) != paths or list(self.scales) != paths:
            raise ValueError(
                f"means and scales should be of {', '.join(paths)}, in this order, but are of "
                f"{', '.join(self.means)} and {', '.join(self.scales)}."
            )

    @property
    def batch_shape(self) -> torch.Size:
        """Of the scenes that are believed in."""
        return self.log_weights.shape[:-1]

    def __getitem__(self, index: int) -> "SceneBelief":
        """The belief about one scene of a batch, still with its axis."""
        part = slice(index, index + 1)

        def one(tensor: Tensor, own: int) -> Tensor:
            batched = tensor.ndim == self.log_weights.ndim + own and len(tensor) > 1
            return tensor[part] if batched else tensor

        items, means, scales = [], {}, {}
        for unknown in self.unknowns:
            path, around = unknown.path, unknown.around
            if around is not None:
                around = one(around, len(unknown.shape))
            items.append(replace(unknown, around=around))
            means[path] = one(self.means[path], len(unknown.coordinates_shape))
            scales[path] = one(self.scales[path], 2)
        return SceneBelief(Unknowns(tuple(items)), self.log_weights[part], means, scales)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, which :meth:`load` reads back bit for bit."""
        path = Path(path)
        write_belief(path, self.unknowns, self.log_weights, self.means, self.scales)

    @staticmethod
    def load(path: str | Path) -> "SceneBelief":
        """Read what :meth:`save` wrote; from a file that nobody vouches for.

        Raises:
            ValueError: there is no such file, it is damaged, or it holds something else.
        """
        path = Path(path)
        return SceneBelief(*read_belief(path))

    def sample(self, count: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Values drawn from the belief, ``(count, *batch, *shape)`` by path."""
        weights = self.log_weights.exp().reshape(-1, self.log_weights.shape[-1])
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        which = which.T.reshape(count, *self.batch_shape)
        found = {}
        for unknown in self.unknowns:
            mean, scale, around = self._chosen(unknown, which)
            noise = torch.randn(*which.shape, unknown.size, 1, generator=generator)
            coordinates = mean + (scale @ noise.to(mean)).reshape(mean.shape)
            found[unknown.path] = replace(unknown, around=around).value(coordinates)
        return found

    def log_prob(self, values: Mapping[str, Tensor]) -> Float[Tensor, "*batch"]:
        """Logarithm of the density of values ``(*batch, *shape)`` of all unknowns together.

        More axes before the batch's are more values for each scene.

        Gradients:
            Reach the values and every tensor of the belief.
        """
        return torch.logsumexp(self.log_weights + self._log_normals(values), -1)

    @property
    def mode(self) -> dict[str, Tensor]:
        """The likeliest of the hypotheses' middles, ``(*batch, *shape)`` by path."""
        best = self.top(min(_MODES, self.log_weights.shape[-1]))
        densest = best.log_prob(best.middles()).argmax(0)
        return best._middles(densest)

    def middles(self) -> dict[str, Tensor]:
        """The middle of every hypothesis, ``(k, *batch, *shape)`` by path."""
        count = self.log_weights.shape[-1]
        each = torch.arange(count, device=self.log_weights.device)
        return self._middles(
            each.reshape(count, *(1,) * len(self.batch_shape)).expand(count, *self.batch_shape)
        )

    def entropy(self, generator: torch.Generator | None = None) -> Float[Tensor, "*batch"]:
        """Minus the mean logarithm of the density, estimated from samples of the belief."""
        return -self.log_prob(self.sample(_DRAWS, generator)).mean(0)

    def contains(
        self,
        values: Mapping[str, Tensor],
        share: float = 0.9,
        generator: torch.Generator | None = None,
    ) -> Bool[Tensor, "*batch"]:
        """Whether values lie in the smallest region that should hold the truth this often.

        Source:
            Hyndman, Computing and graphing highest density regions (1996): the density there is
            above its quantile among samples.
        """
        if not 0 < share < 1:
            raise ValueError(f"share should be between 0 and 1 but is {share}.")
        drawn = self.log_prob(self.sample(_DRAWS, generator))
        return self.log_prob(values) >= drawn.quantile(1 - share, 0)

    def condition(self, values: Mapping[str, Tensor]) -> "SceneBelief":
        """The belief over the other unknowns once these values ``(*batch, *shape)`` are known.

        Raises:
            ValueError: a path is no unknown, or none is left.
        """
        left = self.marginal([u.path for u in self.unknowns if u.path not in values])
        told = self.marginal(list(values))
        log_weights = self.log_weights + told._log_normals(values)
        return replace(left, log_weights=log_weights.log_softmax(-1))

    def marginal(self, paths: list[str]) -> "SceneBelief":
        """The belief over some of the unknowns, whatever the others are.

        Raises:
            ValueError: a path is no unknown, or there is none.
        """
        by_path = {unknown.path: unknown for unknown in self.unknowns}
        wrong = [path for path in paths if path not in by_path]
        if wrong or not paths:
            raise ValueError(
                f"expected some of {', '.join(by_path)} but got {', '.join(paths) or 'none'}."
            )
        return SceneBelief(
            Unknowns(tuple(by_path[path] for path in paths)),
            self.log_weights,
            {path: self.means[path] for path in paths},
            {path: self.scales[path] for path in paths},
        )

    def top(self, count: int) -> "SceneBelief":
        """The belief in the likeliest hypotheses alone, the likeliest first."""
        log_weights, which = self.log_weights.topk(count, -1)
        which = which.movedim(-1, 0)
        unknowns, means, scales = [], {}, {}
        for unknown in self.unknowns:
            mean, scale, around = self._chosen(unknown, which)
            back = len(self.batch_shape)
            if around is not None:
                around = around.movedim(0, back)
            unknowns.append(replace(unknown, around=around))
            means[unknown.path] = mean.movedim(0, back)
            scales[unknown.path] = scale.movedim(0, back)
        log_weights = log_weights.log_softmax(-1)
        return SceneBelief(Unknowns(tuple(unknowns)), log_weights, means, scales)

    def _log_normals(self, values: Mapping[str, Tensor]) -> Float[Tensor, "*batch k"]:
        """Logarithm of each hypothesis' density."""
        total = torch.zeros(())
        for unknown in self.unknowns:
            value = values[unknown.path]
            value = value.unsqueeze(value.ndim - len(unknown.shape))
            mean, scale = self.means[unknown.path], self.scales[unknown.path]
            coordinates = unknown.domain.local(value, unknown.around)
            own = len(unknown.coordinates_shape)
            away = (coordinates - mean).flatten(-own) if own else (coordinates - mean)[..., None]
            unit = torch.linalg.solve_triangular(scale, away[..., None], upper=False)[..., 0]
            spread = scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            normal = -0.5 * unit.square().sum(-1) - spread - 0.5 * unknown.size * _LOG_2PI
            total = total + normal - unknown.log_volume(coordinates)
        return total

    def _chosen(self, unknown: Unknown, which: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean, scale and middle of one hypothesis per scene: ``which`` is ``(*more, *batch)``."""

        def chosen(tensor: Tensor, own: int) -> Tensor:
            shape = tensor.shape[tensor.ndim - own :]
            tensor = tensor.expand(*self.log_weights.shape, *shape)
            index = which.reshape(*which.shape, *(1,) * (own + 1)).expand(*which.shape, 1, *shape)
            tensor = tensor.expand(*which.shape, *tensor.shape[-own - 1 :])
            return tensor.gather(which.ndim, index).squeeze(which.ndim)

        path, around = unknown.path, unknown.around
        return (
            chosen(self.means[path], len(unknown.coordinates_shape)),
            chosen(self.scales[path], 2),
            None if around is None else chosen(around, len(unknown.shape)),
        )

    def _middles(self, which: Tensor) -> dict[str, Tensor]:
        found = {}
        for unknown in self.unknowns:
            mean, _, around = self._chosen(unknown, which)
            found[unknown.path] = replace(unknown, around=around).value(mean)
        return found
