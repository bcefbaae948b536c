"""``cfa-lite info``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from ..errors import one_line
from . import options, places
from .options import PATH


@click.command()
@click.argument("part", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Show everything as one JSON object.")
@options.moved_backbone
def info(part: Path, as_json: bool, backbone: Path | None) -> None:
    """Show origin, limits and parameters of the model PART.

    \b
    Example:
      cfa-lite info part.cfa
    """
    from ..estimator import load
    from ..report import text

    places.check(part, [])
    shown = load(part, backbone=backbone).info()
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        show_lines(text.info_lines(shown))


def show_lines(lines: Mapping[str, str]) -> None:
    """Write lines of text to stdout in two columns: name and text."""
    for name, text in lines.items():
        click.echo(one_line(f"{name:16s} {text}"))
