"""``cfa-lite score``."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import OutputError
from . import options
from .options import PATH

if TYPE_CHECKING:
    from ..distributed.executor import Executor
    from ..estimator import CFA
    from ..features.images import ImageFile
    from ..results import Inspection

SHIFTED = (
    "three quarters of these images score higher than three quarters of the good ones did: camera, light or product"
    " have changed, or most are defective. If they are good, `cfa-lite calibrate` sets new limits."
)


@click.command()
@click.argument("part", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option("--output", type=PATH, metavar="FILE", help="Write the results here too: .csv or .jsonl.")
@click.option(
    "--format", "fmt", type=click.Choice(["csv", "jsonl"]), help="Format of FILE, or of stdout when there is none."
)
@click.option(
    "--maps", type=PATH, metavar="DIR", help="Write score maps: 32-bit TIFF of the image's size, 1.0 is the limit."
)
@click.option("--overlays", type=PATH, metavar="DIR", help="Write PNGs: the image, and the map over it.")
@click.option("--masks", type=PATH, metavar="DIR", help="Write where the regions are: 8-bit PNG, 255 inside.")
@click.option("--report", type=PATH, metavar="FILE.HTML", help="Write one page with all of it, to look at anywhere.")
@click.option(
    "--resume", is_flag=True, help="Go on with the rows of an earlier run in --output; errors are tried again."
)
@click.option("--fail-on-anomaly", is_flag=True, help="Exit with 3 if an image is NG.")
@click.option("--checks/--no-checks", default=True, help="Whether what cannot be of the product is INVALID.")
@options.sensitivity
@options.threshold
@options.moved_backbone
@options.threads
@options.workers
@options.dask
def score(part: Path, pictures: tuple[Path, ...], output: Path | None, fmt: str | None, maps: Path | None,
          overlays: Path | None, masks: Path | None, report: Path | None, resume: bool, fail_on_anomaly: bool, checks: bool,
          sensitivity: float | None, threshold: float | None, backbone: Path | None, threads: int | None,
          workers: int | None, scheduler: str | None) -> None:  # fmt: skip
    """Score PICTURES (folders or files) with the model PART: one line each, 1.0 is the limit.

    Exit code 0: done, 1: an image or the run failed, 2: wrong usage, 3: NG found and --fail-on-anomaly, 130: stopped by
    Ctrl-C; rows so far are in --output then, and --resume goes on.

    \b
    Example:
      cfa-lite score part.cfa line/ --output results.csv --report line.html
    """
    from ..estimator import load
    from ..features import images
    from ..method import limits
    from ..report import outputs, text
    from ..report.tables import Rows, format_of, header, key, row, take_up
    from ..results import VERDICTS

    if resume and not output:
        raise click.UsageError("--resume goes on with the rows of an earlier run: name them by --output.")
    model = load(part, backbone=backbone, threads=threads)
    model.checks = checks
    options.adjust(model, sensitivity, threshold)
    folders = {
        kind: folder and outputs.make_folder(folder)
        for kind, folder in (("maps", maps), ("overlays", overlays), ("masks", masks))
    }
    found = _without_outputs(images.find_images(pictures), pictures, [f for f in folders.values() if f])
    names = outputs.output_names(found)
    _check_no_overwriting(found, names, folders, [f for f in (output, report) if f])
    file_format = (fmt or format_of(output)) if output else ""
    earlier = take_up(output, file_format, model.threshold_) if output and resume else {}
    keys = [key(str(p.path)) for p in found]
    todo = [(p, name) for p, name, k in zip(found, names, keys) if k not in earlier]
    n_before = len(found) - len(todo)
    crew = options.crew(workers, scheduler, threads)  # before an earlier run's rows are overwritten
    results = _results(model, [p.path for p, _ in todo], crew, with_maps=bool(report or any(folders.values())))
    rows = Rows(output, file_format, append=resume) if output else None
    screen_format = fmt if not output else None
    page = options.new_page(f"Scored with {part.name}", model, text.limits_told(model.info())) if report else None
    counts = Counter(earlier[k] for k in keys if k in earlier)
    raw_scores = []
    start = time.perf_counter()
    try:
        if screen_format:
            _say(header(screen_format))
        for (image, name), result in zip(todo, results):
            counts[result.verdict] += 1
            if result.status == "ok":
                raw_scores.append(result.raw_score)
            if result.map is not None:  # before the row: a row says that its image is done
                _write_images(image, name, result, folders)
            if page:
                page.add(image.path, result)
            if rows:
                rows.write(result)
            _say(row(result, screen_format) if screen_format else _line(result))
    finally:
        if rows:
            rows.close()
    warnings = [SHIFTED] if limits.has_shifted(raw_scores, model.good_scores_) else []
    for warning in warnings:
        click.echo(warning, err=True)
    if page and report:
        page.warnings += warnings
        if n_before:
            page.warnings.append(f"{n_before} images of an earlier run are in {output}, and not on this page.")
        page.write(report)
    n, seconds = len(todo), time.perf_counter() - start
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    places = "".join(f"; {kind} in {folder}" for kind, folder in folders.items() if folder)
    places += f"; report in {report}" if report else ""
    before = f", of these {n_before} from before" if n_before else ""
    each = f"; {seconds / n * 1000:.0f} ms each" if n else ""
    click.echo(f"{len(found)} image{'s' * (len(found) != 1)}: {said}{before}{each}{places}", err=True)
    if counts["ERROR"]:
        sys.exit(options.EXIT_FAILED)
    if fail_on_anomaly and counts["NG"]:
        sys.exit(options.EXIT_ANOMALY)


def _results(model: CFA, paths: list[Path], crew: Executor | None, with_maps: bool) -> Iterator[Inspection]:
    if crew is None:
        return model.inspect_many(paths)
    from ..distributed.jobs import inspect_many

    return inspect_many(crew, model, paths, with_maps)


def _line(result: Inspection) -> str:
    number = "       -" if math.isnan(result.score) else f"{result.score:8.3f}"
    return f"{result.verdict:6s} {number}  {result.message or result.path}\n"


def _say(text: str) -> None:
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:  # who reads has seen enough: click ends quietly
        raise
    except OSError as error:
        raise OutputError(f"stdout cannot be written ({error.strerror or error}). Free it.") from error


def _write_images(image: ImageFile, name: Path, result: Inspection, folders: dict[str, Path | None]) -> None:
    from ..report import outputs, overlay

    if folders["maps"]:
        outputs.write_map(result, folders["maps"] / f"{name}.tiff", folders["maps"])
    if folders["masks"]:
        outputs.write_mask(result, folders["masks"] / f"{name}.png", folders["masks"])
    if folders["overlays"]:
        outputs.write_image(
            overlay.overlay(image.path, result), folders["overlays"] / f"{name}.png", folders["overlays"]
        )


def _without_outputs(found: list[ImageFile], inputs: tuple[Path, ...], folders: list[Path]) -> list[ImageFile]:
    """Leave out what an earlier run wrote into one of this run's output folders below an input folder."""
    given = {folder.resolve() for folder in inputs}
    outputs = [folder.resolve() for folder in folders]
    below = [out for out in outputs if out not in given and given.intersection(out.parents)]
    return [p for p in found if not any(out in p.path.resolve().parents for out in below)]


def _check_no_overwriting(
    found: list[ImageFile], names: list[Path], folders: dict[str, Path | None], files: list[Path]
) -> None:
    inputs = {image.path.resolve(): image.path for image in found}
    endings = {"maps": ".tiff", "overlays": ".png", "masks": ".png"}
    targets = [folder / f"{name}{endings[kind]}" for kind, folder in folders.items() if folder for name in names]
    for target in [*targets, *files]:
        if target.resolve() in inputs:
            raise OutputError(f"{target} would overwrite the image {inputs[target.resolve()]}. Choose another place.")
