"""What does the line cost: to fit, to score a picture, to start; and is a score the same by every route?

    python benchmarks/line.py

200 good pictures of woven cloth (cfa_lite.demo), 256x256 px, are written to a temporary folder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common
import numpy as np
from PIL import Image

from cfa_lite import demo, descriptor, images, load, memory_bank, patches, pipeline, threads
from cfa_lite.backbone import Backbone, find_spec
from cfa_lite.model import CFA

SIZE_PX = (256, 256)
N_LINE = 40


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="to fit on")
    parser.add_argument("--fits", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100, help="of score_image against the backbone")
    parser.add_argument("--starts", type=int, default=7, help="of the command")
    parser.add_argument("--threads", type=int, default=2, help="for fit; the rest says what it uses")
    args = parser.parse_args()
    _common.print_machine(f"{args.threads} for fit, 1 for one picture")
    with tempfile.TemporaryDirectory() as folder:
        good, line = write_pictures(Path(folder), args.pictures)
        part = Path(folder, "part.cfa")
        fit(good, part, args.fits, args.threads)
        model = load(part, threads=1)
        against_backbone(model, line, args.rounds)
        stages(model, line, args.rounds)
        cold_start(part, line[0], args.starts)
        routes(part, line)


def write_pictures(folder: Path, n_good: int) -> tuple[Path, list[Path]]:
    """Folder of good pictures, and paths of others of which every second has a defect."""
    good, line = folder / "good", folder / "line"

    def write(place: int) -> Path:
        rng = np.random.default_rng(place)
        path = (good if place < n_good else line) / f"{place:03d}.png"
        if place >= n_good and place % 2:
            pixels, _ = demo.weave_with_defect(rng, demo.DEFECTS[place // 2 % len(demo.DEFECTS)], SIZE_PX)
        else:
            pixels = demo.weave(rng, SIZE_PX)
        Image.fromarray(pixels).save(path)
        return path

    good.mkdir()
    line.mkdir()
    return good, list(threads.ordered_map(write, range(n_good + N_LINE), threads.available_cores()))[n_good:]


def fit(good: Path, part: Path, n_fits: int, n_threads: int) -> None:
    command = [_common.cfa_lite_command(), "fit", good, "-o", part, "--threads", str(n_threads)]
    measured = np.array([_common.run_measured(command) for _ in range(n_fits)])
    seconds, peak_mb = measured.T
    print(f"\ncfa-lite fit, {len(list(good.iterdir()))} pictures, {n_threads} threads, whole process, {n_fits} runs")
    print(f"  seconds    min {seconds.min():.2f}, median {np.median(seconds):.2f}, max {seconds.max():.2f}")
    print(f"  peak RSS   {np.median(peak_mb):.0f} MB")
    print(f"  part.cfa   {part.stat().st_size / 1000:.0f} kB", flush=True)


def in_turn(items: list[Any], call: Callable[[Any], object]) -> Callable[[], object]:
    """A function that calls `call` on the next of `items`, so that no picture is always in the cache."""
    place = -1

    def next_one() -> object:
        nonlocal place
        place = (place + 1) % len(items)
        return call(items[place])

    return next_one


def pixels_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    pixels = images.to_pixels(images.read(path), SIZE_PX)
    return pixels, images.halve(pixels)


def against_backbone(model: CFA, line: list[Path], n_rounds: int) -> None:

    def alone(network: Backbone) -> Callable[[], object]:
        def both_scales(scales: tuple[np.ndarray, np.ndarray]) -> None:
            for pixels in scales:
                network.maps(pixels)

        return in_turn([pixels_of(path) for path in line], both_scales)

    seconds = _common.interleaved(
        {
            "backbone alone, 256x256 and 128x128 px": alone(model._backbone()),
            "score_image of a path": in_turn(line, model.score_image),
            "backbone lite2 alone": alone(Backbone(find_spec("lite2"))),
        },
        n_rounds,
    )
    _common.print_interleaved(f"score_image against its backbone, 1 thread, {n_rounds} rounds", seconds)


def stages(model: CFA, line: list[Path], n_rounds: int) -> None:
    """Where the time goes: what CFA._score and the functions of pipeline do, step by step with a clock."""
    network = model._backbone()
    taken: dict[str, list[float]] = {}

    def score(path: Path) -> float:
        spent: dict[str, float] = {}

        def timed(stage: str, function: Callable, *args: Any) -> Any:
            start = time.perf_counter()
            result = function(*args)
            spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - start
            return result

        bands = timed("read", images.read, path)
        pixels = timed("resize", images.to_pixels, bands, SIZE_PX)
        scales = {1: pixels, 2: timed("halve", images.halve, pixels)}
        maps = {}
        for divisor, scaled in scales.items():
            found = timed("backbone", network.maps, scaled)
            maps.update({(divisor, output): m for output, m in enumerate(found)})
        distances = {}
        for level in model.levels_:
            feature_map = maps[level.key.divisor, level.key.output]
            if level.key.pooled:
                feature_map = timed("pool", patches.pool, feature_map)
            rows = patches.patch_features(feature_map)
            descriptors = timed("describe", descriptor.describe, rows, level.mean, level.weight)
            _, distance_sq = timed("nearest", memory_bank.nearest, descriptors, level.centers)
            distances[level.key] = np.sqrt(distance_sq).reshape(feature_map.shape[1:])
        raw = timed(
            "combine", pipeline.combine, distances, model.levels_, model.finish_, model.background_share, SIZE_PX
        )
        for stage, seconds in spent.items():
            taken.setdefault(stage, []).append(seconds)
        return float((raw / np.float32(model.threshold_)).max())

    with threads.serial_blas():  # entered once here, once a picture in score_image
        for path in line[:2]:
            assert score(path) == model.score_image(path).score, "the stages here are not those of score_image"
        taken.clear()
        whole = _common.interleaved(
            {"score_image": in_turn(line, model.score_image), "stages": in_turn(line, score)}, n_rounds
        )["score_image"]
    medians = {stage: float(np.median(seconds)) for stage, seconds in taken.items()}
    medians["rest"] = float(np.median(whole)) - sum(medians.values())
    print(f"\nscore_image by stage, 1 thread, medians of {n_rounds} rounds; rest: what is between them")
    for stage, seconds in medians.items():
        print(f"  {stage:10s} {seconds * 1e3:8.3f} ms  {seconds / np.median(whole):6.1%}", flush=True)
    print(f"  {'all':10s} {np.median(whole) * 1e3:8.3f} ms")


def cold_start(part: Path, picture: Path, n_runs: int) -> None:
    command = _common.cfa_lite_command()
    print(f"\ncold start: whole processes, {n_runs} runs each, in turn, after one that is not counted")
    commands = {"cfa-lite --help": [command, "--help"], "cfa-lite score, 1 picture": [command, "score", part, picture]}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for i in range(n_runs + 1):  # the first puts compiled kernels and files into their caches
        for name, parts in commands.items():
            took, _ = _common.run_measured(parts)
            if i:
                seconds[name].append(took)
    for name, took in seconds.items():
        print(f"  {name:26s} median {np.median(took):.3f} s, min {min(took):.3f}, max {max(took):.3f}", flush=True)


def routes(part: Path, line: list[Path]) -> None:
    """Largest difference of a picture's score and map to those of a path scored alone on one thread."""
    one, two = load(part, threads=1), load(part, threads=2)
    arrays = [np.asarray(Image.open(path)) for path in line]
    by_route = {
        "path, alone, 2 threads": [two.score_image(path) for path in line],
        "path, batch, 1 thread": one.score(line),
        "path, batch, 2 threads": two.score(line),
        "path, batch in reverse, 2 threads": two.score(line[::-1])[::-1],
        "array, alone, 1 thread": [one.score_image(array) for array in arrays],
        "array, alone, 2 threads": [two.score_image(array) for array in arrays],
        "array, batch, 2 threads": two.score(arrays),
        "PIL image, alone, 1 thread": [one.score_image(Image.fromarray(array)) for array in arrays],
    }
    first = [one.score_image(path) for path in line]
    scores = [result.score for result in first]
    print(
        f"\nlargest difference to the path alone on 1 thread, {len(line)} pictures,"
        f" scores {min(scores):.3f} to {max(scores):.3f}"
    )
    for route, results in by_route.items():
        of_scores = max(abs(a.score - b.score) for a, b in zip(first, results))
        of_maps = max(float(np.abs(a.map - b.map).max()) for a, b in zip(first, results))
        print(f"  {route:34s} score {of_scores:.1e}, map {of_maps:.1e}", flush=True)


if __name__ == "__main__":
    main()
