// Since when have scores, light, sharpness or position changed: in words, and as moving averages with their limits.

import { $, ask, clock, make } from "./common.js";

const WIDTH = 600, HEIGHT = 110, MOST = 2.5; // of a chart; the average in units of its limit is cut off there

export async function showChanges() {
  const dialog = $("changes-dialog"), error = dialog.querySelector(".error");
  error.textContent = "";
  if (!dialog.open) {
    $("changes-told").replaceChildren(make("li", "Comparing \u2026", "soft"));
    $("charts").replaceChildren();
    $("charts-about").hidden = true;
    dialog.showModal();
  }
  try {
    const found = await ask("/changes");
    $("changes-told").replaceChildren(...found.lines.map((line) => make("li", line)));
    $("charts").replaceChildren(...found.charts.map((one) => chart(one, found.model_since)));
    $("charts-about").hidden = !found.charts.length;
    const times = [found.start, found.end].map((time) => time && clock(Date.parse(time) / 1000));
    $("charts-time").textContent = times[0] && times[1] ? `From ${times[0]} to ${times[1]}.` : "";
    if (found.model_since !== null) $("charts-time").append(" At the dotted line another model was taken into use.");
  } catch (failure) {
    error.textContent = failure.message;
  }
}

function chart({ name, changed, points }, modelSince) {
  const figure = make("figure", "", changed ? "changed" : ""), drawing = svg("svg");
  const x = (place) => place * WIDTH;
  const y = (value) => HEIGHT / 2 - Math.max(-MOST, Math.min(MOST, value)) * (HEIGHT / 2 - 4) / MOST;
  const state = changed ? "changed" : "within its limits";
  for (const [key, value] of Object.entries({
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${state}`,
  })) drawing.setAttribute(key, value);
  for (const [kind, at] of [["zero", 0], ["limit", 1], ["limit", -1]]) {
    drawing.append(svg("line", { class: kind, x1: 0, x2: WIDTH, y1: y(at), y2: y(at) }));
  }
  if (modelSince !== null) {
    drawing.append(svg("line", { class: "model", x1: x(modelSince), x2: x(modelSince), y1: 0, y2: HEIGHT }));
  }
  drawing.append(svg("polyline", { points: points.map(([place, value]) => `${x(place)},${y(value)}`).join(" ") }));
  const caption = make("figcaption", name);
  caption.append(make("b", state));
  figure.append(caption, drawing);
  return figure;
}

function svg(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
