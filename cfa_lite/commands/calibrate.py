"""``cfa-lite calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..parameters import SHARED
from . import inspecting, options, places, waiting
from .info import show_lines
from .inspecting import Counts, Messages, Progress, Task
from .options import PATH
from .waiting import tell

if TYPE_CHECKING:
    from ..base.detector import Detector

_RATES = [p for p in SHARED if p.when == "limits"]


@click.command()
@click.argument("part", type=PATH)
@click.argument("good", nargs=-1, type=PATH)
@options.of_table(_RATES, kept="as in the model")
@options.sensitivity
@options.threshold
@click.option("--defects", type=PATH, metavar="DIR", help="Show how many of these defective images are found.")
@click.option("-o", "--output", type=PATH, metavar="NEW.CFA", help="Write the model to this file. By default to PART.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@options.max_megapixels
@options.moved_backbone
@options.threads
def calibrate(part: Path, good: tuple[Path, ...], sensitivity: float | None, threshold: float | None,
              defects: Path | None, output: Path | None, dry_run: bool, max_megapixels: float | None,
              backbone: Path | None, threads: int | None, **rates: Any) -> None:  # fmt: skip
    """Set new limits of the model PART without fitting it again.

    The limits are computed from new GOOD images (folders or files), or set with --sensitivity or --threshold. Images
    that cannot be read, or that PART would call INVALID, are left out, named and counted. `cfa-lite info` shows the
    earlier limits.

    \b
    Example:
      cfa-lite calibrate part.cfa monday/good/ --defects monday/bad/
    """
    from ..estimator import load
    from ..features import image_files
    from ..report import outputs, text

    places.check(part, [*good, *([defects] if defects else [])])
    model = load(part, backbone=backbone, threads=threads)
    options.override(model, max_megapixels=max_megapixels)
    before = model.threshold_
    found, found_defects = image_files.find_images(good), image_files.find_images([defects] if defects else [])
    inspecting.tell_left_out((*found.left_out, *found_defects.left_out))
    files, defective = [file.path for file in found], [file.path for file in found_defects]
    if output:
        outputs.refuse_overwriting([output], [*files, *defective])
    if not dry_run:
        outputs.make_folder((output or part).parent)
    try:
        if good:
            if sensitivity is not None or threshold is not None:
                raise click.UsageError("The GOOD images set the limits. Leave out --sensitivity and --threshold.")
            model.calibrate(files, progress=waiting.current().show, **rates)
        else:
            given = [options.flag_of(p) for p in _RATES if rates[p.name] is not None]
            if given:
                raise click.UsageError(f"{given[0]} needs GOOD images. Name their folder.")
            if sensitivity is None and threshold is None:
                raise click.UsageError("Give GOOD images, --sensitivity or --threshold.")
            model.adjust(sensitivity=sensitivity, threshold=threshold)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    show_lines(text.limit_lines(model.info()) | {"before": f"limit at raw score {before:.4g}"})
    if defective:
        show_lines({"defects": _found(model, defective)})
    if not dry_run:
        model.save(output or part)
        tell(f"{output or part} written")


def _found(model: Detector, defective: list[Path]) -> str:
    """Inspect defective images and return how many are found. INVALID and ERROR images are neither found nor missed."""
    from ..evaluation import learned
    from ..evaluation.ground_truth import LabeledImage
    from ..evaluation.metrics import binomial_interval

    tasks = [Task(path) for path in defective]
    counts = Counts()
    sinks = (counts, Messages(), Progress(waiting.current().show, len(tasks)))
    inspecting.run(tasks, model.inspect_many([task.path for task in tasks]), sinks)
    verdicts = counts.verdicts
    n = sum(verdicts[verdict] for verdict in ("NG", "UNSURE", "OK"))
    if not n:
        return f"none of {len(tasks)} was inspected"
    low, high = binomial_interval(verdicts["NG"], n)
    others = f", {len(tasks) - n} not inspected" if n < len(tasks) else ""
    seen = learned.find(model, [LabeledImage(path, "defect", None) for path in defective])
    others += f"; {len(seen)} of them were taught, so this is optimistic" if seen else ""
    return (
        f"{verdicts['NG']} of {n} found (95% interval {100 * low:.0f} to {100 * high:.0f}%),"
        f" {verdicts['UNSURE']} unsure{others}"
    )
