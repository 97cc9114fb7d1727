// Backends: the storage of users' files, with what nodes say of it.

import {attempt} from "./attempt.js";
import {write} from "./changes.js";
import {ask, button, displayed, element, icon, make} from "./dom.js";
import {makeForm} from "./form.js";
import {watchStatus} from "./live.js";
import {asked, load, namedObject, saveObject, showLoadFailure, showPart} from "./objectpage.js";
import {fieldFor, schemas, withDefaults, withoutDefaults} from "./schemafields.js";
import {makeTable} from "./table.js";

const URL = "/api/v1/backends";
const BACK = {href: "/backends", text: "Backends"};
const CANCEL = {text: "Cancel", value: ""};
const COMMON = ["name", "kind", "shared", "revision"];
const KINDS = {local: "Folder of the node's file system", memory: "Memory, for trials"};
const MORE = {
  root: {label: "Folder", required: true, placeholder: "/srv/files"},
  requireMarker: {label: "Only where the storage is mounted", help: "It is used only while the file .cftpcluster-storage lies in the folder, which tells a mounted storage from its empty mount point."},
  fsync: {label: "On the disk before it is confirmed", help: "Without it uploads are faster, and a node that loses power may lose the last ones."},
  fileMode: {label: "Mode of new files", monospace: true},
  directoryMode: {label: "Mode of new folders", monospace: true},
};

const mayAct = document.body.dataset.role === "full";
const urlOf = (name) => `${URL}/${encodeURIComponent(name)}`;
const pageOf = (name) => `/backends/${encodeURIComponent(name)}`;
let status = null;

/** What nodes say is wrong with a backend. */
function problemsOf(name) {
  const mark = `backends/${name}: `;
  return (status?.nodes ?? []).flatMap((row) => row.problems.filter((text) => text.startsWith(mark)).map((text) => `${displayed(row.name)}: ${displayed(text.slice(mark.length))}`));
}

// --- the list

function stateCell(one) {
  const found = problemsOf(one.name);
  if (!status) return "";
  if (!found.length) return make("span", {className: "badge good", textContent: "Available"});
  return make("div", {className: "stacked"}, make("span", {className: "badge bad", textContent: "Missing"}), ...found.map((text) => make("span", {className: "note", textContent: text})));
}

function showList() {
  const add = () => make("a", {className: "button primary", href: "/backends?new"}, icon("plus"), "Add a backend");
  const table = makeTable({
    url: URL,
    columns: [
      {key: "name", label: "Name", show: (one) => make("bdi", {textContent: displayed(one.name)})},
      {key: "kind", label: "Kind", show: (one) => displayed(one.kind)},
      {key: "root", label: "Folder", show: (one) => make("bdi", {textContent: displayed(one.root ?? "")})},
      {key: "shared", label: "Files", show: (one) => (one.shared ? "The same on all nodes" : "Each node's own")},
      {key: "state", label: "State", show: stateCell, classes: "tight"},
    ],
    search: "Name",
    noun: ["backend", "backends"],
    row: (one) => ({href: pageOf(one.name), label: displayed(one.name)}),
    empty: {text: "There is no storage yet, so users see nothing.", action: mayAct ? add() : null},
    ...(mayAct ? {actions: (one) => [{text: "Remove…", picture: "trash-2", classes: "danger", run: async () => (await askRemove(one.name)) && table.refresh()}]} : {}),
  });
  if (mayAct) element("actions").append(add());
  element("content").append(table);
  let shown = "";
  watchStatus((now) => {
    status = now;
    const state = JSON.stringify([now.revision, now.nodes.map((row) => row.problems)]);
    if (state === shown) return;
    shown = state;
    table.refresh();
  });
}

async function askRemove(name) {
  const body = [make("p", {textContent: "The files stay where they are; nobody reaches them by this backend any more. It can be removed when no user and no group has a folder on it."})];
  const chosen = await ask(`Remove ${displayed(name)}?`, body, [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}]);
  return Boolean(chosen && (await attempt(() => write("DELETE", urlOf(name), {describe: `${displayed(name)} removed`}))));
}

// --- one

/** The schemas of options, by kind and key. */
async function kindsOf() {
  const {BackendWritten} = await schemas();
  const kinds = (BackendWritten.anyOf ?? [BackendWritten]).map(({properties}) => [properties.kind.const, Object.fromEntries(Object.entries(properties).filter(([key]) => !COMMON.includes(key)))]);
  return Object.fromEntries(kinds);
}

function fieldsFor(kinds, value, isNew) {
  const general = [{key: "shared", label: "Every node sees the same files there", kind: "switch", help: "Such as a network file system that is mounted at the same place on all nodes. Else each node has its own files, and users find what they uploaded only on that node."}];
  const known = Object.keys(kinds).map((kind) => ({value: kind, text: KINDS[kind] ?? kind}));
  if (isNew) {
    general.unshift(
      {key: "name", label: "Name", kind: "text", required: true, maxLength: 64, help: "Letters, digits and . _ @ - . It stays so."},
      {key: "kind", label: "Kind", kind: "choice", choices: known},
    );
  }
  const options = Object.entries(kinds).filter(([kind]) => isNew || kind === value.kind);
  const sections = options.map(([kind, properties]) => ({
    kind: "section",
    label: "Storage",
    fields: Object.entries(properties).map(([key, schema]) => fieldFor(key, schema, MORE[key])).filter(Boolean),
    ...(isNew ? {when: (now) => now.kind === kind} : {}),
  }));
  return [{kind: "section", label: "Backend", fields: general}, ...sections];
}

function removeButton({name}) {
  const remove = button("trash-2", {text: "Remove…", classes: "danger"});
  remove.addEventListener("click", async () => {
    if (await askRemove(name)) location.assign("/backends");
  });
  return remove;
}

async function showForm(value, etag, isNew) {
  const kinds = await kindsOf();
  const state = {etag};
  const given = (one) => withDefaults(one, isNew ? Object.assign({}, ...Object.values(kinds), kinds[one.kind]) : (kinds[one.kind] ?? {}));
  const form = makeForm(fieldsFor(kinds, value, isNew), given(value), {
    isNew,
    readOnly: !mayAct,
    submitText: isNew ? "Add" : "Save",
    actions: isNew || !mayAct ? [] : [removeButton(value)],
    onSubmit: (now, form) => save({now, value, kinds, isNew, form, given}, state),
  });
  showPart(isNew ? "New backend" : value.name, BACK, isNew ? null : problemPart(value.name), form);
}

async function save({now, value, kinds, isNew, form, given}, state) {
  const own = kinds[now.kind] ?? {};
  const others = new Set(Object.values(kinds).flatMap(Object.keys).filter((key) => !(key in own)));
  const json = withoutDefaults(Object.fromEntries(Object.entries(now).filter(([key]) => !others.has(key))), value, own);
  const answer = await saveObject({method: isNew ? "POST" : "PUT", url: isNew ? URL : urlOf(value.name), json, describe: `${displayed(json.name)} saved`, form, given}, state);
  if (answer && isNew) {
    history.replaceState(null, "", pageOf(json.name));
    await showOne(json.name);
  }
  return Boolean(answer);
}

function problemPart(name) {
  const place = make("div", {role: "status"});
  watchStatus((now) => {
    status = now;
    const found = problemsOf(name);
    if (place.dataset.shown === JSON.stringify(found)) return;
    place.dataset.shown = JSON.stringify(found);
    place.replaceChildren(...found.map((text) => make("p", {className: "alert", textContent: text})));
  });
  return place;
}

async function showOne(name) {
  try {
    const {value, etag} = await load(urlOf(name));
    await showForm(value, etag, false);
  } catch (error) {
    showLoadFailure(error, BACK);
  }
}

if (asked("new") !== null && mayAct) showForm({kind: "local"}, null, true).catch((error) => showLoadFailure(error, BACK));
else if (namedObject()) showOne(namedObject());
else showList();
