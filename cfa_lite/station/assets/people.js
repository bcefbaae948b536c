// Who is at the page. Names are asked for when they are needed first.

import { $, ask, send } from "./common.js";

export class People {
  constructor(say) {
    this.say = say;
    this.me = {};
  }

  // Do something that needs a name; ask for it first if there is none.
  async withName(action) {
    if (!this.me.operator && !(await this.askName())) return;
    try {
      await action();
    } catch (error) {
      if (error.code !== 401) return this.say(error.message, true);
      this.me.operator = null;
      if (await this.askName()) await action().catch((again) => this.say(again.message, true));
    }
  }

  askName() {
    const dialog = $("sign-in"), error = dialog.querySelector(".error");
    error.textContent = "";
    $("operator").value = localStorage.getItem("operator") || "";
    $("token-row").hidden = !this.me.needs_token;
    if (dialog.open) return Promise.resolve(false);
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.onclose = () => resolve(Boolean(this.me.operator));
      dialog.querySelector("form").onsubmit = async (event) => {
        event.preventDefault();
        try {
          await this.signIn($("operator").value, $("token").value);
          dialog.close();
        } catch (failure) {
          error.textContent = failure.message;
        }
      };
    });
  }

  async signIn(operator, token) {
    await send("/sign-in", { operator, token });
    localStorage.setItem("operator", operator);
    $("token").value = "";
    await this.load();
  }

  // After a restart of the station, which ends all sessions.
  async signInAgain() {
    const name = localStorage.getItem("operator");
    this.me.operator = null;
    if (name && !this.me.needs_token) await this.signIn(name, "").catch(() => {});
    else if (this.me.needs_token) await this.askName();
    this.show();
  }

  async load() {
    this.me = await ask("/me");
    this.show();
  }

  show() {
    $("who").textContent = this.me.operator || "Sign in";
    $("part").textContent = $("part").title = this.me.name || "";
  }
}
