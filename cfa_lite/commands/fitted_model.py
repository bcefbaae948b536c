"""Outputs of ``cfa-lite fit``: the model file, the report and the summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .waiting import tell

if TYPE_CHECKING:
    from ..base.detector import Detector


def write(model: Detector, output: Path, report: Path | None, left_out: Sequence[str] = ()) -> None:
    """Write a fitted model and, if `report` is given, its report into this folder.

    `left_out` are lines about what was left out of the folders of good images.
    """
    model.save(output)
    if report:
        _write_report(model, output, report, left_out)


def _write_report(model: Detector, output: Path, folder: Path, left_out: Sequence[str]) -> None:
    from ..published.estimator import PublishedCFA
    from ..report import outputs, text, text_fit
    from ..report.overlay import RenderedImage
    from .inspecting import new_page

    if isinstance(model, PublishedCFA):
        outputs.write_text(json.dumps(model.report_, indent=1) + "\n", folder / "training.json")
    info = model.info()
    lines = text.info_lines(info)
    facts = text_fit.inspector_lines(info, lines, [*(skipped.message for skipped in model.skipped_), *left_out])
    page = new_page(f"Good images of {output.name}", model, facts)
    page.details = {name: line for name, line in lines.items() if facts.get(name) != line}
    page.is_sample = True
    page.facts["images below"] = f"the {len(model.most_unusual_)} most unusual good images, held out"
    page.warnings += text.remarks(info)
    for result in model.most_unusual_:
        page.add(RenderedImage(result.path, result))
    page.write(folder / "report.html")


def show_summary(model: Detector, output: Path, *, seconds: float | None = None, prefix: str = "") -> None:
    """Write the remarks on a fitted model and a line about its file to stderr."""
    from ..report import text, text_fit

    info = model.info()
    training = info["training"]
    h, w = training["working_px"]
    skipped = f" ({training['n_skipped']} skipped)" if training["n_skipped"] else ""
    took = "" if seconds is None else f", {seconds:.1f} s"
    for remark in text.remarks(info):
        tell(prefix + remark)
    size = f"{output.stat().st_size / 1000:.0f} kB"
    tell(
        f"{output}: {training['n_images']} good images{skipped}, working size {w}x{h} px, smallest visible defect"
        f" {text_fit.smallest_defect(info)}{took}, {size}"
    )
