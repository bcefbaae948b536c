"""Write a network of torchvision or timm as ONNX, with the .json that `cfa-lite fit --backbone FILE.onnx` needs.

    pip install "cfa-lite[export]"
    python models/export.py wide_resnet50_2 --weights wide_resnet50_2.pth
    cfa-lite fit good/ -o part.cfa --backbone wide_resnet50_2.onnx

The network is cut after its outputs. These are by default the last stage at each of the strides 4, 8 and 16 (layer1,
layer2 and layer3 of a ResNet), and the tokens after the last block of a vision transformer. The ONNX file is compared
with torch at several sizes of images; if they differ, no file is written. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _outputs import ExportError, Output, as_output, default_outputs, named_outputs
from _pair import check_free, entry_of, relative_errors, write

from cfa_lite.errors import CfaLiteError
from cfa_lite.features.backbone import Backbone

NEEDED = ("torch", "torchvision", "timm", "onnx")
MAX_ERROR = 1e-4  # relative to the largest value; float32 sums in another order differ by 1e-6
CHECKED_PX = ((96, 144), (240, 176), (528, 512))  # rounded to the unit of the network


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("network", help="name in torchvision or timm: wide_resnet50_2, vit_small_patch14_dinov2, ...")
    weights = found.add_mutually_exclusive_group()
    weights.add_argument("--weights", type=Path, metavar="FILE", help="state dict of the network: .pth or .safetensors")
    weights.add_argument("--random-weights", action="store_true", help="for tests of speed: the network sees nothing")
    found.add_argument("--library", choices=("torchvision", "timm"), help="default: the first that knows the name")
    found.add_argument("--outputs", type=names, metavar="A,B", help="modules after which the network is cut")
    found.add_argument("--list", action="store_true", help="show the modules that can be an output, and end")
    found.add_argument("--mean", type=three, metavar="R,G,B", help="of pixels from 0 to 255 (default: the library's)")
    found.add_argument("--std", type=three, metavar="R,G,B", help="of pixels from 0 to 255 (default: the library's)")
    found.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: NETWORK.onnx")
    found.add_argument("--int8", action="store_true", help="also write NETWORK-int8.onnx, of 8 bit integers")
    found.add_argument(
        "--images", type=Path, metavar="FOLDER", help="images for --int8 (default: images that it draws)"
    )
    return found


def names(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names, such as layer1,layer2")
    return found


def three(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != 3 or not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers, such as 123.7,116.3,103.5")
    return found


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, and end with exit code 2 if its parts contradict each other."""
    command = parser()
    args = command.parse_args(arguments)
    if not (args.list or args.weights or args.random_weights):
        command.error("give the file of the weights with --weights, or --random-weights for a test of speed")
    if args.images and not args.int8:
        command.error("--images is for --int8")
    if args.std and min(args.std) <= 0:
        command.error("--std must be above 0")
    args.output = args.output or Path(f"{args.network}.onnx")
    return args


def check_packages() -> None:
    """Tell which package is missing, before an import fails."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f'{", ".join(missing)} is not installed. Run: pip install "cfa-lite[export]"')


def export(args: argparse.Namespace) -> None:
    """Write the network, and its INT8 version if it was asked for."""
    int8 = args.output.with_name(f"{args.output.stem}-int8.onnx")
    if not args.list:
        for path in (args.output, int8)[: 1 + args.int8]:
            check_free(path)
    check_packages()
    from _network import Cut, Network, to_onnx

    network = Network(args.network, args.library)
    seen = network.seen()
    if args.list:
        show(output for one in seen if one.module and (output := as_output(one, network.n_prefix)))
        return
    if args.outputs:
        outputs = named_outputs(seen, args.outputs, network.n_prefix)
    else:
        outputs = default_outputs(seen, network.n_prefix)
    source = f"{network.version}, {network.name}, random weights"
    if args.weights:
        unknown = network.load(args.weights, outputs, seen)
        if unknown:
            print(f"{len(unknown)} weights in {args.weights} are not used: {', '.join(unknown[:3])}", file=sys.stderr)
        digest = hashlib.sha256(args.weights.read_bytes()).hexdigest()
        source = f"{network.version}, {network.name}, weights {args.weights.name} (sha256 {digest})"
    cut = Cut(network, outputs)
    graph = to_onnx(cut)
    given = {"name": "pixels", "mean": list(args.mean or network.mean), "std": list(args.std or network.std)}
    entry = entry_of(graph, given, [entry_of_output(output) for output in outputs], source)

    def check(backbone: Backbone) -> str:
        error = largest_error(backbone, cut)
        if not error < MAX_ERROR:
            raise ExportError(
                f"the ONNX network differs from torch by {error:.1e} of the largest value; {MAX_ERROR:.0e} is allowed."
                " No file was written. The network may do something that depends on the size of the image, or its"
                " weights may be damaged."
            )
        return f"differs from torch by {error:.1e} of the largest value; sides are multiples of {backbone.unit_px} px"

    said = write(args.output, graph, entry, check)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB; {said}")
    show(outputs)
    if args.int8:
        from quantize import quantize

        print(quantize(args.output, int8, args.images))


def entry_of_output(output: Output) -> dict[str, Any]:
    return {"name": output.module, "channels": output.channels, "stride": output.stride}


def show(outputs: Any) -> None:
    for output in outputs:
        print(f"  {output.module}: {output.channels} channels, stride {output.stride}")


def largest_error(backbone: Backbone, cut: Any) -> float:
    """Compare with torch at sizes that are not square, larger and smaller than the traced one."""
    rng, errors = np.random.default_rng(0), []
    mean, std = (np.float32(values)[:, None, None] for values in (backbone.spec.mean, backbone.spec.std))
    for size_px in CHECKED_PX:
        h, w = (max(1, side // backbone.unit_px) * backbone.unit_px for side in size_px)
        smooth = rng.uniform(0, 255, (3, h // 2, w // 2)).repeat(2, 1).repeat(2, 2)
        pixels = np.zeros((3, h, w), np.float32)
        pixels[:, : smooth.shape[1], : smooth.shape[2]] = smooth
        errors += relative_errors(backbone.maps(pixels), [m[0] for m in cut.maps(((pixels - mean) / std)[None])])
    return max(errors)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parsed(arguments)
    try:
        export(args)
    except (ExportError, CfaLiteError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
