"""Stage 2: pixels -> feature maps of a frozen CNN, run by onnxruntime on the CPU."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackboneError
from .runtime import onnxruntime

_PACKAGE = Path(__file__).resolve().parent.parent
_MAX_SIZE = 1 << 14  # of channels and strides; larger ones are a slip of the pen
MANIFEST_FORMAT = 1
_PROBE_SIZES = (64, 96), (96, 64)  # in units of the coarsest stride / 16; two, so that a fixed size shows


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone's manifest entry.

    Attributes
    ----------
    name : str
        Its name in the shipped manifest, or the path that the user gave.
    path : Path
        The ONNX file.
    sha256 : str
        Of that file, in hexadecimal.
    input_name : str
        Of the graph's one input, float32 (n, 3, h, w) in red, green, blue order.
    mean, std : tuple of 3 float
        The graph is given (pixels - mean) / std, pixels from 0 to 255.
    outputs : tuple of (str, int, int)
        Name, channels and stride of each map used, in this order.
    """

    name: str
    path: Path
    sha256: str
    input_name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outputs: tuple[tuple[str, int, int], ...]

    def seen(self) -> dict[str, Any]:
        """What a model's features depend on besides the file; JSON types only."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "outputs": [[name, channels, stride] for name, channels, stride in self.outputs],
        }

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(stride for _, _, stride in self.outputs)


def models_folder() -> Path:
    """Where the shipped backbones are: inside the installed package, or ../models of a checkout."""
    installed = _PACKAGE / "models"
    return installed if installed.is_dir() else _PACKAGE.parent / "models"


def find_spec(backbone: str | os.PathLike) -> BackboneSpec:
    """Manifest entry of a shipped backbone by name, or of a user's ONNX file by path.

    The entry of ``my.onnx`` is ``my.json`` beside it: an object with the keys of one backbone in
    models/manifest.json.

    Raises
    ------
    BackboneError
        If the file or its entry is missing, incomplete, or the file is not the one the entry names.
    """
    name = os.fspath(backbone)
    if Path(name).suffix.lower() == ".onnx":
        path = Path(name)
        manifest = path.with_suffix(".json")
        if not path.is_file():
            raise BackboneError(f"{path} does not exist. Give the path of an ONNX file.")
        entry = _read_json(manifest)
        if "backbones" in entry:
            raise BackboneError(f"{manifest} is a whole manifest. Keep only the entry of {path.name} in it.")
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


def open_fitted(backbone: str | os.PathLike, sha256: str, folder: Path) -> Backbone:
    """The backbone that a model was fitted with; an .onnx file that has moved may lie in `folder`.

    Raises
    ------
    BackboneError
        If it is missing, or is another one.
    """
    beside = folder / Path(backbone).name
    if Path(backbone).suffix.lower() == ".onnx" and not Path(backbone).is_file() and beside.is_file():
        backbone = beside
    spec = find_spec(backbone)
    if spec.sha256 != sha256:
        raise BackboneError(
            f"{spec.path} has sha256 {spec.sha256}, but the model was fitted with {sha256}. Put the one"
            " it was fitted with in its place, or fit again."
        )
    return Backbone(spec)


def _read_json(path: Path) -> dict:
    try:
        entry = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BackboneError(
            f"{path} does not exist: it tells what the ONNX file beside it takes and gives. Write it"
            " (models/README.md shows how)."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{path} cannot be read as JSON ({error}). Mend or reinstall it.") from error
    if not isinstance(entry, dict):
        raise BackboneError(f"{path} holds a {type(entry).__name__}, not an object. Mend it (models/README.md).")
    return entry


def _spec_of(name: str, path: Path, entry: dict, manifest: Path) -> BackboneSpec:
    try:
        data = path.read_bytes()
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
            outputs=tuple((str(o["name"]), int(o["channels"]), int(o["stride"])) for o in entry["outputs"]),
        )
        numbers = (*spec.mean, *spec.std)
        if len(spec.mean) != 3 or len(spec.std) != 3 or not all(map(math.isfinite, numbers)) or min(spec.std) <= 0:
            raise ValueError("input: mean and std need three finite numbers each, std above 0")
        sizes = [size for _, channels, stride in spec.outputs for size in (channels, stride)]
        if not sizes or min(sizes) < 1 or max(sizes) > _MAX_SIZE:
            raise ValueError(f"outputs: at least one is needed, channels and stride from 1 to {_MAX_SIZE}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BackboneError(
            f"{manifest}: the entry of {path.name} is incomplete or wrong"
            f" ({type(error).__name__}: {error}). models/README.md shows a whole one."
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != spec.sha256:
        raise BackboneError(
            f"{path} has sha256 {found}, but {manifest} says {spec.sha256}. The file was changed or"
            " damaged; put the right one back, or correct the entry if the change is yours."
        )
    return spec


class Backbone:
    """A frozen CNN that gives one feature map an output.

    Safe to use from several threads at once.

    Parameters
    ----------
    spec : BackboneSpec
        From `find_spec`.

    Raises
    ------
    BackboneError
        If onnxruntime cannot load the graph, or the graph does not do what `spec` says.
    """

    def __init__(self, spec: BackboneSpec):
        self.spec = spec
        self._mean = np.asarray(spec.mean, np.float32)[:, None, None]
        self._scale = 1 / np.asarray(spec.std, np.float32)[:, None, None]
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()
        self._check_graph()

    @property
    def unit_px(self) -> int:
        """Both sides of an image must be a multiple of this, so that every grid fits it exactly."""
        return math.lcm(*self.spec.strides)

    def maps(self, pixels: np.ndarray, n_threads: int = 1) -> list[np.ndarray]:
        """Feature maps of one image.

        Parameters
        ----------
        pixels : ndarray (3, h, w) float32, 0 to 255
        n_threads : int
            Threads of onnxruntime for this image.

        Returns
        -------
        list of ndarray (c, h / stride, w / stride) float32, one an output

        Raises
        ------
        BackboneError
            If onnxruntime fails or a map is not finite.
        """
        given = pixels - self._mean
        given *= self._scale
        maps = self._run(given[None], n_threads)
        if not all(np.isfinite(m.sum()) for m in maps):
            raise BackboneError(
                f"{self.spec.path} gave values that are not finite. Check the weights and the manifest."
            )
        return maps

    def _run(self, batch: np.ndarray, n_threads: int) -> list[np.ndarray]:
        session = self._session(n_threads)
        try:
            return [
                m[0] for m in session.run([name for name, _, _ in self.spec.outputs], {self.spec.input_name: batch})
            ]
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise BackboneError(f"{self.spec.path} failed on an input of shape {batch.shape}: {error}") from error

    def _session(self, n_threads: int) -> onnxruntime.InferenceSession:
        with self._lock:
            if n_threads not in self._sessions:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = n_threads
                options.inter_op_num_threads = 1
                options.log_severity_level = 3  # errors only, which are raised as well
                try:
                    self._sessions[n_threads] = onnxruntime.InferenceSession(
                        os.fspath(self.spec.path), options, providers=["CPUExecutionProvider"]
                    )
                except Exception as error:
                    raise BackboneError(f"onnxruntime cannot load {self.spec.path}: {error}") from error
            return self._sessions[n_threads]

    def _check_graph(self) -> None:
        spec = self.spec
        session = self._session(1)
        differs = []
        inputs = {i.name: i for i in session.get_inputs()}
        if list(inputs) != [spec.input_name]:
            differs.append(f"its inputs are {sorted(inputs)}, the manifest names {spec.input_name!r}")
        elif inputs[spec.input_name].type != "tensor(float)":
            differs.append(f"its input is a {inputs[spec.input_name].type}, not tensor(float)")
        given = {o.name for o in session.get_outputs()}
        missing = [name for name, _, _ in spec.outputs if name not in given]
        if missing:
            differs.append(f"it has no output {', '.join(map(repr, missing))}; it has {sorted(given)}")
        if not differs:
            for h, w in ((side // 16 * self.unit_px for side in size) for size in _PROBE_SIZES):
                maps = self._run(np.zeros((1, 3, h, w), np.float32), 1)
                for (name, channels, stride), found in zip(spec.outputs, maps):
                    wanted = (channels, h // stride, w // stride)
                    if found.shape != wanted:
                        differs.append(
                            f"output {name!r} for an image of {w}x{h} px has shape (c, h, w) ="
                            f" {found.shape}, by the manifest {wanted}"
                        )
        if differs:
            raise BackboneError(
                f"{spec.path} is not what its manifest says: {'; '.join(differs)}. Correct the one or the other."
            )
