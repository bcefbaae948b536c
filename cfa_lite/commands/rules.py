"""What the command line sets of fitted models for one run: how images are inspected, and where the limits are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .options import Command

if TYPE_CHECKING:
    from ..base.detector import Detector


@dataclass(frozen=True)
class RunRules:
    """Values of the options that `run_rules` adds to a command; None keeps that of the model.

    Attributes
    ----------
    checks : bool or None
    max_megapixels : float or None
    sensitivity, threshold : float or None
        Factor of all scores, and limit of the raw score.
    backbone : Path or None
    """

    checks: bool | None = None
    max_megapixels: float | None = None
    sensitivity: float | None = None
    threshold: float | None = None
    backbone: Path | None = None

    def load(self, part: Path, threads: int | None) -> Detector:
        """Load a model that follows these rules.

        Raises
        ------
        ArchiveError, BackboneError
            If the model or its network cannot be used.
        click.UsageError
            If a value is not allowed.
        """
        from ..estimator import load

        model = load(part, backbone=self.backbone, threads=threads)
        options.override(model, checks=self.checks, max_megapixels=self.max_megapixels)
        options.adjust(model, self.sensitivity, self.threshold)
        return model

    def load_all(self, parts: Sequence[Path], threads: int | None) -> list[Detector]:
        """Load the models of a line, and compile and load all that their first images need.

        Raises
        ------
        ArchiveError, BackboneError, click.UsageError
            As `load`; also if --threshold is given for several models.
        """
        if self.threshold is not None and len(parts) > 1:
            raise click.UsageError(
                "--threshold is on the scale of one model, and there are several. Use `cfa-lite calibrate` for each, or"
                " --sensitivity."
            )
        models = [self.load(part, threads) for part in parts]
        for model in models:
            model.inspect_many([])  # it warms up, so that the first image does not wait
        return models


def run_rules(command: Command) -> Command:
    """Add the options of `RunRules` to a command, which takes them as the argument `rules`."""

    @functools.wraps(command)
    def with_rules(**given: Any) -> Any:
        return command(rules=RunRules(**{name: given.pop(name) for name in RunRules.__dataclass_fields__}), **given)

    added = (
        options.of_table(options.named("checks", "max_megapixels"), kept="as in the model"),
        options.sensitivity,
        options.threshold,
        options.moved_backbone,
    )
    return options.together(added)(with_rules)
