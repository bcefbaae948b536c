"""Inspect camera frames of OpenCV with several threads.

    python examples/opencv_loop.py

Frames of OpenCV are in the order blue, green, red. cfa-lite expects red, green, blue: `frame[:, :, ::-1]` converts
them.
A model may be used by several threads at once. Where OpenCV is not installed, Pillow stands for the camera.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from cfa_lite import CFA
from cfa_lite.demo import make_demo

try:
    import cv2
except ImportError:
    cv2 = None


def frames(folder: Path) -> Iterator[np.ndarray]:
    """Yield frames as a camera would: with a real one, ``cv2.VideoCapture(0).read()[1]``."""
    for path in sorted(folder.iterdir()):
        yield cv2.imread(str(path)) if cv2 else np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1]


def main(folder: Path) -> None:
    """Fit on the demo's images, and inspect the frames of its line."""
    make_demo(folder / "cloth", n_good=20, n_line_good=4, n_per_defect=1)
    model = CFA(threads=1).fit(folder / "cloth" / "good")  # one thread per frame, several frames at once

    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda frame: model.inspect(frame[:, :, ::-1]), frames(folder / "cloth" / "line"))
        for i, result in enumerate(results):
            print(f"frame {i}: {result.verdict} {result.score:.2f}, {1000 * result.seconds:.0f} ms")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
