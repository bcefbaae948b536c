"""``cfa-lite demo``."""

from __future__ import annotations

from pathlib import Path

import click

from . import waiting
from .options import PATH
from .waiting import tell


@click.command()
@click.argument("folder", type=PATH)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same images."
)
def demo(folder: Path, seed: int) -> None:
    """Draw images of woven cloth to try cfa-lite on.

    FOLDER/good has good images to fit on. FOLDER/line has images to inspect, some of them with a defect, and
    FOLDER/masks shows where the defects are. FOLDER/test has the same images sorted by defect, with their masks in
    FOLDER/ground_truth, for `cfa-lite evaluate`. FOLDER/new-good is for `cfa-lite calibrate`, and FOLDER/defects, with
    masks in FOLDER/defect-masks, for `cfa-lite teach`.

    \b
    Example:
      cfa-lite demo cloth
      cfa-lite fit cloth/good -o cloth.cfa
      cfa-lite score cloth.cfa cloth/line
      cfa-lite evaluate cloth.cfa cloth/test
    """
    from ..demo.folder import make_demo

    made = make_demo(folder, seed, progress=waiting.current().show)
    tell(
        f"{folder}: {made.n_good} good images, and {made.n_line} images to inspect, of which {made.n_defective} have a"
        " defect"
    )
