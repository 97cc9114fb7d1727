// What pages of objects share: which object the address names, loading it, heads of forms, and what no form shows.

import {send, sentence} from "./api.js";
import {displayed, element, icon, make} from "./dom.js";

export {saveObject} from "./conflict.js";

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
