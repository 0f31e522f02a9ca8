"""Networks: what does not depend on the batch, and weights that come from elsewhere."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, max_pool2d, relu

from invgraph.encoders import DepthNet, MotionNet, ResNet, load_pretrained


@pytest.mark.parametrize(("size", "widths"), [("resnet18", (64, 64, 128, 256, 512)),
                                              ("light", (32, 32, 64, 128, 256))])  # fmt: skip
def test_features_halve_in_size(size: str, widths: tuple[int, ...]):
    features = ResNet(size)(torch.rand(2, 3, 64, 96))
    sizes = [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert [tuple(f.shape) for f in features] == [
        (2, w, *s) for w, s in zip(widths, sizes, strict=True)
    ]


def test_an_image_is_seen_the_same_alone_and_in_a_batch():
    torch.manual_seed(0)
    network = DepthNet(ResNet("light")).double()
    images = torch.rand(3, 3, 64, 64, dtype=torch.float64)
    together = network(images)[0]
    alone = network(images[1:2])[0]
    assert torch.allclose(together.log_depth[1], alone.log_depth[0], atol=1e-6)
    assert torch.allclose(together.scale[1], alone.scale[0], atol=1e-6)


def test_depth_comes_at_half_the_size_and_below_finest_first():
    beliefs = DepthNet(ResNet("light"), scales=3)(torch.rand(1, 3, 64, 96))
    assert [tuple(b.log_depth.shape) for b in beliefs] == [(1, 32, 48), (1, 16, 24), (1, 8, 12)]
    assert all(bool((b.scale > 0).all()) for b in beliefs)


def test_every_weight_of_the_depth_network_is_taught():
    network = DepthNet(ResNet("light"))
    belief = network(torch.rand(2, 3, 64, 64))[0]
    (belief.log_depth.square().sum() + belief.scale.log().square().sum()).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_untrained_motion_is_small_and_depends_on_the_order():
    torch.manual_seed(0)
    network = MotionNet(ResNet("light", channels=6))
    first, second = torch.rand(2, 4, 3, 64, 64)
    there, back = network(first, second), network(second, first)
    assert there.shape == (4, 6)
    assert there.abs().max() < 0.1
    assert not torch.allclose(there, back)


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match=r"no network 'resnet50'; choose among resnet18, light"):
        ResNet("resnet50")


def elsewhere(seed: int) -> dict[str, Tensor]:
    """A ResNet-18 with batch normalisation as torchvision names it, random."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def layer(conv: str, norm: str, out: int, inside: int, side: int) -> None:
        fan = (inside * side * side) ** 0.5
        state[f"{conv}.weight"] = torch.randn(out, inside, side, side, generator=generator) / fan
        state[f"{norm}.weight"] = 0.5 + torch.rand(out, generator=generator)
        state[f"{norm}.bias"] = torch.randn(out, generator=generator) / 5
        state[f"{norm}.running_mean"] = torch.randn(out, generator=generator) / 5
        state[f"{norm}.running_var"] = 0.5 + torch.rand(out, generator=generator)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    layer("conv1", "bn1", 64, 3, 7)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            layer(f"{name}.conv1", f"{name}.bn1", width, before, 3)
            layer(f"{name}.conv2", f"{name}.bn2", width, width, 3)
            if block == 0 and stage > 1:
                layer(f"{name}.downsample.0", f"{name}.downsample.1", width, before, 1)
            before = width
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, 512), torch.zeros(1000)
    return state


def seen_elsewhere(state: dict[str, Tensor], image: Tensor) -> list[Tensor]:
    """The features that a ResNet-18 with batch normalisation computes."""

    def step(x: Tensor, conv: str, norm: str, stride: int, padding: int) -> Tensor:
        x = conv2d(x, state[f"{conv}.weight"], None, stride, padding)
        mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        return batch_norm(x, mean, variance, state[f"{norm}.weight"], state[f"{norm}.bias"])

    x = relu(step(image, "conv1", "bn1", 2, 3))
    features = [x]
    x = max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = relu(step(x, f"{name}.conv1", f"{name}.bn1", stride, 1))
            y = step(y, f"{name}.conv2", f"{name}.bn2", 1, 1)
            if stride == 2:
                x = step(x, f"{name}.downsample.0", f"{name}.downsample.1", 2, 0)
            x = relu(x + y)
        features.append(x)
    return features


def test_weights_from_elsewhere_compute_what_they_did_there(tmp_path: Path):
    state = elsewhere(1)
    save_file(state, tmp_path / "resnet18.safetensors")
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    ours = load_pretrained(tmp_path / "resnet18.safetensors")(image)
    for mine, theirs in zip(ours, seen_elsewhere(state, image), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4)


def test_weights_of_something_else_are_refused(tmp_path: Path):
    file = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(ValueError, match=r"other\.safetensors holds no encoder; give"):
        load_pretrained(file)
    file.write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"no readable safetensors file"):
        load_pretrained(file)
