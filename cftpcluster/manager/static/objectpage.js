// What pages of objects share: which object the address names, loading it, heads of forms, and what no form shows.

import {send, sentence} from "./api.js";
import {isConflict, write} from "./changes.js";
import {ask, displayed, element, icon, make} from "./dom.js";

/** The name in the address, "" where there is none. */
export function namedObject() {
  return decodeURIComponent(location.pathname.split("/")[2] ?? "");
}

export const asked = (name) => new URLSearchParams(location.search).get(name);

/** An object, and the tag that says which state of it this is. */
export async function load(url) {
  const response = await send("GET", url);
  return {value: await response.json(), etag: response.headers.get("ETag")};
}

/** Shows a form, or another part of a page, with its head and the way back. */
export function showPart(title, back, ...parts) {
  const heading = document.querySelector(".pageHead h1");
  heading.replaceChildren(make("bdi", {textContent: displayed(title)}));
  document.title = `${displayed(title)} – ${document.title.split(" – ").at(-1)}`;
  const up = make("a", {className: "backLink", href: back.href}, icon("chevron-right", "back"), back.text);
  element("content").replaceChildren(up, ...parts.filter((each) => each !== null));
}

/** Says why there is nothing to see. */
export function showLoadFailure(error, back) {
  const text = error.status === 404 ? "It is not there. Somebody may have removed it." : sentence(error.message);
  element("content").replaceChildren(make("div", {className: "card problem", role: "alert"}, icon("search-x", "large"), make("p", {textContent: text}), make("a", {className: "button", ...back, textContent: back.text})));
}

/** A block of facts: terms with what is said of them; those without are left out. */
export function facts(pairs) {
  const rows = pairs.filter(([, said]) => said !== "" && said !== null && said !== undefined);
  return make("dl", {className: "facts"}, ...rows.flatMap(([term, said]) => [make("dt", {textContent: term}), make("dd", {}, typeof said === "string" ? make("bdi", {textContent: displayed(said)}) : said)]));
}

/**
 * Sends a change of an object as it was read; where somebody else came first, asks what to do.
 *
 * @param {{method: string, url: string, json: object, describe: string, before: object}} change `before`: as it was read
 * @param {{etag: string|null}} state what is known of the object, renewed when it is saved
 * @returns {Promise<object|null>} the answer, null where nothing was changed
 */
export async function saveObject({method, url, json, describe, before}, state) {
  try {
    const answer = await write(method, url, {json, etag: state.etag ?? undefined, describe});
    state.etag = `"${answer.revision}"`;
    return answer;
  } catch (error) {
    if (!isConflict(error) || !error.problem.current) throw error;
    if (!(await askOverwrite(before, error.problem.current))) return null;
    return saveObject({method, url, json, describe, before}, {...state, etag: null});
  }
}

const valueText = (value) => (value === undefined ? "nothing" : typeof value === "string" ? value : JSON.stringify(value));

async function askOverwrite(before, now) {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])].filter((key) => key !== "revision" && JSON.stringify(before[key]) !== JSON.stringify(now[key]));
  const changed = keys.map((key) => make("li", {}, make("strong", {textContent: `${key}: `}), make("bdi", {textContent: `${displayed(valueText(before[key]))} became ${displayed(valueText(now[key]))}`})));
  const body = [make("p", {textContent: "Since you opened it, somebody else has changed:"}), make("ul", {className: "names"}, ...changed), make("p", {textContent: "Overwriting takes that back. To see it as it is now, go on editing, and load the page anew."})];
  const buttons = [{text: "Go on editing", value: ""}, {text: "Overwrite", value: "yes", classes: "primary danger"}];
  return Boolean(await ask("Somebody else changed this meanwhile", body, buttons));
}
