"""``cfa-lite benchmark``."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ImageError
from . import inspecting, options, places, waiting
from .inspecting import Kept, Messages, Task
from .options import PATH

if TYPE_CHECKING:
    from ..base.detector import Detector
    from ..evaluation.timing import Timing


@click.command()
@click.argument("part", type=PATH)
@click.argument("paths", metavar="[IMAGES]...", nargs=-1, type=PATH)
@click.option(
    "--budget-ms",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="Recommend a preset that takes at most MS milliseconds per image.",
)
@click.option("--json", "as_json", is_flag=True, help="Show everything as one JSON object.")
@options.max_megapixels
@options.moved_backbone
@options.threads
def benchmark(part: Path, paths: tuple[Path, ...], budget_ms: float | None, as_json: bool,
              max_megapixels: float | None, backbone: Path | None, threads: int | None) -> None:  # fmt: skip
    """Measure the time per image on this computer.

    The model PART is compared with each preset of `cfa-lite fit`. IMAGES are folders or files. By default, images of
    the size of the good images are drawn. An image that cannot be inspected is named and left out.

    Exit codes: 0 done, 1 failed or nothing is within --budget-ms, 2 wrong usage.

    \b
    Example:
      cfa-lite benchmark part.cfa --budget-ms 20
    """
    from .. import threads as threads_
    from ..estimator import load
    from ..evaluation import timing
    from ..features import image_files

    places.check(part, paths)
    model = load(part, backbone=backbone, threads=threads)
    options.override(model, max_megapixels=max_megapixels)
    n_threads = sorted({1, threads_.resolve(threads)})
    with tempfile.TemporaryDirectory(prefix="cfa-lite-") as folder:
        if paths:
            images = _usable(model, [file.path for file in image_files.find_images(paths)][: timing.N_IMAGES])
        else:
            images = timing.draw(model, Path(folder))  # they do not show the product, so they may be INVALID
        size_px = model.inspect(images[0]).image_size_px[::-1]
        waiting.current().doing("timing the model and every preset, half a minute or more")
        timings = timing.compared(model, images, n_threads)
        waiting.current().doing("timing `cfa-lite score` of one image")
        cold_seconds = timing.cold_start(part, images[0], backbone)
    best = None if budget_ms is None else timing.within(timings, budget_ms)
    if as_json:
        shown = {
            "image_px": list(size_px),
            "cold_start_seconds": cold_seconds,
            "timings": [one.to_dict() for one in timings],
        }
        if budget_ms is not None:
            shown |= {"budget_ms": budget_ms, "within_budget": best and best.to_dict()}
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(
            f"{len(images)} images of {size_px[0]}x{size_px[1]} px. Milliseconds per image, from file to verdict:"
        )
        _show_table(part, timings, budget_ms)
        click.echo(f"`cfa-lite score` of one image, with the start of the program: {cold_seconds:.2f} s")
        if budget_ms is not None:
            click.echo("\n".join(_advice(part, timings, budget_ms)))
    if budget_ms is not None and best is None:
        sys.exit(options.EXIT_FAILED)


def _usable(model: Detector, paths: Sequence[Path]) -> list[Path]:
    """Return the images that can be inspected; the others are named on stderr.

    Raises
    ------
    ImageError
        If there is none.
    """
    kept = Kept()
    inspecting.run([Task(path) for path in paths], model.inspect_many(list(paths)), (kept, Messages()))
    usable = [path for path, result in zip(paths, kept.results) if result.status == "ok"]
    if not usable:
        raise ImageError("No image can be inspected. Give images of the product.")
    return usable


def _show_table(part: Path, timings: Sequence[Timing], budget_ms: float | None) -> None:
    """Show the times, with a star where 95% of the images are within the budget."""
    from ..evaluation import timing

    columns = list(dict.fromkeys((one.n_threads, one.at_once) for one in timings))
    heads = [f"{n} at once" if at_once else f"{n} thread{'s' * (n > 1)}" for n, at_once in columns]
    width = max(len(f"{part.name} (balanced)"), 20)
    click.echo(" " * width + "".join(f"{head:>20s}" for head in heads))
    for preset in dict.fromkeys(one.preset for one in timings):
        of_preset = {(one.n_threads, one.at_once): one for one in timings if one.preset == preset}
        name = f"{part.name} ({preset})" if next(iter(of_preset.values())).fitted else f"--preset {preset}"
        cells = []
        for one in (of_preset[column] for column in columns):
            star = "*" if budget_ms is not None and timing.is_within(one, budget_ms) else ""
            cells.append(f"{one.median:.1f} (95%: {one.slow:.1f}){star}")
        click.echo(f"{name:{width}s}" + "".join(f"{cell:>20s}" for cell in cells))


def _advice(part: Path, timings: Sequence[Timing], budget_ms: float) -> list[str]:
    """Say which preset to use on each number of threads, as the stars of the table do."""
    from ..evaluation import timing

    told, presets = [], set()
    for n in sorted({one.n_threads for one in timings}):
        best = timing.within([one for one in timings if one.n_threads == n], budget_ms)
        if best is None or best.preset in presets:
            continue
        presets.add(best.preset)
        where = f"on {n} thread{'s' * (n > 1)}"
        how = part.name if best.fitted else f"{part.name}, fitted again with --preset {best.preset},"
        told.append(f"{how} is within {budget_ms:g} ms {where}: 95% of the images take at most {best.slow:.1f} ms.")
    if not told:
        smaller = "Fit with a smaller --size, or inspect a smaller part of the image."
        return [f"Nothing is within {budget_ms:g} ms. {smaller}"]
    return [*told, f"A star (*) marks what is within {budget_ms:g} ms. Several images at once are not counted."]
