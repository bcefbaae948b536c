"""Any float ONNX network -> one of 8-bit integers, in the form (QDQ) that onnxruntime turns into integer kernels.

Convolutions and products with constant matrices compute with integers; everything else stays float. As in the shipped
INT8 network, the first convolution stays float, no two neighboring weights add up to more than 128, and the biases
correct the shift of the mean that the rounding of the weights causes (docs/decisions/0034-int8-network.md).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from _integers import attributes_of, clipped_to_32_bits, rounded
from onnx import TensorProto, helper, numpy_helper

from cfa_lite.features.runtime import onnxruntime

MAX_WEIGHT, MAX_PAIR = 127, 128  # 255 * 128 < 2 ** 15: processors without VNNI add two products in 16 bits
N_STEPS = 255
IR_VERSION = 8


class Ranges:
    """Least and largest value, mean of each channel and number of values of a channel, of each watched tensor."""

    def __init__(self):
        self.least, self.largest, self.mean, self.n_values = {}, {}, {}, {}

    def see(self, name, values, axis):
        """Add the values of one image, whose channels are at `axis`."""
        channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        self.least[name] = min(self.least.get(name, 0.0), float(values.min()))  # 0 needs an integer, for the padding
        self.largest[name] = max(self.largest.get(name, 0.0), float(values.max()))
        old, count = self.mean.get(name, 0.0), self.n_values.get(name, 0) + channels.shape[1]
        self.mean[name] = old + (channels.sum(1, dtype=np.float64) - channels.shape[1] * old) / count
        self.n_values[name] = count

    def grid(self, name):
        """Return the difference between two consecutive integers of a tensor, and the integer of 0."""
        step = max((self.largest[name] - self.least[name]) / N_STEPS, float(np.finfo(np.float32).tiny))
        return step, int(np.rint(-self.least[name] / step))


def session_of(model, level=None, saved_to=None):
    """Open a graph, from a path or from bytes, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if level is not None:
        options.graph_optimization_level = level
    if saved_to is not None:
        options.optimized_model_filepath = str(saved_to)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def folded(path: Path) -> onnx.ModelProto:
    """Read a graph. onnxruntime computes constants, and folds batch normalization into convolutions."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "folded.onnx"
        session_of(str(path), onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC, saved)
        return onnx.load(saved)


def quantized(model, inputs):
    """Return the INT8 graph of a float graph, with ranges measured on `inputs`, each (3, h, w) float32, normalized."""
    writer = QdqWriter(model)
    ranges = writer.measured(inputs)
    return writer.write(ranges, len(inputs))


class QdqWriter:
    """Writes the INT8 graph of a float graph.

    A tensor with rounded values keeps its name if all nodes read it rounded; ``<name>.float`` is then what was rounded.
    Where other nodes need the float values, ``<name>.rounded`` is a copy. ``<name>.u8`` holds the integers.
    """

    def __init__(self, model: onnx.ModelProto):
        self.model, self.source = model, model.graph
        self.constants = {i.name: numpy_helper.to_array(i) for i in self.source.initializer}
        self.outputs = {output.name for output in self.source.output}
        self.readers = {}
        for node in self.source.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.nodes, self.initializers = [], []
        self.grids = {}  # step and zero of each rounded tensor
        self.biases = {}  # of constant addends that correct the shift of a matrix product

    def can_be_integer(self, node):
        """Tell whether a node multiplies with constant weights and does not read the pixels."""
        if node.op_type not in ("Conv", "MatMul") or node.input[1] not in self.constants:
            return False
        if node.op_type == "MatMul":
            return self.constants[node.input[1]].ndim == 2
        return node.input[0] != self.source.input[0].name and self.constants[node.input[1]].ndim == 4

    def activated(self, node):
        """Return the node that limits the range of a convolution's output, if it is the only reader; else the node."""
        readers = self.readers.get(node.output[0], [])
        if len(readers) == 1 and node.output[0] not in self.outputs and readers[0].op_type in ("Relu", "Clip"):
            return readers[0]
        return node

    def measured(self, inputs):
        """Run the float graph and return the ranges of all that integer nodes read and of what convolutions give."""
        axes = {}
        for node in filter(self.can_be_integer, self.source.node):
            axes[node.input[0]] = 1 if node.op_type == "Conv" else -1
            if node.op_type == "Conv":
                axes[self.activated(node).output[0]] = 1
        shown = onnx.ModelProto()
        shown.CopyFrom(self.model)
        shown.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in axes if name not in self.outputs
        )
        session, ranges = session_of(shown.SerializeToString()), Ranges()
        for pixels in inputs:
            for name, values in zip(axes, session.run(list(axes), {self.source.input[0].name: pixels[None]})):
                ranges.see(name, values, axes[name])
        return ranges

    def write(self, ranges, n_images):
        """Return the INT8 graph."""
        # A map of one position (squeeze-and-excitation) takes no time, and its rounding would move the whole image.
        chosen = [n for n in self.source.node if self.can_be_integer(n) and ranges.n_values[n.input[0]] > n_images]
        integer = {id(node) for node in chosen}
        ends = {id(self.activated(node)) for node in chosen if node.op_type == "Conv"}
        for node in self.source.node:
            (name, *_), copy = node.output, onnx.NodeProto()
            copy.CopyFrom(node)
            if id(node) in integer:
                self.make_integer(copy, ranges)
            for i, given in enumerate(copy.input):
                copy.input[i] = self.biases.get((name, given), given)
            self.nodes.append(copy)
            if id(node) in ends:
                copy.output[0] = f"{name}.float"
                self.round(f"{name}.float", name, ranges.grid(name))
            elif node.op_type == "MaxPool" and node.input[0] in self.grids:
                self.grids[f"{name}.rounded"] = self.grids[node.input[0]]  # its values are already on this grid
        read = {name for node in self.nodes for name in node.input}
        kept = [constant for constant in self.source.initializer if constant.name in read]
        model = helper.make_model(
            helper.make_graph(self.nodes, "INT8", self.source.input, self.source.output, [*kept, *self.initializers]),
            opset_imports=self.model.opset_import,
            producer_name="cfa-lite models/quantize.py",
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model)
        return model

    def make_integer(self, node, ranges):
        """Give a convolution or matrix product rounded inputs and weights, and correct its bias."""
        given, is_conv = node.input[0], node.op_type == "Conv"
        if given not in self.grids:
            self.make_rounded_copy(given, ranges)
            node.input[0] = f"{given}.rounded"
        weight = self.constants[node.input[1]].astype(np.float64)
        integers, scale, shift = integer_weight(
            weight if is_conv else weight.T, ranges.mean[given], attributes_of(node).get("group", 1)
        )
        output = node.output[0]
        node.input[1] = self.integers(f"{output}.int8.weight", integers if is_conv else integers.T, scale, not is_conv)
        if is_conv:
            bias = self.constants[node.input[2]].astype(np.float64) if len(node.input) > 2 else np.zeros(len(scale))
            scale = scale * self.grids[node.input[0]][0]
            name = self.integers(f"{output}.int8.bias", clipped_to_32_bits((bias - shift) / scale), scale, 0, np.int32)
            del node.input[2:]
            node.input.append(name)
            return
        for reader in self.readers.get(output, []):  # a linear layer is a product and a sum
            for other in reader.input:
                if reader.op_type == "Add" and getattr(self.constants.get(other), "shape", None) == shift.shape:
                    corrected = (self.constants[other] - shift).astype(np.float32)
                    self.biases[reader.output[0], other] = self.constant(f"{output}.int8.bias", corrected)

    def make_rounded_copy(self, name, ranges):
        """Add a rounded copy of a float tensor, once."""
        copy = f"{name}.rounded"
        if not any(node.output[0] == copy for node in self.nodes):
            self.round(name, copy, self.grids.get(copy) or ranges.grid(name))

    def round(self, values, name, grid):
        """Add nodes that round `values` to integers and return to float, as `name`."""
        self.grids[name] = grid
        parts = [
            self.constant(f"{name}.step", np.float32(grid[0])),
            self.constant(f"{name}.zero", np.uint8(grid[1])),
        ]
        self.nodes.append(helper.make_node("QuantizeLinear", [values, *parts], [f"{name}.u8"]))
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{name}.u8", *parts], [name]))

    def integers(self, name, values, scale, axis, dtype=np.int8):
        """Add constant integers with a scale for each output channel, and return the name of their float values."""
        parts = [
            self.constant(f"{name}.integers", np.ascontiguousarray(values, dtype)),
            self.constant(f"{name}.scale", scale.astype(np.float32)),
            self.constant(f"{name}.zero", np.zeros(len(scale), dtype)),
        ]
        self.nodes.append(helper.make_node("DequantizeLinear", parts, [name], axis=int(axis)))
        return name

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def integer_weight(weight, mean, n_groups=1):
    """Round the weights of a convolution (c_out, c_in / n_groups, ...) or of a matrix product (c_out, c_in).

    Parameters
    ----------
    weight : ndarray, float64
    mean : ndarray (c_in,)
        Mean of each input channel.
    n_groups : int

    Returns
    -------
    integers : ndarray of the same shape, int64
    scale : ndarray (c_out,)
    shift : ndarray (c_out,)
        How much the rounding shifts the mean of each output channel.
    """
    # Neighbors are channels of one kernel position, in the order of onnxruntime's matrix products.
    rows = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
    even = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    integers, scale = rounded(even, MAX_WEIGHT, MAX_PAIR if weight.shape[1] > 1 else None)
    moved = np.moveaxis(weight, 1, -1).shape
    integers = np.moveaxis(integers[:, : rows.shape[1]].reshape(moved), -1, 1)
    error = integers * scale.reshape(-1, *[1] * (weight.ndim - 1)) - weight
    error = error.reshape(*weight.shape[:2], -1).sum(2)
    of_group = mean.reshape(n_groups, -1)[np.arange(len(weight)) * n_groups // len(weight)]
    return integers, scale, (error * of_group).sum(1)
