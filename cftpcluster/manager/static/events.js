// What happened on all nodes: as it happens, and back in time; with filters, details and exports.

import {send, sentence} from "./api.js";
import {namedText} from "./difference.js";
import {announce, ask, button, countText, displayed, durationText, element, icon, make, sizeText} from "./dom.js";
import {kindText, kindsOf, lookOf} from "./eventkinds.js";
import {watchEvents} from "./live.js";

const API = "/api/v1";
const LIMIT = 100;
const MOST_ROWS = 1000;
const MOST_WAITING = 1000;
const MOST_OBJECTS = 4;
const TYPING_MILLISECONDS = 250;
const NARROW_PIXELS = 704;
const PROTOCOLS = {ftp: "FTP", sftp: "SFTP", https: "HTTPS", manager: "Manager"};
const FILTERS = ["text", "kind", "user", "address", "protocol", "node", "path", "session", "since", "until"];
const OWN = ["id", "node", "time", "kind", "user", "author", "address", "protocol", "path"];
const LABELS = {
  address: "Address", attributes: "Attributes", author: "Administrator", before: "Before", by: "By", count: "How many", epoch: "Epoch",
  kept: "Can be continued", listener: "Listener", method: "How", mode: "Mode", modified: "Modified", name: "Name", network: "Network", node: "Node", objects: "Objects",
  path: "File or folder", protocol: "Protocol", reason: "Why", revision: "Revision", seconds: "Took", session: "Session", size: "Size", software: "Program",
  state: "State", symbolic: "Symbolic link", target: "To", user: "User", version: "Version",
};

const content = element("content");
const given = () => new URLSearchParams(location.search);

// --- one event

const timeOf = (one, style) => {
  const date = new Date(1000 * one.time);
  return make("time", {dateTime: date.toISOString(), textContent: date.toLocaleString(undefined, style), title: date.toLocaleString(undefined, {dateStyle: "full", timeStyle: "long"})});
};

function valueText(key, value) {
  if (value === null || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map((each) => (key === "objects" ? namedText(each) : displayed(String(each)))).join(", ");
  if (key === "size") return sizeText(value);
  if (key === "seconds") return value < 1 ? `${Math.round(1000 * value)} ms` : durationText(value);
  if (key === "modified") return new Date(1000 * value).toLocaleString();
  return displayed(String(value));
}

/** What else there is to say of an event, in a line. */
function detailText(one) {
  const parts = (one.objects ?? []).slice(0, MOST_OBJECTS).map(namedText);
  if (one.count > parts.length && parts.length) parts.push(`${countText(one.count - parts.length, "more", "more")}`);
  if ("path" in one) parts.push(displayed(one.path));
  if ("target" in one) parts.push(`→ ${displayed(one.target)}`);
  for (const [key, value] of Object.entries(one)) {
    if (OWN.includes(key) || ["target", "session", "listener", "software", "objects"].includes(key) || (key === "by" && value === one.node) || (key === "count" && one.objects) || value === "" || value === null) continue;
    if (key === "revision") parts.push(`revision ${value}`);
    else if (key === "by" && one.objects) parts.push(`by way of ${displayed(value)}`);
    else if (key === "size" || key === "reason") parts.push(valueText(key, value));
    else if (key === "method") parts.push(`by ${valueText(key, value)}`);
    else if (key === "seconds") parts.push(one.kind === "Banned" ? `for ${durationText(value)}` : `in ${valueText(key, value)}`);
    else parts.push(`${(LABELS[key] ?? key).toLowerCase()} ${valueText(key, value)}`);
  }
  return parts.join(", ");
}

function makeRow(one) {
  const row = make("tr", {className: "event"});
  row.dataset.id = `${one.id}-${one.node}`;
  const cell = (label, child, className = "") => {
    const made = make("td", {className}, child);
    made.dataset.label = label;
    return made;
  };
  const what = make("button", {type: "button", className: "eventKind"}, make("span", {className: `badge ${lookOf(one.kind)}`, textContent: kindText(one.kind)}));
  what.setAttribute("aria-haspopup", "dialog");
  what.addEventListener("click", () => showDetails(one));
  const head = make("th", {scope: "row"}, what);
  const from = [PROTOCOLS[one.protocol] ?? one.protocol, one.address === "socket" ? "the node itself" : one.address].filter(Boolean).map((text) => displayed(text)).join(", ");
  row.append(
    head,
    cell("When", timeOf(one, {dateStyle: "short", timeStyle: "medium"}), "eventTime"),
    cell("Who", make("bdi", {className: "eventDetails", textContent: displayed(one.user ?? one.author ?? "")})),
    cell("From", make("bdi", {textContent: from})),
    cell("Node", make("bdi", {textContent: displayed(one.node)})),
    cell("Details", make("bdi", {className: "eventDetails", textContent: detailText(one)})),
  );
  for (const each of row.cells) if (!each.textContent) each.replaceChildren();
  return row;
}

async function showDetails(one) {
  const list = make("dl", {className: "eventValues"}, make("div", {}, make("dt", {textContent: "When"}), make("dd", {}, timeOf(one, {dateStyle: "full", timeStyle: "long"}))));
  const only = (key, value, name) => make("a", {href: `?${new URLSearchParams({[key]: value})}`, className: "small", textContent: `only ${name}`});
  for (const [key, value] of Object.entries(one)) {
    if (key === "id" || key === "time" || key === "kind" || value === "") continue;
    const text = make("dd", {}, make("bdi", {textContent: valueText(key, value)}));
    const filter = key === "author" ? "user" : key;
    if (["user", "author", "address", "node", "session", "path"].includes(key) && value) text.append(" ", only(filter, value, {user: "this user", author: "this one", address: "from there", node: "there", session: "this session", path: "about this"}[key]));
    list.append(make("div", {}, make("dt", {textContent: LABELS[key] ?? displayed(key)}), text));
  }
  const links = [];
  if (one.revision) links.push(make("a", {className: "button", href: `/history?from=${one.revision - 1}&to=${one.revision}`, textContent: `What revision ${one.revision} changed`}));
  const body = [list, ...links, make("p", {className: "note"}, `Its id on this node: ${one.id}. As in exports: `, make("code", {textContent: one.kind}))];
  await ask(kindText(one.kind), body, [{text: "Close", value: ""}], {classes: "wide"});
}

// --- what is asked for

const fields = {};

function makeFilters(nodes) {
  const place = (key, label, input) => {
    fields[key] = input;
    Object.assign(input, {id: `filter-${key}`, value: shownValue(key)});
    return make("div", {className: "filter"}, make("label", {for: input.id, textContent: label}), input);
  };
  const text = (key, label, more = {}) => place(key, label, make("input", {autocomplete: "off", spellcheck: false, maxLength: 200, ...more}));
  const choice = (key, label, choices) => place(key, label, make("select", {}, ...choices.map(([value, name]) => make("option", {value, textContent: name}))));
  const kinds = make("select", {}, make("option", {value: "", textContent: "All kinds"}), ...kindsOf().map(({title, kinds: some}) => make("optgroup", {label: title}, make("option", {value: some.join(","), textContent: `All ${title.toLowerCase()}`}), ...some.map((kind) => make("option", {value: kind, textContent: kindText(kind)})))));
  const more = make("details", {className: "filtersMore"}, make("summary", {textContent: "More filters"}));
  more.append(make("div", {className: "filters"}, text("path", "File or folder"), text("session", "Session"), text("since", "From", {type: "datetime-local", step: 1}), text("until", "Before", {type: "datetime-local", step: 1})));
  const all = make("form", {className: "filterForm", role: "search"});
  all.append(
    make("div", {className: "filters"}, text("text", "Text", {type: "search", placeholder: "Anywhere in an event"}), place("kind", "Kind", kinds), text("user", "User"), text("address", "Address"), choice("protocol", "Protocol", [["", "All"], ...Object.entries(PROTOCOLS)]), choice("node", "Node", [["", "All"], ...nodes.map((name) => [name, displayed(name)])])),
    more,
  );
  more.open = ["path", "session", "since", "until"].some((key) => given().get(key));
  const fold = make("details", {className: "filterFold", open: innerWidth > NARROW_PIXELS || FILTERS.some((key) => given().get(key))}, make("summary", {textContent: "Filters"}), all);
  const changed = () => {
    history.replaceState(null, "", query().size ? `?${query()}` : location.pathname);
    start();
  };
  let timer = 0;
  all.addEventListener("submit", (event) => event.preventDefault());
  all.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(changed, TYPING_MILLISECONDS);
  });
  return fold;
}

const shownValue = (key) => given().get(key) ?? "";

/** What is in the fields, as it stands in the address. */
function query() {
  const asked = new URLSearchParams();
  for (const key of FILTERS) if (fields[key]?.value.trim()) asked.set(key, fields[key].value.trim());
  return asked;
}

/** As the API takes it: times with their zone. */
function question() {
  const asked = query();
  for (const key of ["since", "until"]) {
    const time = new Date(asked.get(key) ?? "");
    if (Number.isNaN(time.valueOf())) asked.delete(key);
    else asked.set(key, String(time.valueOf() / 1000));
  }
  return asked;
}

// --- the list

const body = make("tbody");
const table = make("table", {className: "list eventList", "aria-label": "Events, the newest first"}, make("thead", {}, make("tr", {}, ...["What", "When", "Who", "From", "Node", "Details"].map((text) => make("th", {scope: "col", textContent: text})))), body);
const place = make("div", {className: "tablePlace"}, table);
const state = make("p", {className: "note liveState", role: "status"});
const news = button("arrow-up", {text: "0 new", classes: "primary newsButton"});
const missing = make("div", {className: "tableMissing", role: "status"});
const older = make("button", {type: "button", textContent: "Show older ones"});
const pauseButton = button("pause", {text: "Pause", classes: ""});

let turn = 0;
let next = null;
let isPaused = false;
let waiting = [];
let stopWatching = () => {};
const unanswered = new Map();

function showMissing() {
  const texts = [...unanswered].map(([node, why]) => `${displayed(node)} does not answer, so what happened there is missing: ${displayed(why)}.`);
  missing.replaceChildren(...texts.map((text) => make("p", {className: "alert"}, icon("triangle-alert"), make("span", {textContent: text}))));
}

function showNote(text) {
  body.prepend(make("tr", {className: "eventNote"}, make("td", {colSpan: 6}, make("p", {className: "alert"}, icon("triangle-alert"), make("span", {textContent: text})))));
}

function showNews() {
  news.hidden = !waiting.length;
  news.querySelector("span").textContent = waiting.length >= MOST_WAITING ? `${MOST_WAITING} and more new ones` : `${waiting.length} new`;
  state.textContent = isPaused ? "Paused." : isBroken ? "No node answers; what happens is shown as soon as one does." : "Live: what happens is shown as it happens.";
}

function take(one) {
  // Who reads further down, or has paused it, is not moved about.
  if (isPaused || scrollY > 400) {
    if (waiting.length < MOST_WAITING) waiting.push(one);
    showNews();
    return;
  }
  insert(one);
}

function insert(one) {
  const id = `${one.id}-${one.node}`;
  if ([...body.rows].slice(0, 300).some((row) => row.dataset.id === id)) return;
  const row = makeRow(one);
  row.classList.add("new");
  // Nodes answer one after the other; what is older goes to its place.
  const at = [...body.rows].find((each) => Number(each.dataset.id?.split("-", 1)[0] ?? Infinity) <= one.id);
  body.insertBefore(row, at ?? null);
  table.hidden = false;
  place.querySelector(".empty")?.remove();
  while (body.rows.length > MOST_ROWS) {
    // What is beyond is asked for again, from the last that stands.
    body.rows[body.rows.length - 1].remove();
    next = body.rows[body.rows.length - 1].dataset.id ?? next;
    older.hidden = false;
  }
}

function release() {
  const some = waiting;
  waiting = [];
  const wasFull = some.length >= MOST_WAITING;
  if (wasFull) start();
  else some.forEach(insert);
  showNews();
}

function clearSkeletons() {
  for (const each of body.querySelectorAll(".loading")) each.remove();
}

async function loadOlder(mine) {
  older.disabled = true;
  const asked = question();
  asked.set("limit", String(LIMIT));
  if (next !== null) asked.set("after", next);
  try {
    const page = await (await send("GET", `${API}/events?${asked}`)).json();
    if (mine !== turn) return;
    clearSkeletons();
    unanswered.clear();
    for (const {node, why} of page.unanswered) unanswered.set(node, why);
    showMissing();
    const focus = next !== null;
    const rows = page.items.map(makeRow);
    body.append(...rows);
    next = page.next;
    older.hidden = next === null;
    table.hidden = !body.rows.length;
    place.querySelector(".empty")?.remove();
    if (!body.rows.length) place.append(make("div", {className: "empty"}, icon("search-x", "large"), make("p", {textContent: query().size ? "Nothing that happened fits." : "Nothing has happened yet."})));
    if (focus) rows[0]?.querySelector("button").focus({preventScroll: true});
    else announce(`${page.items.length} events`);
  } catch (error) {
    if (mine !== turn) return;
    clearSkeletons();
    const again = make("button", {type: "button", textContent: "Try again"});
    again.addEventListener("click", () => start());
    place.querySelector(".empty")?.remove();
    place.append(make("div", {className: "empty", role: "alert"}, icon("server-off", "large"), make("p", {textContent: sentence(error.message)}), again));
    table.hidden = !body.rows.length;
  } finally {
    older.disabled = false;
  }
}

/** Everything anew, as the fields say. */
async function start() {
  turn += 1;
  const mine = turn;
  stopWatching();
  next = null;
  waiting = [];
  showNews();
  showExports();
  body.replaceChildren(...Array.from({length: 5}, () => make("tr", {className: "loading", "aria-hidden": "true"}, make("td", {colSpan: 6}, make("div", {className: "skeleton"})))));
  table.hidden = false;
  place.querySelector(".empty")?.remove();
  // The stream first, so that nothing between the page and it is missed; what comes twice is shown once.
  const early = [];
  let isLoaded = false;
  const asked = question();
  const isPast = asked.has("until") && Number(asked.get("until")) * 1000 < Date.now();
  if (!isPast) {
    asked.delete("since");
    const stream = watchEvents(Object.fromEntries(asked), (one) => (isLoaded ? take(one) : early.push(one)), {onLost, onNodes, onTrouble});
    stopWatching = () => stream.close();
  }
  pauseButton.disabled = isPast;
  await loadOlder(mine);
  if (mine !== turn) return;
  isLoaded = true;
  early.forEach(take);
  showNews();
  if (isPast) state.textContent = "What is asked for is over; nothing is added to it.";
}

let isBroken = false;

function onTrouble(now) {
  const wasBroken = isBroken;
  isBroken = now;
  showNews();
  if (wasBroken && !now) catchUp(turn);
}

/** What happened while no node could be asked; what stands already is not shown twice. */
async function catchUp(mine) {
  const asked = question();
  asked.set("limit", String(LIMIT));
  try {
    const page = await (await send("GET", `${API}/events?${asked}`)).json();
    if (mine === turn) page.items.reverse().forEach(insert);
  } catch {
    // The stream breaks off again then, and is opened again.
  }
}

function onLost({node, count}) {
  showNote(count ? `${count.toLocaleString()} events of ${displayed(node)} were not kept, and cannot be shown.` : `Some of what happened on ${displayed(node)} was not kept, and cannot be shown.`);
}

function onNodes({node, answers, why}) {
  if (answers) unanswered.delete(node);
  else unanswered.set(node, why);
  showMissing();
}

// --- the page

const exportsPlace = make("span", {className: "exports"});

function showExports() {
  const link = (format, text) => {
    const made = make("a", {className: "button", href: `${API}/events/export?${new URLSearchParams([...question(), ["format", format]])}`}, icon("download"), make("span", {textContent: text}));
    made.download = "";
    made.title = `All that fits, as ${text === "CSV" ? "a table (CSV)" : "a JSON object in each line"}`;
    return made;
  };
  exportsPlace.replaceChildren(link("csv", "CSV"), link("jsonl", "JSON"));
}

pauseButton.addEventListener("click", () => {
  isPaused = !isPaused;
  pauseButton.replaceChildren(icon(isPaused ? "play" : "pause"), make("span", {textContent: isPaused ? "Go on" : "Pause"}));
  if (isPaused) showNews();
  else release();
  announce(state.textContent);
});
news.addEventListener("click", () => {
  scrollTo({top: 0});
  release();
});
older.addEventListener("click", () => loadOlder(turn));
addEventListener("popstate", () => {
  for (const key of FILTERS) fields[key].value = shownValue(key);
  start();
});

async function nodeNames() {
  try {
    return (await (await send("GET", `${API}/status`)).json()).nodes.map((one) => one.name).sort();
  } catch {
    // The list tells what is wrong.
    return [];
  }
}

element("actions").append(pauseButton, exportsPlace);
content.append(makeFilters(await nodeNames()), missing, make("div", {className: "liveLineOfEvents"}, state, news), place, make("div", {className: "tablePages"}, older));
start();
