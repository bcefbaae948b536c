"""``cfa-lite teach``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import one_line
from ..parameters import SHARED
from . import inspecting, options, places, waiting
from .info import show_lines
from .options import PATH
from .waiting import tell

if TYPE_CHECKING:
    from ..base.detector import Detector
    from ..teaching.teach import Change, Taught

_RATES = [p for p in SHARED if p.when == "limits"]
_N_LISTED = 40  # images; more are summed up


@click.command(cls=options.SectionedCommand)
@click.argument("part", type=PATH)
@click.option(
    "--good", cls=options.ManyOption, type=PATH, required=True, metavar="GOOD...",
    help="Folders or files of good images: those of the fit, newer ones, and confirmed false alarms. Normal patches and"
    " the limits come from them.",
)  # fmt: skip
@options.defects
@options.defect_masks
@click.option(
    "--forget", multiple=True, metavar="KIND", help="Forget what was taught about this kind. Can be given repeatedly."
)
@options.of_table(_RATES, kept="as in the model")
@click.option("-o", "--output", type=PATH, metavar="NEW.CFA", help="Write the model to this file. By default to PART.")
@click.option("--report", type=PATH, metavar="DIR", help="Write report.html, which shows what was taken of each image.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write no model.")
@options.max_megapixels
@options.moved_backbone
@options.threads
def teach(part: Path, good: tuple[Path, ...], defects: tuple[Path, ...], defect_masks: Path | None,
          forget: tuple[str, ...], output: Path | None, report: Path | None, dry_run: bool,
          max_megapixels: float | None, backbone: Path | None, threads: int | None, **rates: Any) -> None:  # fmt: skip
    """Teach the model PART known defects, without fitting it again.

    One defective image is enough. Known defects raise the raw score in addition; that of other defects stays as it is.
    The limit is computed again from GOOD, and the guarantee is for all defects together. What PART was taught before is
    kept.

    Each defective image is listed with its score without and with known defects. The latter is measured with the image
    left out of what is learned.

    Good images that cannot be read are left out, and so are good and defective ones that PART would call INVALID. They
    are named and counted.

    \b
    Example:
      cfa-lite teach part.cfa --good good/ --defects bad/ --report taught/
    """
    from ..estimator import CFA, load
    from ..features import image_files
    from ..report import outputs

    start = time.perf_counter()
    places.check(part, [*good, *defects])
    model = load(part, backbone=backbone, threads=threads)
    if not isinstance(model, CFA):
        raise click.UsageError(
            f"{part} was fitted with --recipe paper, which cannot learn from known defects. Fit with another recipe."
        )
    options.override(model, max_megapixels=max_megapixels)
    before = model.info()["limits"]
    found, found_defects = image_files.find_images(good), image_files.find_images(defects)
    inspecting.tell_left_out((*found.left_out, *found_defects.left_out))
    files = [file.path for file in found]
    outputs.refuse_overwriting(
        [path for path in (output, report and report / "report.html") if path],
        [*files, *(file.path for file in found_defects)],
    )
    for folder in (report, None if dry_run else (output or part).parent):
        if folder:
            outputs.make_folder(folder)
    try:
        taught = model.teach(
            files, list(defects) or None, masks=defect_masks, forget=forget, progress=waiting.current().show, **rates
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _show(model, taught)
    if before["source"] in ("calibrate", "by hand"):
        tell(
            f"The limit that `cfa-lite calibrate` had set (raw score {before['threshold']:.4g}) is replaced: limits"
            " come from the images of --good. Give those of calibrate as well, or calibrate again."
        )
    if report:
        _write_report(model, taught, report)
    if dry_run:
        tell(f"dry run: {output or part} is not written")
        return
    model.save(output or part)
    tell(f"{output or part} written, {time.perf_counter() - start:.1f} s")


def _show(model: Detector, taught: Taught) -> None:
    from ..report import text, text_taught

    info = model.info()
    for change in taught.defects[:_N_LISTED]:
        click.echo(_line(change))
    if len(taught.defects) > _N_LISTED:
        click.echo(f"and {len(taught.defects) - _N_LISTED} more")
    lost = [change for change in taught.good if (change.after or 0) > 1 >= (change.before or 0)]
    for change in lost[:_N_LISTED]:
        click.echo(_line(change))
    show_lines(text_taught.change_lines(taught.defects, taught.good, taught.thresholds))
    show_lines(text_taught.known_defect_lines(info) | text.limit_lines(info))
    for remark in [*text.limit_remarks(info), *text_taught.remarks(info)]:
        tell(remark)


def _line(change: Change) -> str:
    before, after = (f"{score:5.2f}" if score is not None else "    -" for score in (change.before, change.after))
    return one_line(f"{before} -> {after}  {change.kind:12s} {change.name}")


def _write_report(model: Detector, taught: Taught, folder: Path) -> None:
    from ..report import text_taught
    from ..report.overlay import RenderedImage

    info = model.info()
    page = inspecting.new_page("What was taken of each defective image", model, text_taught.known_defect_lines(info))
    page.facts |= text_taught.change_lines(taught.defects, taught.good, taught.thresholds)
    page.facts["images below"] = (
        "the outlined places teach the defect. If they lie beside it, draw a mask. Scores are without known defects."
    )
    page.warnings += [*text_taught.remarks(info), *(f"Left out: {one.message}" for one in taught.skipped)]
    for one in taught.places:
        page.add(RenderedImage(one.path, one.shown(model.threshold_)), one.image.kind)
    page.write(folder / "report.html")
