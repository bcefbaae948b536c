"""Sections of the report page: one function per section, from rows, counts and cards to HTML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..evaluation.ground_truth import GOOD
from ..results import VERDICTS, Inspection
from . import overlay
from .cards import Card, card_html
from .histogram import draw_histogram
from .markup import escaped, filter_tags, mistake_of, number, share

MAX_ROWS = 20_000
_ROWS_PER_TABLE = 250  # a browser does the layout of one table when it scrolls into view
_MEANING = {
    "NG": "The score is above the limit. Look at the outlined regions.",
    "UNSURE": "The score is just below the limit. A person should decide.",
    "INVALID": "The image cannot show this product, for the reason on its card. Its score means nothing.",
    "OK": "The image looks like the good images. The images with the highest scores are shown.",
    "ERROR": "The image could not be inspected. This says nothing about the part.",
}


class Row(NamedTuple):
    """What the page keeps of every image."""

    path: str
    verdict: str
    score: float
    percentile: float
    n_regions: int
    message: str
    label: str

    @classmethod
    def of(cls, result: Inspection, label: str) -> Row:
        """Make the row of a result and its ground truth."""
        n_regions = len(result.regions)
        return cls(result.path, result.verdict, result.score, result.percentile, n_regions, result.message, label)


@dataclass(frozen=True)
class Counts:
    """Numbers of images.

    Attributes
    ----------
    n : int
        All images.
    verdicts, mistakes : Counter of str
        By verdict, and by mistake: "missed" and "false-alarm".
    n_good, n_defective : int
        Images with a score, by ground truth.
    has_ground_truth : bool
        Whether the ground truth of any image is known.
    """

    n: int
    verdicts: Counter[str]
    mistakes: Counter[str]
    n_good: int
    n_defective: int
    has_ground_truth: bool


def count(rows: Sequence[Row]) -> Counts:
    """Count images by verdict, mistake and ground truth."""
    labels = [row.label for row in rows if row.label and math.isfinite(row.score)]
    return Counts(
        n=len(rows),
        verdicts=Counter(row.verdict for row in rows),
        mistakes=Counter(mistake_of(row.verdict, row.label) for row in rows),
        n_good=labels.count(GOOD),
        n_defective=len(labels) - labels.count(GOOD),
        has_ground_truth=any(row.label for row in rows),
    )


def warnings_box(warnings: Sequence[str]) -> str:
    """Return the box of warnings; "" if there are none."""
    lines = [f"<li>{escaped(warning)}</li>" for warning in warnings]
    return f"<div class=warnings role=alert><b>Please note</b><ul>{''.join(lines)}</ul></div>" if lines else ""


def facts_rows(facts: Mapping[str, str]) -> str:
    """Return the table rows at the top of the page."""
    return "".join(f"<tr><th scope=row>{escaped(k)}</th><td>{escaped(v)}</td></tr>" for k, v in facts.items())


def details_box(lines: Mapping[str, str]) -> str:
    """Return a table of lines that is folded away; "" if there are none."""
    if not lines:
        return ""
    return (
        f"<details><summary>Details for an engineer</summary><table class=facts>{facts_rows(lines)}</table></details>"
    )


def tiles(counts: Counts, seconds: Sequence[float]) -> str:
    """Return the tiles with counts and time per image.

    Parameters
    ----------
    counts : Counts
    seconds : sequence of float
        Of each inspected image.

    Returns
    -------
    str
        List items.
    """
    items = [
        f"<li class={v}><span class='tag {v}'>{v}</span><b>{counts.verdicts[v]}</b>"
        f"<small>{share(counts.verdicts[v], counts.n)}</small></li>"
        for v in VERDICTS
    ]
    if counts.has_ground_truth:
        for name, mistake, n, of in (
            ("Missed", "missed", counts.n_defective, "defective"),
            ("False alarms", "false-alarm", counts.n_good, "good"),
        ):
            small = f"of {n} {of}" + (f", {share(counts.mistakes[mistake], n)}" if n else "")
            items.append(f"<li>{name}<b>{counts.mistakes[mistake]}</b><small>{small}</small></li>")
    if any(seconds):
        median, slow = (1000 * float(np.quantile(seconds, q)) for q in (0.5, 0.95))
        small = f"median; 95% take at most {slow:.0f}&nbsp;ms"
        items.append(f"<li>Time per image<b>{median:.0f} ms</b><small>{small}</small></li>")
    return "".join(items)


def score_histogram(rows: Sequence[Row], good_scores: Sequence[float], unsure_from: float) -> str:
    """Return the histogram of scores with its key, by ground truth if it is known and by verdict otherwise.

    Parameters
    ----------
    rows : sequence of Row
    good_scores : sequence of float
        Scores of the held-out good images.
    unsure_from : float
        The lower limit of the score.

    Returns
    -------
    str
        "" if there are no scores.
    """
    rows = [row for row in rows if math.isfinite(row.score)]
    if any(row.label for row in rows):
        groups = [row.label and (GOOD if row.label == GOOD else "defective") for row in rows]
        names = {GOOD: "good", "defective": "defective", "": "unknown"}
    else:
        groups = [row.verdict for row in rows]
        names = {v: v for v in ("OK", "UNSURE", "NG")}
    scores = np.array([row.score for row in rows])
    series = {names[group]: scores[[g == group for g in groups]] for group in names if group in groups}
    held_out = np.array([score for score in good_scores if math.isfinite(score)])
    key = [f"<span><i class={name}></i>{name} ({len(values)})</span>" for name, values in series.items()]
    if len(held_out):
        scaled = ", scaled to the same total" if series else ""
        key.append(f"<span><i class=held></i>{len(held_out)} good images held out during the fit{scaled}</span>")
    if not key:
        return ""
    plot = draw_histogram(series, held_out, unsure_from)
    return f"<h2>Scores</h2><div class=plot>{plot}</div><div class=key>{''.join(key)}</div>"


def scale_colors() -> str:
    """Return the colors of the anomaly maps as the stops of a CSS gradient."""
    stops = overlay.colorize(np.linspace(0, overlay.SCALE_TOP, 11)[None])[0]
    return ",".join(f"rgb({r},{g},{b})" for r, g, b in stops)


def filter_buttons(counts: Counts) -> str:
    """Return the buttons that filter images by verdict and mistake."""
    choices = [("all", "All", counts.n), *((v, v, counts.verdicts[v]) for v in VERDICTS)]
    if counts.has_ground_truth:
        choices += [
            ("missed", "Missed", counts.mistakes["missed"]),
            ("false-alarm", "False alarms", counts.mistakes["false-alarm"]),
        ]
    return "".join(
        f"<button type=button data-filter={tag} aria-pressed=false{'' if n else ' disabled'}>{name} {n}</button>"
        for tag, name, n in choices
    )


def card_section(verdict: str, n: int, cards: Sequence[Card]) -> str:
    """Return the cards of the `n` images of a verdict; "" if there are none."""
    if not cards:
        return ""
    more = f" {len(cards)} of {n} images are shown. The table at the end lists the others." if n > len(cards) else ""
    return _section(verdict, n, more, f"<div class=cards>{''.join(map(card_html, cards))}</div>")


def error_section(n: int, errors: Sequence[Row]) -> str:
    """Return the table of errors, of which there are `n` in all; "" if there are none."""
    if not errors:
        return ""
    rows = [
        f"<tr {filter_tags(row.verdict, row.label)}><td>{escaped(row.path)}</td><td>{escaped(row.message)}</td></tr>\n"
        for row in errors
    ]
    more = f" The first {len(rows)} are shown." if n > len(rows) else ""
    return _section("ERROR", n, more, f"<table class=errors>{''.join(rows)}</table>")


def _section(verdict: str, n: int, more: str, body: str) -> str:
    return (
        f"<section><h2><span class='tag {verdict}'>{verdict}</span>{n} image{'s' * (n != 1)}</h2>"
        f"<p class=soft>{_MEANING[verdict]}{more}</p>\n{body}</section>"
    )


def table(rows: Sequence[Row], with_ground_truth: bool) -> str:
    """Return the table of all images. If there are too many, those with the lowest scores are left out.

    Parameters
    ----------
    rows : sequence of Row
    with_ground_truth : bool
        Whether the table has a column for it.

    Returns
    -------
    str
        Several tables of equal columns, one below the other.
    """
    n_left_out = max(0, len(rows) - MAX_ROWS)
    if n_left_out:
        scores = np.array([row.score for row in rows])
        worst = np.argsort(np.where(np.isnan(scores), -np.inf, -scores), kind="stable")[:MAX_ROWS]
        rows = [rows[i] for i in sorted(worst)]
    note = f"<p>{n_left_out} images with the lowest scores are left out.</p>" if n_left_out else ""
    names = ["Image", "Verdict", "Score", "Percentile", "Regions"] + ["Ground truth"] * with_ground_truth
    head = "".join(f"<th scope=col>{name}" for name in names)
    chunks = [rows[i : i + _ROWS_PER_TABLE] for i in range(0, len(rows), _ROWS_PER_TABLE)]
    bodies = ("".join(_table_row(row, with_ground_truth) for row in chunk) for chunk in chunks)
    return note + "".join(f"<div class=rows><table><tr>{head}\n{body}</table></div>" for body in bodies)


def _table_row(row: Row, with_ground_truth: bool) -> str:
    label = f"<td>{escaped(row.label)}" if with_ground_truth else ""
    return (
        f"<tr {filter_tags(row.verdict, row.label)}><td>{escaped(row.path)}<td>{row.verdict}<td>{number(row.score, 2)}"
        f"<td>{number(row.percentile, 1)}<td>{row.n_regions}{label}\n"
    )
