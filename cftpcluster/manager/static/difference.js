// What differs between two revisions, object by object: what was, and what is. Secrets are never in it.

import {countText, displayed, icon, make} from "./dom.js";

const NOUNS = {
  users: "User",
  groups: "Group",
  backends: "Backend",
  listeners: "Listener",
  certificates: "Certificate",
  hostKeys: "Host key",
  admins: "Administrator",
  nodes: "Node",
  checkers: "Checker",
  observers: "Observer",
  apiTokens: "API token",
  tokens: "Join token",
  keys: "Key of the cluster",
};
const PAGES = {users: "users", groups: "groups", backends: "backends", listeners: "listeners", admins: "admins"};
const ACTIONS = {added: {text: "Added", look: "good", sign: "plus"}, changed: {text: "Changed", look: "warn", sign: "pencil"}, removed: {text: "Removed", look: "bad", sign: "minus"}};
const LONG = 400;

/** An object as people call it, such as "User alice". */
export function objectText(section, name) {
  if (section === "settings") return "Settings";
  return `${NOUNS[section] ?? displayed(section)}${name ? ` ${displayed(name)}` : ""}`;
}

/** As `objectText`, of a name such as `users/alice`. */
export function namedText(path) {
  const [section, ...rest] = path.split("/");
  return objectText(section, rest.join("/"));
}

/**
 * @param {{differences: {action: string, section: string, name: string, keys: object[]}[], total?: number}} difference as
 *   `GET /api/v1/diff` answers
 * @param {{same?: string}} options `same` is what is said where nothing differs
 * @returns {HTMLElement}
 */
export function showDifference({differences, total = differences.length}, {same = "Nothing differs."} = {}) {
  if (!differences.length) return make("p", {className: "differenceSame", textContent: same});
  const place = make("div", {className: "differences"});
  for (const one of differences) place.append(makeObject(one));
  if (total > differences.length) place.append(make("p", {className: "note", textContent: `${countText(total - differences.length, "more object differs", "more objects differ")}.`}));
  return place;
}

function makeObject({action, section, name, keys}) {
  const {text, look, sign} = ACTIONS[action] ?? ACTIONS.changed;
  const badge = make("span", {className: `badge ${look}`}, icon(sign, "small"), text);
  const title = make("bdi", {textContent: objectText(section, name)});
  const page = action === "removed" ? null : section === "settings" ? "/settings" : PAGES[section] && `/${PAGES[section]}/${encodeURIComponent(name)}`;
  const head = make("h3", {className: "differenceHead"}, badge, page ? make("a", {href: page}, title) : title);
  const part = make("section", {className: "difference"}, head);
  if (keys.length) part.append(make("dl", {className: "differenceKeys"}, ...keys.map(makeKey)));
  else if (action !== "removed") part.append(make("p", {className: "note", textContent: action === "added" ? "With what is usual." : "Something that is not shown."}));
  return part;
}

function makeKey(one) {
  const value = make("dd");
  if (one.hidden) value.append(make("span", {className: "faint", textContent: "changed; it is never shown"}));
  else if (isList(one.before) && isList(one.after)) value.append(...listParts(one.before, one.after));
  else {
    if ("before" in one) value.append(make("del", {}, make("span", {className: "hidden", textContent: "was: "}), shown(one.before)));
    if ("before" in one) value.append(make("span", {className: "differenceTo", "aria-hidden": "true", textContent: "→"}));
    if ("after" in one) value.append(make("ins", {}, make("span", {className: "hidden", textContent: "is: "}), shown(one.after)));
    else value.append(make("span", {className: "faint", textContent: "as usual"}));
  }
  return make("div", {className: "differenceKey"}, make("dt", {textContent: displayed(one.key)}), value);
}

const isList = (value) => Array.isArray(value);

/** Of two lists what went and what came; what stays is only counted. */
function listParts(before, after) {
  const texts = [before.map(canonical), after.map(canonical)];
  const gone = before.filter((_, index) => !texts[1].includes(texts[0][index]));
  const come = after.filter((_, index) => !texts[0].includes(texts[1][index]));
  const stay = after.length - come.length;
  const parts = [
    ...gone.map((one) => make("del", {}, make("span", {className: "hidden", textContent: "without: "}), shown(one))),
    ...come.map((one) => make("ins", {}, make("span", {className: "hidden", textContent: "with: "}), shown(one))),
  ];
  if (!parts.length) parts.push(make("span", {className: "faint", textContent: "in another order"}));
  else if (stay) parts.push(make("span", {className: "faint small", textContent: `${countText(stay, "entry stays", "entries stay")}`}));
  return parts;
}

const canonical = (value) => JSON.stringify(value, (_, one) => (one && typeof one === "object" && !isList(one) ? Object.fromEntries(Object.entries(one).sort()) : one));

/** A plain value for people: text as it is, a list by commas, an object as its keys and values. */
function shown(value) {
  const text = plainText(value);
  if (text.length <= LONG) return make("bdi", {textContent: text});
  const whole = make("details", {className: "differenceLong"}, make("summary", {}, make("bdi", {textContent: `${text.slice(0, 80)}…`})), make("bdi", {textContent: text}));
  return whole;
}

function plainText(value) {
  if (value === null) return "nothing";
  if (value === true) return "yes";
  if (value === false) return "no";
  if (value === "") return "empty";
  if (isList(value)) return value.length ? value.map(plainText).join(", ") : "none";
  if (typeof value === "object") return Object.entries(value).map(([key, one]) => `${displayed(key)}: ${plainText(one)}`).join(", ") || "none";
  return typeof value === "number" ? String(value) : displayed(value);
}
