"""``cfa-lite drift``."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import one_line
from . import options
from .options import PATH

if TYPE_CHECKING:
    from ..drift.rows import Rows


@click.command()
@click.argument("results", type=PATH)
@click.option(
    "--reference", "n_reference", type=click.IntRange(100), metavar="N", show_default="300",
    help="Take the first N images of RESULTS as the reference. The images after them are compared with it.",
)  # fmt: skip
@click.option(
    "--reference-file", type=PATH, metavar="FILE",
    help="Take all images of this other results file as the reference, and compare all images of RESULTS with it.",
)  # fmt: skip
@click.option(
    "--false-alarm-every", type=click.FloatRange(1000, 1e8), default=100_000, show_default=True, metavar="N",
    help="Report a change where there is none at most once in N images. A larger N finds small changes later.",
)  # fmt: skip
@click.option(
    "--by-time",
    is_flag=True,
    help="Sort the rows by the time of the image files first. By default, they count in the order of the file.",
)
@click.option("--fail-on-drift", is_flag=True, help="Exit with 5 if there is a change.")
def drift(results: Path, n_reference: int | None, reference_file: Path | None, false_alarm_every: float,
          by_time: bool, fail_on_drift: bool) -> None:  # fmt: skip
    """Find out whether the line has changed over time, and since when: an older lamp, dirt on the lens, a moved camera.

    RESULTS is the file that `cfa-lite score --output` or `cfa-lite watch --output` has written, as CSV or JSON lines.
    Its first 300 images are the reference, so they must be from a time when the line was as it should be. All later
    images are compared with them.

    Scores, brightness, sharpness and position are compared, each by itself. For each change, the answer names the image
    and the time at which it began, and the values before and after. Single NG images are no change.

    Exit codes: 0 done, 1 failed, 2 wrong usage; with --fail-on-drift also 5: something has changed.

    \b
    Example:
      cfa-lite drift results.csv
    """
    from .. import threads
    from ..drift import changes, rows, text

    if n_reference is not None and reference_file is not None:
        raise click.UsageError("Give --reference or --reference-file, not both.")
    given = rows.read(results)
    n_first = min(n_reference or 300, len(given))
    if by_time:
        given = _by_time(given)
    if reference_file is None:
        reference, judged = given.part(list(range(n_first))), given.part(list(range(n_first, len(given))))
    else:
        reference, judged = rows.read(reference_file), given
        reference = _by_time(reference) if by_time else reference
    with threads.serial_blas():
        found = changes.find(judged, reference, false_alarm_every)
    for line in text.lines(found):
        click.echo(one_line(line))
    if not by_time and _is_mixed(given):
        click.echo("The rows are not in the order of the times of their files: --by-time sorts them.", err=True)
    if fail_on_drift and found.changes:
        sys.exit(options.EXIT_DRIFT)


def _by_time(rows: Rows) -> Rows:
    if None in rows.times:
        raise click.UsageError(f"{rows.source} has rows without a time, so --by-time cannot sort them.")
    return rows.part(sorted(range(len(rows)), key=lambda i: rows.times[i] or datetime.min))


def _is_mixed(rows: Rows) -> bool:
    """Return whether rows are far from the order of their times: more than a tenth of them."""
    times = [time for time in rows.times if time is not None]
    return sum(after < before for before, after in zip(times, times[1:])) > len(times) / 10
