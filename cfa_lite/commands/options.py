"""Options that several commands take, and those of `cfa-lite fit` that set arguments of recipe `paper`.

What is allowed is said once, in arguments.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..distributed.executor import Executor
    from ..estimator import CFA
    from ..report.html import Page


class SizeType(click.ParamType):
    """A whole number, or "full"."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        try:
            return "full" if value == "full" else int(value)
        except ValueError:
            return self.fail(f"{value!r} is no side in pixels and not 'full'.", param, ctx)


class RangeType(click.ParamType):
    """Two numbers with a comma between them, or "auto"."""

    name = "range"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float] | str:
        if value == "auto" or isinstance(value, tuple):
            return value
        try:
            low, high = (float(part) for part in value.split(","))
        except ValueError:
            return self.fail(f"{value!r} is not LOW,HIGH, as in 0,4095, and not 'auto'.", param, ctx)
        return low, high


PATH = click.Path(path_type=Path)
EXIT_FAILED, EXIT_ANOMALY, EXIT_STOPPED = 1, 3, 130
threads = click.option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    help="Threads for everything. Default: all cores, of four or more all but one.",
)
workers = click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Work in N processes, which share out --threads."
)
dask = click.option(
    "--dask",
    "scheduler",
    metavar="HOST:PORT",
    help="Work on the Dask cluster of this scheduler, whose PCs see the images under the same paths; --threads is then"
    " of each task, by default 1.",
)
moved_backbone = click.option(
    "--backbone", type=PATH, metavar="FILE.ONNX", help="Where your own backbone is now, if it has moved."
)
sensitivity = click.option("--sensitivity", type=float, metavar="X", help="Make scores X times higher.")
threshold = click.option("--threshold", type=float, metavar="RAW", help="Set the limit of raw_score by hand.")

_PAPER: dict[str, tuple[Any, Any, str]] = {
    "n_neighbors": (int, 3, "K, centers that attract."),
    "n_hard_negatives": (int, 3, "J, next centers, that repel."),
    "radius": (float, 1e-5, "r to start with; it is learnt."),
    "repulsion_margin": (float, 0.1, "alpha of the repulsion."),
    "nu": (float, 1e-3, "nu of the loss."),
    "learning_rate": (float, 1e-3, "Of AdamW."),
    "weight_decay": (float, 5e-4, "Of AdamW."),
    "epochs": (int, 30, "All are done; none is chosen."),
    "batch_size": (int, 4, "Images a step."),
    "gamma_c": (int, 1, "Compression of the number of centers."),
    "gamma_d": (int, 1, "Compression of the descriptor's channels."),
    "bank": (click.Choice(["position_mean", "kmeans_ema"]), "position_mean", "The authors' code, or Algorithm 1."),
    "ema_rate": (float, 0.05, "Share of the new in a center of kmeans_ema."),
}


def paper_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with them; their defaults are the published values."""
    command = click.option("--certainty/--no-certainty", default=True, help="paper: weight by certainty.")(command)
    command = click.option(
        "--bank-follows", is_flag=True, default=False, help="paper: kmeans_ema goes on while training."
    )(command)
    for name, (kind, default, words) in reversed(_PAPER.items()):
        flags = [f"--{name.replace('_', '-')}", *(["margin"] if name == "repulsion_margin" else [])]
        command = click.option(*flags, type=kind, default=default, show_default=True, help=f"paper: {words}")(command)
    return command


def limit_options(given: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with what the limits are to promise, with `fit`'s defaults if they are to be `given`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for flags, default, words in (
            (("--margin", "limit_margin"), 0.0, "Share added to both limits."),
            (("--unsure-rate",), 0.05, "The same for UNSURE, which a person should look at."),
            (("--false-alarm-rate",), 0.01, "Probability, at most, that a good image is NG."),
        ):
            kept = "" if given else " Default: as fitted."
            command = click.option(
                *flags, type=float, default=default if given else None, show_default=given, help=words + kept
            )(command)
        return click.option(
            "--group-by",
            metavar="REGEX",
            help="Images in whose names it finds the same text were taken together and count as one.",
        )(command)

    return decorate


def crew(workers: int | None, scheduler: str | None, threads: int | None) -> Executor | None:
    """Who works, if not this process; let go of when the command ends, however it does."""
    if workers is None and scheduler is None:
        return None
    if workers is not None and scheduler is not None:
        raise click.UsageError("--workers are of this PC and --dask of a cluster: give one of them.")
    from ..distributed.executor import Executor

    return click.get_current_context().with_resource(Executor(workers, scheduler, threads))


def adjust(model: CFA, sensitivity: float | None, threshold: float | None) -> None:
    """Move a loaded model's limits as the command line asks, if it does."""
    if sensitivity is None and threshold is None:
        return
    try:
        model.adjust(sensitivity=sensitivity, threshold=threshold)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def new_page(title: str, model: CFA, facts: dict[str, str]) -> Page:
    """An empty report page with this model's limits and good images."""
    from ..report.html import Page

    limit = model.limits_.threshold
    unsure_from = model.limits_.unsure_threshold / limit
    return Page(title, facts, unsure_from=unsure_from, good_scores=(model.good_scores_ / limit).tolist())


def progress() -> Callable[[str, int, int], None] | None:
    """Shows phase and count on one line of stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        return None

    def show(phase: str, done: int, total: int) -> None:
        click.echo(f"\r{phase} {done}/{total} ", nl=False, err=True)
        if done == total:
            click.echo("\r" + " " * 40 + "\r", nl=False, err=True)

    return show
