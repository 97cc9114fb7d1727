// What to do where a name is taken: asked once for each, or once for all.

import {send} from "./api.js";
import {ask, displayed, make} from "./dom.js";
import {besides, lastOf, shownOf} from "./names.js";

const MOST_TRIED = 50;

/** 200 where there is such a name, 404 where there is none, 403 for who may not look. */
async function look(url) {
  try {
    await send("HEAD", url);
    return 200;
  } catch (error) {
    if (error.status === 404 || error.status === 403) return error.status;
    throw error;
  }
}

/** Whether a name is taken, as far as can be seen. */
export const exists = async (url) => (await look(url)) === 200;

/** A name beside a taken one that is free. */
export async function freeBeside(url) {
  for (let number = 2; number < MOST_TRIED; number += 1) {
    const other = besides(url, number);
    const found = await look(other);
    if (found === 404) return other;
    if (found === 403) break;
  }
  return besides(url, Date.now());
}

/** The answers for one batch of files. Questions come one after the other, however many wait. */
export class Decisions {
  #forAll = "";
  #last = Promise.resolve();

  /** "replace", "both" or "skip". */
  decide(url, isLast) {
    const answer = this.#last.then(() => this.#forAll || this.#question(url, isLast));
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #question(url, isLast) {
    const name = displayed(shownOf(lastOf(url)));
    const all = make("input", {type: "checkbox", id: "forAll"});
    const body = [make("p", {}, make("bdi", {textContent: `“${name}”`}), " is there already. What should become of it?")];
    if (!isLast) body.push(make("label", {className: "choice"}, all, "Do the same with all others"));
    const buttons = [{text: "Skip", value: "skip"}, {text: "Keep both", value: "both"}, {text: "Replace", value: "replace", classes: "primary"}];
    const chosen = (await ask("This name is taken", body, buttons)) || "skip";
    if (all.checked) this.#forAll = chosen;
    return chosen;
  }
}
