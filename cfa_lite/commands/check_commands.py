"""``cfa-lite calibrate`` and ``evaluate``: limits on new good images, and how good a model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .options import PATH

if TYPE_CHECKING:
    from ..results import Inspection


@click.command()
@click.argument("part", type=PATH)
@click.argument("good", nargs=-1, type=PATH)
@options.limit_options(given=False)
@options.sensitivity
@options.threshold
@click.option("--defects", type=PATH, metavar="DIR", help="Tell what would be found among these defective images.")
@click.option("-o", "--output", type=PATH, metavar="NEW.CFA", help="Write the model here. Default: over PART.")
@click.option("--dry-run", is_flag=True, help="Tell, and write nothing.")
@options.moved_backbone
@options.threads
def calibrate(part: Path, good: tuple[Path, ...], sensitivity: float | None, threshold: float | None,
              defects: Path | None, output: Path | None, dry_run: bool, backbone: Path | None, threads: int | None,
              **rates: Any) -> None:  # fmt: skip
    """Set the limits of the model PART anew, from new GOOD images or by hand, without fitting again.

    Earlier limits stay in the model's history, which `cfa-lite info` tells.

    \b
    Example:
      cfa-lite calibrate part.cfa monday/good/ --defects monday/bad/
    """
    from ..estimator import load
    from ..features import images
    from ..report import text

    model = load(part, backbone=backbone, threads=threads)
    before = model.limits_.threshold
    try:
        if good:
            if sensitivity is not None or threshold is not None:
                raise click.UsageError("GOOD images set the limits; leave --sensitivity and --threshold out.")
            model.calibrate([p.path for p in images.find_images(good)], **rates)
        else:
            if any(value is not None for value in rates.values()):
                raise click.UsageError("rates and groups are of GOOD images: name them.")
            model.adjust(sensitivity=sensitivity, threshold=threshold)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    for name, line in text.limits_told(model.info()).items():
        click.echo(f"{name + ':':15s}{line}")
    click.echo(f"{'before:':15s}limit {before:.4g}, now {model.limits_.threshold:.4g} of the raw score")
    if defects:
        _tell_found(model.inspect_many(defects))
    if not dry_run:
        model.save(output or part)
        click.echo(f"{output or part} written", err=True)


def _tell_found(results: Any) -> None:
    from ..evaluation import metrics

    counts = dict.fromkeys(("NG", "UNSURE", "OK", "ERROR"), 0)
    for result in results:
        counts[result.verdict] += 1
        if result.status != "ok":
            click.echo(result.message, err=True)
    n = sum(counts.values()) - counts["ERROR"]
    low, high = metrics.proportion(counts["NG"], n)
    click.echo(
        f"{'defects:':15s}{counts['NG']} of {n} found (95 % interval {low:.0%} to {high:.0%}), {counts['UNSURE']} unsure"
    )


@click.command()
@click.argument("part", type=PATH)
@click.argument("test", required=False, type=PATH)
@click.option("--good", type=PATH, metavar="DIR", help="Good images, in place of TEST.")
@click.option("--defects", type=PATH, metavar="DIR", help="Defective images, in place of TEST.")
@click.option("--truth", type=PATH, metavar="DIR", help="Masks of the images in --defects, by the same names.")
@click.option("--output", type=PATH, metavar="FILE.JSON", help="Write all figures here.")
@click.option("--report", type=PATH, metavar="FILE.HTML", help="Write one page with what was missed, and the rest.")
@options.sensitivity
@options.threshold
@options.moved_backbone
@options.threads
def evaluate(part: Path, test: Path | None, good: Path | None, defects: Path | None, truth: Path | None,
             output: Path | None, report: Path | None, sensitivity: float | None, threshold: float | None,
             backbone: Path | None, threads: int | None) -> None:  # fmt: skip
    """Tell how good the model PART is on images whose answer is known.

    TEST is laid out as in MVTec AD: good/ and a folder for each kind of defect, ground_truth/ beside it if there are
    masks. Any two folders will do too: --good and --defects.

    \b
    Example:
      cfa-lite evaluate part.cfa test/ --report test.html
      cfa-lite evaluate part.cfa --good monday/good --defects monday/bad
    """
    from ..estimator import load
    from ..evaluation import ground_truth, metrics
    from ..features import images
    from ..report import outputs, text

    if (test is None) == (good is None or defects is None) or (test and (good or defects or truth)):
        raise click.UsageError("give TEST, or both --good and --defects.")
    model = load(part, backbone=backbone, threads=threads)
    options.adjust(model, sensitivity, threshold)
    pictures = ground_truth.find_test(test) if test else ground_truth.two_folders(good, defects, truth)  # type: ignore[arg-type]
    for image in pictures:  # before anything is scored in vain
        if image.mask:
            ground_truth.read_mask(image, images.size_of(image.path, str(image.path)))
    for path in (output, report):
        if path:
            outputs.make_folder(path.parent)
    page = options.new_page(f"Evaluation of {part.name}", model, text.limits_told(model.info())) if report else None
    pixels = metrics.PixelMeasures() if any(p.mask for p in pictures) else None
    results: list[Inspection] = []
    for image, result in zip(pictures, model.inspect_many([p.path for p in pictures])):
        if result.status != "ok":
            click.echo(result.message, err=True)
        elif pixels:
            pixels.add(result.full_map(), ground_truth.read_mask(image, result.image_size_px))
        if page:
            page.add(image.path, result, image.kind)
        results.append(result)
    limits = model.limits_
    summary = metrics.summary(
        pictures, results, pixels, limits.promised_rate, (model.good_scores_ / limits.threshold).tolist()
    )
    for name, line in metrics.told(summary).items():
        click.echo(f"{name:<15s} {line}")
    remarks = metrics.remarks(summary)
    for line in remarks:
        click.echo(line, err=True)
    if output:
        outputs.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", output)
    if page and report:
        page.facts |= metrics.told(summary)
        page.warnings += remarks
        page.write(report)
