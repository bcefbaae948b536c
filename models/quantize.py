"""Create ``lite0_int8_v1/backbone.onnx`` from ``lite0_v1/backbone.onnx``, and its entry in the manifest.

It needs the package onnx in addition to this project:

    pip install onnx
    python models/quantize.py

The graph is written node by node, as in export.py, because the graphs of onnxruntime.quantization have larger errors
(docs/decisions/0034-int8-network.md). Run this script after export.py, which replaces the manifest. The same versions
on the same processor give the same bytes.

- The stem and the first block stay float. Most of the error would come from them, and they are equally fast in float.
- The tensors between blocks stay float. Each expanding convolution reads an 8-bit copy in which every channel fills the
  range. The next weights undo this exactly.
- Values after relu6 are in [0, 6], so the saturation of integers does the clipping.
- No two neighboring weights add up to more than 128. Processors without VNNI add two products in 16 bits and would
  saturate otherwise.
- The bias corrects the shift of the mean that the rounding of the weights causes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the checkout need not be installed

from cfa_lite.demo.cloth import DEFECTS, weave, weave_with_defect  # noqa: E402
from cfa_lite.features.images import halve  # noqa: E402
from cfa_lite.features.runtime import onnxruntime  # noqa: E402

SOURCE, NAME = "lite0", "lite0-int8"
SIDE_PX = 256
N_ROUNDS = 2  # images of each kind
RELU6_SCALE = 6 / 255


def calibration_images(seed=0, n_rounds=N_ROUNDS):
    """Draw images (3, h, w) float32, 0 to 255, of many kinds, each whole and halved. No data set is used."""
    rng = np.random.default_rng(seed)
    images = []
    for i in range(n_rounds):
        for made in _kinds(rng, i):
            made = np.broadcast_to(made if made.ndim == 3 else made[..., None], (SIDE_PX, SIDE_PX, 3))
            tint = rng.uniform(0.3, 1.3, 3) if i % 2 else 1
            grain = rng.normal(0, 1.5, made.shape)
            pixels = np.clip(made * tint + grain, 0, 255).transpose(2, 0, 1).astype(np.float32)
            images += [pixels, halve(pixels)]
    return images


def _noise(rng, *sigma):
    field = ndimage.gaussian_filter(rng.standard_normal((SIDE_PX, SIDE_PX)), sigma, mode="wrap")
    return field / field.std()


def _kinds(rng, i):
    """Yield one image of each kind, gray (h, w) or color (h, w, 3), without tint and noise."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX - 0.5
    along = x * np.cos(i + 0.3) + y * np.sin(i + 0.3)
    tone, contrast = rng.uniform(60, 200, 8), rng.uniform(15, 70, 8)

    yield weave(rng, (288, 288))[:SIDE_PX, :SIDE_PX]
    yield weave_with_defect(rng, DEFECTS[i % len(DEFECTS)], (288, 288))[0][16 : 16 + SIDE_PX, 16 : 16 + SIDE_PX]
    for sigma in (0.7, 2, 6, 20):
        yield 128 + rng.uniform(15, 70) * _noise(rng, sigma, sigma)
    yield 128 + contrast[0] * np.stack([_noise(rng, sigma, sigma) for sigma in rng.uniform(0.5, 8, 3)], 2)
    yield tone[0] + 12 * sum(_noise(rng, sigma, sigma) * sigma**0.5 for sigma in (0.6, 1.2, 2.4, 5, 10, 20))  # cast
    yield tone[1] + 25 * _noise(rng, 0.6, rng.uniform(10, 40)) + 12 * _noise(rng, 30, 30)  # brushed metal
    yield 128 + rng.uniform(60, 240) * along  # gradient
    edge = np.where(along > rng.uniform(-0.2, 0.2), rng.uniform(150, 255), rng.uniform(0, 90))
    yield ndimage.gaussian_filter(edge, 0.6)
    yield _board(rng)
    yield ndimage.gaussian_filter(_discs(rng, np.full_like(x, tone[2]), 30), 0.7)
    yield np.full_like(x, (0, 255, 120)[i % 3])  # flat
    yield rng.uniform(8, 25) + 6 * _noise(rng, 3, 3)  # dark
    yield 238 + 7 * _noise(rng, 2, 2)  # bright
    yield 128 + 2 * contrast[1] * np.sign(np.sin(2 * np.pi * along * SIDE_PX / rng.uniform(4, 30)))  # stripes
    yield 128 + 2 * contrast[2] * np.sign(np.sin(64 * x) * np.sin(rng.uniform(50, 200) * y))  # checks
    part = np.hypot(x / rng.uniform(0.2, 0.45), y / rng.uniform(0.2, 0.45)) < 1
    yield np.where(part, tone[3] + 15 * _noise(rng, 2, 2) + 60 * x, rng.uniform(5, 40))
    specks = ndimage.binary_dilation(rng.random(x.shape) < 0.01)
    yield np.where(specks, rng.uniform(0, 255), tone[4]) + 4 * _noise(rng, 1, 1)


def _board(rng):
    """Draw a circuit board with traces, pads and parts of random colors."""
    board = np.tile(rng.uniform(10, 120, 3), (SIDE_PX, SIDE_PX, 1))
    for _ in range(25):
        row, column, length, width = *rng.integers(0, SIDE_PX, 2), rng.integers(20, 160), rng.integers(2, 7)
        height, width = (width, length) if rng.random() < 0.5 else (length, width)
        board[row : row + height, column : column + width] = rng.uniform(80, 255, 3)
    board = _discs(rng, board, 20)
    for _ in range(4):
        row, column, height, width = *rng.integers(0, SIDE_PX - 40, 2), *rng.integers(12, 60, 2)
        board[row : row + height, column : column + width] = rng.uniform(0, 80)
    return ndimage.gaussian_filter(board, (0.6, 0.6, 0))


def _discs(rng, image, n):
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    for row, column, radius in rng.uniform((0, 0, 2), (SIDE_PX, SIDE_PX, 25), (n, 3)):
        image[np.hypot(y - row, x - column) < radius] = rng.uniform(0, 255, image.shape[2:])
    return image


def channel_ranges(model, inputs):
    """Return the largest magnitude and the mean of each channel of each tensor: two dicts of (c,) float64 by name."""
    names = [node.output[0] for node in model.graph.node]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    outputs = {output.name for output in model.graph.output}
    shown.graph.output.extend(
        helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names if n not in outputs
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    largest, total = {}, {}
    for pixels in inputs:
        for name, found in zip(names, session.run(names, {model.graph.input[0].name: pixels[None]})):
            found = found[0].astype(np.float64)
            largest[name] = np.maximum(largest.get(name, 0), np.abs(found).max((1, 2)))
            total[name] = total.get(name, 0) + found.mean((1, 2))
    return largest, {name: value / len(inputs) for name, value in total.items()}


def rounded(weight, max_weight, max_pair=None):
    """Round weights (c_out, ...) to integers of at most `max_weight`; also return the scale of each output channel.

    With `max_pair`, two neighbors of the same sign in a row add up to no more than `max_pair`.
    """
    rows = weight.reshape(len(weight), -1)
    scale = np.abs(rows).max(1) / max_weight
    if max_pair:
        scale = np.maximum(scale, largest_pair(rows).max(1) / (max_pair - 0.5))  # rounding may add 0.5 to each
    scale[scale == 0] = 1  # a channel whose weights are all 0
    integers = np.rint(rows / scale[:, None]).astype(np.int64)
    assert np.abs(integers).max() <= max_weight
    assert max_pair is None or largest_pair(integers).max() <= max_pair
    return integers.reshape(weight.shape), scale


def largest_pair(rows):
    """Return the largest magnitude that two neighbors can add up to for inputs that are not negative."""
    positive, negative = np.maximum(rows, 0), np.maximum(-rows, 0)
    return np.maximum(positive[:, ::2] + positive[:, 1::2], negative[:, ::2] + negative[:, 1::2])


class Quantizer:
    """Writes the INT8 graph of a float graph from export.py.

    A tensor with the values of the float network keeps its name. The channels of ``<name>.scaled`` are divided by their
    units. ``<name>.u8`` holds the integers of either of them.
    """

    max_weight = 127
    max_pair = 128  # 255 * 128 < 2 ** 15

    def __init__(self, model, largest, mean):
        self.source, self.mean = model.graph, mean
        self.weights = {i.name: numpy_helper.to_array(i).astype(np.float64) for i in self.source.initializer}
        self.clipped = {node.input[0] for node in self.source.node if node.op_type == "Clip"}
        self.read = {node.input[0] for node in self.source.node if node.op_type == "Conv"}
        self.unit = self.units(largest)
        self.nodes, self.initializers = [], []
        self.step = {}  # difference between two consecutive integers of a tensor

    def units(self, largest):
        """Return the largest magnitude of each channel between blocks, its unit. Tensors that are added share units."""
        together = {}
        for node in self.source.node:
            (name,) = node.output
            if node.op_type == "Conv" and name not in self.clipped:
                together[name] = [name]
            elif node.op_type == "Add":
                branch, start = node.input
                together[start] += [branch, name]
                together[branch] = together[name] = together[start]
        return {
            name: np.max([largest[other] for other in group if other in self.read], axis=0)
            for name, group in together.items()
        }

    def constant(self, name, array, dtype):
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype, order="C"), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def build(self):
        self.constant("zero", 0, np.float32)
        self.constant("six", 6, np.float32)
        in_float = True
        for node in self.source.node:
            (name,) = node.output
            in_float = in_float and ".expand" not in name
            if node.op_type == "Clip" and in_float:
                self.nodes.append(node)
            elif node.op_type == "Add":
                self.node("Add", [f"{other}.scaled" for other in node.input], f"{name}.scaled")
            elif node.op_type == "Conv" and in_float:
                self.float_convolution(node)
            elif node.op_type == "Conv" and name in self.clipped:
                self.convolution_and_relu6(node)
            elif node.op_type == "Conv":
                self.projection(node)
            if name in self.unit and name in self.read:
                self.copy_of_8_bits(name)
            if name in self.outputs():
                self.node(
                    "Mul", [f"{name}.scaled", self.constant(f"{name}.unit", self.per_map(name), np.float32)], name
                )
        model = helper.make_model(
            helper.make_graph(
                self.nodes, f"{self.source.name}, INT8", self.source.input, self.source.output, self.initializers
            ),
            opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)],
            producer_name="cfa-lite models/quantize.py",
            ir_version=8,
        )
        onnx.checker.check_model(model)
        return model

    def outputs(self):
        return {output.name for output in self.source.output}

    def per_map(self, name):
        return self.unit[name][:, None, None]

    def scaled(self, node):
        """Return weight and bias of a convolution for an input and an output that are divided by their units."""
        weight, bias = self.weights[node.input[1]], self.weights[node.input[2]]
        if node.input[0] in self.unit:
            weight = weight * self.unit[node.input[0]][None, :, None, None]
        if node.output[0] in self.unit:
            weight, bias = weight / self.unit[node.output[0]][:, None, None, None], bias / self.unit[node.output[0]]
        return weight, bias

    def float_convolution(self, node):
        (name,) = node.output
        weight, bias = self.scaled(node)
        inputs = [
            node.input[0],
            self.constant(f"{name}.weight", weight, np.float32),
            self.constant(f"{name}.bias", bias, np.float32),
        ]
        self.node("Conv", inputs, f"{name}.scaled" if name in self.unit else name, **attributes_of(node))

    def integer_weight(self, node, max_pair=None):
        """Return integers, the scale of each channel, and the bias that corrects the shift of the mean."""
        weight, bias = self.scaled(node)
        integers, scale = rounded(weight, self.max_weight, max_pair)
        error = integers * scale[:, None, None, None] - weight
        mean = self.mean[node.input[0]]
        if node.input[0] in self.unit:
            mean = mean / self.unit[node.input[0]]
        # a depthwise kernel sees one input channel, that of its own index
        shift = error.sum((2, 3)) @ mean if error.shape[1] == len(mean) else error.sum((1, 2, 3)) * mean
        return integers, scale, bias - shift

    def convolution_and_relu6(self, node):
        """Add nodes that onnxruntime fuses into one QLinearConv. Its saturation to [0, 255] is relu6."""
        (name,), (given, *_) = node.output, node.input
        integers, scale, bias = self.integer_weight(node, None if ".depthwise" in name else self.max_pair)
        bias_scale = scale * self.step[given]
        inputs = [self.node("DequantizeLinear", self.integers(given), f"{name}.in")]
        for part, values, steps, dtype in (
            ("weight", integers, scale, np.int8),
            ("bias", clipped_to_32_bits(bias / bias_scale), bias_scale, np.int32),
        ):
            triple = [
                self.constant(f"{name}.{part}.integers", values, dtype),
                self.constant(f"{name}.{part}.scale", steps, np.float32),
                self.constant(f"{name}.{part}.zero", np.zeros(len(steps)), dtype),
            ]
            inputs.append(self.node("DequantizeLinear", triple, f"{name}.{part}", axis=0))
        self.node("Conv", inputs, name, **attributes_of(node))
        self.quantize(name, f"{name}.relu6", RELU6_SCALE, 0)

    def projection(self, node):
        """Add a 1x1 convolution from integers to float as a matrix product, because there is no such convolution."""
        (name,), (given, *_) = node.output, node.input
        integers, scale, bias = self.integer_weight(node, self.max_pair)
        rows, rows_scale, rows_zero = self.integers(given)
        rows = self.node("Transpose", [rows], f"{name}.rows", perm=[0, 2, 3, 1])
        inputs = [
            rows,
            self.constant(f"{name}.weight.integers", integers[:, :, 0, 0].T, np.int8),
            rows_scale,
            self.constant(f"{name}.weight.scale", scale, np.float32),
            rows_zero,
            "",  # weights are symmetric
            self.constant(f"{name}.bias", bias, np.float32),
        ]
        product = self.node("MatMulIntegerToFloat", inputs, f"{name}.product", domain="com.microsoft")
        self.node("Transpose", [product], f"{name}.scaled", perm=[0, 3, 1, 2])

    def copy_of_8_bits(self, name):
        # a channel that is divided by its unit is in [-1, 1]; 0 has an integer of its own
        self.quantize(f"{name}.scaled", name, 1 / 127.5, 128)

    def quantize(self, values, name, scale, zero):
        self.step[name] = scale
        self.constant(f"{name}.scale", scale, np.float32)
        self.constant(f"{name}.zero", zero, np.uint8)
        self.node("QuantizeLinear", [values, f"{name}.scale", f"{name}.zero"], f"{name}.u8")

    @staticmethod
    def integers(name):
        return [f"{name}.u8", f"{name}.scale", f"{name}.zero"]


def attributes_of(node):
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def clipped_to_32_bits(values):
    limits = np.iinfo(np.int32)
    return np.clip(np.rint(values), limits.min, limits.max)


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    manifest_path = HERE / "manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    source = manifest["backbones"][SOURCE]
    model = onnx.load(HERE / source["file"])
    mean, std = (np.float32(source["input"][key])[:, None, None] for key in ("mean", "std"))
    inputs = [(pixels - mean) / std for pixels in calibration_images()]
    quantized = Quantizer(model, *channel_ranges(model, inputs)).build()
    path = HERE / "lite0_int8_v1" / "backbone.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(quantized.SerializeToString())
    manifest["backbones"][NAME] = {
        **source,
        "file": path.relative_to(HERE).as_posix(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    manifest_path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes, from {len(inputs)} images")


if __name__ == "__main__":
    main()
