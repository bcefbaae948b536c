"""Output of a comparison: sizes, the table, and the ratios with their targets."""

from __future__ import annotations

import _sets
import numpy as np
from environments import OURS

EXPORTED = "PatchCore-ONNX"
TARGETS = {"fit": 10, "score": 3, "installed": 10, "import": 5}


def sizes(installed: dict[str, float]) -> None:
    notes = {OURS: "this checkout", "anomalib": "with a CPU build of torch", "anomalib-plain": "as PyPI gives it"}
    print("\ninstalled, MB over an empty environment")
    for name, mb in installed.items():
        print(f"  {name:15s} {mb:7.0f}  {notes[name]}", flush=True)


def table(
    methods: list[str], fits: dict, models: dict, seconds: dict, peaks: dict, measured: dict[str, np.ndarray]
) -> None:
    counts = list(seconds)
    heads = ["fit, s", "with import", *(f"score, ms, {n} thread{'s' * (n > 1)}" for n in counts)]
    heads += ["peak MB, fit", "peak MB, score", "model, MB", "image AUROC / pixel AUROC / AUPRO"]
    print(f"\n| method | {' | '.join(heads)} |")
    print("|---|" + "---|" * len(heads))
    for method in methods:
        of_fits, model = fits[method], models[method]
        cells = [f"{np.median([of[key] for of in of_fits]):.1f}" for key in ("seconds", "whole")]
        cells += [f"{np.median(seconds[n][method]) * 1e3:.1f}" for n in counts]
        cells += [f"{np.median([of['peak_mb'] for of in of_fits]):.0f}", f"{peaks[method]:.0f}"]
        cells += [f"{model['model_mb']:.1f} ({model['network_mb']:.1f})", _sets.show(measured[method])]
        print(f"| {method} | {' | '.join(cells)} |", flush=True)


def ratios(methods: list[str], installed: dict, fits: dict, starts: dict, seconds: dict) -> None:
    """Print the values of each peer divided by ours, with their spread; for PatchCore also with the targets."""
    print("\npeer / cfa-lite; in brackets lowest to highest for fit and import, 10% to 90% of rounds for score")
    for method in methods[1:]:
        peer = fits[method][0]
        if method != EXPORTED:
            verdict(f"fit, {method}", peer["seconds"] / np.array(peer["ours"]), (0, 50, 100), "fit", method)
        for n, of_methods in seconds.items():
            name = f"score, {method}, {n} thread{'s' * (n > 1)}"
            verdict(name, of_methods[method] / of_methods[OURS], (10, 50, 90), "score", method)
    for name, mb in installed.items():
        if name != OURS:
            verdict(f"installed, {name}", np.array([mb / installed[OURS]]), (0, 50, 100), "installed")
    for method, values in starts.items():
        if method != OURS:
            verdict("import, anomalib", values / starts[OURS], (0, 50, 100), "import")


def verdict(name: str, values: np.ndarray, at: tuple[int, int, int], target: str, method: str = "PatchCore") -> None:
    low, median, high = np.percentile(values, at)
    line = f"{name:33s} {median:7.1f}" + (f" ({low:.1f} to {high:.1f})" if high > low else "")
    if method.startswith("PatchCore"):
        line = f"{line:60s} target {TARGETS[target]}: {'met' if median >= TARGETS[target] else 'missed'}"
    print(f"  {line}", flush=True)
