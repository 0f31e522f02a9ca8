"""Light from far and near."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

LightFrame = Literal["world", "camera"]


def _check_frame(frame: str) -> None:
    if frame not in ("world", "camera"):
        raise ValueError(f"a light's frame should be 'world' or 'camera' but is {frame!r:.40}.")


def _check_last(name: str, tensor: Tensor, size: int) -> None:
    if tensor.ndim < 1 or tensor.shape[-1] != size:
        raise ValueError(f"{name} should end in {size} but has shape {tuple(tensor.shape)}.")


@dataclass(frozen=True, eq=False)
class SphericalHarmonicLight:
    """Distant light from all around as a smooth function of direction.

    Attributes:
        coefficients: radiance L(w) = sum c_lm Y_lm(w) in real orthonormal spherical harmonics,
            with row l * l + l + m; 1, 4, 9, 16 or 25 rows for order 0 to 4; RGB.
        frame: "world", or "camera" for light that moves with the camera (turntables).
    """

    coefficients: Float[Tensor, "*batch k 3"]
    frame: LightFrame = "world"

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"coefficients": 2}

    def __post_init__(self) -> None:
        _check_frame(self.frame)
        shape = tuple(self.coefficients.shape)
        if len(shape) < 2 or shape[-1] != 3 or shape[-2] not in (1, 4, 9, 16, 25):
            raise ValueError(
                "coefficients should be (*batch, k, 3) with k one of 1, 4, 9, 16, 25 but have "
                f"shape {shape}."
            )


@dataclass(frozen=True, eq=False)
class DirectionalLight:
    """Parallel light, like the sun's.

    Attributes:
        direction: the way the light travels; any length but zero.
        irradiance: linear RGB on a surface that faces the light.
        frame: the frame of ``direction``.
    """

    direction: Float[Tensor, "*#batch 3"]
    irradiance: Float[Tensor, "*#batch 3"]
    frame: LightFrame = "world"

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"direction": 1, "irradiance": 1}

    def __post_init__(self) -> None:
        _check_frame(self.frame)
        _check_last("direction", self.direction, 3)
        _check_last("irradiance", self.irradiance, 3)


@dataclass(frozen=True, eq=False)
class PointLight:
    """A small lamp that shines equally in all directions.

    Attributes:
        position: where it is.
        intensity: linear RGB power per solid angle; irradiance is intensity / distance^2.
        frame: the frame of ``position``.
    """

    position: Float[Tensor, "*#batch 3"]
    intensity: Float[Tensor, "*#batch 3"]
    frame: LightFrame = "world"

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"position": 1, "intensity": 1}

    def __post_init__(self) -> None:
        _check_frame(self.frame)
        _check_last("position", self.position, 3)
        _check_last("intensity", self.intensity, 3)


@dataclass(frozen=True, eq=False)
class EnvironmentMap:
    """Distant light from all around as a panorama.

    A direction (x, y, z) looks up u = atan2(x, -z) / (2 pi) modulo 1 and v = acos(y) / pi: the top
    row is +y, the left edge is towards -z, a quarter to the right is +x, the middle is +z. This is
    Mitsuba's layout.

    Attributes:
        radiance: equirectangular linear RGB; pixel centres at half integers.
        frame: "world", or "camera" for light that moves with the camera.
    """

    radiance: Float[Tensor, "*batch h w 3"]
    frame: LightFrame = "world"

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"radiance": 3}

    def __post_init__(self) -> None:
        _check_frame(self.frame)
        if self.radiance.ndim < 3:
            raise ValueError(
                f"radiance should be (*batch, h, w, 3) but has shape {tuple(self.radiance.shape)}."
            )
        _check_last("radiance", self.radiance, 3)


Light = SphericalHarmonicLight | DirectionalLight | PointLight | EnvironmentMap
