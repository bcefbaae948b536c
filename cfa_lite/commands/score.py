"""``cfa-lite score``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from ..errors import ImageError
from . import inspecting, options, places, waiting
from .inspecting import Counts, ImageWriter, Lines, PageCards, Progress, Rows, Sink, Task
from .options import PATH
from .rules import RunRules, run_rules
from .waiting import tell

if TYPE_CHECKING:
    from ..base.detector import Detector
    from ..distributed.executor import Executor
    from ..features.image_files import Found, ImageFile
    from ..results import Inspection

SHIFTED = (
    "Three quarters of these images score higher than three quarters of the good images. The camera, the light or the"
    " product has changed, or most images are defective. If the images are good, set new limits with"
    " `cfa-lite calibrate`."
)


@click.command()
@click.argument("part", type=PATH)
@click.argument("paths", metavar="IMAGES...", nargs=-1, required=True, type=PATH)
@click.option("--output", type=PATH, metavar="FILE", help="Write the results to this file as well: .csv or .jsonl.")
@options.table_format
@options.image_folders
@click.option("--report", type=PATH, metavar="FILE.HTML", help="Write a report page: one file that needs no network.")
@click.option(
    "--resume", is_flag=True, help="Continue an earlier run: keep the rows in --output and inspect the other images."
)
@click.option(
    "--fail-on-anomaly",
    is_flag=True,
    help="Exit with code 3 if an image is NG, and otherwise with code 4 if an image is INVALID or ERROR, or a folder"
    " cannot be read.",
)
@run_rules
@options.threads
@options.workers
@options.dask
def score(part: Path, paths: tuple[Path, ...], output: Path | None, fmt: str | None, maps: Path | None,
          overlays: Path | None, masks: Path | None, core_masks: Path | None, report: Path | None, resume: bool,
          fail_on_anomaly: bool, rules: RunRules, threads: int | None, workers: int | None,
          scheduler: str | None) -> None:  # fmt: skip
    """Inspect IMAGES (folders or files) with the model PART.

    Each image gives one line on stdout: the verdict, the score, the path and a message. The limit is a score of 1.0.
    With --format and without --output, stdout has the table instead.
    What is left out of a folder is counted and named in one line on stderr.

    Exit codes: 0 all images were read, 1 an image is ERROR or the run failed, 2 wrong usage, 130 stopped with Ctrl-C.
    After a stop --output has the rows of all finished images.

    With --fail-on-anomaly, 0 means that every image was inspected and none is NG. 3: an image is NG. 4: none is NG, but
    an image is INVALID or ERROR, so it was not inspected, or a folder could not be read. 1: the run failed.

    \b
    Example:
      cfa-lite score part.cfa line/ --output results.csv --report line.html
    """
    from ..features import image_files
    from ..report import outputs, tables
    from ..report.only_writer import only_writer
    from ..report.resume import keep_finished_rows

    if resume and not output:
        raise click.UsageError("--resume continues with the rows of an earlier run. Name their file with --output.")
    places.check(part, paths)
    model = rules.load(part, threads)
    images = ImageWriter(maps, overlays, masks, core_masks)
    found = _without_outputs(image_files.find_images(paths), paths, images.folders.values())
    left_out = inspecting.tell_left_out(found.left_out)
    tasks = [Task(file.path, name) for file, name in zip(found, outputs.output_names(found))]
    written = [path for task in tasks for path in images.paths(task.output_name).values()]
    files = [file for file in (output, report) if file]
    outputs.refuse_overwriting([*written, *files], [part, *(task.path for task in tasks)])
    table_format = (fmt or tables.format_of(output)) if output else ""
    if output:
        click.get_current_context().with_resource(only_writer(output))
    earlier = keep_finished_rows(output, table_format, model.threshold_) if output and resume else {}
    for folder in (*images.folders.values(), *([report.parent] if report else [])):
        outputs.make_folder(folder)
    todo, before = _unfinished(tasks, earlier)
    pool = options.executor(workers, scheduler, threads)  # before the rows of an earlier run are overwritten
    page = inspecting.new_page(f"Images inspected with {part.name}", model) if report else None
    counts = Counts()
    sinks: list[Sink] = [
        counts,
        images,
    ]  # images come before the row: a row means that all files of its image are written
    if page:
        sinks.append(PageCards(page))
    if output:
        sinks.append(Rows(tables.TableWriter(output, table_format, append=resume)))
    sinks.append(Lines(None if output else fmt))
    if not (sys.stdout.isatty() and sys.stderr.isatty()):  # on a terminal, the lines are the progress
        sinks.append(Progress(waiting.current().show, len(todo)))
    inspecting.run(todo, _inspect(model, todo, pool, with_maps=bool(report or images.folders)), sinks)
    warnings = _warnings(counts, model)
    if page and report:
        page.warnings += [*warnings, *left_out]
        if before:
            page.warnings.append(
                f"{sum(before.values())} images of an earlier run are in {output} but not on this page."
            )
        waiting.current().doing("writing the report")
        page.write(report)
    counts.verdicts += before
    outputs_told = [f"{kind} in {folder}" for kind, folder in images.folders.items()]
    outputs_told += [f"report in {report}"] if report else []
    tell("; ".join([*_summary(counts, before), *outputs_told]))
    is_searched = not any(other.reason == image_files.UNREADABLE_FOLDER for other in found.left_out)
    sys.exit(_exit_code(counts.verdicts, fail_on_anomaly, is_searched))


def _exit_code(verdicts: Counter[str], fail_on_anomaly: bool, is_searched: bool) -> int:
    """Return the exit code of a run that came to its end. With `fail_on_anomaly`, only inspected images can pass.

    `is_searched` tells whether every folder could be read.
    """
    if not fail_on_anomaly:
        return options.EXIT_FAILED if verdicts["ERROR"] else 0
    if verdicts["NG"]:
        return options.EXIT_ANOMALY
    is_inspected = is_searched and not verdicts["INVALID"] and not verdicts["ERROR"]
    return 0 if is_inspected else options.EXIT_NOT_INSPECTED


def _unfinished(tasks: Sequence[Task], earlier: Mapping[bytes, str]) -> tuple[list[Task], Counter[str]]:
    """Return the tasks that have no row from an earlier run, and the verdicts of the others.

    Of several tasks with the same key, a row does not tell which one it belongs to. They are all inspected.
    """
    from ..report.resume import path_key

    keys = [path_key(str(task.path)) for task in tasks]
    n_of = Counter(keys)
    verdicts = [earlier.get(key) if n_of[key] == 1 else None for key in keys]
    todo = [task for task, verdict in zip(tasks, verdicts) if verdict is None]
    return todo, Counter(verdict for verdict in verdicts if verdict is not None)


def _inspect(model: Detector, tasks: Sequence[Task], pool: Executor | None, with_maps: bool) -> Iterator[Inspection]:
    paths = [task.path for task in tasks]
    if pool is None:
        return model.inspect_many(paths)
    from ..distributed import jobs

    return jobs.inspect_many(pool, model, paths, with_maps)


def _warnings(counts: Counts, model: Detector) -> list[str]:
    from ..method import score_shift
    from ..report import text_changes

    warnings = text_changes.batch_lines(counts.changes)
    warnings += [SHIFTED] if score_shift.has_shifted(counts.raw_scores, model.good_scores_) else []
    for warning in warnings:
        tell(warning)
    return warnings


def _summary(counts: Counts, before: Counter[str]) -> list[str]:
    """Return the counts of all images, and the usual time of those that were scored in this run."""
    from ..results import VERDICTS

    verdicts = counts.verdicts
    n, n_before = sum(verdicts.values()), sum(before.values())
    counted = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdicts[verdict])
    earlier = f" ({n_before} from an earlier run)" if n_before else ""
    pace = [f"{1000 * median(counts.seconds):.0f} ms per image to read and score (median)"] if counts.seconds else []
    return [f"{n} image{'s' * (n != 1)}{earlier}: {counted}", *pace]


def _without_outputs(found: Found[ImageFile], inputs: Iterable[Path], folders: Iterable[Path]) -> Found[ImageFile]:
    """Leave out images that an earlier run wrote, if an output folder is below an input folder."""
    from ..features.image_files import WRITTEN, Found, LeftOut

    given = {folder.resolve() for folder in inputs}
    outputs = [folder.resolve() for folder in folders]
    below = [out for out in outputs if out not in given and given.intersection(out.parents)]
    written = dict.fromkeys(file for file in found if any(out in file.path.resolve().parents for out in below))
    left_out = [other for other in found.left_out if not any(out in other.path.resolve().parents for out in below)]
    kept = [file for file in found if file not in written]
    if not kept:
        raise ImageError(f"All images are in a folder of outputs, such as {below[0]}. Name another output folder.")
    return Found(kept, [*left_out, *(LeftOut(file.path, WRITTEN) for file in written)])
