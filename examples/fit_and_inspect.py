"""Fit a model on images of good parts, save it, load it, and inspect new images.

python examples/fit_and_inspect.py
"""

import tempfile
from pathlib import Path

from cfa_lite import CFA, load
from cfa_lite.demo import make_demo


def main(folder: Path) -> None:
    """Write the demo's images into `folder`, and inspect them."""
    make_demo(folder / "cloth", n_good=20, n_line_good=4, n_per_defect=1)

    model = CFA(random_state=0).fit(folder / "cloth" / "good")
    model.save(folder / "cloth.cfa")
    print(f"limit {model.threshold_:.3f}, false alarms at most {model.limits_.promised_rate:.2%}")

    model = load(folder / "cloth.cfa")
    for result in model.inspect_many(folder / "cloth" / "line"):  # in order, several at once
        print(f"{result.verdict:6} {result.score:.2f} {Path(result.path).name}")
        for region in result.regions:
            left, top, width, height = region.box_px
            print(f"       {width}x{height} px at ({left}, {top}), peak {region.peak:.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
