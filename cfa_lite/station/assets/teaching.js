// The dialog of the engineer: teach, compare before and after, accept or throw away, versions.

import { $, ask, clock, make, send, scoreText } from "./common.js";

export class Teaching {
  constructor(people, say) {
    Object.assign(this, { people, say });
    this.dialog = $("teaching");
    this.error = this.dialog.querySelector(".error");
    this.told = "";
    const buttons = { start: "start", stop: "throw-away", "throw-away": "throw-away", accept: "accept" };
    for (const [name, address] of Object.entries(buttons)) {
      $(`job-${name}`).addEventListener("click", () => this.change(`/teaching/${address}`));
    }
    $("leave").addEventListener("click", async () => {
      await send("/engineer", { leave: true });
      this.dialog.close();
    });
  }

  async open() {
    if (!this.people.me.has_pin) {
      throw new Error("Nobody can teach: start the station with a PIN in CFA_LITE_PIN or in --pin-file.");
    }
    if (!(await ask("/me")).is_engineer && !(await this.askPin())) return;
    await this.load();
    this.dialog.showModal();
  }

  askPin() {
    const dialog = $("pin-dialog"), error = dialog.querySelector(".error");
    let isEngineer = false;
    $("pin").value = error.textContent = "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.onclose = () => resolve(isEngineer);
      dialog.querySelector("form").onsubmit = async (event) => {
        event.preventDefault();
        try {
          await send("/engineer", { pin: $("pin").value });
          isEngineer = true;
          dialog.close();
        } catch (failure) {
          error.textContent = failure.message;
          $("pin").select();
        }
      };
    });
  }

  async change(address) {
    this.error.textContent = "";
    try {
      await send(address);
      await this.load();
    } catch (error) {
      this.error.textContent = error.message;
      if (error.code === 403) {
        this.dialog.close();
        await this.open();
      }
    }
  }

  // Follow the news: how far teaching is, and what it has found.
  news(news, isDecided) {
    this.showJob(news.job);
    const now = `${news.job.state} ${news.version}`, isOther = now !== this.told;
    if (isOther && this.told && !this.dialog.open && ["ready", "failed"].includes(news.job.state)) {
      this.say(news.job.state === "ready" ? "Teaching is done: a model waits to be accepted." : "Teaching has failed.");
    }
    this.told = now;
    if (this.dialog.open && (isOther || isDecided)) this.load();
  }

  showJob(job) {
    const shown = { start: ["idle", "failed"], stop: ["running"], "throw-away": ["ready"], accept: ["ready"] };
    for (const [name, states] of Object.entries(shown)) $(`job-${name}`).hidden = !states.includes(job.state);
    $("job-running").hidden = job.state !== "running";
    $("job-report").hidden = job.state !== "ready";
    if (job.total) Object.assign($("progress"), { max: job.total, value: job.done });
    else $("progress").removeAttribute("value");
    $("phase").textContent = job.phase ? `${job.phase}${job.total ? ` ${job.done}/${job.total}` : ""}` : "";
    const marks = { running: " \u2026", ready: " \u25cf", failed: " !" };
    $("teach").replaceChildren("Teach", make("b", marks[job.state] || ""));
  }

  async load() {
    const found = await ask("/teaching"), kinds = Object.entries(found.kinds);
    const defects = kinds.map(([kind, n]) => `${kind} ${n}`).join(", ");
    $("decided").textContent = `Decided so far: ${found.n_good} good, ${defects ? `defects: ${defects}` : "no defect"}.`
      + ` Good images that were given with --good: ${found.n_given}.`;
    if (found.state === "failed") this.error.textContent = found.message;
    this.showJob({ state: found.state, phase: "", done: 0, total: 0 });
    $("job-report").replaceChildren(...(found.report ? report(found.report) : []));
    $("versions").tBodies[0].replaceChildren(...found.versions.map((version) => this.versionRow(version)));
  }

  versionRow(version) {
    const row = make("tr"), last = make("td");
    const what = version.origin === "taught" ? `taught from ${version.base}` : "from the model file";
    row.append(make("td", String(version.number)), make("td", what), make("td", version.operator));
    row.append(make("td", clock(version.time)), last);
    if (version.is_used) last.append(make("b", "in use"));
    else {
      const button = make("button", `Go back to ${version.number}`);
      button.addEventListener("click", () => this.change(`/versions/${version.number}/use`));
      last.append(button);
    }
    return row;
  }
}

function report(found) {
  const of = (action) => found.rows.filter((row) => row.action === action);
  const n = (rows, when) => rows.filter((row) => row[when].verdict === "NG").length;
  const defects = of("defect"), good = of("good"), { good: held } = found;
  const sums = make("ul", "", "sums");
  sums.append(
    sum("Defects found", n(defects, "before"), n(defects, "after"), defects.length, 1),
    sum("Good ones that are NG, of those marked", n(good, "before"), n(good, "after"), good.length, -1),
    sum("Good ones that are NG, each held out, without and with what was taught", held.before, held.after, held.n, -1),
  );
  const parts = [make("p", `Before: model ${found.in_use}. After: the taught model. Nothing has changed on the line yet.`), sums];
  if (found.n_gone) parts.push(make("p", `${found.n_gone} decided images are gone and were not taught.`, "error"));
  if (held.n_lost) {
    const more = held.n_lost > held.lost.length ? ` and ${held.n_lost - held.lost.length} more` : "";
    parts.push(make("p", `Good images that become NG: ${held.lost.join(", ")}${more}`, "error"));
  }
  for (const remark of found.remarks) parts.push(make("p", remark, "soft"));
  parts.push(table(found.rows), lines(found.lines));
  return parts;
}

function sum(title, before, after, total, sign) {
  const kind = after === before ? "" : (after - before) * sign > 0 ? "better" : "worse";
  const item = make("li", "", kind);
  item.append(make("span", title), make("b", `${before} \u2192 ${after}`), make("span", `of ${total}`, "soft"));
  return item;
}

function table(rows) {
  const box = make("div", "", "scroll"), body = make("tbody"), head = make("tr"), whole = make("table");
  for (const title of ["Image", "Decided", "Before", "After", "After, left out of teaching"]) head.append(make("th", title));
  for (const row of rows) {
    const line = make("tr");
    line.append(make("td", row.name), make("td", row.action === "defect" ? row.kind : "good"));
    line.append(verdict(row.before), verdict(row.after));
    line.append(make("td", row.left_out === null ? "" : scoreText(row.left_out)));
    body.append(line);
  }
  whole.append(head, body);
  box.append(whole);
  return box;
}

function verdict({ verdict: name, score }) {
  const cell = make("td");
  cell.append(make("span", name, `tag ${name}`), score === null ? "" : ` ${scoreText(score)}`);
  return cell;
}

function lines(found) {
  const box = make("details"), body = make("tbody"), whole = make("table");
  for (const [name, value] of Object.entries(found)) {
    const row = make("tr");
    row.append(make("th", name), make("td", value));
    body.append(row);
  }
  whole.append(body);
  box.append(make("summary", "Limits, and what is known"), whole);
  return box;
}
