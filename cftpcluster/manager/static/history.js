// Who changed what, when and from where; how any two revisions differ; and the way back.
//
// What is compared stands in the page's address: /history?from=A&to=B.

import {send, sentence} from "./api.js";
import {write} from "./changes.js";
import {namedText, showDifference} from "./difference.js";
import {announce, ask, button, countText, displayed, element, icon, make, tell} from "./dom.js";

const API = "/api/v1";
const LIMIT = 50;
const MOST_NAMED = 4;
const MOST_SHOWN = 200;
const NARROW_PIXELS = 704;
const FIELDS = ["author", "object", "since", "until"];

const mayGoBack = document.body.dataset.role !== "auditor";
const content = element("content");
const query = () => new URLSearchParams(location.search);
const fetched = async (url) => (await send("GET", url)).json();
const moment = (seconds) => {
  const date = new Date(1000 * seconds);
  return make("time", {dateTime: date.toISOString(), textContent: date.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"}), title: date.toLocaleString(undefined, {dateStyle: "full", timeStyle: "long"})});
};

let newest = 0;
const chosen = new Set();

// --- the list

/** What a revision did, in a sentence. */
function sentenceOf(one) {
  const removed = one.removed ?? [];
  const more = one.count - one.objects.length;
  const saved = listText(one.objects.filter((name) => !removed.includes(name)), more);
  const parts = [];
  if (one.promoted) parts.push(`made ${displayed(one.promoted)} the primary`);
  if (saved) parts.push(`saved ${saved}`);
  if (removed.length) parts.push(`removed ${listText(removed)}`);
  return parts.length ? sentence(parts.join("; ")) : "Nothing that is shown.";
}

function listText(names, more = 0) {
  const texts = names.slice(0, MOST_NAMED).map((name) => namedText(name).replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase()));
  const rest = names.length - texts.length + more;
  return texts.join(", ") + (rest ? `${texts.length ? " and " : ""}${countText(rest, "more", "more")}` : "");
}

function makeRow(one) {
  const box = make("input", {type: "checkbox", "aria-label": `Choose revision ${one.revision} to compare`, checked: chosen.has(one.revision)});
  box.addEventListener("change", () => choose(one.revision, box.checked));
  const row = make("li", {className: "revision"});
  row.dataset.revision = one.revision;
  const what = make("a", {href: `?from=${one.revision - 1}&to=${one.revision}`, className: "revisionWhat"}, make("bdi", {textContent: sentenceOf(one)}));
  const by = make("p", {className: "note"}, make("bdi", {textContent: displayed(one.author)}), ` from ${one.address === "socket" ? "the node itself" : displayed(one.address || "an unknown place")}, on ${displayed(one.node)}, `, moment(one.time));
  const number = make("span", {className: "revisionNumber"}, make("span", {className: "hidden", textContent: "Revision "}), String(one.revision));
  row.append(make("label", {className: "revisionChoice"}, box, number), make("div", {className: "revisionText"}, what, by));
  if (one.revision === newest) row.append(make("span", {className: "badge good", textContent: "Present"}));
  else if (mayGoBack) row.append(backButton(one.revision));
  return row;
}

function backButton(revision, {text = "Go back to it…", classes = ""} = {}) {
  const back = button("history", {text, classes});
  back.setAttribute("aria-label", `${text.replace("it…", `revision ${revision}…`)}`);
  back.addEventListener("click", () => askBack(revision));
  return back;
}

function choose(revision, isChosen) {
  if (isChosen) chosen.add(revision);
  else chosen.delete(revision);
  while (chosen.size > 2) {
    const first = chosen.values().next().value;
    chosen.delete(first);
    const box = content.querySelector(`[data-revision="${first}"] input`);
    if (box) box.checked = false;
  }
  showChosen();
}

const compareButton = button("arrow-left-right", {text: "Compare", classes: ""});

function showChosen() {
  const [low, high] = [...chosen].sort((one, other) => one - other);
  const text = chosen.size === 2 ? `Compare ${low} with ${high}` : chosen.size === 1 ? `Compare ${low} with the present` : "Compare two";
  compareButton.querySelector("span").textContent = text;
  compareButton.disabled = !chosen.size || (chosen.size === 1 && low === newest);
}

compareButton.addEventListener("click", () => {
  const [low, high = newest] = [...chosen].sort((one, other) => one - other);
  location.assign(`?from=${low}&to=${high}`);
});

// --- filters

function makeFilters() {
  const given = query();
  const field = (key, label, properties) => {
    const input = make("input", {id: `filter-${key}`, name: key, value: given.get(key) ?? "", autocomplete: "off", spellcheck: false, ...properties});
    return make("div", {className: "filter"}, make("label", {for: input.id, textContent: label}), input);
  };
  const form = make(
    "form",
    {className: "filters", role: "search"},
    field("author", "Who", {placeholder: "Administrator", maxLength: 100}),
    field("object", "What", {placeholder: "users/alice, users, settings", maxLength: 100}),
    field("since", "From", {type: "datetime-local"}),
    field("until", "Before", {type: "datetime-local"}),
    make("div", {className: "filterButtons"}, make("button", {type: "submit", className: "primary", textContent: "Show"}), make("a", {className: "button plain", href: "/history", textContent: "Show all"})),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const asked = new URLSearchParams();
    for (const key of FIELDS) if (form.elements[key].value.trim()) asked.set(key, form.elements[key].value.trim());
    location.assign(`/history${asked.size ? `?${asked}` : ""}`);
  });
  return make("details", {className: "filterFold", open: innerWidth > NARROW_PIXELS || FIELDS.some((key) => given.get(key))}, make("summary", {textContent: "Filters"}), form);
}

/** The filters as the API takes them: times with their zone. */
function asked() {
  const given = query();
  const wanted = new URLSearchParams({limit: String(LIMIT)});
  for (const key of FIELDS) {
    const value = given.get(key);
    if (!value) continue;
    const time = key === "since" || key === "until" ? new Date(value) : null;
    if (time === null) wanted.set(key, value);
    else if (!Number.isNaN(time.valueOf())) wanted.set(key, String(time.valueOf() / 1000));
  }
  return wanted;
}

// --- pages

function showFailure(error, again) {
  const retry = make("button", {type: "button", textContent: "Try again"});
  retry.addEventListener("click", again);
  return make("div", {className: "card empty", role: "alert"}, icon("server-off", "large"), make("p", {textContent: sentence(error.message)}), retry);
}

async function showList() {
  element("actions").replaceChildren(compareButton);
  showChosen();
  const list = make("ol", {className: "revisions card", "aria-label": "Revisions, the newest first"});
  const place = make("div", {className: "historyPlace"}, list);
  content.replaceChildren(makeFilters(), place);
  let next = null;
  const more = make("button", {type: "button", textContent: "Show older ones"});
  const load = async () => {
    const wanted = asked();
    if (next !== null) wanted.set("after", String(next));
    more.disabled = true;
    const page = await fetched(`${API}/history?${wanted}`);
    more.disabled = false;
    newest = page.revision;
    for (const each of list.querySelectorAll(".skeleton")) each.remove();
    const first = list.childElementCount;
    list.append(...page.items.map(makeRow));
    next = page.next;
    if (next === null) more.replaceWith(make("p", {className: "note", textContent: page.oldest ? `Older ones than revision ${page.oldest} are not kept, as the setting historyRevisions says.` : "This is the whole history."}));
    else place.append(more);
    if (first) list.children[first]?.querySelector("a").focus();
    // A filter is looked for in so many revisions at once.
    else if (!page.items.length && next !== null) await load();
    if (!list.childElementCount) list.replaceWith(make("div", {className: "card empty"}, icon("search-x", "large"), make("p", {textContent: "No revision fits."}), make("a", {className: "button", href: "/history", textContent: "Show all"})));
    showChosen();
  };
  const tryLoad = async () => {
    try {
      await load();
    } catch (error) {
      place.replaceChildren(showFailure(error, () => showList()));
    }
  };
  more.addEventListener("click", tryLoad);
  list.append(...Array.from({length: 5}, () => make("li", {className: "skeleton", "aria-hidden": "true"})));
  await tryLoad();
}

async function differenceOf(from, to) {
  const answer = await fetched(`${API}/diff?${new URLSearchParams({from, ...(to ? {to} : {}), limit: String(MOST_SHOWN)})}`);
  newest = Math.max(newest, answer.to);
  return answer;
}

async function showComparison(from, to) {
  const back = make("a", {className: "button", href: "/history"}, icon("chevron-right", "back"), make("span", {textContent: "All revisions"}));
  element("actions").replaceChildren(back);
  content.replaceChildren(make("div", {className: "card"}, make("div", {className: "skeleton"})));
  try {
    const [answer, status] = await Promise.all([differenceOf(from, to), fetched(`${API}/history?limit=1`)]);
    newest = status.revision;
    const isOne = answer.to === answer.from + 1;
    const about = isOne ? await fetched(`${API}/history/${answer.to}?limit=1`) : null;
    const title = isOne ? `What revision ${answer.to} changed` : `From revision ${answer.from} to ${answer.to}${answer.to === newest ? ", the present" : ""}`;
    const head = make("div", {className: "comparisonHead"}, make("h2", {textContent: title}));
    if (about) head.append(make("p", {className: "note"}, make("bdi", {textContent: displayed(about.author)}), ` from ${about.address === "socket" ? "the node itself" : displayed(about.address)}, on ${displayed(about.node)}, `, moment(about.time)));
    if (about?.promoted) head.append(make("p", {textContent: `${displayed(about.promoted)} became primary, epoch ${about.epoch}.`}));
    const steps = make("nav", {className: "comparisonSteps", "aria-label": "Other revisions"});
    const step = (low, high, text) => steps.append(make("a", {className: "button", href: `?from=${low}&to=${high}`, textContent: text}));
    if (isOne && answer.from > 0) step(answer.from - 1, answer.to - 1, "The one before");
    if (isOne && answer.to < newest) step(answer.from + 1, answer.to + 1, "The next one");
    if (answer.to !== newest) step(answer.from, newest, "Up to the present");
    if (mayGoBack && answer.from > 0 && answer.from < newest) steps.append(backButton(answer.from, {text: `Go back to revision ${answer.from}…`}));
    if (mayGoBack && answer.to < newest) steps.append(backButton(answer.to, {text: `Go back to revision ${answer.to}…`}));
    content.replaceChildren(head, steps, make("div", {className: "card"}, showDifference(answer, {same: `Nothing that is shown differs between revisions ${answer.from} and ${answer.to}.`})));
    document.title = `${title} – ${document.title.split(" – ").at(-1)}`;
    announce(countText(answer.total, "object differs", "objects differ"));
  } catch (error) {
    content.replaceChildren(showFailure(error, () => showComparison(from, to)));
  }
}

// --- the way back

const KEPT_ALWAYS = "Not everything comes back: passwords, public keys and who is disabled stay as they are now; so do nodes, keys, certificates, tokens and administrators. A user that was removed since comes back without a password and public keys.";

/** Shows what a rollback would change, and does it when it is wanted. */
async function askBack(revision) {
  let planned;
  let back;
  try {
    planned = await (await send("POST", `${API}/rollback?dryRun=true`, {json: {revision}})).json();
    back = planned.changed.length ? await differenceOf(planned.revision, revision) : {differences: []};
  } catch (error) {
    tell(sentence(error.message), {failed: true});
    return;
  }
  if (!planned.changed.length) {
    await ask(`Go back to revision ${revision}?`, [make("p", {textContent: `What a rollback brings back is as it was at revision ${revision} already. ${KEPT_ALWAYS}`}), ...keptParts(planned.kept)], [{text: "Close", value: ""}]);
    return;
  }
  // Told as the rollback itself tells it: of what differs, only that goes back.
  const keys = new Map(planned.changed.map((text) => [text.split("\n")[0].split(" ").slice(1).join(" "), new Set(text.split("\n").slice(1).map((line) => line.trim().split(":")[0]))]));
  const going = back.differences.flatMap((one) => {
    const back = keys.get([one.section, one.name].filter(Boolean).join("/"));
    return back ? [{...one, keys: one.keys.filter(({key}) => back.has(key))}] : [];
  });
  const body = [
    make("p", {textContent: `${countText(planned.changed.length, "object becomes", "objects become")} as they were at revision ${revision}, as a new revision. It can be undone like any other.`}),
    make("p", {className: "note", textContent: KEPT_ALWAYS}),
    ...keptParts(planned.kept),
    going.length === planned.changed.length ? showDifference({differences: going}) : make("ul", {className: "plannedTexts"}, ...planned.changed.slice(0, MOST_SHOWN).map((text) => make("li", {}, make("bdi", {textContent: text.split("\n").map(displayed).join("\n")})))),
  ];
  const buttons = [{text: "Cancel", value: ""}, {text: `Go back to revision ${revision}`, value: "yes", classes: "primary danger"}];
  if (!(await ask(`Go back to revision ${revision}?`, body, buttons, {classes: "wide"}))) return;
  try {
    const answer = await write("POST", `${API}/rollback`, {json: {revision}, describe: `Back to revision ${revision}`});
    if (answer) start(`/history?from=${answer.revision - 1}&to=${answer.revision}`);
  } catch (error) {
    tell(sentence(error.problem?.errors?.map((one) => one.message).join("; ") || error.message), {failed: true});
  }
}

function keptParts(kept) {
  if (!kept.length) return [];
  const shown = kept.slice(0, 50).map((text) => make("li", {}, make("bdi", {textContent: displayed(text)})));
  if (kept.length > 50) shown.push(make("li", {textContent: `and ${kept.length - 50} more`}));
  return [make("ul", {className: "keptList", "aria-label": "What stays as it is"}, ...shown)];
}

// --- which page it is

function start(address = "") {
  if (address) history.pushState(null, "", address);
  const given = query();
  const [from, to] = [given.get("from"), given.get("to")];
  if (from !== null && /^[0-9]{1,15}$/.test(from)) showComparison(from, to !== null && /^[0-9]{1,15}$/.test(to) ? to : "");
  else showList();
}

addEventListener("popstate", () => start());
start();
