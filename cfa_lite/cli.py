"""The ``cfa-lite`` command: words only. What is heavy is imported inside the commands."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._version import __version__
from .errors import CfaLiteError, OutputError
from .options import paper_options

if TYPE_CHECKING:
    from .images import PictureFile
    from .results import ScoreResult

EXIT_FAILED, EXIT_ANOMALY = 1, 3
FEW_PICTURES = 50  # below this `fit` says what so few cannot promise

_threads = click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="Threads for everything. Default: all cores."
)
_path = click.Path(path_type=Path)


class _Commands(click.Group):
    """Turns this package's errors into a message and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CfaLiteError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cfa-lite")
def main() -> None:
    """Learn a product from pictures of good parts; find and show what is wrong with new ones.

    \b
    Example:
      cfa-lite fit good/ -o part.cfa
      cfa-lite score part.cfa line/ --overlays seen/
    """


@main.command()
@click.argument("good", nargs=-1, required=True, type=_path)
@click.option("-o", "--output", required=True, type=_path, metavar="PART.CFA", help="The model file to write.")
@click.option(
    "--recipe",
    type=click.Choice(["adapted", "none", "paper"]),
    default="adapted",
    show_default=True,
    help="How the descriptor is made.",
)
@click.option(
    "--backbone",
    default="lite0",
    show_default=True,
    metavar="NAME|FILE.ONNX",
    help="A shipped CNN, or your own ONNX file with its manifest entry (.json) beside it.",
)
@click.option(
    "--n-centers", type=click.IntRange(1), default=256, show_default=True, help="Memory bank size of each level."
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
    help="Share of a picture's own median distance taken off its map and score.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same pictures: same model."
)
@click.option("--keep-atypical", is_flag=True, help="Learn also from pictures that are far out among the good ones.")
@paper_options
@click.option(
    "--max-memory",
    type=float,
    default=1000,
    show_default=True,
    metavar="MB",
    help="Features held in memory; more go to a temporary file.",
)
@click.option("--report", type=_path, metavar="FILE.JSON", help="paper: write how training went, a row an epoch.")
@_threads
def fit(good: tuple[Path, ...], output: Path, report: Path | None, background: float, **arguments: Any) -> None:
    """Learn a product from pictures of GOOD parts: folders (searched recursively) or files.

    \b
    Example:
      cfa-lite fit good/ -o part.cfa
    """
    start = time.perf_counter()
    from . import artefacts, images
    from .model import CFA

    if output.is_dir():
        raise OutputError(f"{output} is a folder. Give the name of a file, such as {output / 'part.cfa'}.")
    artefacts.make_folder(output.parent)
    pictures = images.find_pictures(good)
    try:
        model = CFA(background_share=background, **arguments).fit([p.path for p in pictures], progress=_progress())
    except ValueError as error:  # of files only arguments can be wrong in this way
        raise click.UsageError(str(error)) from error
    model.save(output)
    if report:
        artefacts.write_text(json.dumps(model.report_, indent=1) + "\n", report)
    made = model.training_
    h, w = made["working_px"]
    left_out = f" ({made['n_skipped']} left out)" if made["n_skipped"] else ""
    used = f"{made['n_images']} pictures{left_out} worked at {w}x{h} px"
    if made["n_images"] < FEW_PICTURES:
        click.echo(
            f"with {made['n_images']} good pictures about 1 in {made['n_images'] + 1} good ones of the line may be above"
            f" the limit; {FEW_PICTURES} or more promise less of that",
            err=True,
        )
    for picture in made.get("atypical", []):
        click.echo(
            f"left out, unlike the other good pictures: {picture['name']}, score {picture['score']:.2f}. Is it good?"
            " --keep-atypical keeps it.",
            err=True,
        )
    click.echo(
        f"{output}: {used}, {time.perf_counter() - start:.1f} s, {output.stat().st_size / 1000:.0f} kB", err=True
    )


@main.command()
@click.argument("part", type=_path)
@click.argument("pictures", nargs=-1, required=True, type=_path)
@click.option("--output", type=_path, metavar="FILE", help="Write the results here too: .csv or .jsonl.")
@click.option(
    "--format", "fmt", type=click.Choice(["csv", "jsonl"]), help="Format of FILE, or of stdout when there is none."
)
@click.option(
    "--maps", type=_path, metavar="DIR", help="Write score maps: 32-bit TIFF of the picture's size, 1.0 is the limit."
)
@click.option("--overlays", type=_path, metavar="DIR", help="Write PNGs: the picture, and the map over it.")
@click.option("--fail-on-anomaly", is_flag=True, help="Exit with 3 if a picture is NG.")
@click.option("--backbone", type=_path, metavar="FILE.ONNX", help="Where your own backbone is now, if it has moved.")
@_threads
def score(part: Path, pictures: tuple[Path, ...], output: Path | None, fmt: str | None, maps: Path | None,
          overlays: Path | None, fail_on_anomaly: bool, backbone: Path | None, threads: int | None) -> None:  # fmt: skip
    """Score PICTURES (folders or files) with the model PART: one line each, 1.0 is the limit.

    Exit code 0: done, 1: a picture or the run failed, 2: wrong usage, 3: NG found and --fail-on-anomaly.

    \b
    Example:
      cfa-lite score part.cfa line/ --output results.csv --overlays seen/
    """
    from . import artefacts, images
    from .model import load

    model = load(part, backbone=backbone, threads=threads)
    folders = {"maps": maps and artefacts.make_folder(maps), "overlays": overlays and artefacts.make_folder(overlays)}
    found = _without_outputs(images.find_pictures(pictures), pictures, [f for f in folders.values() if f])
    names = artefacts.output_names(found)
    _check_no_overwriting(found, names, folders, output)
    file_format = (fmt or artefacts.format_of(output)) if output else None
    rows = artefacts.open_rows(output) if output else None
    screen_format = fmt if not output else None
    counts = {"OK": 0, "NG": 0, "ERROR": 0}
    start = time.perf_counter()
    try:
        if rows and file_format:
            rows.write(artefacts.header(file_format))
        if screen_format:
            click.echo(artefacts.header(screen_format), nl=False)
        for picture, name, result in zip(found, names, model.iter_score([p.path for p in found])):
            counts[result.verdict] += 1
            if result.status == "ok":
                _write_pictures(picture, name, result, folders)
            if rows and file_format:
                rows.write(artefacts.row(result, file_format))
            click.echo(artefacts.row(result, screen_format) if screen_format else _line(result), nl=False)
    finally:
        if rows:
            rows.close()
    n, seconds = len(found), time.perf_counter() - start
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    places = "".join(f"; {kind} in {folder}" for kind, folder in folders.items() if folder)
    click.echo(f"{n} picture{'s' * (n != 1)}: {said}; {seconds / n * 1000:.0f} ms each{places}", err=True)
    if counts["ERROR"]:
        sys.exit(EXIT_FAILED)
    if fail_on_anomaly and counts["NG"]:
        sys.exit(EXIT_ANOMALY)


@main.command()
@click.argument("part", type=_path)
@click.option("--json", "as_json", is_flag=True, help="All of it, as one JSON object.")
@click.option("--backbone", type=_path, metavar="FILE.ONNX", help="Where your own backbone is now, if it has moved.")
def info(part: Path, as_json: bool, backbone: Path | None) -> None:
    """Tell where the model PART comes from.

    \b
    Example:
      cfa-lite info part.cfa
    """
    from .facts import told
    from .model import load

    facts = load(part, backbone=backbone).info()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in told(facts).items():
        click.echo(f"{name + ':':15s}{value}")


@main.command()
@click.argument("folder", type=_path)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same pictures.")
def demo(folder: Path, seed: int) -> None:
    """Make pictures of woven cloth to try things on: FOLDER/good, FOLDER/line (some with defects), FOLDER/masks.

    \b
    Example:
      cfa-lite demo cloth && cfa-lite fit cloth/good -o cloth.cfa && cfa-lite score cloth.cfa cloth/line
    """
    from .demo import make_demo

    made = make_demo(folder, seed, progress=_progress())
    click.echo(
        f"{folder}: {made.n_good} good pictures, {made.n_line} of the line, {made.n_defective} of them defective",
        err=True,
    )


def _progress() -> Any:
    """Shows phase and count on one line of stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        return None

    def show(phase: str, done: int, total: int) -> None:
        click.echo(f"\r{phase} {done}/{total} ", nl=False, err=True)
        if done == total:
            click.echo("\r" + " " * 40 + "\r", nl=False, err=True)

    return show


def _line(result: ScoreResult) -> str:
    number = f"{result.score:8.3f}" if result.status == "ok" else "       -"
    return f"{result.verdict:5s} {number}  {result.message or result.path}\n"


def _write_pictures(picture: PictureFile, name: Path, result: ScoreResult, folders: dict[str, Path | None]) -> None:
    from . import artefacts, report

    if folders["maps"]:
        artefacts.write_map(result, folders["maps"] / f"{name}.tiff")
    if folders["overlays"]:
        artefacts.write_image(report.overlay(picture.path, result), folders["overlays"] / f"{name}.png")


def _without_outputs(found: list[PictureFile], inputs: tuple[Path, ...], folders: list[Path]) -> list[PictureFile]:
    """Leave out what an earlier run wrote into one of this run's output folders below an input folder."""
    given = {folder.resolve() for folder in inputs}
    outputs = [folder.resolve() for folder in folders]
    below = [out for out in outputs if out not in given and given.intersection(out.parents)]
    return [p for p in found if not any(out in p.path.resolve().parents for out in below)]


def _check_no_overwriting(
    found: list[PictureFile], names: list[Path], folders: dict[str, Path | None], output: Path | None
) -> None:
    inputs = {picture.path.resolve(): picture.path for picture in found}
    endings = {"maps": ".tiff", "overlays": ".png"}
    targets = [folder / f"{name}{endings[kind]}" for kind, folder in folders.items() if folder for name in names]
    for target in [*targets, *([output] if output else [])]:
        if target.resolve() in inputs:
            raise OutputError(f"{target} would overwrite the picture {inputs[target.resolve()]}. Choose another place.")


if __name__ == "__main__":
    main()
