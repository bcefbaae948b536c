"""The histogram of scores on the report page, as SVG."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_BARS = 10  # per unit of score, so that the limit is between two bars
_TOPS = (2, 3, 4)  # possible ends of the score axis
_WIDTH, _HEIGHT, _LEFT, _RIGHT = 860, 300, 64, 16
_CEILING, _FLOOR = 44, 252  # top and bottom of the highest bar


def draw_histogram(series: Mapping[str, np.ndarray], held_out: np.ndarray, unsure_from: float) -> str:
    """Draw a histogram of scores as SVG.

    Parameters
    ----------
    series : mapping of str to ndarray of shape (n,)
        Scores in units of the limit. Bars are stacked in this order; the name of a series is the CSS class of its bars.
    held_out : ndarray of shape (m,)
        Scores of held-out good images: gray bars in the background, scaled to the total of all series.
    unsure_from : float
        Lower limit of the score. It is marked by a line, like the limit.

    Returns
    -------
    str
        An SVG element. Each bar has its number of images in the attribute `data-n` and in its title.
    """
    highest_score = np.concatenate([*series.values(), held_out]).max(initial=0)
    top = next((t for t in _TOPS if highest_score <= t), _TOPS[-1])
    has_more = bool(highest_score > top)  # higher scores share the last bar
    edges = np.arange(top * _BARS + 1) / _BARS
    n_bars = top * _BARS + has_more

    def count(scores: np.ndarray) -> np.ndarray:
        bars = np.searchsorted(edges, scores, "left") - 1  # a score equal to the limit is not above it
        return np.bincount(np.clip(bars, 0, n_bars - 1), minlength=n_bars)

    counts = {name: count(scores) for name, scores in series.items()}
    total = np.sum([*counts.values(), np.zeros(n_bars, np.int64)], axis=0)
    held = count(held_out)
    gray = held * (total.sum() / len(held_out) if total.any() and len(held_out) else 1.0)
    highest = max(total.max(), gray.max(), 1)
    scale, step = (_FLOOR - _CEILING) / highest, (_WIDTH - _LEFT - _RIGHT) / n_bars
    ranges = [f"score {low:.1f} to {high:.1f}" for low, high in zip(edges[:-1], edges[1:])] + [f"score above {top}"]
    parts = [f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label='Histogram of scores'>"]
    parts += _count_axis(highest, scale)
    parts += [
        _bar("held", _LEFT + i * step, _FLOOR, step, gray[i] * scale, held[i], ranges[i]) for i in np.flatnonzero(held)
    ]
    parts += _limits(step * _BARS, unsure_from)
    for i in np.flatnonzero(total):
        y = float(_FLOOR)
        for name, numbers in counts.items():
            if numbers[i]:
                height = max(numbers[i] * scale, 2.0)  # one image among thousands stays visible
                parts.append(_bar(name, _LEFT + (i + 0.18) * step, y, 0.64 * step, height, numbers[i], ranges[i]))
                y -= height
        if 6.2 * len(str(total[i])) < step:
            parts.append(_label(_LEFT + (i + 0.5) * step, y - 4, "middle", str(total[i]), "count"))
    parts += _score_axis(top, has_more, step * _BARS)
    return "".join([*parts, "</svg>"])


def _count_axis(highest: float, scale: float) -> list[str]:
    middle = (_CEILING + _FLOOR) / 2
    parts = [f"<text transform='translate(16 {middle}) rotate(-90)' text-anchor=middle>number of images</text>"]
    steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    every = next(step for step in steps if highest / step <= 5)
    for n in range(0, int(highest) + 1, every):
        y = _FLOOR - n * scale
        parts += [_line("grid", (_LEFT, _WIDTH - _RIGHT), (y, y)), _label(_LEFT - 8, y + 4, "end", str(n))]
    return parts


def _score_axis(top: int, has_more: bool, unit: float) -> list[str]:
    """Draw the axis of scores; `unit` is the width of a score of 1."""
    right = _WIDTH - _RIGHT
    parts = [_line("axis", (_LEFT, right), (_FLOOR, _FLOOR))]
    for tenth in range(0, top * 10 + 1, 2 if top == 2 else 5):
        x = _LEFT + tenth / 10 * unit
        parts.append(_line("axis", (x, x), (_FLOOR, _FLOOR + 5)))
        if not (has_more and tenth == top * 10):  # "above" needs the space
            parts.append(_label(x, _FLOOR + 19, "middle", f"{tenth / 10:.1f}"))
    if has_more:
        parts.append(_label(right, _FLOOR + 19, "end", f"above {top}"))
    return [*parts, _label((_LEFT + right) / 2, _HEIGHT - 8, "middle", "image score (1.0 = limit)")]


def _limits(unit: float, unsure_from: float) -> list[str]:
    """Draw both limits, with their labels on opposite sides so that they never overlap."""
    x = _LEFT + unit
    parts = [_line("at", (x, x), (8, _FLOOR)), _label(x + 6, 19, "start", "NG above 1.00")]
    if 0 <= unsure_from < 1:
        x = _LEFT + unsure_from * unit
        side, shift = ("end", -6) if x > 128 else ("start", 6)
        label = _label(x + shift, 19, side, f"UNSURE above {unsure_from:.2f}")
        parts += [_line("at low", (x, x), (8, _FLOOR)), label]
    return parts


def _line(kind: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    return f"<line class='{kind}' x1={x[0]:.1f} x2={x[1]:.1f} y1={y[0]:.1f} y2={y[1]:.1f} />"


def _label(x: float, y: float, anchor: str, text: str, kind: str = "") -> str:
    return f"<text class='{kind}' x={x:.1f} y={y:.1f} text-anchor={anchor}>{text}</text>"


def _bar(kind: str, left: float, floor: float, width: float, height: float, n: int, where: str) -> str:
    size = f"x={left:.1f} y={floor - height:.1f} width={width:.1f} height={height:.1f}"
    name = "held-out good images" if kind == "held" else kind
    return f"<rect class={kind} {size} data-n={n}><title>{where}: {n} {name}</title></rect>"
