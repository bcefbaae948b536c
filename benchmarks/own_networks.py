"""What does a network of one's own cost: files, time per image, and a fit?

    python models/export.py wide_resnet50_2 --random-weights --int8
    python benchmarks/own_networks.py lite0 wide_resnet50_2.onnx wide_resnet50_2-int8.onnx

The images are the demo's cloth at 256x256 pixels. Random weights take about as long as trained ones; accuracy is not
measured. All times are processor time, so other processes do not count. "network" is one run at 256x256 pixels on one
thread, "score" is `inspect` of an array on one thread. "fit" is the command `cfa-lite fit` with two threads, and its
peak memory. One network is measured after the other.
"""

from __future__ import annotations

import resource
import tempfile
import time
from functools import partial
from pathlib import Path

import _cloth
import _common
import numpy as np
from PIL import Image

from cfa_lite import load
from cfa_lite.features.backbone import Backbone
from cfa_lite.features.manifest import find_spec

SIZE_PX = (256, 256)
FIT_THREADS = 2


def children_seconds() -> float:
    """Return the processor time of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def row(network: str, good: list[Path], line: list[np.ndarray], rounds: int) -> str:
    spec = find_spec(network)
    backbone = Backbone(spec)
    side = SIZE_PX[0] // backbone.unit_px * backbone.unit_px
    pixels = np.random.default_rng(0).uniform(0, 255, (3, side, side)).astype(np.float32)
    part = good[0].parent.parent / "part.cfa"
    before = children_seconds()
    options = "-o", part, "--backbone", network, "--threads", str(FIT_THREADS)
    _, peak_mb = _common.run_measured([_common.cfa_lite_command(), "fit", good[0].parent, *options])
    fit_seconds = children_seconds() - before
    model = load(part, threads=1)
    alone = _common.interleaved({"network": partial(backbone.maps, pixels)}, rounds, time.thread_time)["network"]
    score = _common.interleaved({"score": _common.in_turn(line, model.inspect)}, rounds, time.process_time)["score"]
    cells = (
        Path(network).stem,
        ", ".join(f"{output.channels:,}" for output in spec.outputs),
        f"{spec.path.stat().st_size / 1e6:.1f} MB",
        f"{np.median(alone) * 1e3:.0f} ms",
        f"{np.median(score) * 1e3:.0f} ms",
        f"{fit_seconds:.0f} s",
        f"{peak_mb / 1e3:.1f} GB",
        f"{part.stat().st_size / 1e6:.1f} MB",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("networks", nargs="+", help="names of shipped networks, or paths of .onnx files")
    parser.add_argument("--images", type=int, default=200, help="images of the fit (default: 200)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of timing (default: 15)")
    args = parser.parse_args()
    _common.print_machine(f"1, fit {FIT_THREADS}")
    print(f"\n| network | channels | file | network | score | fit of {args.images} | its memory | model |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        good = _cloth.write(Path(folder, "good"), args.images, SIZE_PX)
        line = [np.asarray(Image.open(path)) for path in _cloth.write(Path(folder, "line"), 10, SIZE_PX, seed=2)]
        for network in args.networks:
            print(row(network, good, line, args.rounds), flush=True)


if __name__ == "__main__":
    main()
