// Administrators, and the API tokens that they made.

import {write} from "./changes.js";
import {ask, button, displayed, durationText, element, icon, make} from "./dom.js";
import {attempt} from "./attempt.js";
import {makeForm} from "./form.js";
import {momentCell} from "./livetable.js";
import {asked, load, namedObject, saveObject, showLoadFailure, showPart} from "./objectpage.js";
import {makeTable} from "./table.js";

const BACK = {href: "/admins", text: "Administrators"};
const CANCEL = {text: "Cancel", value: ""};
const ROLES = [
  {value: "auditor", text: "Auditor", help: "Sees everything but secrets, and changes nothing."},
  {value: "users", text: "Users", help: "Sees everything, changes users and groups, ends sessions and bans addresses."},
  {value: "full", text: "Full", help: "May do everything: nodes, storage, keys and administrators too."},
];
const SCOPES = {read: "look", users: "change users", full: "everything"};

const mayAct = document.body.dataset.role === "full";
const me = document.body.dataset.user;
const urlOf = (name) => `/api/v1/admins/${encodeURIComponent(name)}`;
const roleText = (role) => ROLES.find((one) => one.value === role)?.text ?? role;

// --- lists

function nameCell({name}) {
  const shown = make("bdi", {textContent: displayed(name)});
  return name === me ? make("span", {}, shown, " ", make("span", {className: "badge quiet", textContent: "You"})) : shown;
}

function showLists() {
  const table = makeTable({
    url: "/api/v1/admins",
    columns: [
      {key: "name", label: "Name", show: nameCell},
      {key: "role", label: "Role", show: (one) => roleText(one.role)},
      {key: "enabled", label: "Log-in", show: (one) => make("span", {className: `badge ${one.enabled ? "good" : "quiet"}`, textContent: one.enabled ? "Enabled" : "Disabled"})},
    ],
    search: "Name",
    noun: ["administrator", "administrators"],
    row: (one) => ({href: `/admins/${encodeURIComponent(one.name)}`, label: displayed(one.name), classes: one.enabled ? "" : "off"}),
    ...(mayAct ? {actions: (one) => [{text: "Remove…", picture: "trash-2", classes: "danger", run: async () => (await askRemove(one.name)) && table.refresh()}]} : {}),
  });
  if (mayAct) element("actions").append(make("a", {className: "button primary", href: "/admins?new"}, icon("plus"), "Add an administrator"));
  element("content").append(table, rolesPart(), tokensPart());
}

function rolesPart() {
  const rows = ROLES.flatMap(({text, help}) => [make("dt", {textContent: text}), make("dd", {textContent: help})]);
  return make("section", {className: "card formCard"}, make("h2", {textContent: "What the roles may do"}), make("dl", {className: "facts"}, ...rows));
}

const agoText = (seconds) => `${durationText(Math.max(0, Date.now() / 1000 - seconds))} ago`;

function tokensPart() {
  const table = makeTable({
    url: "/api/v1/tokens",
    columns: [
      {key: "name", label: "Token", show: (one) => make("bdi", {textContent: displayed(one.label)})},
      {key: "admin", label: "Of", show: (one) => make("a", {href: `/admins/${encodeURIComponent(one.admin)}`, textContent: displayed(one.admin)})},
      {key: "scopes", label: "May", show: (one) => one.scopes.map((each) => SCOPES[each] ?? each).join(", ")},
      {key: "lastUsed", label: "Last used", show: (one) => (one.lastUsed === null ? "never" : momentCell(one.lastUsed, agoText(one.lastUsed)))},
      {key: "expires", label: "State", show: stateCell, classes: "tight"},
    ],
    noun: ["token", "tokens"],
    label: "API tokens",
    items: ({items}) => items.map((one) => ({...one, label: one.name, name: one.id})),
    row: (one) => ({label: displayed(one.label)}),
    empty: {text: "There are no API tokens. Each administrator makes their own, under “Your account”."},
    actions: (one) => (mayAct || one.admin === me ? [{text: "Revoke…", picture: "trash-2", classes: "danger", run: async () => (await askRevoke(one)) && table.refresh()}] : []),
  });
  return make("section", {}, make("div", {className: "partHead"}, make("h2", {textContent: "API tokens"})), make("p", {className: "note partNote", textContent: "Scripts log in with them, in place of the administrator who made them, and never may more than that one. They end with that one’s password. Use is told to the hour."}), table);
}

function stateCell(one) {
  const left = one.expires - Date.now() / 1000;
  if (!one.good) return make("span", {className: "badge quiet", textContent: left <= 0 ? "Expired" : "Not good any more"});
  return momentCell(one.expires, `good for ${durationText(left)}`);
}

// --- what takes a moment's thought

async function askRevoke({id, label, admin}) {
  const body = [make("p", {textContent: `Scripts that use the token ${displayed(label)} of ${displayed(admin)} are refused at once, on all nodes.`})];
  const chosen = await ask(`Revoke ${displayed(label)}?`, body, [CANCEL, {text: "Revoke", value: "yes", classes: "primary danger"}]);
  return Boolean(chosen && (await attempt(() => write("DELETE", `/api/v1/tokens/${encodeURIComponent(id)}`, {describe: `Token ${displayed(label)} revoked`}))));
}

async function askRemove(name) {
  const own = name === me ? " This is you: you are logged out." : "";
  const body = [make("p", {textContent: `${displayed(name)} is logged out everywhere, and its API tokens are good no more.${own}`})];
  const chosen = await ask(`Remove ${displayed(name)}?`, body, [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}]);
  return Boolean(chosen && (await attempt(() => write("DELETE", urlOf(name), {describe: `${displayed(name)} removed`}))));
}

// --- one

function fieldsFor(isNew) {
  const general = [
    {key: "role", label: "Role", kind: "choice", choices: ROLES, help: "What it may do."},
    {key: "enabled", label: "May log in", kind: "switch", help: "Who is disabled is logged out at once, and its tokens rest."},
  ];
  if (isNew) general.unshift({key: "name", label: "Name", kind: "text", required: true, maxLength: 64, help: "Letters, digits and . _ @ - . It stays so."});
  const help = isNew ? "Hand it over by a way that nobody else reads, and have it changed." : "Empty: it stays as it is. With another one all its sessions and API tokens end.";
  return [
    {kind: "section", label: "Administrator", fields: general},
    {kind: "section", label: "Password", fields: [{key: "password", label: "Password", kind: "password", generate: true, required: isNew, help}]},
  ];
}

function removeButton(name) {
  const remove = button("trash-2", {text: "Remove…", classes: "danger"});
  remove.addEventListener("click", async () => {
    if (await askRemove(name)) location.assign("/admins");
  });
  return remove;
}

function showForm(value, etag, isNew) {
  const state = {etag};
  const form = makeForm(fieldsFor(isNew), value, {
    isNew,
    readOnly: !mayAct,
    submitText: isNew ? "Add the administrator" : "Save",
    actions: isNew || !mayAct ? [] : [removeButton(value.name)],
    onSubmit: async (json, form) => {
      const change = {method: isNew ? "POST" : "PATCH", url: isNew ? "/api/v1/admins" : urlOf(value.name), json, describe: `${displayed(json.name)} saved`, form};
      const answer = await saveObject(change, state);
      if (answer && isNew) {
        history.replaceState(null, "", `/admins/${encodeURIComponent(json.name)}`);
        await showOne(json.name);
      }
      return Boolean(answer);
    },
  });
  showPart(isNew ? "New administrator" : value.name, BACK, form);
}

async function showOne(name) {
  try {
    const {value, etag} = await load(urlOf(name));
    showForm(value, etag, false);
  } catch (error) {
    showLoadFailure(error, BACK);
  }
}

if (asked("new") !== null && mayAct) showForm({role: "auditor", enabled: true}, null, true);
else if (namedObject()) showOne(namedObject());
else showLists();
