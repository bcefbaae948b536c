"""Create ``lite0_int8_v1/backbone.onnx`` from ``lite0_v1/backbone.onnx``, and its entry in the manifest.

It needs the package onnx in addition to this project:

    pip install onnx
    python models/quantize_shipped.py

The graph is written node by node, as in export_shipped.py, because the graphs of onnxruntime.quantization have larger
errors (docs/decisions/0034-int8-network.md). Run this script after export_shipped.py, which replaces the manifest. The
same versions on the same processor give the same bytes.

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
from pathlib import Path

import numpy as np
import onnx
from _drawn import calibration_images
from _integers import attributes_of, channel_ranges, clipped_to_32_bits, rounded
from measure_offsets import write_shipped
from onnx import helper, numpy_helper

HERE = Path(__file__).resolve().parent
SOURCE, NAME = "lite0", "lite0-int8"
RELU6_SCALE = 6 / 255


class Quantizer:
    """Writes the INT8 graph of a float graph from export_shipped.py.

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
            producer_name="cfa-lite models/quantize.py",  # its former name, so that the bytes stay equal
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
    write_shipped([NAME])


if __name__ == "__main__":
    main()
