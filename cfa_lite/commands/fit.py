"""``cfa-lite fit``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import OutputError
from ..parameters import CFA_PARAMETERS, PUBLISHED_PARAMETERS
from . import options, places, waiting
from .fitted_model import show_summary, write
from .inspecting import tell_left_out
from .options import PATH

if TYPE_CHECKING:
    from ..base.detector import Detector

PAPER = "paper"
_PAPER_HELP = ' "paper" is CFA as published, for comparison.'
_OPTIONS = tuple(
    replace(p, choices=(*p.choices, PAPER), help=p.help + _PAPER_HELP) if p.name == "recipe" else p
    for p in CFA_PARAMETERS
)
_OWN = {p.name: p for p in CFA_PARAMETERS if p not in PUBLISHED_PARAMETERS and p.name != "recipe"}
_OWN_OF_PAPER = {p.name: p for p in PUBLISHED_PARAMETERS if p not in CFA_PARAMETERS}


@click.command(cls=options.SectionedCommand)
@click.argument("good", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, metavar="PART.CFA", help="The model file to write.")
@click.option(
    "--report",
    type=PATH,
    metavar="DIR",
    help="Write report.html, which shows the most unusual good images. --recipe paper also writes training.json.",
)
@click.option(
    "--each",
    is_flag=True,
    help="Fit one model per folder in GOOD. The good images of folder NAME are in NAME/train/good, NAME/good or NAME.",
)
@click.option(
    "--budget-ms",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="Choose the most accurate preset that takes at most MS milliseconds per image on this computer.",
)
@options.defects
@options.defect_masks
@options.workers
@options.dask
@options.of_table(_OPTIONS)
@options.of_table(_OWN_OF_PAPER.values(), section=f"Options of --recipe {PAPER}")
def fit(good: tuple[Path, ...], output: Path, report: Path | None, each: bool, budget_ms: float | None,
        defects: tuple[Path, ...], defect_masks: Path | None, workers: int | None, scheduler: str | None,
        **values: Any) -> None:  # fmt: skip
    """Learn a product from images of good parts.

    GOOD are folders, which are searched recursively, or files. An image that cannot be read, or that does not show the
    product as the others do, is skipped with a message. What is left out of a folder is counted and named in one line.

    With --each, PART.CFA is a folder that gets a file NAME.cfa for each product. A product that cannot be fitted does
    not end the run. --workers and --dask fit several products at once.

    With --budget-ms, models of all presets are timed on some of the images first, on --threads threads. 95% of the
    images must be within the time. Options that are given are kept.

    With --defects, the model also learns from known defects, as `cfa-lite teach` does for a fitted model.

    Exit codes: 0 done, 1 a product could not be fitted, 2 wrong usage, 130 stopped with Ctrl-C.

    \b
    Example:
      cfa-lite fit good/ -o part.cfa
      cfa-lite fit products/ --each -o models/ --workers 4
    """
    start = time.perf_counter()
    from ..features import image_files
    from ..report import outputs

    places.check(None, [*good, *defects])
    model = _unfitted(values)
    if defect_masks and not defects:
        raise click.UsageError("--defect-masks needs --defects. Name the folder of the defective images.")
    if defects and (each or values["recipe"] == PAPER):
        other = "--each" if each else f"--recipe {PAPER}"
        raise click.UsageError(f"--defects cannot be combined with {other}. Fit without one of them.")
    if budget_ms is not None:
        _refuse_with_budget(each, values["recipe"])
    if each:
        from .fit_each import fit_each

        fit_each(model, good, output, report, options.executor(workers, scheduler, model.threads))
        return
    if workers is not None or scheduler is not None:
        raise click.UsageError("--workers and --dask fit several products at once. Use them with --each.")
    if output.is_dir():
        raise OutputError(f"{output} is a folder. Give the name of a file, such as {output / 'part.cfa'}.")
    files = image_files.find_images(good)
    left_out = tell_left_out(files.left_out)
    defective = image_files.find_images(defects)
    tell_left_out(defective.left_out)
    outputs.refuse_overwriting([output], [file.path for file in (*files, *defective)])
    outputs.make_folder(output.parent)
    if report:
        outputs.make_folder(report)
    if budget_ms is not None:
        _choose_preset(model, [file.path for file in files], budget_ms, bool(defects))
    try:
        model.fit(
            [file.path for file in files],
            defects=list(defects) or None,
            masks=defect_masks,
            progress=waiting.current().show,
        )
    except ValueError as error:  # files cause errors of other types, so a parameter is wrong
        raise click.UsageError(str(error)) from error
    write(model, output, report, left_out)
    show_summary(model, output, seconds=time.perf_counter() - start)


def _refuse_with_budget(each: bool, recipe: str) -> None:
    if each:
        raise click.UsageError(
            "--budget-ms is for one product, because products that are fitted at once would be timed wrongly. Fit one"
            " with it, and give its --preset to --each."
        )
    if recipe == PAPER:
        raise click.UsageError(f"--recipe {PAPER} has no presets. Leave out --budget-ms.")
    if click.get_current_context().get_parameter_source("preset") is not ParameterSource.DEFAULT:
        raise click.UsageError("--budget-ms chooses the preset. Leave out --preset or --budget-ms.")


def _choose_preset(model: Detector, good: list[Path], budget_ms: float, learns_defects: bool) -> None:
    from ..estimator import CFA
    from ..evaluation import budget

    assert isinstance(model, CFA)
    waiting.current().doing("timing the presets")
    changed, timing = budget.choose(model, good, budget_ms, learns_defects=learns_defects)
    model.set_params(**changed)
    where = f"on {timing.n_threads} thread{'s' * (timing.n_threads > 1)}"
    waiting.tell(
        f"{budget.told(changed)}: 95% of the images take at most {timing.slow:.1f} ms {where}, within {budget_ms:g} ms"
    )


def _unfitted(values: dict[str, Any]) -> Detector:
    """Return the estimator that the options ask for.

    Raises
    ------
    click.UsageError
        If a value is not allowed, or an option of the other recipe was given.
    """
    from .. import parameters
    from ..estimator import CFA
    from ..published.estimator import PublishedCFA

    is_paper = values["recipe"] == PAPER
    _refuse(_OWN if is_paper else _OWN_OF_PAPER, values["recipe"])
    cls: type[Detector] = PublishedCFA if is_paper else CFA
    model = cls(**{p.name: values[p.name] for p in cls.parameter_table})
    try:
        parameters.check(model.parameter_table, model.get_params())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return model


def _refuse(others: dict[str, Any], recipe: str) -> None:
    context = click.get_current_context()
    for name, parameter in others.items():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"{options.flag_of(parameter)} has no effect with --recipe {recipe}. Leave it out, or choose another"
                " recipe."
            )
