// A table of what is going on: asked for again and again, for as long as somebody can see it.

import {send} from "./api.js";
import {displayed, icon, make} from "./dom.js";
import {makeTable} from "./table.js";

/**
 * As `makeTable`, with a filter by node, and with a line about nodes that do not answer.
 *
 * @param {{seconds: number, key?: function(object): string}} options `key` tells one row from the others, where they have no id
 */
export async function makeLiveTable({seconds, key = (one) => one.id, isByNode = true, ...options}) {
  const missing = make("div", {className: "tableMissing", role: "status"});
  const items = (answer) => {
    showMissing(missing, answer.unanswered ?? []);
    return answer.items.map((one) => ({...one, name: key(one)}));
  };
  const filters = isByNode ? [{key: "node", label: "Node", choices: [{value: "", text: "All nodes"}, ...(await nodeNames()).map((name) => ({value: name, text: displayed(name)}))]}] : [];
  const table = makeTable({filters, items, ...options});
  const look = () => document.hidden || table.refresh();
  setInterval(look, 1000 * seconds);
  document.addEventListener("visibilitychange", look);
  const element = make("div", {}, missing, table);
  element.refresh = table.refresh;
  return element;
}

async function nodeNames() {
  try {
    const status = await (await send("GET", "/api/v1/status")).json();
    return status.nodes.map((one) => one.name).sort();
  } catch {
    // The table tells what is wrong.
    return [];
  }
}

function showMissing(place, unanswered) {
  const texts = unanswered.map(({node, why}) => `${displayed(node)} does not answer, so what it has is missing: ${displayed(why)}.`);
  if (place.dataset.shown === JSON.stringify(texts)) return;
  place.dataset.shown = JSON.stringify(texts);
  place.replaceChildren(...texts.map((text) => make("p", {className: "alert"}, icon("triangle-alert"), make("span", {textContent: text}))));
}

/** A moment as what is said of it, the exact one being its title. */
export function momentCell(seconds, text) {
  const moment = new Date(1000 * seconds);
  return make("time", {dateTime: moment.toISOString(), textContent: text, title: moment.toLocaleString(undefined, {dateStyle: "full", timeStyle: "medium"})});
}
