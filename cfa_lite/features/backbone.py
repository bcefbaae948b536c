"""Pixels -> feature maps of a frozen CNN, which onnxruntime runs on the CPU."""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path

import numpy as np

from ..errors import BackboneError
from .manifest import BackboneSpec, find_spec
from .runtime import onnxruntime

_PROBE_SIZES = (64, 96), (96, 64)  # in units of a 16th of the smallest size; two, to detect graphs of a fixed size


class Backbone:
    """A frozen CNN that computes feature maps.

    Several threads can use it at the same time.

    Parameters
    ----------
    spec : BackboneSpec
        From `manifest.find_spec`.

    Attributes
    ----------
    is_warm : bool
        Whether an inspection has loaded what the first one loads. `inference.inspection.warm_up` sets it.

    Raises
    ------
    BackboneError
        If onnxruntime cannot load the graph, or the graph contradicts `spec`.
    """

    def __init__(self, spec: BackboneSpec):
        self.spec, self.is_warm = spec, False
        self._mean = np.asarray(spec.mean, np.float32)[:, None, None]
        self._scale = 1 / np.asarray(spec.std, np.float32)[:, None, None]
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()
        self._check_graph()

    @property
    def unit_px(self) -> int:
        """Both sides of an image must be a multiple of this, so that the cells of every grid cover it exactly."""
        return math.lcm(*self.spec.strides)

    def maps(self, pixels: np.ndarray, n_threads: int = 1) -> list[np.ndarray]:
        """Compute the feature maps of one image.

        Parameters
        ----------
        pixels : ndarray (3, h, w) float32, 0 to 255
        n_threads : int, at least 1
            Threads of onnxruntime for this image.

        Returns
        -------
        list of ndarray (c, h / stride, w / stride) float32
            One map for each output of the manifest.

        Raises
        ------
        BackboneError
            If onnxruntime fails or a map contains a value that is not finite.
        """
        normalized = pixels - self._mean
        normalized *= self._scale
        maps = self._run(normalized[None], n_threads)
        if not all(np.isfinite(m.sum()) for m in maps):
            raise BackboneError(
                f"{self.spec.path} gave values that are not finite. Check its weights and its manifest entry."
            )
        return maps

    def _run(self, batch: np.ndarray, n_threads: int) -> list[np.ndarray]:
        session = self._session(n_threads)
        try:
            return [m[0] for m in session.run([o.name for o in self.spec.outputs], {self.spec.input_name: batch})]
        except Exception as error:  # the errors of onnxruntime have no common base class
            raise BackboneError(f"{self.spec.path} failed on an input of shape {batch.shape}: {error}") from error

    def _session(self, n_threads: int) -> onnxruntime.InferenceSession:
        with self._lock:
            if n_threads not in self._sessions:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = n_threads
                options.inter_op_num_threads = 1
                options.log_severity_level = 3  # errors only
                try:
                    self._sessions[n_threads] = onnxruntime.InferenceSession(
                        self.spec.graph, options, providers=["CPUExecutionProvider"]
                    )
                except Exception as error:
                    raise BackboneError(f"onnxruntime cannot load {self.spec.path}: {error}") from error
            return self._sessions[n_threads]

    def _check_graph(self) -> None:
        differences = self._differences_of_names() or self._differences_of_shapes()
        if differences:
            raise BackboneError(
                f"{self.spec.path} contradicts its manifest entry: {'; '.join(differences)}. Correct one of them."
            )

    def _differences_of_names(self) -> list[str]:
        spec, session = self.spec, self._session(1)
        differences = []
        inputs = {i.name: i for i in session.get_inputs()}
        if list(inputs) != [spec.input_name]:
            differences.append(f"its inputs are {sorted(inputs)}, the manifest states {spec.input_name!r}")
        elif inputs[spec.input_name].type != "tensor(float)":
            differences.append(f"its input is a {inputs[spec.input_name].type}, not tensor(float)")
        names = {o.name for o in session.get_outputs()}
        missing = [output.name for output in spec.outputs if output.name not in names]
        if missing:
            differences.append(f"it has no output {', '.join(map(repr, missing))}; it has {sorted(names)}")
        return differences

    def _differences_of_shapes(self) -> list[str]:
        differences = []
        for h, w in ((side // 16 * self.unit_px for side in size) for size in _PROBE_SIZES):
            maps = self._run(np.zeros((1, 3, h, w), np.float32), 1)
            for output, found in zip(self.spec.outputs, maps):
                expected = (output.channels, h // output.stride, w // output.stride)
                if found.shape != expected:
                    differences.append(
                        f"output {output.name!r} for an image of {w}x{h} px has shape (c, h, w) = {found.shape}, the"
                        f" manifest states {expected}"
                    )
        return differences


def open_fitted(backbone: str | os.PathLike[str], sha256: str, folder: Path) -> Backbone:
    """Open the backbone that a model was fitted with.

    Parameters
    ----------
    backbone : str or path
        Name of a shipped backbone, or path of an .onnx file.
    sha256 : str
        Hash of the file at the time of the fit.
    folder : Path
        Where an .onnx file with the same name is used if `backbone` no longer exists.

    Raises
    ------
    BackboneError
        If the file is missing or has another hash.
    """
    moved = folder / Path(backbone).name
    if Path(backbone).suffix.lower() == ".onnx" and not Path(backbone).is_file() and moved.is_file():
        backbone = moved
    spec = find_spec(backbone)
    if spec.sha256 != sha256:
        raise BackboneError(
            f"{spec.path} has sha256 {spec.sha256}, but the model was fitted with {sha256}. Restore the original file,"
            " or fit the model again."
        )
    return Backbone(spec)
