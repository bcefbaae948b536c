"""The loop over inspected images that all commands share, and what they do with each result."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import OutputError, one_line
from .waiting import tell

if TYPE_CHECKING:
    from ..base.detector import Detector
    from ..evaluation.ground_truth import GroundTruthMasks, LabeledImage
    from ..evaluation.pixel_metrics import PixelMetrics
    from ..features.image_files import LeftOut
    from ..report.html import Page
    from ..report.overlay import RenderedImage
    from ..report.tables import TableWriter
    from ..results import Change, Inspection


@dataclass(frozen=True)
class Task:
    """An image to inspect.

    Attributes
    ----------
    path : Path
    output_name : Path
        Relative path of what is written for the image, without an extension. Only `ImageWriter` uses it.
    labeled : LabeledImage or None
        The image with its ground truth, if that is known.
    """

    path: Path
    output_name: Path = Path()
    labeled: LabeledImage | None = None

    @property
    def label(self) -> str:
        """The label of the image, or "" if it is not known."""
        return "" if self.labeled is None else self.labeled.label


class Sink(ABC):
    """Takes the results of a run one by one."""

    @abstractmethod
    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Take the next image with its result, `rendered.result`."""

    def close(self) -> None:  # noqa: B027  (most sinks have nothing to close)
        """Release resources. The run calls it once, even if it failed or was stopped."""


def run(tasks: Sequence[Task], results: Iterator[Inspection], sinks: Iterable[Sink]) -> None:
    """Pass each result to all sinks, in their order, and close them.

    Parameters
    ----------
    tasks : sequence of Task
    results : iterator of Inspection
        One for each task, in the same order. It is closed as well, which stops its threads and processes.
    sinks : iterable of Sink
    """
    from ..report.overlay import RenderedImage

    with contextlib.ExitStack() as stack:
        for sink in sinks:
            stack.callback(sink.close)
        stack.callback(getattr(results, "close", lambda: None))
        for task, result in zip(tasks, results):
            rendered = RenderedImage(task.path, result)
            for sink in sinks:
                sink.take(task, rendered)


def tell_left_out(left_out: Sequence[LeftOut], prefix: str = "") -> list[str]:
    """Write a line to stderr that counts and names what a search left out, and return the line in a list.

    The list is empty and nothing is written if nothing was left out.
    """
    from ..features import image_files

    lines = [prefix + image_files.summary(left_out)] if left_out else []
    for said in lines:
        tell(said)
    return lines


def line(result: Inspection) -> str:
    """Return a result as one line of text: verdict, score, path and message.

    A message that starts with the path is shown without it.
    """
    number = "      -" if math.isnan(result.score) else f"{result.score:7.3f}"
    message = result.message
    if message.startswith(result.path):
        message = message[len(result.path) :].lstrip(" :")
    return one_line(f"{result.verdict:7s} {number}  {result.path}" + (f"  {message}" if message else ""))


class Rows(Sink):
    """Writes a table to a file."""

    def __init__(self, writer: TableWriter) -> None:
        self._writer = writer

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Write a row."""
        self._writer.write(rendered.result)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class Lines(Sink):
    """Writes a line per image to stdout: text, or a row of a table in format `fmt`."""

    def __init__(self, fmt: str | None) -> None:
        self._fmt = fmt
        self._is_first = True

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Write a line, and before the first one the header of the table."""
        from ..report import tables

        if self._fmt is None:
            _write_stdout(f"{line(rendered.result)}\n")
            return
        header = tables.header(self._fmt) if self._is_first else ""
        self._is_first = False
        _write_stdout(header + tables.row(rendered.result, self._fmt))


def _write_stdout(text: str) -> None:
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:  # the reader has closed the pipe: click exits without a message
        raise
    except OSError as error:
        raise OutputError(f"stdout cannot be written ({error.strerror or error}). Free space for it.") from error


class Messages(Sink):
    """Writes the line of each image that has a message to stderr."""

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Write the line if there is a message."""
        if rendered.result.message:
            tell(line(rendered.result))


_EXTENSIONS = {"maps": ".tiff", "overlays": ".png", "masks": ".png", "core masks": ".png"}


class ImageWriter(Sink):
    """Writes the anomaly map, the overlay and both masks of each image into folders; None writes nothing."""

    def __init__(self, maps: Path | None, overlays: Path | None, masks: Path | None, core_masks: Path | None) -> None:
        folders = zip(_EXTENSIONS, (maps, overlays, masks, core_masks))
        self.folders = {kind: folder for kind, folder in folders if folder}

    def paths(self, output_name: Path) -> dict[str, Path]:
        """Return the files of an image, by kind."""
        return {kind: folder / f"{output_name}{_EXTENSIONS[kind]}" for kind, folder in self.folders.items()}

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Write the files if the image was scored."""
        from ..report import outputs, overlay

        if rendered.result.map is None:
            return
        for kind, path in self.paths(task.output_name).items():
            below = self.folders[kind]
            if kind == "maps":
                outputs.write_map(rendered.result, path, below)
            elif kind == "masks":
                outputs.write_mask(rendered.result, path, below)
            elif kind == "core masks":
                outputs.write_core_mask(rendered.result, path, below)
            else:
                outputs.write_image(overlay.draw_overlay(rendered), path, below)


class PageCards(Sink):
    """Adds each image to a report page."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Add the image."""
        self._page.add(rendered, task.label)


class Pixels(Sink):
    """Adds the map of each image that was inspected to pixel metrics."""

    def __init__(self, metrics: PixelMetrics, masks: GroundTruthMasks) -> None:
        self._metrics, self._masks = metrics, masks

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Add the map."""
        result = rendered.result
        if result.status == "ok" and task.labeled is not None:
            self._metrics.add(result.full_map(), self._masks.mask(task.labeled, result.image_size_px))


class Counts(Sink):
    """Counts the verdicts, and keeps raw scores, times and changes of the images that were inspected."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.raw_scores: list[float] = []
        self.seconds: list[float] = []
        self.changes: list[tuple[Change, ...]] = []

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Count the verdict."""
        self.verdicts[rendered.result.verdict] += 1
        if rendered.result.status == "ok":
            self.raw_scores.append(rendered.result.raw_score)
            self.seconds.append(rendered.result.seconds)
            self.changes.append(rendered.result.changes)


class Kept(Sink):
    """Keeps the results, without their maps."""

    def __init__(self) -> None:
        self.results: list[Inspection] = []

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Keep the result."""
        self.results.append(replace(rendered.result, map=None, regions=()))


class Progress(Sink):
    """Shows how many images are done."""

    def __init__(self, show: Callable[[str, int, int], None] | None, n_images: int) -> None:
        self._show, self._n_images = show, n_images
        self._n_done = 0

    def take(self, task: Task, rendered: RenderedImage) -> None:
        """Count the image."""
        self._n_done += 1
        if self._show:
            self._show("inspecting images", self._n_done, self._n_images)


def new_page(title: str, model: Detector, facts: dict[str, str] | None = None) -> Page:
    """Return an empty report page of a model; `facts` are by default the lines about its limits."""
    from ..report import text
    from ..report.html import Page

    limit = model.threshold_
    return Page(
        title,
        text.limit_lines(model.info()) if facts is None else facts,
        unsure_from=model.limits_.unsure_threshold / limit,
        good_scores=(model.good_scores_ / limit).tolist(),
    )
