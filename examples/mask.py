"""Inspect only a part of the image: white pixels of the mask are inspected, black ones are ignored.

python examples/mask.py
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from cfa_lite import CFA
from cfa_lite.demo import make_demo


def main(folder: Path) -> None:
    """Ignore the left third of the demo's images."""
    make_demo(folder / "cloth", n_good=20, n_line_good=1, n_per_defect=1)
    image = Image.open(folder / "cloth" / "good" / "000.png")
    mask = np.full((image.height, image.width), 255, np.uint8)
    mask[:, : image.width // 3] = 0
    Image.fromarray(mask).save(folder / "mask.png")

    model = CFA(mask=folder / "mask.png").fit(folder / "cloth" / "good")

    spoiled = np.array(image)
    spoiled[:, : image.width // 3 - 16] = 0  # whatever is ignored does not change the score
    before, after = model.inspect(image), model.inspect(spoiled)
    print(f"score {before.score:.6f}, with the ignored part painted black {after.score:.6f}")
    assert before.score == after.score


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
