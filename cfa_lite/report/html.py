"""The report page: one HTML file with the counts, scores and images of a batch. It needs no network."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template

from ..results import Inspection
from . import overlay, sections
from .cards import Card, draw_card
from .markup import escaped, mistake_of
from .outputs import write_text
from .overlay import RenderedImage

MAX_CARDS = {"NG": 200, "UNSURE": 100, "INVALID": 60, "OK": 24}  # missed defects that are OK are shown in addition
MAX_MISTAKES = 60  # always shown: the missed defects with the lowest scores, the false alarms with the highest
MAX_ERRORS = 500


class _TopCards:
    """Keep the `size` cards with the highest keys; earlier cards win ties."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, Card]] = []

    def accepts(self, key: float, place: int) -> bool:
        return len(self._heap) < self._size or (key, -place) > self._heap[0][:2]

    def add(self, key: float, card: Card) -> None:
        heapq.heappush(self._heap, (key, -card.place, card))
        if len(self._heap) > self._size:
            heapq.heappop(self._heap)

    def cards(self) -> list[Card]:
        """Return the cards, the highest key first."""
        return [card for _, _, card in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class Page:
    """Collect the images of a batch and write them as one HTML file.

    Parameters
    ----------
    title : str
    facts : mapping of str to str
        Lines at the top of the page: name and text.
    unsure_from : float
        Score above which an image is UNSURE, at most 1.
    good_scores : sequence of float
        Scores of the held-out good images, in units of the limit. They are the gray bars behind the histogram.

    Attributes
    ----------
    facts : dict of str to str
        More lines can be added before `write`.
    details : dict of str to str
        Lines that are folded away. Empty at first.
    is_sample : bool
        Whether the images of the page are a sample of the held-out good images. Then the histogram is of all of them
        alone, and no verdicts are counted.
    warnings : list of str
        Shown in a box at the top. More can be added before `write`.
    """

    def __init__(
        self, title: str, facts: Mapping[str, str], *, unsure_from: float, good_scores: Sequence[float]
    ) -> None:
        self.title = title
        self.facts = dict(facts)
        self.unsure_from = unsure_from
        self.good_scores = good_scores
        self.details: dict[str, str] = {}
        self.is_sample = False
        self.warnings: list[str] = []
        self._rows: list[sections.Row] = []
        self._seconds: list[float] = []
        self._errors: list[sections.Row] = []
        self._highest = {verdict: _TopCards(size) for verdict, size in MAX_CARDS.items()}
        self._mistakes = {mistake: _TopCards(MAX_MISTAKES) for mistake in ("missed", "false-alarm")}

    def add(self, rendered: RenderedImage, label: str = "") -> None:
        """Add the next image of the batch.

        The image is only read if its score is high enough, so far, for the page to show it. If it cannot be read, the
        page shows its result without it.

        Parameters
        ----------
        rendered : RenderedImage
        label : str
            Ground truth: "good", the name of the defect, or "" if unknown.
        """
        result = rendered.result
        place = len(self._rows)
        self._rows.append(sections.Row.of(result, label))
        if result.status == "error":
            if len(self._errors) < MAX_ERRORS:
                self._errors.append(self._rows[-1])
            return
        if result.status == "ok":
            self._seconds.append(result.seconds)
        rank, mistake = _rank(result), mistake_of(result.verdict, label)
        choices = [(self._highest[result.verdict], rank)]
        if mistake:
            choices.append((self._mistakes[mistake], -rank if mistake == "missed" else rank))
        choices = [(top, key) for top, key in choices if top.accepts(key, place)]
        if choices:
            card = draw_card(place, rendered, label)
            for top, key in choices:
                top.add(key, card)

    def write(self, path: Path) -> None:
        """Write the page; more images can be added and the page written again.

        Parameters
        ----------
        path : Path

        Raises
        ------
        OutputError
            If the file cannot be written. No incomplete file is left behind.
        """
        counts = sections.count(self._rows)
        page = Template(_asset("page.html")).substitute(
            title=escaped(self.title),
            style=_asset("page.css"),
            script=_asset("page.js"),
            warnings=sections.warnings_box(self.warnings),
            facts=sections.facts_rows(self.facts),
            details=sections.details_box(self.details),
            tiles="" if self.is_sample else sections.tiles(counts, self._seconds),
            histogram=sections.score_histogram(
                [] if self.is_sample else self._rows, self.good_scores, self.unsure_from
            ),
            scale_colors=sections.scale_colors(),
            scale_top=f"{overlay.SCALE_TOP:g}",
            filters=sections.filter_buttons(counts),
            cards="\n".join(sections.card_section(v, counts.verdicts[v], self._cards(v)) for v in MAX_CARDS),
            errors=sections.error_section(counts.verdicts["ERROR"], self._errors),
            table_of="the images above" if self.is_sample else "all images",
            table=sections.table(self._rows, counts.has_ground_truth),
        )
        write_text(page, path)

    def _cards(self, verdict: str) -> list[Card]:
        """Return the cards of a verdict, the highest score first.

        Mistakes take the place of other images. Only those that are OK are shown in addition.
        """
        mistakes = [card for top in self._mistakes.values() for card in top.cards() if card.result.verdict == verdict]
        size = MAX_CARDS[verdict] + (len(mistakes) if verdict == "OK" else 0)
        cards = list({card.place: card for card in mistakes + self._highest[verdict].cards()}.values())[:size]
        return sorted(cards, key=lambda card: (-_rank(card.result), card.place))


def _rank(result: Inspection) -> float:
    """Return the sort key of a result: its score, or infinity for an image without a score."""
    return math.inf if math.isnan(result.score) else result.score


def _asset(name: str) -> str:
    return (resources.files("cfa_lite.report") / "assets" / name).read_text("utf-8")
