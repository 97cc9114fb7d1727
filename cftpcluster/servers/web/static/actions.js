// What is done with entries of a folder. Each tells its failures itself, and whether anything has changed.

import {call, sentence} from "./api.js";
import {Decisions, exists, freeBeside} from "./conflicts.js";
import {ask, askText, countText, make, tell} from "./dom.js";
import {inFolder, lastOf, parentOf, targetOf} from "./names.js";
import {pickFolder} from "./picker.js";

const MOST_NAMED = 8;
const LONGEST_URL = 12000;

const named = (rows) => (rows.length === 1 ? `“${rows[0].dataset.name}”` : countText(rows.length, "entry", "entries"));

/** What is wrong with a name, in advance. */
function fault(name) {
  if (!name.trim()) return "Give it a name.";
  if (name.includes("/")) return "A name cannot hold a slash.";
  if (name === "." || name === "..") return "This name has a meaning of its own.";
  return "";
}

async function attempt(work) {
  try {
    await work();
    return "";
  } catch (error) {
    return sentence(error.message);
  }
}

/** The URL of the folder that was made, or null. */
export async function newFolder(folder) {
  const check = (name) => fault(name) || attempt(() => call("POST", `${inFolder(folder, name)}?op=mkdir`, {done: [409]}));
  const name = await askText("New folder", "Name", "", "Create", check);
  return name === null ? null : inFolder(folder, name);
}

export async function rename(row) {
  const {name, url} = row.dataset;
  const check = (text) =>
    fault(text) || (text === name ? "" : attempt(() => call("POST", `${url}?op=move`, {json: targetOf(inFolder(parentOf(url), text)), done: [404]})));
  const given = await askText("Rename", "New name", name, "Rename", check);
  return given !== null && given !== name ? inFolder(parentOf(url), given) : null;
}

export async function remove(rows) {
  const names = rows.slice(0, MOST_NAMED).map((row) => make("li", {}, make("bdi", {textContent: row.dataset.name})));
  if (rows.length > MOST_NAMED) names.push(make("li", {className: "faint", textContent: `and ${(rows.length - MOST_NAMED).toLocaleString()} more`}));
  const folders = rows.filter((row) => row.dataset.kind === "folder").length;
  const warning = folders ? `${countText(folders, "folder is", "folders are")} deleted with everything inside. This cannot be undone.` : "This cannot be undone.";
  const body = [make("ul", {className: "names", tabIndex: 0, "aria-label": "Entries to delete"}, ...names), make("p", {textContent: warning})];
  const yes = rows.length === 1 ? "Delete" : `Delete ${rows.length.toLocaleString()} entries`;
  const title = rows.length === 1 ? "Delete this entry?" : `Delete ${countText(rows.length, "entry", "entries")}?`;
  if (!(await ask(title, body, [{text: "Cancel", value: ""}, {text: yes, value: "yes", classes: "primary danger"}]))) return false;
  return each(rows, "deleted", (row) => call("DELETE", `${row.dataset.url}?recursive=true`, {done: [404]}));
}

/** @param {"move"|"copy"} verb */
export async function relocate(rows, verb) {
  const start = parentOf(rows[0].dataset.url);
  const yes = verb === "move" ? "Move here" : "Copy here";
  const without = rows.filter((row) => row.dataset.kind === "folder").map((row) => row.dataset.url);
  const folder = await pickFolder(`${verb === "move" ? "Move" : "Copy"} ${named(rows)}`, start, yes, without);
  if (folder === null) return false;
  if (verb === "move" && folder === start) {
    tell("It is in this folder already.");
    return false;
  }
  const decisions = new Decisions();
  const done = verb === "move" ? "moved" : "copied";
  return each(rows, done, async (row, isLast) => {
    const url = row.dataset.url;
    let target = folder + lastOf(url);
    let overwrite = false;
    if (await exists(target)) {
      const answer = target === url ? "both" : await decisions.decide(target, isLast);
      if (answer === "skip") return false;
      if (answer === "both") target = await freeBeside(target);
      overwrite = answer === "replace";
    }
    await call("POST", `${url}?op=${verb}`, {json: {...targetOf(target), overwrite}, done: verb === "move" ? [404] : [409]});
    return true;
  });
}

/** One after the other, and what came of it; true where anything was done. */
async function each(rows, done, work) {
  let count = 0;
  const failures = [];
  for (const [index, row] of rows.entries()) {
    try {
      if ((await work(row, index === rows.length - 1)) !== false) count += 1;
    } catch (error) {
      failures.push(`${row.dataset.name}: ${sentence(error.message)}`);
    }
  }
  for (const failure of failures.slice(0, 3)) tell(failure, {failed: true});
  if (failures.length > 3) tell(`${failures.length - 3} more failed.`, {failed: true});
  if (count) tell(`${countText(count, "entry", "entries")} ${done}.`);
  return count > 0;
}

export function download(rows) {
  const [first] = rows;
  if (rows.length === 1 && first.dataset.kind !== "folder") {
    save(first.dataset.url);
    return;
  }
  if (rows.length === 1) {
    save(`${first.dataset.url}/?op=zip`);
    return;
  }
  const query = rows.map((row) => `&name=${lastOf(row.dataset.url)}`).join("");
  if (query.length > LONGEST_URL) tell("These are too many to name: select fewer, or download the whole folder.", {failed: true});
  else save(`${parentOf(first.dataset.url)}?op=zip${query}`);
}

export function save(url) {
  const link = make("a", {href: url, download: ""});
  document.body.append(link);
  link.click();
  link.remove();
}
