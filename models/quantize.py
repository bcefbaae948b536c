"""Write the INT8 version of a network that `cfa-lite fit --backbone FILE.onnx` takes.

    pip install "cfa-lite[export]"
    python models/quantize.py my.onnx --images good/
    cfa-lite fit good/ -o part.cfa --backbone my-int8.onnx

The ranges of the activations come from images: those of a folder, best of many products, or images that the script
draws. The maps of both networks are then compared. A network that is too inexact is not written.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _drawn import calibration_images
from _outputs import ExportError
from _pair import check_free, entry_of, write

from cfa_lite.errors import CfaLiteError, ImageError
from cfa_lite.features import images
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.manifest import find_spec

AREA_PX = 256**2
MOST = 100  # images of a folder; more change the ranges little
MAX_ERROR = 0.3  # median |map - float map| / |float map| of the worst output
N_COMPARED = 24


def of_folder(folder: Path, unit_px: int) -> list[np.ndarray]:
    """Read at most `MOST` images of a folder as pixels (3, h, w), each whole and halved, as a model sees them.

    Raises
    ------
    ExportError, ImageError
        If there is none, or none can be read.
    """
    paths = [one.path for one in images.find_images([folder])]
    found: list[np.ndarray] = []
    for path in (paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, MOST).round().astype(int))):
        try:
            loaded = images.read(path, str(path))
        except ImageError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        h, w = loaded.size_px
        pixels = images.to_pixels(loaded, images.working_size((h, w), (AREA_PX / (h * w)) ** 0.5, 2 * unit_px))
        found += [pixels, images.halve(pixels)]
    if not found:
        raise ExportError(f"{folder} holds no image that can be read. Give another folder with --images.")
    return found


def drawn(unit_px: int, seed: int = 0, n_rounds: int = 2) -> list[np.ndarray]:
    """Draw images (3, h, w) with sides that are multiples of `unit_px`."""
    found = calibration_images(seed, n_rounds)
    cut = [[side // unit_px * unit_px for side in image.shape[1:]] for image in found]
    return [np.ascontiguousarray(image[:, :h, :w]) for image, (h, w) in zip(found, cut) if min(h, w) > 0]


def quantize(source: Path, output: Path, folder: Path | None = None, max_error: float = MAX_ERROR) -> str:
    """Write the INT8 version of a network, and return a line that tells its size and its error.

    Raises
    ------
    ExportError, BackboneError
        If the network cannot be quantized, or the error of an output is too large. No file is then written.
    """
    check_free(output)
    if importlib.util.find_spec("onnx") is None:
        raise ExportError('onnx is not installed. Run: pip install "cfa-lite[export]"')
    from _qdq import folded, quantized

    exact = Backbone(find_spec(source))
    pixels = drawn(exact.unit_px) if folder is None else of_folder(folder, exact.unit_px)
    mean, std = (np.float32(values)[:, None, None] for values in (exact.spec.mean, exact.spec.std))
    graph = quantized(folded(source), [(one - mean) / std for one in pixels]).SerializeToString()
    entry = json.loads(source.with_suffix(".json").read_text(encoding="utf-8-sig"))
    made = entry_of(graph, entry["input"], entry["outputs"], f"{entry.get('source', source.name)}; 8 bit integers")
    # drawn with another seed: the ranges were not measured on these
    compared = drawn(exact.unit_px, 1, 1) if folder is None else pixels
    compared = [one for one in compared if one.std() > 3][:: max(1, len(compared) // N_COMPARED)]

    def check(backbone: Backbone) -> str:
        errors = median_errors(backbone, exact, compared)
        said = ", ".join(f"{o.name} {error:.3f}" for o, error in zip(backbone.spec.outputs, errors))
        if not max(errors) <= max_error:
            raise ExportError(
                f"{output} was not written: as integers, the maps of {source} are off by {said} of their norm, and"
                f" {max_error} is allowed. Use the float network, give other images with --images, or allow more with"
                " --max-error."
            )
        return said

    said = write(output, graph, made, check)
    return (
        f"{output}: {output.stat().st_size / 1e6:.1f} MB; its maps are off by {said} of their norm (median of images)"
    )


def median_errors(backbone: Backbone, exact: Backbone, pixels: Sequence[np.ndarray]) -> list[float]:
    """Return the median relative error of each output over images."""
    errors = []
    for one in pixels:
        pairs = zip(backbone.maps(one), exact.maps(one))
        errors.append([np.linalg.norm(f - e) / max(np.linalg.norm(e), np.finfo(np.float32).tiny) for f, e in pairs])
    return [float(error) for error in np.median(errors, axis=0)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="ONNX file with its .json, as models/export.py writes it")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="images to measure ranges on (default: it draws)")
    parser.add_argument("--max-error", type=float, default=MAX_ERROR, help="(default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: NETWORK-int8.onnx")
    args = parser.parse_args(arguments)
    try:
        output = args.output or args.network.with_name(f"{args.network.stem}-int8.onnx")
        print(quantize(args.network, output, args.images, args.max_error))
    except (ExportError, CfaLiteError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
