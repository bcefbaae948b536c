"""What both kinds of INT8 networks share: the ranges of their tensors, and weights as integers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the checkout need not be installed

from cfa_lite.features.runtime import onnxruntime


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


def attributes_of(node):
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def clipped_to_32_bits(values):
    limits = np.iinfo(np.int32)
    return np.clip(np.rint(values), limits.min, limits.max)
