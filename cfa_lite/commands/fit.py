"""``cfa-lite fit``, ``info`` and ``demo``: what a model is made of."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import CfaLiteError, ImageError, OutputError
from ..presets import PRESETS
from . import options
from .options import PATH, RangeType, SizeType

if TYPE_CHECKING:
    from ..distributed.executor import Executor
    from ..estimator import CFA


@click.command()
@click.argument("good", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, metavar="PART.CFA", help="The model file to write.")
@click.option(
    "--recipe",
    type=click.Choice(["adapted", "none", "paper"]),
    default="adapted",
    show_default=True,
    help="How the descriptor is made.",
)
@click.option(
    "--speed",
    type=click.Choice(list(PRESETS)),
    default="exact",
    show_default=True,
    help="balanced: three quarters of the time an image, hardly less accurate; fast: half of it, for larger defects.",
)
@click.option(
    "--backbone",
    metavar="NAME|FILE.ONNX",
    help="A shipped CNN (lite0, lite0-int8, lite2), or your own ONNX file with its manifest entry (.json) beside it."
    " Default: lite0, else by --speed.",
)
@click.option(
    "--n-centers", type=click.IntRange(1), help="Memory bank size of each level. Default: 256; with --speed fast 128."
)
@click.option(
    "--shrinkage",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    show_default=True,
    help="Share of the mean eigenvalue added before whitening.",
)
@click.option(
    "--background",
    type=click.FloatRange(0, 1),
    default=0.25,
    show_default=True,
    help="Share of an image's own median distance taken off its map and score.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same images: same model."
)
@click.option(
    "--outliers",
    type=click.Choice(["count", "keep", "drop"]),
    default="count",
    show_default=True,
    help="Good images that are far out: count for the limits only, are kept to learn from, or dropped.",
)
@options.limit_options(given=True)
@click.option(
    "--min-area", type=float, default=0, show_default=True, metavar="PX", help="Smaller regions make no image NG."
)
@click.option("--mm-per-pixel", type=float, metavar="MM", help="Gives regions their area in square millimetres.")
@click.option(
    "--size",
    type=SizeType(),
    metavar="SIDE|full",
    help="Images are worked at the area of a square with this side, in their own proportions; full: at their own size."
    " Default: 256; with --speed fast 192.",
)
@click.option("--tile", is_flag=True, help="The same as --size full: large images are worked in tiles.")
@click.option(
    "--smallest-defect", type=float, metavar="PX", help="Raise the size until a defect of so many pixels can be seen."
)
@click.option(
    "--range",
    "value_range",
    type=RangeType(),
    metavar="LOW,HIGH|auto",
    help="Values that are black and white, of images of more than 8 bit. Default: all that 16 bit hold.",
)
@click.option("--mask", type=PATH, metavar="FILE", help="Image of the parts' size: white counts, black is ignored.")
@options.paper_options
@click.option(
    "--max-memory",
    type=float,
    default=500,
    show_default=True,
    metavar="MB",
    help="Features held in memory; more go to a temporary file.",
)
@click.option(
    "--report",
    type=PATH,
    metavar="DIR",
    help="Write report.html, which shows the good images most unlike the others; paper: training.json too.",
)
@click.option("--each", is_flag=True, help="Each folder in GOOD is a product: NAME/train/good, NAME/good or NAME.")
@options.threads
@options.workers
@options.dask
def fit(
    good: tuple[Path, ...], output: Path, report: Path | None, background: float, tile: bool, each: bool,
    workers: int | None, scheduler: str | None, **arguments: Any,
) -> None:  # fmt: skip
    """Learn a product from images of GOOD parts: folders (searched recursively) or files.

    With --each many products, beside each other with --workers or --dask: PART.CFA is then a folder, and each gets
    NAME.cfa in it. One that fails is told, and does not end the run.

    \b
    Example:
      cfa-lite fit good/ -o part.cfa
      cfa-lite fit products/ --each -o models/ --workers 4
    """
    start = time.perf_counter()
    from ..estimator import CFA
    from ..features import images
    from ..report import outputs

    if tile:
        arguments["size"] = "full"
    arguments["background_share"] = background
    if each:
        _fit_each(good, output, report, arguments, workers, scheduler)
        return
    if workers is not None or scheduler is not None:
        raise click.UsageError("--workers and --dask fit many products beside each other: they go with --each.")
    if output.is_dir():
        raise OutputError(f"{output} is a folder. Give the name of a file, such as {output / 'part.cfa'}.")
    outputs.make_folder(output.parent)
    if report:
        outputs.make_folder(report)
    pictures = images.find_images(good)
    try:
        model = CFA(**arguments)
        model.fit([p.path for p in pictures], progress=options.progress())
    except ValueError as error:  # of files only arguments can be wrong in this way
        raise click.UsageError(str(error)) from error
    _keep(model, output, report)
    _tell(model, output, f", {time.perf_counter() - start:.1f} s")


def _keep(model: CFA, output: Path, report: Path | None) -> None:
    model.save(output)
    if report:
        _write_report(model, output, report)


def _tell(model: CFA, output: Path, took: str = "", name: str = "") -> None:
    from ..report import text

    made = model.training_
    h, w = made["working_px"]
    left_out = f" ({made['n_skipped']} left out)" if made["n_skipped"] else ""
    used = f"{made['n_images']} images{left_out} worked at {w}x{h} px"
    for line in text.remarks(model.info()):
        click.echo(name + line, err=True)
    click.echo(f"{output}: {used}{took}, {output.stat().st_size / 1000:.0f} kB", err=True)


def _fit_each(good: tuple[Path, ...], output: Path, report: Path | None, settings: dict[str, Any],
              n_workers: int | None, scheduler: str | None) -> None:  # fmt: skip
    from ..estimator import CFA
    from ..features import images
    from ..parameters import check
    from ..report import outputs
    from .products import find_products

    try:
        check(CFA(**settings).get_params())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    products = find_products(good)
    crew = options.crew(n_workers, scheduler, settings["threads"])
    for place in filter(None, (output, report)):
        outputs.make_folder(place)
    pictures: dict[str, list[Path]] = {}
    for name, folder in products.items():
        try:
            pictures[name] = [image.path for image in images.find_images([folder])]
        except ImageError as error:
            click.echo(f"{name}: {error}", err=True)
    n_fitted = 0
    for name, made in zip(pictures, _fitted(crew, settings, list(pictures.values()))):
        file = output / f"{name}.cfa"
        try:
            if isinstance(made, str):
                raise ImageError(made)
            _keep(made, file, outputs.make_folder(report / name) if report else None)
        except CfaLiteError as error:
            click.echo(f"{name}: {error}", err=True)
            continue
        for _, message in made.skipped_ if scheduler else ():  # processes of this PC have said it themselves
            click.echo(f"left out: {message}", err=True)
        _tell(made, file, name=f"{name}: ")
        n_fitted += 1
    n_failed = len(products) - n_fitted
    click.echo(f"{len(products)} products: {n_fitted} fitted, {n_failed} failed", err=True)
    if n_failed:
        sys.exit(options.EXIT_FAILED)


def _fitted(crew: Executor | None, settings: dict[str, Any], products: list[list[Path]]) -> Iterator[CFA | str]:
    from ..distributed import jobs

    if crew:
        return jobs.fit(crew, settings, products)
    return (jobs.fit_one(settings, pictures, options.progress()) for pictures in products)


def _write_report(model: CFA, output: Path, folder: Path) -> None:
    from ..report import outputs, text

    if model.report_:
        outputs.write_text(json.dumps(model.report_, indent=1) + "\n", folder / "training.json")
    page = options.new_page(f"Good images of {output.name}", model, text.told(model.info()))
    page.facts["images below"] = f"the {len(model.unlike_)} most unlike the others, each as seen without it"
    page.warnings += text.remarks(model.info())
    for result in model.unlike_:
        page.add(result.path, result)
    page.write(folder / "report.html")


@click.command()
@click.argument("part", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="All of it, as one JSON object.")
@options.moved_backbone
def info(part: Path, as_json: bool, backbone: Path | None) -> None:
    """Tell where the model PART comes from.

    \b
    Example:
      cfa-lite info part.cfa
    """
    from ..estimator import load
    from ..report.text import told

    facts = load(part, backbone=backbone).info()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in told(facts).items():
        click.echo(f"{name + ':':15s}{value}")


@click.command()
@click.argument("folder", type=PATH)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same images.")
def demo(folder: Path, seed: int) -> None:
    """Make images of woven cloth to try things on: FOLDER/good, FOLDER/line (some with defects), FOLDER/masks.

    \b
    Example:
      cfa-lite demo cloth && cfa-lite fit cloth/good -o cloth.cfa && cfa-lite score cloth.cfa cloth/line
    """
    from ..demo.cloth import make_demo

    made = make_demo(folder, seed, progress=options.progress())
    click.echo(
        f"{folder}: {made.n_good} good images, {made.n_line} of the line, {made.n_defective} of them defective",
        err=True,
    )
