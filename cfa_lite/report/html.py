"""A page for people: one HTML file with counts, scores and images of a whole batch, which needs no network."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..evaluation.ground_truth import GOOD
from ..features.images import ImageLike
from ..results import VERDICTS, Inspection
from .cards import Card, card_markup, draw_card, escaped, known_as, mistake_of, number, share
from .histogram import CSS, SCRIPT, color_scale, draw_histogram
from .outputs import write_text

MAX_CARDS = {"NG": 200, "UNSURE": 100, "INVALID": 60, "OK": 24}  # with images; missed ones that are OK come on top
MAX_MISTAKES = 60  # imaged at any rate: the missed with the lowest scores, the false alarms with the highest
MAX_ERRORS, MAX_ROWS = 500, 20_000
_ROWS_AT_ONCE = 250  # a browser lays out so many rows of the table only when they come into view
_SERVED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_MEANING = {
    "NG": "Score above the limit. Look at the outlined places.",
    "UNSURE": "Score close below the limit. A person should decide.",
    "INVALID": "Cannot be of the product, for the reason below; the score says nothing.",
    "OK": "Looks like the good images. The highest scores are imaged.",
    "ERROR": "Could not be scored and says nothing about the part.",
}


class _Row(NamedTuple):
    path: str
    verdict: str
    score: float
    percentile: float
    n_regions: int
    kind: str


class _Highest:
    """The cards with the highest keys, at most `size`; of equal ones those that came first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.heap: list[tuple[float, int, Card]] = []

    def wants(self, key: float, place: int) -> bool:
        return len(self.heap) < self.size or (key, -place) > self.heap[0][:2]

    def take(self, key: float, card: Card) -> None:
        heapq.heappush(self.heap, (key, -card.place, card))
        if len(self.heap) > self.size:
            heapq.heappop(self.heap)

    def cards(self) -> list[Card]:
        """Highest key first."""
        return [card for _, _, card in sorted(self.heap, key=lambda entry: entry[:2], reverse=True)]


class Page:
    """Collects the images of a batch and writes them as one HTML file.

    Parameters
    ----------
    title : str
    facts : mapping of str to str
        Lines at the top: what is told, and the value.
    unsure_from : float
        Score above which an image is UNSURE, at most 1.0.
    good_scores : sequence of float
        Scores of the good images that were held out, 1.0 is the limit: the grey bars behind the others.

    Attributes
    ----------
    warnings : list of str
        Shown in a box at the top; append to it before `write`.
    """

    def __init__(
        self, title: str, facts: Mapping[str, str], *, unsure_from: float, good_scores: Sequence[float]
    ) -> None:
        self.title = title
        self.facts = dict(facts)
        self.unsure_from = unsure_from
        self.good_scores = good_scores
        self.warnings: list[str] = []
        self._rows: list[_Row] = []
        self._seconds: list[float] = []
        self._errors: list[tuple[Inspection, str]] = []
        self._shown = {verdict: _Highest(size) for verdict, size in MAX_CARDS.items()}
        self._mistakes = {mistake: _Highest(MAX_MISTAKES) for mistake in ("missed", "false-alarm")}

    def add(self, image: ImageLike, result: Inspection, kind: str = "") -> None:
        """Add the next image.

        It is read again only if it will be imaged as far as is known by now; one that cannot be read is shown
        without image.

        Parameters
        ----------
        image : path, PIL image or ndarray
            The image that `result` is of.
        result : Inspection
        kind : str
            What the image really is: "good", or the name of its defect; "" if that is not known.
        """
        place = len(self._rows)
        row = _Row(result.path, result.verdict, result.score, result.percentile, len(result.regions), kind)
        self._rows.append(row)
        if result.status != "ok":
            if len(self._errors) < MAX_ERRORS:
                self._errors.append((replace(result, map=None), kind))
            return
        self._seconds.append(result.seconds)
        mistake = mistake_of(result.verdict, kind)
        takers = [(self._shown[result.verdict], result.score)]
        if mistake:
            takers.append((self._mistakes[mistake], -result.score if mistake == "missed" else result.score))
        takers = [(taker, key) for taker, key in takers if taker.wants(key, place)]
        if takers:
            card = draw_card(place, image, result, kind)
            for taker, key in takers:
                taker.take(key, card)

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all; may be called again after more images.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        counts = Counter(row.verdict for row in self._rows)
        mistakes = Counter(mistake_of(row.verdict, row.kind) for row in self._rows)
        evaluated = any(row.kind for row in self._rows)
        parts = [
            "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
            f'<meta http-equiv=Content-Security-Policy content="{_SERVED}">'
            "<meta name=viewport content='width=device-width,initial-scale=1'>"
            f"<title>{escaped(self.title)}</title><style>{CSS}</style></head>\n<body><h1>{escaped(self.title)}</h1>",
            self._head(counts, mistakes, evaluated),
            self._histogram(evaluated),
            _filters(len(self._rows), counts, mistakes, evaluated),
            "<p id=none hidden>No image of this kind is shown here.</p>",
        ]
        parts += [self._cards(verdict, counts[verdict]) for verdict in MAX_CARDS]
        parts += [
            self._error_rows(counts["ERROR"]),
            self._table(evaluated),
            f"<script>{SCRIPT}</script></body></html>\n",
        ]
        write_text("\n".join(parts), path)

    def _head(self, counts: Counter[str], mistakes: Counter[str], evaluated: bool) -> str:
        lines = [f"<li>{escaped(warning)}</li>" for warning in self.warnings]
        warnings = f"<div class=warnings role=alert><b>To know</b><ul>{''.join(lines)}</ul></div>" if lines else ""
        facts = "".join(f"<tr><th scope=row>{escaped(k)}</th><td>{escaped(v)}</td></tr>" for k, v in self.facts.items())
        tiles = [
            f"<li class={v}><span class='tag {v}'>{v}</span><b>{counts[v]}</b><small>{share(counts[v], counts.total())}"
            "</small></li>"
            for v in VERDICTS
        ]
        if evaluated:
            n_good = sum(row.kind == GOOD for row in self._rows)
            n_defective = sum(row.kind not in ("", GOOD) for row in self._rows)
            for name, mistake, n, of in (
                ("Missed", "missed", n_defective, "defective"),
                ("False alarms", "false-alarm", n_good, "good"),
            ):
                small = f"of {n} {of}" + (f", {share(mistakes[mistake], n)}" if n else "")
                tiles.append(f"<li>{name}<b>{mistakes[mistake]}</b><small>{small}</small></li>")
        if any(self._seconds):
            median, slow = (1000 * float(np.quantile(self._seconds, q)) for q in (0.5, 0.95))
            tiles.append(
                f"<li>Time an image<b>{median:.0f} ms</b><small>median; 95&nbsp;% within {slow:.0f}&nbsp;ms</small></li>"
            )
        return f"{warnings}<table class=facts>{facts}</table><ul class=tiles>{''.join(tiles)}</ul>"

    def _histogram(self, evaluated: bool) -> str:
        rows = [row for row in self._rows if math.isfinite(row.score)]
        if evaluated:
            groups = [row.kind and (GOOD if row.kind == GOOD else "defective") for row in rows]
            names = {GOOD: "good", "defective": "defective", "": "not known"}
        else:
            groups = [row.verdict for row in rows]
            names = {v: v for v in ("OK", "UNSURE", "NG")}
        scores = np.array([row.score for row in rows])
        series = {name: scores[[group == name for group in groups]] for name in names if name in groups}
        held = np.array([score for score in self.good_scores if math.isfinite(score)])
        key = [f"<span><i class={n or 'unknown'}></i>{names[n]} ({len(s)})</span>" for n, s in series.items()]
        if len(held):
            scaled = ", drawn to the same total" if rows else ""
            key.append(f"<span><i class=held></i>{len(held)} good images held out while learning{scaled}</span>")
        if not key:
            return ""
        plot = draw_histogram({n or "unknown": s for n, s in series.items()}, held, self.unsure_from)
        return f"<h2>Scores</h2><div class=plot>{plot}</div><div class=key>{''.join(key)}</div>"

    def _cards(self, verdict: str, n: int) -> str:
        preferred = [c for taker in self._mistakes.values() for c in taker.cards() if c.result.verdict == verdict]
        room = MAX_CARDS[verdict] + (len(preferred) if verdict == "OK" else 0)
        cards = list({card.place: card for card in preferred + self._shown[verdict].cards()}.values())[:room]
        if not cards:
            return ""
        cards.sort(key=lambda card: (-card.result.score, card.place))
        left = f" {len(cards)} of {n} are imaged; the others are in the table at the end." if n > len(cards) else ""
        return _section(verdict, n, left, f"<div class=cards>{''.join(map(card_markup, cards))}</div>")

    def _error_rows(self, n: int) -> str:
        if not self._errors:
            return ""
        rows = [
            f"<tr {known_as('ERROR', kind)}><td>{escaped(r.path)}</td><td>{escaped(r.message)}</td></tr>\n"
            for r, kind in self._errors
        ]
        left = f" The first {len(rows)} are shown." if n > len(rows) else ""
        return _section("ERROR", n, left, f"<table class=errors>{''.join(rows)}</table>")

    def _table(self, evaluated: bool) -> str:
        rows = self._rows
        if len(rows) > MAX_ROWS:  # keep the worst, in the order they came
            scores = np.array([row.score for row in rows])
            worst = np.argsort(np.where(np.isnan(scores), -np.inf, -scores), kind="stable")[:MAX_ROWS]
            rows = [rows[i] for i in sorted(worst)]
        left = f"<p>{len(self._rows) - len(rows)} images with the lowest scores are left out.</p>"
        names = ["Image", "Verdict", "Score", "Percentile", "Regions"] + ["Really is"] * evaluated
        head = "".join(f"<th scope=col>{name}" for name in names)
        chunks = [rows[i : i + _ROWS_AT_ONCE] for i in range(0, len(rows), _ROWS_AT_ONCE)]
        tables = [
            f"<div class=rows><table><tr>{head}\n{''.join(_row(row, evaluated) for row in chunk)}</table></div>"
            for chunk in chunks
        ]
        return (
            f"<details><summary>Table of all images</summary>{left if len(rows) < len(self._rows) else ''}"
            f"{''.join(tables)}</details>"
        )


def _section(verdict: str, n: int, left: str, body: str) -> str:
    number_of = "1 image" if n == 1 else f"{n} images in all"
    return (
        f"<section class=kind><h2><span class='tag {verdict}'>{verdict}</span>{number_of}</h2>"
        f"<p class=soft>{_MEANING[verdict]}{left}</p>\n{body}</section>"
    )


def _row(row: _Row, evaluated: bool) -> str:
    path, verdict, score, percentile, n_regions, kind = row
    end = f"<td>{escaped(kind)}" if evaluated else ""
    return (
        f"<tr {known_as(verdict, kind)}><td>{escaped(path)}<td>{verdict}<td>{number(score, 2)}<td>{number(percentile, 1)}"
        f"<td>{n_regions}{end}\n"
    )


def _filters(n: int, counts: Counter[str], mistakes: Counter[str], evaluated: bool) -> str:
    choices = [("all", "All", n), *((v, v, counts[v]) for v in VERDICTS)]
    if evaluated:
        choices += [("missed", "Missed", mistakes["missed"]), ("false-alarm", "False alarms", mistakes["false-alarm"])]
    buttons = (
        f"<button type=button data-filter={token} aria-pressed=false{'' if n else ' disabled'}>{name} {n}</button>"
        for token, name, n in choices
    )
    return f"<h2>Images</h2>{color_scale()}<div class=filters>{''.join(buttons)}</div>"
