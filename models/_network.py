"""A network of torchvision or timm: opened by name, given weights from a file, cut after outputs, written as ONNX."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from _outputs import PROBE_PX, ExportError, Output, Seen
from torch import nn

LIBRARIES = ("torchvision", "timm")
OPSET = 17  # the first with LayerNormalization, which transformers need
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of every classifier of torchvision, values from 0 to 1


class Network:
    """A network with random weights.

    Parameters
    ----------
    name : str
        Name of the network in the library. For timm it may have a tag, which tells mean and std: name.tag.
    library : str, optional
        torchvision or timm; by default the first of them that knows the name.

    Raises
    ------
    ExportError
        If no library knows the name.
    """

    def __init__(self, name: str, library: str | None = None):
        of_torchvision = torchvision.models.list_models(torchvision.models)
        knows = {"torchvision": name in of_torchvision, "timm": timm.is_model(name)}
        knowing = [one for one in LIBRARIES if knows[one] and library in (None, one)]
        if not knowing:
            similar = [other for other in (*of_torchvision, *timm.list_models()) if name[:6] in other][:8]
            raise ExportError(
                f"{library or 'neither torchvision nor timm'} has {'no' if library else 'a'} network called {name!r}."
                f" Similar names: {', '.join(similar) or 'none'}."
            )
        self.name, self.library = name, knowing[0]
        self.module = _opened(name, self.library).eval().requires_grad_(False)
        for module in self.module.modules():
            if hasattr(module, "inplace"):  # an output must not be changed by the layer after it
                module.inplace = False
        self.n_prefix = int(getattr(self.module, "num_prefix_tokens", 0))
        stated = getattr(self.module, "pretrained_cfg", {})  # of timm
        self.mean = tuple(255 * value for value in stated.get("mean", _MEAN))
        self.std = tuple(255 * value for value in stated.get("std", _STD))

    @property
    def version(self) -> str:
        """Name and version of the library."""
        return f"{self.library} {(torchvision if self.library == 'torchvision' else timm).__version__}"

    @torch.no_grad()
    def seen(self) -> list[Seen]:
        """Run the network once and return what each module gave, in the order in which they finished.

        Raises
        ------
        ExportError
            If the network takes images of one size only.
        """
        found: list[Seen] = []

        def hook_of(name: str) -> Any:
            def hook(module: nn.Module, given: Any, value: Any) -> None:
                if isinstance(value, torch.Tensor):
                    found.append(Seen(name, tuple(value.shape)))

            return hook

        hooks = [module.register_forward_hook(hook_of(name)) for name, module in self.module.named_modules()]
        try:
            self.module(torch.zeros(1, 3, *PROBE_PX))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ExportError(
                f"{self.name} of {self.library} does not take an image of {PROBE_PX[1]}x{PROBE_PX[0]} px ({error})."
                " Only networks that take any size can be used. Transformers of timm do; those of torchvision do not."
            ) from error
        finally:
            for one in hooks:
                one.remove()
        return found

    def load(self, path: Path, outputs: Sequence[Output], seen: Sequence[Seen]) -> list[str]:
        """Load weights from a file, at least all those that the outputs depend on.

        Parameters
        ----------
        path : Path
            A state dict, as torchvision and timm publish them (.pth, .safetensors).
        outputs : sequence of Output
        seen : sequence of Seen

        Returns
        -------
        list of str
            Names of weights in the file that the network does not have.

        Raises
        ------
        ExportError
            If the file cannot be read, or lacks weights or has weights of other shapes.
        """
        weights, own = _state_dict(path), self.module.state_dict()
        needed = _needed(own, outputs, seen)
        lacking = [name for name in needed if name not in weights]
        wrong = [name for name in needed if name in weights and weights[name].shape != own[name].shape]
        if lacking or wrong:
            name = (lacking + wrong)[0]
            what = "is missing" if lacking else f"has shape {tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
            raise ExportError(
                f"{path} does not hold the weights of {self.name} of {self.library}: {name} {what};"
                f" {len(lacking)} of {len(needed)} are missing, {len(wrong)} have another shape. Give the file of this"
                " network, or name the other library with --library."
            )
        fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
        self.module.load_state_dict(fitting, strict=False)
        return sorted(set(weights) - set(own))


def _opened(name: str, library: str) -> nn.Module:
    if library == "torchvision":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some networks announce that their initial weights will change
            module: nn.Module = torchvision.models.get_model(name, weights=None)
        return module
    module = timm.create_model(name, pretrained=False)
    if hasattr(module, "dynamic_img_size"):  # a ViT then resizes its position embeddings to the image
        module = timm.create_model(name, pretrained=False, dynamic_img_size=True)
    return module


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile, pickle and safetensors have no common base class
        raise ExportError(f"{path} cannot be read as weights ({type(error).__name__}: {error}).") from error
    for key in ("state_dict", "model"):  # checkpoints of trainings
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ExportError(f"{path} is not a state dict, names with tensors. Save network.state_dict() to a file.")
    return {name.removeprefix("module."): value for name, value in found.items()}  # of DataParallel


def _needed(own: dict[str, torch.Tensor], outputs: Sequence[Output], seen: Sequence[Seen]) -> list[str]:
    """Return the names of the weights of all modules that ran until the last output, and of those that hold them."""
    names = [one.module for one in seen]
    last = max(names.index(output.module) for output in outputs)
    ran = {".".join(name.split(".")[:n]) for name in names[: last + 1] for n in range(name.count(".") + 2)}
    return [name for name in own if name.rpartition(".")[0] in ran and not name.endswith("num_batches_tracked")]


class _EnoughError(Exception):
    """All outputs are known; the rest of the network need not run."""


class Cut(nn.Module):
    """A network that ends after the last of its outputs and returns their feature maps."""

    def __init__(self, network: Network, outputs: Sequence[Output]):
        super().__init__()
        self.network, self.outputs, self._n_prefix = network.module, outputs, network.n_prefix
        self._found: dict[str, torch.Tensor] = {}
        self._size_px: Any = None
        modules = dict(self.network.named_modules())
        for output in outputs:
            modules[output.module].register_forward_hook(self._hook_of(output))
        self.eval()  # a new module trains, and the exporter restores the mode that it found

    def _hook_of(self, output: Output) -> Any:
        def hook(module: nn.Module, given: Any, value: torch.Tensor) -> None:
            if output.is_tokens:
                rows, columns = (side // output.stride for side in self._size_px)
                value = value[:, self._n_prefix :].transpose(1, 2).reshape(-1, output.channels, rows, columns)
            self._found[output.module] = value
            if len(self._found) == len(self.outputs):
                raise _EnoughError

        return hook

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the feature map of each output for pixels (n, 3, h, w)."""
        self._found, self._size_px = {}, pixels.shape[2:]
        with suppress(_EnoughError):
            self.network(pixels)
        found, self._found = self._found, {}
        return tuple(found[output.module] for output in self.outputs)

    @torch.no_grad()
    def maps(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Compute the feature maps of normalized pixels (n, 3, h, w) in torch."""
        return [found.numpy() for found in self(torch.from_numpy(pixels))]


def to_onnx(cut: Cut) -> bytes:
    """Return the ONNX graph of a cut network. Its input is called pixels, its outputs have the names of the modules.

    The exporter that traces is used, because the one of torch.export refuses networks that end before their end.

    Raises
    ------
    ExportError
        If torch cannot export the network.
    """
    side = 2 * PROBE_PX[1], 3 * PROBE_PX[1]
    axes = {output.module: {0: "n", 2: f"h{output.stride}", 3: f"w{output.stride}"} for output in cut.outputs}
    file = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad(), _traceable_position_embeddings(cut.network):
            warnings.simplefilter("ignore")  # that this exporter is not the newest; that branches are fixed: see check
            torch.onnx.export(
                cut, (torch.zeros(1, 3, *side),), file, opset_version=OPSET, dynamo=False,
                input_names=["pixels"], output_names=[output.module for output in cut.outputs],
                dynamic_axes={"pixels": {0: "n", 2: "h", 3: "w"}, **axes},
            )  # fmt: skip
    except Exception as error:  # the exporter lets errors of many kinds through
        raise ExportError(f"torch cannot write this network as ONNX ({type(error).__name__}: {error}).") from error
    return file.getvalue()


@contextmanager
def _traceable_position_embeddings(network: nn.Module) -> Iterator[None]:
    """Let a ViT of timm resize its position embeddings by matrix products, which ONNX has.

    timm calls the bicubic interpolation with antialiasing of torch, which the exporter does not know.
    """
    module, name = sys.modules[type(network).__module__], "resample_abs_pos_embed"
    theirs = getattr(module, name, None)
    if theirs is None:
        yield
        return
    setattr(module, name, resampled_position_embeddings)
    try:
        yield
    finally:
        setattr(module, name, theirs)


def resampled_position_embeddings(
    posemb: torch.Tensor, new_size: Any, old_size: Any = None, num_prefix_tokens: int = 1, **options: Any
) -> torch.Tensor:
    """Resize position embeddings (1, n_prefix + rows * columns, d) as `timm.layers.resample_abs_pos_embed` does."""
    prefix, grid = posemb[:, :num_prefix_tokens], posemb[0, num_prefix_tokens:]
    rows, columns = old_size or (round(len(grid) ** 0.5),) * 2
    grid = grid.reshape(rows, columns, -1)
    down, across = _bicubic(new_size[0], rows), _bicubic(new_size[1], columns)
    resized = torch.einsum("ia,abd,jb->ijd", down, grid, across)
    return torch.cat([prefix, resized.reshape(1, -1, grid.shape[-1])], 1)


def _bicubic(n_new: Any, n_old: int) -> torch.Tensor:
    """Return the matrix (n_new, n_old) of the bicubic interpolation (a = -0.5) with antialiasing along one side."""
    scale = n_old / n_new
    at = (torch.arange(n_new) + 0.5) * scale
    x = (torch.arange(n_old) + 0.5 - at[:, None]).abs() / torch.clamp(torch.as_tensor(scale), min=1.0)
    far = torch.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, torch.zeros(()))
    weights = torch.where(x < 1, (1.5 * x - 2.5) * x * x + 1, far)
    return weights / weights.sum(1, keepdim=True)
