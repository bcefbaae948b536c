"""What does the INT8 network cost in error and save in time, compared with float32 and with other ways to quantize?

    pip install onnx
    python benchmarks/int8.py

The variants come from onnxruntime.quantization (unsigned 8-bit activations, signed 8-bit weights per channel, QDQ), or
from models/quantize_shipped.py with one step left out. They are calibrated on the images of models/_drawn.py;
Percentile and Entropy use every third image, not halved. The variants take turns on one thread.

The error is |map - float map| / |float map| at strides 4, 8 and 16, the median over images of the same kinds from
another seed. "whitened" is the error after the whitening of the float maps of each image, which gives small directions
as much weight as large ones. Times are processor time, so other processes do not count.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import _common
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from cfa_lite import CFA
from cfa_lite.demo.cloth import weave
from cfa_lite.features.manifest import find_spec, models_folder
from cfa_lite.features.runtime import onnxruntime

sys.path.insert(0, str(models_folder()))
import quantize_shipped
from _drawn import calibration_images
from _integers import channel_ranges

SHRINKAGE = 0.1
HEAD = ["stem", "block0.depthwise", "block0.project"]
NO_LIMIT = 10**9


class Fed:
    """Calibration images in the form that onnxruntime.quantization reads."""

    def __init__(self, inputs: Iterable[np.ndarray]):
        self._left = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        pixels = next(self._left, None)
        return None if pixels is None else {"pixels": pixels[None]}


class SevenBits(quantize_shipped.Quantizer):
    max_weight, max_pair = 63, NO_LIMIT


class Unpaired(quantize_shipped.Quantizer):
    max_pair = NO_LIMIT


class OneUnit(quantize_shipped.Quantizer):
    def units(self, largest: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.full_like(unit, unit.max()) for name, unit in super().units(largest).items()}


class BiasLeft(quantize_shipped.Quantizer):
    def integer_weight(self, node: Any, max_pair: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        integers, scale, _ = super().integer_weight(node, max_pair)
        return integers, scale, self.scaled(node)[1]


def variants(float_path: Path, folder: Path) -> dict[str, str]:
    """Write the graph of each variant and return its path; float32 comes first."""
    graph = onnx.load(float_path)
    inputs = normalized(calibration_images())
    made = {"float32": str(float_path), "shipped": str(find_spec(quantize_shipped.NAME).path)}
    theirs: dict[str, dict[str, Any]] = {
        "onnxruntime, MinMax": {},
        "onnxruntime, MinMax, QOperator": {"quant_format": QuantFormat.QOperator},
        "onnxruntime, Percentile": {"calibrate_method": CalibrationMethod.Percentile},
        "onnxruntime, Entropy": {"calibrate_method": CalibrationMethod.Entropy},
        "onnxruntime, MinMax, first block float": {"nodes_to_exclude": HEAD},
    }
    for i, (name, options) in enumerate(theirs.items()):
        made[name] = str(folder / f"theirs{i}.onnx")
        # histograms need images of one size, and keep all maps in memory
        fed = Fed(inputs[::6] if "calibrate_method" in options else inputs)
        quantize_static(
            str(float_path), made[name], fed, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            per_channel=True, **{"quant_format": QuantFormat.QDQ, **options},
        )  # fmt: skip
    ranges = channel_ranges(graph, inputs)
    ours = {
        "ours, pairs not limited": Unpaired,
        "ours, weights of 7 bits": SevenBits,
        "ours, one unit for all channels": OneUnit,
        "ours, bias left": BiasLeft,
    }
    for i, (name, kind) in enumerate(ours.items()):
        made[name] = str(folder / f"ours{i}.onnx")
        onnx.save(kind(graph, *ranges).build(), made[name])
    return made


def normalized(images: Iterable[np.ndarray]) -> list[np.ndarray]:
    spec = find_spec(quantize_shipped.SOURCE)
    mean, std = (np.float32(values)[:, None, None] for values in (spec.mean, spec.std))
    return [(pixels - mean) / std for pixels in images]


def session_of(path: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def maps_of(session: Any, pixels: np.ndarray) -> list[np.ndarray]:
    """Return the feature maps as (channels, positions) float64."""
    found = session.run([name for name, _, _ in find_spec(quantize_shipped.SOURCE).outputs], {"pixels": pixels[None]})
    return [m[0].reshape(m.shape[1], -1).astype(np.float64) for m in found]


def whitening(maps: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.cov(maps))
    return (vectors / np.sqrt(np.maximum(values, 0) + SHRINKAGE * values.mean())).T


def errors(sessions: dict[str, Any], inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the median relative error (2, n_outputs) of each variant: as it is, and whitened."""
    taken: dict[str, list[Any]] = {name: [] for name in sessions}
    for pixels in inputs:
        exact = maps_of(sessions["float32"], pixels)
        whiten = [whitening(e) for e in exact]
        for name, session in sessions.items():
            found = maps_of(session, pixels)
            plain = [np.linalg.norm(f - e) / np.linalg.norm(e) for f, e in zip(found, exact)]
            white = [
                np.linalg.norm(w @ (f - e)) / np.linalg.norm(w @ (e - e.mean(1, keepdims=True)))
                for f, e, w in zip(found, exact, whiten)
            ]
            taken[name].append((plain, white))
    return {name: np.median(of_images, axis=0) for name, of_images in taken.items()}


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    _common.print_machine(1)
    with tempfile.TemporaryDirectory() as folder:
        sessions = {
            name: session_of(path)
            for name, path in variants(find_spec(quantize_shipped.SOURCE).path, Path(folder)).items()
        }
    # a flat image has only noise, so its relative error means nothing
    images = [p for p in calibration_images(seed=1, n_rounds=1) if p.std() > 3]
    found = errors(sessions, normalized(images))
    print(f"\n{len(images)} images\n| | error, stride 4, 8, 16 | whitened |\n|---|---|---|")
    for name, (plain, white) in found.items():
        print(f"| {name} | {' '.join(f'{v:.3f}' for v in plain)} | {' '.join(f'{v:.3f}' for v in white)} |")
    for side in (256, 128):
        pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
        calls = {name: partial(session.run, None, {"pixels": pixels}) for name, session in sessions.items()}
        seconds = _common.interleaved(calls, args.rounds, time.thread_time)
        _common.print_interleaved(f"{side}x{side} px, {args.rounds} rounds, processor time", seconds)
    _common.print_interleaved(
        "inspect of woven cloth, 288x384 px, processor time",
        _common.interleaved(whole_images(), args.rounds, time.process_time),
    )


def whole_images() -> dict[str, Callable[[], object]]:
    """Return calls that inspect one image with models that differ only in the backbone."""
    rng = np.random.default_rng(0)
    good, new = [weave(rng) for _ in range(30)], weave(rng)
    models = {
        name: CFA(backbone=name, threads=1).fit(good) for name in (quantize_shipped.SOURCE, quantize_shipped.NAME)
    }
    return {name: partial(model.inspect, new) for name, model in models.items()}


if __name__ == "__main__":
    main()
