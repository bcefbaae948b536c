// Requests and small pieces of the page that its scripts share.

export const $ = (id) => document.getElementById(id);

export async function ask(address, options = {}) {
  const response = await fetch(address, { cache: "no-store", ...options }).catch(() => {
    throw new Error("Not done: the station does not answer. Try again when it is back.");
  });
  const fields = await response.json();
  if (!response.ok) throw Object.assign(new Error(fields.error), { code: response.status });
  return fields;
}

export function send(address, fields = {}) {
  const headers = { "Content-Type": "application/json" };
  return ask(address, { method: "POST", headers, body: JSON.stringify(fields) });
}

// Text is set, never parsed: names of files and people cannot become markup.
export function make(tag, text = "", kind = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = kind;
  return element;
}

export function clock(seconds) {
  const date = new Date(seconds * 1000), isToday = date.toDateString() === new Date().toDateString();
  const time = date.toTimeString().slice(0, 8);
  return isToday ? time : `${date.toLocaleDateString("sv-SE")} ${time}`;
}

// Two decimals that are never rounded across the limit.
export function scoreText(score) {
  if (score > 1) return Math.max(score, 1.01).toFixed(2);
  return Math.min(score, 1).toFixed(2);
}
