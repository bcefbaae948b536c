"""Use your own ONNX network: an .onnx file, and its manifest entry as a .json file beside it.

    python examples/own_network.py

A shipped network stands for yours here. Its outputs at strides 8 and 16 are used, the one at stride 4 is not.
"""

import json
import shutil
import tempfile
from pathlib import Path

from cfa_lite import CFA, load
from cfa_lite.demo import make_demo
from cfa_lite.features.manifest import models_folder


def main(folder: Path) -> None:
    """Write the network and its entry into `folder`, and fit with it."""
    make_demo(folder / "cloth", n_good=20, n_line_good=2, n_per_defect=1)
    manifest = json.loads((models_folder() / "manifest.json").read_text(encoding="utf-8"))
    entry = manifest["backbones"]["lite0"]
    shutil.copy(models_folder() / entry["file"], folder / "my_network.onnx")
    # What the graph takes and gives. The checksum refuses a file that was changed later.
    entry = {**entry, "file": "my_network.onnx", "outputs": [o for o in entry["outputs"] if o["stride"] >= 8]}
    (folder / "my_network.json").write_text(json.dumps(entry, indent=1), encoding="utf-8")

    CFA(backbone=folder / "my_network.onnx").fit(folder / "cloth" / "good").save(folder / "cloth.cfa")
    model = load(folder / "cloth.cfa")  # the network is found where it was, or beside the model
    for result in model.inspect_many(folder / "cloth" / "line"):
        print(f"{result.verdict:6} {result.score:.2f} {Path(result.path).name}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
