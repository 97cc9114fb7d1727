// Two who change the same object at once: the second is told, sees what differs, and says what is to hold. Nothing is lost.

import {isConflict, write} from "./changes.js";
import {ask, displayed, make, sizeText} from "./dom.js";
import {labelOf, readForm, refill, savedForm} from "./form.js";

const HIDDEN = /^(password|passwordHash|key|secret)$/;
const LONG = 200;

/**
 * Saves what a form holds, on condition that nobody else has changed the object since it was read.
 *
 * @param {{method: string, url: string, json: object, describe: string, form: HTMLFormElement, given?: function(object): object}} change
 *   `given` makes of an object what the form was given of it
 * @param {{etag: string|null}} state what is known of the object, kept up to date
 * @returns {Promise<object|null>} the answer; null where it is not saved: the form holds what was chosen instead
 */
export async function saveObject({method, url, json, describe, form, given = (value) => value}, state) {
  let {etag} = state;
  for (;;) {
    try {
      const answer = await write(method, url, {json, etag: etag ?? undefined, describe});
      if (answer) state.etag = `"${answer.revision}"`;
      return answer;
    } catch (error) {
      if (!isConflict(error)) throw error;
      const theirs = error.problem.current;
      if (!theirs) throw new Error("Somebody removed this meanwhile. Copy what you need, and make it anew.");
      const {choice, value, etag: newer} = await conflict(readForm(form), savedForm(form), given(theirs), (key) => labelOf(form, key));
      if (choice === "overwrite") {
        etag = newer;
        continue;
      }
      if (choice) {
        refill(form, given(theirs), value);
        Object.assign(state, {etag: newer, value: theirs});
      }
      return null;
    }
  }
}

/**
 * Asks what is to hold of an object that was changed twice.
 *
 * @param {object} mine as it was to be saved
 * @param {object} base as it was when it was read
 * @param {object} theirs as it is now, with its `revision`
 * @param {function(string): string} labelOf what a key is called
 * @returns {Promise<{choice: ""|"merge"|"overwrite"|"discard", value: object, etag: string}>} `value` is what is to be
 *   edited on, or written
 */
export async function conflict(mine, base, theirs, labelOf = (key) => key) {
  const {value: merged, rows} = compare(base, mine, theirs);
  const told = make("p", {textContent: `You see what it was, what you made of it, and what it is since revision ${theirs.revision}. Nothing of yours is saved yet.`});
  const body = [told, table(rows, labelOf), hint(rows)];
  const buttons = [
    {text: "Discard mine", value: "discard", classes: "danger"},
    {text: "Overwrite theirs", value: "overwrite", classes: "danger"},
    {text: "Keep editing with both", value: "merge", classes: "primary"},
  ];
  const choice = await ask("Somebody else changed this meanwhile", body, buttons, {classes: "wide conflict"});
  return {choice, value: {merge: merged, overwrite: mine, discard: theirs}[choice], etag: `"${theirs.revision}"`};
}

function hint(rows) {
  const both = rows.some((row) => row.collides);
  const text = both ? "Where both of you changed the same, yours stays in the form for you to look at." : "You changed different things: both fit together.";
  return make("p", {className: "note", textContent: `${text} Nothing is saved until you save it.`});
}

// --- what differs

const isPlain = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** As text that is the same for equal values, whatever the order of their keys. */
const told = (value) => JSON.stringify(value ?? null, (_, part) => (isPlain(part) ? Object.fromEntries(Object.entries(part).sort()) : part));

/** The value with what either of both changed, mine where both did, and a row for whatever somebody changed. */
export function compare(base, mine, theirs) {
  const rows = [];
  return {value: merge(base, mine, theirs, "", rows), rows};
}

function merge(base, mine, theirs, path, rows) {
  if (isPlain(mine) && isPlain(theirs)) {
    const merged = {};
    for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
      if (!path && key === "revision") continue;
      const value = merge(base?.[key], mine[key], theirs[key], path ? `${path}.${key}` : key, rows);
      if (value !== undefined) merged[key] = value;
    }
    return merged;
  }
  const isMine = told(mine) !== told(base);
  const isTheirs = told(theirs) !== told(base);
  const isSame = told(mine) === told(theirs);
  if (isMine || isTheirs) rows.push({key: path, was: base, mine, theirs, isMine, isTheirs, collides: isMine && isTheirs && !isSame});
  return isMine ? mine : theirs;
}

// --- the table

function table(rows, labelOf) {
  const head = make("tr", {}, ...["What", "It was", "Yours", "Theirs"].map((text) => make("th", {scope: "col", textContent: text})));
  const shown = rows.map((row) => {
    const label = make("th", {scope: "row"}, make("bdi", {textContent: labelOf(row.key)}), row.collides ? make("span", {className: "badge warn", textContent: "both changed it"}) : null);
    const cells = [cell("It was", row, row.was, false), cell("Yours", row, row.mine, row.isMine), cell("Theirs", row, row.theirs, row.isTheirs)];
    return make("tr", {className: row.collides ? "collides" : ""}, label, ...cells);
  });
  return make("div", {className: "conflictPlace", tabIndex: 0, role: "region", "aria-label": "What differs"}, make("table", {className: "conflictTable"}, make("thead", {}, head), make("tbody", {}, ...shown)));
}

function cell(label, {key}, value, isChanged) {
  const made = make("td", {"data-label": label, className: isChanged ? "changed" : ""});
  const isHidden = HIDDEN.test(key.split(".").at(-1));
  const isSize = /bytes/i.test(key) && typeof value === "number";
  const text = isHidden ? (value === undefined ? "not shown" : "another one") : isSize ? sizeText(value) : plainText(value);
  made.append(make("bdi", {textContent: text.length > LONG ? `${text.slice(0, LONG)}…` : text}));
  return made;
}

function plainText(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(plainText).join(", ") || "–";
  if (isPlain(value)) return Object.entries(value).map(([key, part]) => `${displayed(key)} ${plainText(part)}`).join(" · ") || "–";
  return displayed(String(value));
}
