// The page of the station: the newest image or one that is reviewed, the list, decisions. Teaching is in teaching.js.

import { Viewer } from "./viewer.js";
import { showChanges } from "./changes.js";
import { Teaching } from "./teaching.js";
import { People } from "./people.js";
import { $, ask, clock, make, send, scoreText } from "./common.js";

const SIGNS = { NG: "\u2715", UNSURE: "?", OK: "\u2713", INVALID: "!", ERROR: "!" };
const POLL_MS = 1000, TOAST_MS = 8000, N_THUMBS = 2;
const EMPTY = { waiting: "No image waits for a decision.", decided: "Nothing was decided yet.", all: "No image yet." };
const DONE = { good: "good", defect: "a defect", skip: "skipped" };

const page = {
  news: null, image: null, mode: "live", tab: "waiting", list: [], hasMore: false,
  isBusy: false, toastTimer: 0, thumbs: [], nThumbs: 0, retry: null,
};
const viewer = new Viewer($("canvas"), (scale) => {
  $("scale").textContent = page.image && page.image.is_there ? `${Math.round(scale * 100)} %` : "";
});
const people = new People(say);
const teaching = new Teaching(people, say);
window.station = { page, viewer }; // for tests and for the console

// What the page shows

async function show(id, mode) {
  page.mode = mode;
  const wanted = page.wanted = id;
  if (page.marking) stopMarking();
  let image = null;
  if (id) {
    try {
      image = await ask(`/images/${id}`);
    } catch (error) {
      return say(error.message, true);
    }
  }
  if (page.wanted !== wanted) return; // another one was asked for meanwhile
  page.image = image;
  render();
}

function render() {
  const image = page.image, isLive = page.mode === "live";
  $("band").className = image ? image.verdict : "NONE";
  $("verdict").textContent = image ? image.verdict : "Waiting for images";
  $("mark").textContent = image ? SIGNS[image.verdict] : "";
  $("where").textContent = image ? whereText(image, isLive) : "";
  $("score").replaceChildren();
  if (image && image.score !== null) {
    $("score").append(`score ${scoreText(image.score)} `, make("small", "limit 1.00"));
  }
  $("name").textContent = image ? [image.name, clock(image.time), `model ${image.version}`, ...later(image)].join(" \u00b7 ") : "";
  viewer.show(image && image.is_there ? { ...image, version: image.now.version } : null);
  $("nothing").hidden = !image || image.is_there;
  if (image && !image.is_there) {
    $("nothing").textContent = image.now || image.message ? image.message
      : `The file of this image is gone: ${image.path}`;
  }
  if (image && image.is_there && image.message) say(image.message);
  for (const name of ["map", "region", "in", "out", "fit"]) $(name).disabled = !image || !image.is_there;
  $("region").disabled = !image || !image.is_there || !image.regions.length;
  $("on-live").hidden = !isLive;
  $("on-review").hidden = isLive || page.marking;
  $("on-defect").hidden = !page.marking;
  $("hold").disabled = !image;
  for (const name of ["good", "defect"]) $(name).disabled = !image || !image.is_there;
  $("skip").disabled = !image;
  $("live").classList.toggle("on", isLive);
  document.title = image ? `${image.verdict} \u00b7 ${people.me.name}` : "cfa-lite station";
  markCurrent();
}

function whereText(image, isLive) {
  const at = page.list.findIndex((one) => one.id === image.id);
  if (isLive) return "newest image";
  if (page.tab !== "waiting" || at < 0) return image.decision ? "decided" : "held";
  return `review: ${at + 1} of ${page.news.waiting}`;
}

// What has happened to an image since it was inspected.
function later(image) {
  const told = [];
  if (image.decision) {
    const { action, kind, operator } = image.decision;
    told.push(`${action === "defect" ? `defect: ${kind}` : DONE[action]} (${operator})`);
  }
  if (image.now && image.now.version !== image.version) {
    const score = image.now.score === null ? "" : ` ${scoreText(image.now.score)}`;
    told.push(`by model ${image.now.version} now ${image.now.verdict}${score}`);
  }
  return told;
}

// What is new

async function poll() {
  try {
    const news = await ask("/news"), before = page.news;
    page.news = news;
    $("live").classList.remove("lost");
    showNews(news);
    const isNew = !before || before.newest !== news.newest;
    const isDecided = !before || String(before.decided) !== String(news.decided);
    const isOther = before && before.version !== news.version;
    if (isNew || isDecided) await loadList();
    if (page.mode === "live" && (isNew || isOther || isDecided)) await show(news.newest, "live");
    else if (isOther && page.image) await show(page.image.id, page.mode);
    if (isNew && news.newest && page.mode !== "live") await showLiveVerdict(news.newest);
    else if (isNew && page.image) setLiveVerdict(page.image.verdict);
    teaching.news(news, isDecided);
    if (people.me.operator && !news.operator) await people.signInAgain(); // the station was started again
  } catch (error) {
    if (error.code === 401) await people.signInAgain();
    else {
      $("live").classList.add("lost");
      notice(error.code ? error.message : "The station does not answer. The page goes on when it is back.", true);
    }
  }
  page.timer = setTimeout(poll, POLL_MS);
}

async function showLiveVerdict(id) {
  setLiveVerdict((await ask(`/images?show=all&before=${id + 1}`)).images[0].verdict);
}

function setLiveVerdict(verdict) {
  $("live-verdict").textContent = verdict;
  $("live-verdict").className = `tag ${verdict}`;
}

function showNews(news) {
  $("version").textContent = `model ${news.version}`;
  showWaiting(news.waiting);
  const counts = Object.entries(news.counts).map(([verdict, n]) => {
    const item = make("li", `${verdict} `, n ? verdict : `${verdict} zero`);
    item.append(make("b", String(n)));
    return item;
  });
  $("counts").replaceChildren(...counts);
  const age = Date.now() / 1000 - news.notice.time;
  notice(news.notice.message && age < 600 ? `${clock(news.notice.time)} ${news.notice.message}` : "", false);
}

function showWaiting(n) {
  $("review-n").textContent = $("waiting-n").textContent = n;
  $("review").disabled = !n;
}

function notice(text, isBad) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
  $("notice").className = isBad ? "bad" : "";
}

// The list

async function loadList() {
  const { images, has_more: hasMore, waiting } = await ask(`/images?show=${page.tab}`);
  Object.assign(page, { list: images, hasMore });
  Object.assign(page.news, { waiting });
  showWaiting(waiting);
  renderList();
}

async function loadMore() {
  const last = page.list[page.list.length - 1];
  const before = page.tab === "decided" ? last.decision.id : last.id;
  const { images, has_more: hasMore } = await ask(`/images?show=${page.tab}&before=${before}`);
  page.list.push(...images);
  page.hasMore = hasMore;
  renderList();
}

function renderList() {
  const known = new Map([...$("list").children].map((item) => [item.dataset.key, item]));
  page.thumbs = [];
  $("list").replaceChildren(...page.list.map((image) => known.get(keyOf(image)) || listItem(image)));
  $("empty").textContent = EMPTY[page.tab];
  $("empty").hidden = page.list.length > 0;
  $("more").hidden = !page.hasMore;
  for (const name of ["waiting", "decided", "all"]) $(`tab-${name}`).setAttribute("aria-selected", name === page.tab);
  markCurrent();
  loadThumbs();
}

function keyOf(image) {
  return `${image.id} ${image.key} ${image.decision ? image.decision.id : ""}`;
}

function listItem(image) {
  const button = make("button", "", image.verdict), picture = make("img");
  const top = make("span", "", "top");
  top.append(make("span", image.verdict), make("span", image.score === null ? "" : scoreText(image.score)));
  picture.alt = "";
  picture.dataset.src = `/images/${image.id}/picture?side=160&key=${image.key}`;
  const what = image.decision ? later(image)[0] : clock(image.time);
  button.append(picture, top, make("span", image.name, "file"), make("span", what, "time"));
  button.addEventListener("click", () => show(image.id, "review"));
  const item = make("li");
  item.dataset.key = keyOf(image);
  item.dataset.id = image.id;
  item.append(button);
  return item;
}

// A few pictures at a time, so that they do not keep the others waiting.
function loadThumbs() {
  page.thumbs = [...$("list").querySelectorAll("img[data-src]")];
  while (page.nThumbs < N_THUMBS && page.thumbs.length) {
    const picture = page.thumbs.shift();
    const done = () => {
      page.nThumbs -= 1;
      loadThumbs();
    };
    page.nThumbs += 1;
    picture.onload = done;
    picture.onerror = () => {
      picture.replaceWith(make("span", "gone", "gone"));
      done();
    };
    picture.src = picture.dataset.src;
    delete picture.dataset.src;
  }
}

function markCurrent() {
  for (const item of $("list").children) {
    const isCurrent = page.image && page.mode === "review" && Number(item.dataset.id) === page.image.id;
    item.firstChild.setAttribute("aria-current", Boolean(isCurrent));
    if (isCurrent && window.innerWidth > 820) item.scrollIntoView({ block: "nearest" });
  }
}

function step(by) {
  const at = page.image ? page.list.findIndex((one) => one.id === page.image.id) : -1;
  const next = page.list[at < 0 ? 0 : at + by];
  if (next) show(next.id, "review");
}

// Decisions

async function decide(decision) {
  const image = page.image;
  if (!image || page.mode !== "review" || page.isBusy || page.wanted !== image.id) return; // the next one is loading
  await people.withName(async () => {
    page.isBusy = true;
    try {
      const at = page.list.findIndex((one) => one.id === image.id);
      await send(`/images/${image.id}/decision`, decision);
      const what = decision.action === "defect" ? `defect: ${decision.kind}` : DONE[decision.action];
      say(`${image.name}: ${what}`, false, true);
      page.marking = false;
      viewer.setTool(null);
      await loadList();
      const next = page.tab === "waiting" ? page.list[Math.min(Math.max(at, 0), page.list.length - 1)] : image;
      if (next) await show(next.id, "review");
      else await show(page.news.newest, "live");
    } finally {
      page.isBusy = false;
    }
  });
}

async function undo() {
  if (page.isBusy) return;
  await people.withName(async () => {
    const { image } = await send("/undo");
    $("toast").hidden = true;
    await loadList();
    await show(image, "review");
  });
}

async function startMarking() {
  if (!page.image || !page.image.is_there || page.mode !== "review" || page.wanted !== page.image.id) return;
  page.marking = true;
  const { kinds } = await ask("/teaching");
  const buttons = Object.keys(kinds).slice(0, 8).map((kind) => {
    const button = make("button", kind);
    button.type = "button";
    button.addEventListener("click", () => pickKind(kind));
    return button;
  });
  $("kinds").replaceChildren(...buttons);
  pickKind($("kind").value || Object.keys(kinds)[0] || "defect");
  pickTool("blob");
  render();
  if (viewer.image) viewer.clearMarks();
}

function stopMarking() {
  page.marking = false;
  viewer.setTool(null);
  viewer.clearMarks();
}

function pickKind(kind) {
  $("kind").value = kind;
  for (const button of $("kinds").children) button.setAttribute("aria-pressed", button.textContent === kind);
}

function pickTool(tool) {
  viewer.setTool(tool);
  for (const name of ["blob", "box"]) $(name).setAttribute("aria-pressed", name === tool);
}

// Messages

function say(text, isBad = false, isUndoable = false) {
  clearTimeout(page.toastTimer);
  $("toast-text").textContent = text;
  $("toast").className = isBad ? "bad" : "";
  $("toast-undo").hidden = !isUndoable;
  $("toast").hidden = false;
  page.toastTimer = setTimeout(() => { $("toast").hidden = true; }, TOAST_MS);
}

// Buttons and keys

function toggleMap() {
  viewer.setMap(!viewer.isMapOn);
  $("map").setAttribute("aria-pressed", viewer.isMapOn);
}

function hold() {
  if (page.mode === "live" && page.image) show(page.image.id, "review");
}

async function review() {
  if (page.tab !== "waiting") await pickTab("waiting");
  if (page.list.length) show(page.list[0].id, "review");
}

function live() {
  if (page.news) show(page.news.newest, "live");
}

async function pickTab(tab) {
  page.tab = tab;
  await loadList();
}

const ACTIONS = {
  live, hold, review, undo, map: toggleMap, defect: startMarking,
  good: () => decide({ action: "good" }),
  skip: () => decide({ action: "skip" }),
  cancel: () => { stopMarking(); render(); },
  blob: () => pickTool("blob"), box: () => pickTool("box"), clear: () => viewer.clearMarks(),
  region: () => viewer.zoomToNextRegion(), in: () => viewer.zoom(1.5), out: () => viewer.zoom(1 / 1.5),
  fit: () => viewer.fit(), more: loadMore, who: () => people.askName(), help: () => $("keys").showModal(),
  changes: showChanges, "changes-again": showChanges,
  teach: () => people.withName(() => teaching.open()), "toast-undo": undo,
  "tab-waiting": () => pickTab("waiting"), "tab-decided": () => pickTab("decided"), "tab-all": () => pickTab("all"),
};
const KEYS = {
  l: "live", h: "hold", r: "review", u: "undo", m: "map", z: "region", "+": "in", "=": "in", "-": "out", 0: "fit",
  t: "teach", w: "changes", "?": "help",
};
const REVIEW_KEYS = { g: "good", d: "defect", s: "skip" }, MARKING_KEYS = { b: "blob", x: "box", c: "clear", Escape: "cancel" };

for (const [name, action] of Object.entries(ACTIONS)) {
  $(name).addEventListener("click", async () => {
    try {
      await action();
    } catch (error) {
      say(error.message, true);
    }
  });
}
$("on-defect").addEventListener("submit", (event) => {
  event.preventDefault();
  decide({ action: "defect", kind: $("kind").value, marks: viewer.marks });
});
$("kind").addEventListener("input", () => pickKind($("kind").value));
for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll(".close")) button.addEventListener("click", () => dialog.close());
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key, isText = event.target.matches("input");
  if (page.marking && MARKING_KEYS[key] && !(isText && key.length === 1)) return ACTIONS[MARKING_KEYS[key]]();
  if (page.marking && key === "Enter" && !event.target.matches("button")) return $("on-defect").requestSubmit();
  if (isText) return;
  const name = KEYS[key] || (page.mode === "review" && !page.marking && REVIEW_KEYS[key]);
  if (key === "ArrowLeft" || key === "ArrowRight") step(key === "ArrowLeft" ? -1 : 1);
  else if (name && !$(name).disabled) {
    event.preventDefault();
    $(name).click();
  }
});

await people.load().catch(() => {});
if (people.me.needs_token && !people.me.operator) await people.askName();
await poll();
document.body.dataset.ready = Math.round(performance.now()); // milliseconds since the page was asked for
