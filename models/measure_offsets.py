"""Measure by how much each output of a network shows things beside their true place, and write it to the manifest.

    python models/measure_offsets.py               # the shipped networks
    python models/measure_offsets.py my.onnx       # writes my.json

Padding at one side only, such as "SAME" of TensorFlow, moves what a network shows up and left. By how much depends on
the weights too, so it is measured: squares are changed in images of noise, and the center of the change of each feature
map, weighted by its energy, is compared with the center of the square. export.py, quantize.py and the scripts of the
shipped networks call this.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the checkout need not be installed

from cfa_lite.features.backbone import Backbone
from cfa_lite.features.manifest import find_spec, models_folder

N_IMAGES, N_SQUARES = 8, 48  # of each image
SIDE_PX, SQUARE_PX = 256, 8  # with smaller squares, the rounding of INT8 networks matters


def noise(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """Return pixels (3, side_px, side_px) whose structure has the same strength at every scale, as photographs have."""
    frequency = np.hypot(np.fft.fftfreq(side_px)[:, None], np.fft.rfftfreq(side_px))
    frequency[0, 0] = 1
    white = 0.8 * rng.normal(size=(1, side_px, side_px)) + 0.2 * rng.normal(size=(3, side_px, side_px))
    pixels = np.fft.irfft2(np.fft.rfft2(white) / frequency, (side_px, side_px))
    return np.clip(127 + 45 * (pixels - pixels.mean()) / pixels.std(), 0, 255).astype(np.float32)


def changed(rng: np.random.Generator, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make a square of an image lighter or darker; return the image and the center (down, right) of the square."""
    side = pixels.shape[1]
    top, left = rng.integers(side * 3 // 8, side * 5 // 8, 2)  # the middle: places cancel out if a change has no place
    square = (slice(None), slice(top, top + SQUARE_PX), slice(left, left + SQUARE_PX))
    found = pixels.copy()
    found[square] = np.clip(found[square] + rng.choice([-1, 1]) * rng.uniform(60, 160), 0, 255)
    return found, np.array([top, left]) + SQUARE_PX / 2


def center(change: np.ndarray, side_px: int) -> np.ndarray:
    """Return the center (down, right) of the energy of a change (c, h, w) of a feature map, in pixels of the input."""
    energy = (change.astype(np.float64) ** 2).sum(axis=0)
    places = [(np.arange(n) + 0.5) * side_px / n for n in energy.shape]
    return np.array([energy.sum(axis=1) @ places[0], energy.sum(axis=0) @ places[1]]) / max(energy.sum(), 1e-300)


def measured(maps: Callable[[np.ndarray], Sequence[np.ndarray]], unit_px: int, seed: int = 0) -> list[list[float]]:
    """Return how far (down, right) of its true place each output of a network shows things, in pixels of its input.

    Parameters
    ----------
    maps : callable (pixels) -> sequence of ndarray (c, h, w)
        The network.
    unit_px : int
        Sides of an image are multiples of it.
    seed : int, default: 0
    """
    rng, side_px = np.random.default_rng(seed), max(1, round(SIDE_PX / unit_px)) * unit_px
    errors = []
    for _ in range(N_IMAGES):
        pixels = noise(rng, side_px)
        before = maps(pixels)
        for _ in range(N_SQUARES):
            image, place = changed(rng, pixels)
            errors.append([center(a - b, side_px) - place for a, b in zip(maps(image), before)])
    return [[round(float(value), 2) + 0.0 for value in offset] for offset in np.mean(errors, axis=0)]


def add_offsets(entry: dict[str, Any], backbone: Backbone) -> None:
    """Measure the outputs of a backbone and put their offsets into its manifest entry."""
    strides = [output["stride"] for output in entry["outputs"]]
    for output, offset, stride in zip(entry["outputs"], measured(backbone.maps, backbone.unit_px), strides):
        output["offset_px"] = np.clip(offset, -stride, stride).tolist()
        print(f"  {output['name']}: shows things {offset[0]:+.2f} px down, {offset[1]:+.2f} px right of their place")


def write_shipped(names: Sequence[str] | None = None) -> None:
    """Measure shipped networks, by default all, and write their offsets to models/manifest.json."""
    path = models_folder() / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in names or manifest["backbones"]:
        print(name)
        add_offsets(manifest["backbones"][name], Backbone(find_spec(name)))
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", type=Path, metavar="FILE.onnx", help="default: the shipped networks")
    networks = parser.parse_args().networks
    for path in networks:
        entry = json.loads(path.with_suffix(".json").read_text(encoding="utf-8-sig"))
        add_offsets(entry, Backbone(find_spec(path)))
        path.with_suffix(".json").write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    if not networks:
        write_shipped()


if __name__ == "__main__":
    main()
