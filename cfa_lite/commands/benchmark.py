"""``cfa-lite benchmark``."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .options import PATH

if TYPE_CHECKING:
    from ..evaluation.timing import Timing


@click.command()
@click.argument("part", type=PATH)
@click.argument("images", nargs=-1, type=PATH)
@click.option("--budget-ms", type=click.FloatRange(0, min_open=True), metavar="MS", help="Tell what is fast enough.")
@click.option("--json", "as_json", is_flag=True, help="All of it, as one JSON object.")
@options.moved_backbone
@options.threads
def benchmark(part: Path, pictures: tuple[Path, ...], budget_ms: float | None, as_json: bool, backbone: Path | None,
              threads: int | None) -> None:  # fmt: skip
    """Tell how long an image takes on this computer with the model PART, and with each preset of `fit --speed`.

    PICTURES (folders or files) are those to time; by default some are drawn of the size that the good ones had. With
    --budget-ms the exit code is 1 if nothing is fast enough.

    \b
    Example:
      cfa-lite benchmark part.cfa --budget-ms 20
    """
    from .. import threads as threads_
    from ..estimator import load
    from ..evaluation import timing
    from ..features import images

    model = load(part, backbone=backbone)
    most = threads_.resolve(threads)
    counts = sorted({1, most})
    with tempfile.TemporaryDirectory(prefix="cfa-lite-") as folder:
        if pictures:
            found = [p.path for p in images.find_images(pictures)][: timing.N_IMAGES]
        else:
            found = timing.draw(model, Path(folder))
        w, h = model.inspect(found[0]).image_size_px[::-1]  # fails here for an image that cannot be read
        timings = timing.compared(model, found, counts)
        cold = timing.cold_start(part, found[0], backbone)
    best = None if budget_ms is None else timing.within(timings, budget_ms)
    if as_json:
        told = {"image_px": [w, h], "cold_start_seconds": cold, "timings": [t.to_dict() for t in timings]}
        if budget_ms is not None:
            told |= {"budget_ms": budget_ms, "within_budget": best and best.to_dict()}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{len(found)} images of {w}x{h} px, from file to verdict, milliseconds an image:")
        _tell(part, timings)
        click.echo(f"`cfa-lite score` of one image, from its start: {cold:.2f} s")
        if budget_ms is not None:
            click.echo(_advice(part, best, budget_ms))
    if budget_ms is not None and best is None:
        sys.exit(options.EXIT_FAILED)


def _tell(part: Path, timings: Sequence[Timing]) -> None:
    columns = list(dict.fromkeys((t.n_threads, t.at_once) for t in timings))
    heads = [f"{n} at once" if at_once else f"{n} thread{'s' * (n > 1)}" for n, at_once in columns]
    width = max(len(f"{part.name} (balanced)"), 20)
    click.echo(" " * width + "".join(f"{head:>20s}" for head in heads))
    for preset in dict.fromkeys(t.preset for t in timings):
        of_preset = {(t.n_threads, t.at_once): t for t in timings if t.preset == preset}
        name = f"{part.name} ({preset})" if next(iter(of_preset.values())).fitted else f"--speed {preset}"
        cells = (f"{of_preset[c].median:.1f} (95%: {of_preset[c].slow:.1f})" for c in columns)
        click.echo(f"{name:{width}s}" + "".join(f"{cell:>20s}" for cell in cells))


def _advice(part: Path, best: Timing | None, budget_ms: float) -> str:
    if best is None:
        return f"Nothing takes at most {budget_ms:g} ms: a smaller --size, or a part of the image, would."
    where = f"on {best.n_threads} thread{'s' * (best.n_threads > 1)}"
    how = "as it is" if best.fitted else f"fitted again with --speed {best.preset}"
    return f"{part.name} {how} meets {budget_ms:g} ms {where}: 95 of 100 images take at most {best.slow:.1f} ms."
