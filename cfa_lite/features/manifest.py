"""Manifest: what a backbone's ONNX graph takes and gives, and the SHA-256 hash of its file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BackboneError

MANIFEST_FORMAT = 1
_PACKAGE = Path(__file__).resolve().parent.parent
_MAX_SIZE = 1 << 14  # of channels and strides; a larger number is a typing error
# In an ONNX file: field 13 (external_data) of a tensor, with an entry whose key is "location".
_EXTERNAL_DATA = re.compile(rb"j..?\n\x08location\x12", re.DOTALL)


class BackboneOutput(NamedTuple):
    """One feature map of a backbone.

    Attributes
    ----------
    name : str
        Of the graph's output.
    channels : int
    stride : int
        In pixels.
    offset_px : (float, float)
        How far down and right of its true place the map shows everything, in pixels of the network's input.
    """

    name: str
    channels: int
    stride: int
    offset_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class BackboneSpec:
    """Manifest entry of a backbone.

    Attributes
    ----------
    name : str
        Name in the manifest of the shipped backbones, or the path that the user gave.
    path : Path
        ONNX file.
    sha256 : str
        Hash of the file, in hexadecimal.
    input_name : str
        Name of the graph's only input, float32 (n, 3, h, w) in red, green, blue order.
    mean, std : tuple of 3 float
        The graph is given (pixels - mean) / std, with pixels from 0 to 255.
    outputs : tuple of BackboneOutput
        Feature maps that are used, in this order.
    graph : bytes
        Content of the ONNX file that was hashed.
    """

    name: str
    path: Path
    sha256: str
    input_name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outputs: tuple[BackboneOutput, ...]
    graph: bytes = field(repr=False, compare=False)

    def seen(self) -> dict[str, Any]:
        """Collect everything besides the ONNX file that the features depend on, in JSON types."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "outputs": [[output.name, output.channels, output.stride] for output in self.outputs],
        }

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the outputs in pixels."""
        return tuple(output.stride for output in self.outputs)


def models_folder() -> Path:
    """Locate the shipped backbones: in the installed package, or in ../models of a checkout."""
    installed = _PACKAGE / "models"
    return installed if installed.is_dir() else _PACKAGE.parent / "models"


def find_spec(backbone: str | os.PathLike[str]) -> BackboneSpec:
    """Read the ONNX file of a backbone and its manifest entry.

    Parameters
    ----------
    backbone : str or path
        Name of a shipped backbone, or path of an .onnx file. The manifest entry of ``my.onnx`` is the file ``my.json``
        in the same folder: an object with the keys of one backbone in models/manifest.json.

    Raises
    ------
    BackboneError
        If the file or its entry is missing or incomplete, the file does not have the hash that the entry states, or
        the network's weights are in a separate file.
    """
    name = os.fspath(backbone)
    if Path(name).suffix.lower() == ".onnx":
        path = Path(name)
        manifest = path.with_suffix(".json")
        if not path.is_file():
            raise BackboneError(f"{path} does not exist. Give the path of an ONNX file.")
        entry = _read_json(manifest)
        if "backbones" in entry:
            raise BackboneError(f"{manifest} is a manifest of several backbones. Keep only the entry of {path.name}.")
    else:
        manifest = models_folder() / "manifest.json"
        shipped = _read_json(manifest)
        if shipped.get("format") != MANIFEST_FORMAT:
            raise BackboneError(f"{manifest} has format {shipped.get('format')!r}, not {MANIFEST_FORMAT}. Reinstall.")
        if name not in shipped["backbones"]:
            known = ", ".join(sorted(shipped["backbones"]))
            raise BackboneError(f"no backbone is called {name!r}. Use {known}, or the path of an .onnx file.")
        entry = shipped["backbones"][name]
        path = manifest.parent / entry["file"]
    return _spec_of(name, path, entry, manifest)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BackboneError(
            f"{path} does not exist. It describes the input and the outputs of the ONNX file next to it. Write it as"
            " models/README.md shows."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{path} cannot be read as JSON ({error}). Correct it or reinstall.") from error
    if not isinstance(entry, dict):
        raise BackboneError(
            f"{path} contains a {type(entry).__name__}, not an object. Correct it as models/README.md shows."
        )
    return entry


def _spec_of(name: str, path: Path, entry: dict[str, Any], manifest: Path) -> BackboneSpec:
    try:
        graph = path.read_bytes()
    except OSError as error:
        raise BackboneError(f"{path} cannot be read ({error}). Reinstall or check the path.") from error
    try:
        spec = BackboneSpec(
            name=name,
            path=path,
            sha256=str(entry["sha256"]),
            input_name=str(entry["input"]["name"]),
            mean=tuple(map(float, entry["input"]["mean"])),
            std=tuple(map(float, entry["input"]["std"])),
            outputs=tuple(map(_output, entry["outputs"])),
            graph=graph,
        )
        _check_numbers(spec)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BackboneError(
            f"{manifest}: the entry of {path.name} is incomplete or wrong"
            f" ({type(error).__name__}: {error}). models/README.md shows a complete one."
        ) from error
    found = hashlib.sha256(graph).hexdigest()
    if found != spec.sha256:
        raise BackboneError(
            f"{path} has sha256 {found}, but {manifest} states {spec.sha256}. The file was changed or"
            " damaged. Restore the original file, or correct the entry if you changed the file."
        )
    if b"location" in graph and _EXTERNAL_DATA.search(graph):
        raise BackboneError(
            f"{path} keeps its weights in a separate file, which the sha256 does not cover. Save the network as one"
            " file, for example with torch.onnx.export(..., external_data=False)."
        )
    return spec


def _output(entry: dict[str, Any]) -> BackboneOutput:
    down, right = (float(value) for value in entry.get("offset_px", (0, 0)))
    return BackboneOutput(str(entry["name"]), int(entry["channels"]), int(entry["stride"]), (down, right))


def _check_numbers(spec: BackboneSpec) -> None:
    numbers = (*spec.mean, *spec.std)
    if len(spec.mean) != 3 or len(spec.std) != 3 or not all(map(math.isfinite, numbers)) or min(spec.std) <= 0:
        raise ValueError("input: mean and std need three finite numbers each, std above 0")
    sizes = [size for output in spec.outputs for size in (output.channels, output.stride)]
    if not sizes or min(sizes) < 1 or max(sizes) > _MAX_SIZE:
        raise ValueError(f"outputs: at least one is required, with channels and stride from 1 to {_MAX_SIZE}")
    if not all(abs(value) <= output.stride for output in spec.outputs for value in output.offset_px):
        raise ValueError("outputs: offset_px needs two numbers, each at most the stride")
