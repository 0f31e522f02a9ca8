"""Large steps: descent on vertices through a smoothing change of variables."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from invgraph.geometry.laplacian import uniform_laplacian

LIMIT = 5.0  # usual steps


class LargeSteps:
    """Vertices ``v`` as the solution of ``(I + smoothness * L) v = u``; the descent moves ``u``.

    A gradient on ``v`` reaches ``u`` through the same solve, so that every step is spread smoothly
    over the surface while the minimum itself stays: nothing is regularised.

    Args:
        vertices: start, any unit.
        faces: the triangles that connect them.
        smoothness: larger values spread a step farther, in units of edges squared.

    Gradients:
        ``vertices()`` passes gradients to ``u``, which is a leaf.

    Source:
        Nicolet, Jacobson, Jakob, Large Steps in Inverse Rendering of Geometry (2021), section 4.
    """

    def __init__(
        self, vertices: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], smoothness: float
    ) -> None:
        from cholespy import CholeskySolverF, MatrixType  # pyright: ignore

        laplacian = uniform_laplacian(faces, len(vertices)).coalesce()
        count = len(vertices)
        diagonal = torch.arange(count).expand(2, -1)
        system = torch.sparse_coo_tensor(
            torch.cat([laplacian.indices(), diagonal], 1),
            torch.cat([laplacian.values() * smoothness, torch.ones(count)]),
            (count, count),
            check_invariants=False,
        ).coalesce()
        rows, columns = system.indices().to(torch.int32).numpy()
        self._solver = CholeskySolverF(
            count, rows, columns, system.values().double().numpy(), MatrixType.COO
        )
        self.u = (system @ vertices.detach()).requires_grad_()

    def vertices(self) -> Float[Tensor, "v 3"]:
        """The vertices that belong to the present ``u``."""
        return _Solve.apply(self._solver, self.u)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, solver, right):
        ctx.solver = solver
        return _solve(solver, right)

    @staticmethod
    def backward(ctx, *gradients):
        return None, _solve(ctx.solver, gradients[0])


def _solve(solver, right: Tensor) -> Tensor:
    answer = np.empty(right.shape, np.float32)
    solver.solve(np.ascontiguousarray(right.detach().numpy()), answer)
    return torch.from_numpy(answer)


class UniformAdam(torch.optim.Optimizer):
    """Adam with one scale for all vertices, which keeps directions isotropic and small steps small.

    The scale is the root of the mean squared gradient; a vertex whose step would be more than
    ``LIMIT`` times ``lr`` is held back to that, so that the few vertices with large gradients
    neither tear the surface nor slow all others down, as they do when the scale is their maximum.

    Args:
        parameters: ``v 3`` each.
        lr: length of the step of a vertex with the usual gradient, in the parameters' unit.
        betas: decay of the means of the gradient and of its square.

    Source:
        Kingma, Ba, Adam (2015), and its uniform variant in Nicolet, Jacobson, Jakob (2021).
    """

    def __init__(self, parameters, lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure=None):
        """Move every parameter once; ``closure`` is not used."""
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(
                        step=torch.zeros(()),
                        mean=torch.zeros_like(parameter),
                        square=torch.zeros((), dtype=torch.float64),
                    )
                state["step"] += 1
                state["mean"].lerp_(parameter.grad, 1 - first)
                square = parameter.grad.square().sum(-1).mean().double()
                state["square"] += (1 - second) * (square - state["square"])
                count = state["step"].item()
                scale = (state["square"].item() / (1 - second**count)) ** 0.5
                move = state["mean"] / ((1 - first**count) * max(scale, 1e-20))
                length = move.norm(dim=-1, keepdim=True)
                parameter.sub_(move * (LIMIT / length.clamp_min(LIMIT)), alpha=group["lr"])
