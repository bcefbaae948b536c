"""A small CNN as an ONNX file, written byte by byte: the onnx package is not needed for it.

Protocol buffers: a field is its number and wire type, then a varint or a length and bytes.
"""

import hashlib
import json
import struct

import numpy as np


def _varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def _int(field, value):
    return _varint(field << 3) + _varint(value)


def _bytes(field, value):
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _ints(name, values):  # AttributeProto of type INTS
    return _bytes(5, _bytes(1, name) + b"".join(_int(8, v) for v in values) + _int(20, 7))


def _tensor(name, array):  # TensorProto of type FLOAT
    raw = struct.pack(f"<{array.size}f", *array.ravel())
    return _bytes(5, b"".join(_int(1, n) for n in array.shape) + _int(2, 1) + _bytes(8, name) + _bytes(9, raw))


def _conv(x, weight, y, kernel, stride):
    pads = [(kernel - stride) // 2] * 4
    attributes = _ints("kernel_shape", [kernel] * 2) + _ints("strides", [stride] * 2) + _ints("pads", pads)
    return _bytes(1, _bytes(1, x) + _bytes(1, weight) + _bytes(2, y) + _bytes(4, "Conv") + attributes)


def _value(field, name, sides):  # ValueInfoProto of a float tensor; a side is a name (free) or a number
    dims = b"".join(_bytes(1, _bytes(2, s) if isinstance(s, str) else _int(1, s)) for s in sides)
    return _bytes(field, _bytes(1, name) + _bytes(2, _bytes(1, _int(1, 1) + _bytes(2, dims))))


def write(path, seed=0, height="h", width="w"):
    """Two convolutions: output "fine" (5 channels, stride 4) and "coarse" (7 channels, stride 12)."""
    rng = np.random.default_rng(seed)
    graph = (
        _conv("pixels", "a", "fine", 4, 4)
        + _conv("fine", "b", "coarse", 3, 3)
        + _bytes(2, "tiny")
        + _tensor("a", rng.standard_normal((5, 3, 4, 4)).astype(np.float32))
        + _tensor("b", rng.standard_normal((7, 5, 3, 3)).astype(np.float32))
        + _value(11, "pixels", ["n", 3, height, width])
        + _value(12, "fine", ["n", 5, "h4", "w4"])
        + _value(12, "coarse", ["n", 7, "h12", "w12"])
    )
    path.write_bytes(_int(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _int(2, 13)))
    write_entry(path)
    return path


def write_entry(path):
    entry = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": {"name": "pixels", "mean": [128, 128, 128], "std": [64, 64, 64]},
        "outputs": [{"name": "fine", "channels": 5, "stride": 4}, {"name": "coarse", "channels": 7, "stride": 12}],
        "source": "tests",
        "license": "Apache-2.0",
    }
    path.with_suffix(".json").write_text(json.dumps(entry))
