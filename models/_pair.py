"""A network as `--backbone` takes it: the ONNX file, and beside it the .json with its manifest entry."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _outputs import ExportError
from measure_offsets import add_offsets

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the checkout need not be installed

from cfa_lite.features.backbone import Backbone
from cfa_lite.features.manifest import find_spec


def check_free(path: Path) -> None:
    """Refuse to write to `path` if a file would be replaced: a model works only with the network of its fit.

    Raises
    ------
    ExportError
        If the name does not end in .onnx, the folder does not exist, or one of the two files exists.
    """
    if path.suffix.lower() != ".onnx":
        raise ExportError(f"{path} must end in .onnx.")
    if not path.parent.is_dir():
        raise ExportError(f"the folder {path.parent} does not exist. Make it, or give another file with -o.")
    for existing in (path, path.with_suffix(".json")):
        if existing.exists():
            raise ExportError(f"{existing} exists. Delete it, or give another file with -o.")


def entry_of(graph: bytes, given: dict[str, Any], outputs: Sequence[dict[str, Any]], source: str) -> dict[str, Any]:
    """Return the manifest entry of a graph.

    Parameters
    ----------
    graph : bytes
        Content of the ONNX file.
    given : dict
        The input: name, mean and std.
    outputs : sequence of dict
        Name, channels and stride of each.
    source : str
        Where network and weights come from.
    """
    return {
        "sha256": hashlib.sha256(graph).hexdigest(),
        "input": given,
        "outputs": list(outputs),
        "source": source,
    }


def write(path: Path, graph: bytes, entry: dict[str, Any], check: Callable[[Backbone], str]) -> str:
    """Write both files after they were checked, so that a network that fails leaves no file.

    Parameters
    ----------
    path : Path
        The ONNX file.
    graph : bytes
    entry : dict
        The offsets of the outputs are measured and put into it.
    check : callable (Backbone) -> str
        Checks the network as `cfa-lite` opens it. What it returns is returned.

    Raises
    ------
    BackboneError
        If the graph contradicts its entry.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        made = Path(folder) / path.name
        made.write_bytes(graph)
        made.with_suffix(".json").write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
        backbone = Backbone(find_spec(made))
        said = check(backbone)
        add_offsets(entry, backbone)
        made.with_suffix(".json").write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
        made.with_suffix(".json").replace(path.with_suffix(".json"))
        made.replace(path)
    return said


def relative_errors(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> list[float]:
    """Return for each output the largest difference, relative to the largest value.

    An output that is not finite, or 0 everywhere, has an infinite error: nothing can be learned from it.
    """
    errors = []
    for f, e in zip(found, expected):
        largest = float(np.abs(e).max())
        usable = 0 < largest < np.inf and np.isfinite(f).all()
        errors.append(float(np.abs(f - e).max()) / largest if usable else np.inf)
    return errors
