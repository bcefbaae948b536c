"""What does the INT8 backbone cost in error and gain in time, against float and against other ways to quantise?

    pip install onnx
    python benchmarks/int8.py

Variants are made by onnxruntime.quantization (u8 activations, s8 weights by channel, QDQ) or by models/quantise.py with
something left out, from its images (Percentile and Entropy from every third whole one), and take turns on one thread.
Errors are |map - float's map| / |float's map|, the median over images of the same kinds drawn with another seed, at
stride 4, 8 and 16; "whitened" are those of maps whitened image by image as descriptors are, where small directions
count as much as large ones. Times are processor time, as others may be at work.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import _common
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from cfa_lite import CFA
from cfa_lite.demo.cloth import weave
from cfa_lite.features.backbone import find_spec, models_folder
from cfa_lite.features.runtime import onnxruntime

sys.path.insert(0, str(models_folder()))
import quantise

SHRINKAGE = 0.1
HEAD = ["stem", "block0.depthwise", "block0.project"]
NO_LIMIT = 10**9


class Fed:
    """Images as onnxruntime.quantization reads them."""

    def __init__(self, inputs):
        self._left = iter(inputs)

    def get_next(self):
        pixels = next(self._left, None)
        return None if pixels is None else {"pixels": pixels[None]}


class SevenBits(quantise.Quantiser):
    max_weight, max_pair = 63, NO_LIMIT


class Unpaired(quantise.Quantiser):
    max_pair = NO_LIMIT


class OneUnit(quantise.Quantiser):
    def units(self, largest):
        return {name: np.full_like(unit, unit.max()) for name, unit in super().units(largest).items()}


class BiasLeft(quantise.Quantiser):
    def integer_weight(self, node, max_pair=None):
        integers, scale, _ = super().integer_weight(node, max_pair)
        return integers, scale, self.scaled(node)[1]


def variants(float_path: Path, folder: Path) -> dict[str, str]:
    """Paths of graphs by what they are; float first."""
    graph = onnx.load(float_path)
    inputs = normalised(quantise.calibration_images())
    made = {"float32": str(float_path), "shipped": str(find_spec(quantise.NAME).path)}
    theirs = {
        "onnxruntime, MinMax": {},
        "onnxruntime, MinMax, QOperator": {"quant_format": QuantFormat.QOperator},
        "onnxruntime, Percentile": {"calibrate_method": CalibrationMethod.Percentile},
        "onnxruntime, Entropy": {"calibrate_method": CalibrationMethod.Entropy},
        "onnxruntime, MinMax, first block float": {"nodes_to_exclude": HEAD},
    }
    for i, (name, options) in enumerate(theirs.items()):
        made[name] = str(folder / f"theirs{i}.onnx")
        # histograms take images of one size, and keep all their maps in memory
        fed = Fed(inputs[::6] if "calibrate_method" in options else inputs)
        quantize_static(
            str(float_path), made[name], fed, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            per_channel=True, **{"quant_format": QuantFormat.QDQ, **options},
        )  # fmt: skip
    ranges = quantise.channel_ranges(graph, inputs)
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


def normalised(images):
    spec = find_spec(quantise.SOURCE)
    mean, std = (np.float32(values)[:, None, None] for values in (spec.mean, spec.std))
    return [(pixels - mean) / std for pixels in images]


def session_of(path: str):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def maps_of(session, pixels: np.ndarray) -> list[np.ndarray]:
    """Maps as (channels, positions)."""
    found = session.run([name for name, _, _ in find_spec(quantise.SOURCE).outputs], {"pixels": pixels[None]})
    return [m[0].reshape(m.shape[1], -1).astype(np.float64) for m in found]


def whitening(maps: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.cov(maps))
    return (vectors / np.sqrt(np.maximum(values, 0) + SHRINKAGE * values.mean())).T


def errors(sessions: dict, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Median over images of the relative error, plain and whitened: (2, n_outputs) of each variant."""
    taken: dict[str, list] = {name: [] for name in sessions}
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
            name: session_of(path) for name, path in variants(find_spec(quantise.SOURCE).path, Path(folder)).items()
        }
    # a flat image has one value a channel, but for its grain: there is nothing to be near to
    images = [p for p in quantise.calibration_images(seed=1, n_rounds=1) if p.std() > 3]
    found = errors(sessions, normalised(images))
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


def whole_images() -> dict:
    """Scoring one image by models that differ in their backbone only."""
    rng = np.random.default_rng(0)
    good, new = [weave(rng) for _ in range(30)], weave(rng)
    models = {name: CFA(backbone=name, threads=1).fit(good) for name in (quantise.SOURCE, quantise.NAME)}
    return {name: partial(model.inspect, new) for name, model in models.items()}


if __name__ == "__main__":
    main()
