"""Looks, behaviour and histogram of the page that `page.Page` writes; all stand in the page, so that it is one file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import overlay

CSS = """
:root{color-scheme:light;--ink:#1e1e22;--soft:#55555c;--line:#d5d5d8;--NG:#c44600;--UNSURE:#f2b705;--OK:#0060a0;--INVALID:#7a5c8a;
--ERROR:#55555c;--good:#3aa88f;--defective:#5b1a66;--unknown:#8a8a92;--held:#d3d3d9}
*{box-sizing:border-box}[hidden]{display:none!important}
body{margin:0 auto;padding:16px 20px 48px;max-width:1240px;color:var(--ink);background:#fafaf8;
font:16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Arial,sans-serif}
h1{font-size:26px;line-height:1.2;margin:8px 0 14px}
h2{font-size:20px;margin:30px 0 4px;display:flex;gap:10px;align-items:center}p{margin:4px 0 10px;max-width:80ch}
h1,td,li,.name,.warnings{overflow-wrap:anywhere}.soft{color:var(--soft)}
.warnings{border:2px solid #8a5a00;border-left-width:10px;background:#fff4d6;border-radius:6px;padding:8px 14px;
margin:0 0 16px}
.warnings ul{margin:4px 0;padding-left:20px}.facts{border-collapse:collapse;margin:0 0 16px}
.facts th{text-align:left;vertical-align:top;font-weight:400;color:var(--soft);padding:2px 18px 2px 0}
.facts td{padding:2px 0;white-space:pre-line}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(132px,1fr));gap:10px;margin:0 0 20px;padding:0;
list-style:none}
.tiles li{background:#fff;border:1px solid var(--line);border-top:6px solid var(--c,#9a9aa2);border-radius:6px;
padding:8px 12px}
.tiles b{display:block;font-size:30px;line-height:1.15}.tiles small{color:var(--soft);font-size:14px}
.NG{--c:var(--NG)}.UNSURE{--c:var(--UNSURE)}.OK{--c:var(--OK)}.INVALID{--c:var(--INVALID)}.ERROR{--c:var(--ERROR)}.good{--c:var(--good)}
.defective{--c:var(--defective)}.unknown{--c:var(--unknown)}.held{--c:var(--held)}
.tag{display:inline-block;background:var(--c);color:#fff;font-weight:700;font-size:15px;line-height:1;padding:5px 9px;
border-radius:5px}
.tag.UNSURE{color:var(--ink)}
.note{display:inline-block;border:2px solid var(--ink);border-radius:5px;font-weight:700;font-size:14px;line-height:1;
padding:3px 7px}
.plot{overflow-x:auto;background:#fff;border:1px solid var(--line);border-radius:6px;padding:8px}
.plot svg{display:block;width:100%;min-width:600px;max-width:1000px;margin:0 auto;height:auto;font-size:12px}
.plot text{fill:var(--ink)}.plot rect{fill:var(--c)}.plot .axis{stroke:#77777f}.plot .grid{stroke:#ececef}
.plot .at{stroke:var(--ink);stroke-width:2}.plot .low{stroke-dasharray:5 4}
.count{font-size:11px;paint-order:stroke;stroke:#fff;stroke-width:3px}
.key{display:flex;flex-wrap:wrap;gap:2px 18px;margin:8px 0;font-size:14px}
.key i{display:inline-block;width:14px;height:14px;border-radius:3px;background:var(--c);margin-right:6px;
vertical-align:-2px}
.scale{max-width:420px;margin:6px 0 10px}.scale div{height:18px;border:1px solid #77777f;border-radius:3px}
.scale p{display:grid;grid-template-columns:1fr 1fr 1fr;margin:0;font-size:14px}
.scale span:nth-child(2){text-align:center}.scale span:nth-child(3){text-align:right}
.filters{display:none;flex-wrap:wrap;gap:6px;position:sticky;top:0;background:#fafaf8;padding:8px 0;z-index:1;
border-bottom:1px solid var(--line)}
.js .filters{display:flex}
button{font:inherit;font-size:15px;padding:6px 12px;border:2px solid #77777f;border-radius:6px;background:#fff;
color:var(--ink);cursor:pointer}
button[aria-pressed=true]{background:var(--ink);border-color:var(--ink);color:#fff}
button:disabled{opacity:.45;cursor:default}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,470px),1fr));gap:14px}
.card{background:#fff;border:1px solid var(--line);border-left:6px solid var(--c);border-radius:6px;padding:10px 12px;
min-width:0;break-inside:avoid}
.card header{display:flex;flex-wrap:wrap;gap:6px 12px;align-items:center;margin-bottom:4px}
.card header b{font-size:19px}.name{font-size:15px;margin:0 0 6px}.pair{display:flex;flex-wrap:wrap;gap:8px}
.pair img{flex:1 1 220px;min-width:0;width:220px;max-width:100%;height:auto;align-self:flex-start;background:#eee}
.pair.tall img{flex-basis:90px;max-height:420px;object-fit:contain}.pair.wide img{flex-basis:100%}
.card ul{margin:2px 0;padding-left:20px;font-size:14px}.card p{margin:8px 0 0;font-size:14px}
.errors{border-collapse:collapse;background:#fff;width:100%}
.errors td,.rows td,.rows th{border:1px solid var(--line);padding:3px 8px;text-align:left;vertical-align:top}
details{margin-top:30px}summary{font-size:20px;font-weight:700;cursor:pointer}
.rows{content-visibility:auto;contain-intrinsic-size:auto 7800px;overflow-x:auto}
.rows table{border-collapse:collapse;table-layout:fixed;width:100%;min-width:640px;font-size:14px;background:#fff;
margin-top:8px}
.rows th{background:#efeff1}.rows th+th{width:104px}.rows td:nth-child(n+3):nth-child(-n+5){text-align:right}
@media print{.filters{display:none!important}body{max-width:none;padding:0;background:#fff;font-size:11pt}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.plot,.tiles li{break-inside:avoid}h2{break-after:avoid}
.cards{grid-template-columns:1fr 1fr}.pair img{flex-basis:120px}}
"""

# Shows what the address asks for after "#": all, a verdict, "missed" or "false-alarm". Without it, all is shown.
SCRIPT = """
(function () {
  var root = document.documentElement;
  window.onerror = function (message) { root.setAttribute("data-error", message); };
  root.classList.add("js");
  var all = function (what, place) { return Array.from((place || document).querySelectorAll(what)); };
  var buttons = all("[data-filter]");
  function show() {
    var asked = location.hash.slice(1);
    if (!buttons.some(function (b) { return b.dataset.filter === asked; })) asked = "all";
    all("[data-is]").forEach(function (e) {
      e.hidden = asked !== "all" && e.dataset.is.split(" ").indexOf(asked) < 0;
    });
    var left = 0;
    all("section.kind").forEach(function (s) {
      var n = all("[data-is]:not([hidden])", s).length;
      s.hidden = asked !== "all" && n === 0;
      left += n;
    });
    document.getElementById("none").hidden = left > 0;
    buttons.forEach(function (b) { b.setAttribute("aria-pressed", String(b.dataset.filter === asked)); });
  }
  buttons.forEach(function (b) { b.onclick = function () { location.hash = b.dataset.filter; }; });
  window.addEventListener("hashchange", show);
  show();
})();
"""

_BARS = 10  # for each 1.0 of score, so that the limit is between two bars
_TOPS = (2, 3, 4)  # where the score axis may end
_WIDTH, _HEIGHT, _LEFT, _RIGHT = 860, 300, 64, 16
_ABOVE, _FLOOR = 44, 252  # top and bottom of the highest bar


def draw_histogram(series: Mapping[str, np.ndarray], held_out: np.ndarray, unsure_from: float) -> str:
    """Bars of scores as SVG.

    Parameters
    ----------
    series : mapping of str to ndarray (n,)
        Scores, 1.0 is the limit, stacked in this order; the name is the CSS class of the bars.
    held_out : ndarray (m,)
        Scores of good images: grey bars behind, drawn to the same total as all others if there are any.
    unsure_from : float
        Gets a line, as the limit does.

    Returns
    -------
    str
        Each bar has its number of images as `data-n`, and in words.
    """
    highest_score = np.concatenate([*series.values(), held_out]).max(initial=0)
    top = next((t for t in _TOPS if highest_score <= t), _TOPS[-1])
    more = highest_score > top  # these share a last bar
    edges = np.arange(top * _BARS + 1) / _BARS
    n_bars = top * _BARS + more

    def count(scores: np.ndarray) -> np.ndarray:
        place = np.searchsorted(edges, scores, "left") - 1  # a score on the limit is not above it
        return np.bincount(np.clip(place, 0, n_bars - 1), minlength=n_bars)

    counts = {name: count(scores) for name, scores in series.items()}
    total = np.sum([*counts.values(), np.zeros(n_bars, np.int64)], axis=0)
    held = count(held_out)
    grey = held * (total.sum() / len(held_out) if total.any() and len(held_out) else 1.0)
    highest = max(total.max(), grey.max(), 1)
    scale, step = (_FLOOR - _ABOVE) / highest, (_WIDTH - _LEFT - _RIGHT) / n_bars
    where = [f"score {low:.1f} to {high:.1f}" for low, high in zip(edges[:-1], edges[1:])] + [f"score above {top}"]
    behind = [
        _bar("held", _LEFT + i * step, _FLOOR, step, grey[i] * scale, held[i], where[i]) for i in np.flatnonzero(held)
    ]
    front = []
    for i in np.flatnonzero(total):
        y = float(_FLOOR)
        for name, numbers in counts.items():
            if numbers[i]:
                bar = max(numbers[i] * scale, 2.0)  # one image among thousands must not vanish
                front.append(_bar(name, _LEFT + (i + 0.18) * step, y, 0.64 * step, bar, numbers[i], where[i]))
                y -= bar
        if 6.2 * len(str(total[i])) < step:
            front.append(_label(_LEFT + (i + 0.5) * step, y - 4, "middle", str(total[i]), "count"))
    counted, scored = _axes(highest, scale, top, more, step * _BARS)
    limits = _limits(step * _BARS, unsure_from)
    head = f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label='Histogram of scores'>"
    return "".join([head, *counted, *behind, *limits, *front, *scored, "</svg>"])


def _axes(highest: float, scale: float, top: int, more: bool, unit: float) -> tuple[list[str], list[str]]:
    """The axis of counts, which lies behind the bars, and that of scores; `unit` is the width of 1.0 of score."""
    right, middle = _WIDTH - _RIGHT, (_LEFT + _WIDTH - _RIGHT) / 2
    counted = [f"<text transform='translate(16 {(_ABOVE + _FLOOR) / 2}) rotate(-90)' text-anchor=middle>images</text>"]
    steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    every = next(step for step in steps if highest / step <= 5)
    for n in range(0, int(highest) + 1, every):
        y = _FLOOR - n * scale
        counted += [_line("grid", (_LEFT, right), (y, y)), _label(_LEFT - 8, y + 4, "end", str(n))]
    scored = [_line("axis", (_LEFT, right), (_FLOOR, _FLOOR))]
    for tenth in range(0, top * 10 + 1, 2 if top == 2 else 5):
        x = _LEFT + tenth / 10 * unit
        scored.append(_line("axis", (x, x), (_FLOOR, _FLOOR + 5)))
        if not (more and tenth == top * 10):  # "more" needs the room
            scored.append(_label(x, _FLOOR + 19, "middle", f"{tenth / 10:.1f}"))
    if more:
        scored.append(_label(right, _FLOOR + 19, "end", f"more than {top}"))
    return counted, [*scored, _label(middle, _HEIGHT - 8, "middle", "score of an image (1.0 = limit)")]


def _limits(unit: float, unsure_from: float) -> list[str]:
    """One label to each side of its line, so that they never meet however close the lines are."""
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


def color_scale() -> str:
    """What the colours of the maps mean, which is the same for every image."""
    stops = overlay.colour(np.linspace(0, overlay.SCALE_TOP, 11)[None])[0]
    colours = ",".join(f"rgb({r},{g},{b})" for r, g, b in stops)
    return (
        "<p class=soft>Each image is followed by itself in grey with the score map over it: the brighter the colour,"
        " the less it looks like the good images. A white and black outline shows what is above the limit. Percentile:"
        " how many of 100 good images had no higher score when the limit was set.</p>"
        f"<div class=scale><div style='background:linear-gradient(90deg,{colours})'></div>"
        f"<p><span>0</span><span>1 = limit</span><span>{overlay.SCALE_TOP:g} and more</span></p></div>"
    )
