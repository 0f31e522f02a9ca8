"""Residual networks that turn an image into features at five scales."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from invgraph.files.tensors import write_tensors

_GROUP = 16  # channels that a GroupNorm treats as one


@dataclass(frozen=True)
class Size:
    """How large a network is.

    Attributes:
        widths: channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size.
        blocks: residual blocks at each of the last four scales.
    """

    widths: tuple[int, int, int, int, int]
    blocks: int


SIZES = {
    "resnet18": Size((64, 64, 128, 256, 512), 2),
    "light": Size((32, 32, 64, 128, 256), 1),
}


class ResNet(nn.Module):
    """Features of an image at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    Normalisation is over groups of channels of one image, never over the batch, so that neither
    the batch's size nor how it is spread over processes changes what is computed.

    Args:
        size: "resnet18" or "light".
        channels: of the input.
        normalise: off for weights with the normalisation folded in (:func:`load_pretrained`).
        patches: look at patches of 4 pixels at once, a third less work: without features at 1/2.

    Attributes:
        size: as given.
        widths: channels of the features, at 1/2 to 1/32; with patches at 1/4 to 1/32.
        seen: SHA-256 of the frames' files that the weights are known to have been learned from.

    Source:
        He et al., Deep Residual Learning for Image Recognition (2016); Wu and He, Group
        Normalization (2018); for patches Liu et al., A ConvNet for the 2020s (2022), here larger by
        a pixel all around.
    """

    def __init__(
        self,
        size: str = "resnet18",
        channels: int = 3,
        normalise: bool = True,
        patches: bool = False,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"there is no network {size!r}; choose among {', '.join(SIZES)}.")
        self.size = size
        self.widths: tuple[int, ...] = SIZES[size].widths
        self.seen: frozenset[str] = frozenset()
        first, *rest = self.widths
        self.patches = patches
        self.conv1 = nn.Conv2d(channels, first, *((6, 4, 1) if patches else (7, 2, 3)))
        self.norm1 = _norm(first, normalise)
        self.stages = nn.ModuleList()
        before = first
        for stage, width in enumerate(rest):
            blocks = [_Block(before, width, 1 if stage == 0 else 2, normalise)]
            blocks += [_Block(width, width, 1, normalise) for _ in range(SIZES[size].blocks - 1)]
            self.stages.append(nn.Sequential(*blocks))
            before = width
        if patches:
            self.widths = self.widths[1:]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Features, finest first.

        Args:
            image: as :func:`centred` makes it; height and width multiples of 32.
        """
        x = relu(self.norm1(self.conv1(image)))
        features = []
        if not self.patches:
            features.append(x)
            x = max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int, normalise: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1)
        self.norm1 = _norm(width, normalise)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1)
        self.norm2 = _norm(width, normalise)
        same = stride == 1 and before == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(relu(self.norm1(self.conv1(x)))))
        return relu(y + self.shortcut(x))


def _norm(width: int, normalise: bool) -> nn.Module:
    return nn.GroupNorm(width // _GROUP, width) if normalise else nn.Identity()


def centred(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Images of about unit spread around 0, as :class:`ResNet` expects them, from sRGB in [0, 1].

    Gradients:
        Reach the images.
    """
    return (image - 0.45) / 0.225


def save_encoder(path: str | Path, network: ResNet) -> None:
    """Write an encoder, and which frames it has seen, for :func:`load_pretrained`."""
    path = Path(path)
    facts = {"encoder": network.size, "trained_on": sorted(network.seen)}
    write_tensors(path, dict(network.state_dict()), facts)


def load_pretrained(path: str | Path, size: str = "resnet18") -> ResNet:
    """An encoder with weights from a file.

    Either `invgraph train encoder` wrote it, or it is a ResNet-18 that was trained elsewhere, such
    as on ImageNet, under whose licence it is then. Batch normalisation of the latter is folded into
    the convolutions before it, so it no longer depends on a batch.

    Args:
        path: safetensors file with our names, or those of torchvision's and timm's ``resnet18``.
        size: that the network has to have, "resnet18" or "light".

    Raises:
        ValueError: the file is missing, damaged, of another network or of another size.
    """
    path = Path(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
        if not isinstance(facts, dict):
            raise ValueError("its facts are no JSON object")
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise ValueError(f"{path} is no readable safetensors file; convert it to one.") from error
    found = facts.get("encoder", "resnet18")
    try:
        network = ResNet(found, normalise="encoder" in facts)
        network.load_state_dict(tensors if "encoder" in facts else _folded(tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} holds no encoder; give what `invgraph train encoder` wrote, or a ResNet-18 as "
            "torchvision or timm name it."
        ) from error
    if found != size:
        raise ValueError(
            f"{path} holds a {found} encoder, expected {size}; choose --network {found} or another "
            "file."
        )
    network.seen = frozenset(facts.get("trained_on", ()))
    return network


def _folded(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = {"conv1": ("conv1", "bn1")}
    for stage in range(4):
        for block in range(2):
            ours, theirs = f"stages.{stage}.{block}", f"layer{stage + 1}.{block}"
            for k in (1, 2):
                names[f"{ours}.conv{k}"] = (f"{theirs}.conv{k}", f"{theirs}.bn{k}")
        if stage:
            shortcut = f"layer{stage + 1}.0.downsample"
            names[f"stages.{stage}.0.shortcut"] = (f"{shortcut}.0", f"{shortcut}.1")
    folded = {}
    for ours, (conv, norm) in names.items():
        gain = given[f"{norm}.weight"] / (given[f"{norm}.running_var"] + 1e-5).sqrt()
        folded[f"{ours}.weight"] = given[f"{conv}.weight"] * gain[:, None, None, None]
        folded[f"{ours}.bias"] = given[f"{norm}.bias"] - given[f"{norm}.running_mean"] * gain
    return folded
