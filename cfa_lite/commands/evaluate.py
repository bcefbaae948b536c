"""``cfa-lite evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import inspecting, options, places, waiting
from .info import show_lines
from .inspecting import Kept, Messages, PageCards, Pixels, Progress, Sink, Task
from .options import PATH
from .rules import RunRules, run_rules
from .waiting import tell

if TYPE_CHECKING:
    from ..evaluation.ground_truth import LabeledImage
    from ..features.image_files import Found


@click.command()
@click.argument("part", type=PATH)
@click.argument("test", required=False, type=PATH)
@click.option("--good", type=PATH, metavar="DIR", help="Folder of good images, instead of TEST.")
@click.option("--defects", type=PATH, metavar="DIR", help="Folder of defective images, instead of TEST.")
@click.option(
    "--ground-truth", type=PATH, metavar="DIR", help="Folder of masks that have the names of the images in --defects."
)
@click.option("--output", type=PATH, metavar="FILE.JSON", help="Write all metrics to this file.")
@click.option(
    "--report", type=PATH, metavar="FILE.HTML", help="Write a report page that shows missed defects and false alarms."
)
@click.option(
    "--unseen-only", is_flag=True,
    help="Leave out images that the model has learned from, as good images of the fit or as known defects.",
)  # fmt: skip
@run_rules
@options.threads
def evaluate(part: Path, test: Path | None, good: Path | None, defects: Path | None, ground_truth: Path | None,
             output: Path | None, report: Path | None, unseen_only: bool, rules: RunRules,
             threads: int | None) -> None:  # fmt: skip
    """Measure how well the model PART finds known defects.

    TEST has the layout of MVTec AD: a folder good, and a folder for each kind of defect. Masks of the defects may be in
    a folder ground_truth beside it. TEST may also be the folder of `cfa-lite demo`, or have its layout: the images in a
    folder line, and a mask of the same name in a folder masks for each defective one. Instead of TEST, any two folders
    can be given with --good and --defects.

    An image with a message is named on stderr, and so is what is left out of a folder. An image that cannot be
    inspected counts in no metric. Images that the model has learned from are counted in a message: figures with them
    are optimistic.

    \b
    Example:
      cfa-lite evaluate part.cfa test/ --report test.html
      cfa-lite evaluate part.cfa --good monday/good --defects monday/bad
    """
    from ..evaluation import learned, metrics
    from ..evaluation.ground_truth import GroundTruthMasks
    from ..evaluation.pixel_metrics import PixelMetrics
    from ..report import outputs, text_changes

    places.check(part, [path for path in (test, good, defects, ground_truth) if path])
    model = rules.load(part, threads)
    labeled = _test_images(test, good, defects, ground_truth)
    left_out = inspecting.tell_left_out(labeled.left_out)
    files = [path for path in (output, report) if path]
    outputs.refuse_overwriting(files, [part, *(path for image in labeled for path in (image.path, image.mask) if path)])
    seen = learned.find(model, labeled)
    told_seen = learned.remark(labeled, seen, unseen_only)
    tested = learned.without(labeled, seen) if unseen_only else list(labeled)
    masks = GroundTruthMasks(tested, model.max_megapixels)
    for path in files:
        outputs.make_folder(path.parent)
    page = inspecting.new_page(f"Evaluation of {part.name}", model) if report else None
    pixels = PixelMetrics() if len(masks) else None
    kept = Kept()
    sinks: list[Sink] = [kept, Messages(), Progress(waiting.current().show, len(tested))]
    if pixels:
        sinks.append(Pixels(pixels, masks))
    if page:
        sinks.append(PageCards(page))
    tasks = [Task(image.path, labeled=image) for image in tested]
    inspecting.run(tasks, model.inspect_many([image.path for image in tested]), sinks)
    waiting.current().doing("computing the metrics")
    good_scores = (model.good_scores_ / model.threshold_).tolist()
    summary = metrics.summary(tested, kept.results, pixels, model.limits_.promised_rate, good_scores)
    summary["learned_from"] = {
        "good": sum(not image.defective for image in seen),
        "defective": sum(image.defective for image in seen),
        "left_out": unseen_only,
    }
    lines, remarks = metrics.summary_lines(summary), metrics.remarks(summary)
    remarks = [
        *filter(None, [told_seen]),
        *remarks,
        *text_changes.batch_lines([one.changes for one in kept.results if one.status == "ok"]),
    ]
    show_lines(lines)
    for remark in remarks:
        tell(remark)
    if output:
        outputs.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", output)
    if page and report:
        page.facts |= lines
        page.warnings += [*remarks, *left_out]
        waiting.current().doing("writing the report")
        page.write(report)


def _test_images(test: Path | None, good: Path | None, defects: Path | None, masks: Path | None) -> Found[LabeledImage]:
    from ..evaluation import ground_truth

    if test is not None:
        if good or defects or masks:
            raise click.UsageError("TEST cannot be combined with --good, --defects or --ground-truth.")
        return ground_truth.find_test_set(test)
    if good is None or defects is None:
        raise click.UsageError("Give TEST, or both --good and --defects.")
    return ground_truth.find_in_folders(good, defects, masks)
