// Groups: the list, and the form of one.

import {authenticationField, changeField, mountsField, networkFields} from "./accessfields.js";
import {send} from "./api.js";
import {attempt} from "./attempt.js";
import {write} from "./changes.js";
import {ask, button, countText, displayed, element, icon, make} from "./dom.js";
import {makeForm} from "./form.js";
import {asked, load, namedObject, saveObject, showLoadFailure, showPart} from "./objectpage.js";
import {makeTable} from "./table.js";

const URL = "/api/v1/groups";
const BACK = {href: "/groups", text: "Groups"};
const CANCEL = {text: "Cancel", value: ""};

const mayAct = document.body.dataset.role !== "auditor";
const urlOf = (name) => `${URL}/${encodeURIComponent(name)}`;
const pageOf = (name) => `/groups/${encodeURIComponent(name)}`;
const usersOf = (name) => `/users?group=${encodeURIComponent(name)}`;

function showList() {
  const add = () => make("a", {className: "button primary", href: "/groups?new"}, icon("plus"), "Add a group");
  const table = makeTable({
    url: URL,
    columns: [
      {key: "name", label: "Name", show: (one) => make("bdi", {textContent: displayed(one.name)})},
      {key: "mounts", label: "Folders", show: (one) => one.mounts.map((mount) => displayed(mount.path)).join(", ")},
      {key: "allow", label: "From", show: (one) => (one.allow.length ? countText(one.allow.length, "network", "networks") : "Anywhere")},
      {key: "users", label: "Users", show: (one) => make("a", {href: usersOf(one.name), textContent: "Show them", "aria-label": `Users of ${displayed(one.name)}`})},
    ],
    search: "Name",
    noun: ["group", "groups"],
    row: (one) => ({href: pageOf(one.name), label: displayed(one.name)}),
    empty: {text: "There are no groups yet. A group gives several users the same folders.", action: mayAct ? add() : null},
    ...(mayAct ? {actions: (one) => [{text: "Its users", picture: "users", href: usersOf(one.name)}, {text: "Remove…", picture: "trash-2", classes: "danger", run: async () => (await askRemove(one.name)) && table.refresh()}]} : {}),
  });
  if (mayAct) element("actions").append(add());
  element("content").append(table);
}

async function askRemove(name) {
  const body = [make("p", {textContent: `Its users do not see its folders any more. The files stay where they are.`})];
  const chosen = await ask(`Remove ${displayed(name)}?`, body, [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}]);
  return Boolean(chosen && (await attempt(() => write("DELETE", urlOf(name), {describe: `${displayed(name)} removed`}))));
}

async function fieldsFor(isNew) {
  const {items} = await (await send("GET", "/api/v1/backends?limit=1000")).json();
  const folders = [mountsField(items.map((one) => one.name), "What its users see of the storage. A user's own folder at the same path comes before.")];
  if (isNew) folders.unshift({key: "name", label: "Name", kind: "text", required: true, maxLength: 64, help: "Letters, digits and . _ @ - . It stays so."});
  return [
    {kind: "section", label: isNew ? "Group" : "Folders", fields: folders},
    {kind: "section", label: "From where its users may log in", fields: networkFields},
    {kind: "section", label: "Log-in in steps", fields: [authenticationField("It holds for users who have none of their own. Empty: any one of them."), changeField("Besides what each user may.")]},
  ];
}

function makeActions({name}) {
  const remove = button("trash-2", {text: "Remove…", classes: "danger"});
  remove.addEventListener("click", async () => {
    if (await askRemove(name)) location.assign("/groups");
  });
  return [remove, make("a", {className: "button", href: usersOf(name)}, icon("users"), "Its users")];
}

async function showForm(value, etag, isNew) {
  const state = {etag};
  const form = makeForm(await fieldsFor(isNew), value, {
    isNew,
    readOnly: !mayAct,
    submitText: isNew ? "Add" : "Save",
    actions: isNew || !mayAct ? [] : makeActions(value),
    async onSubmit(json, form) {
      const answer = await saveObject({method: isNew ? "POST" : "PATCH", url: isNew ? URL : urlOf(value.name), json, describe: `${displayed(json.name)} saved`, form}, state);
      if (answer && isNew) {
        history.replaceState(null, "", pageOf(json.name));
        await showOne(json.name);
      }
      return Boolean(answer);
    },
  });
  showPart(isNew ? "New group" : value.name, BACK, form);
}

async function showOne(name) {
  try {
    const {value, etag} = await load(urlOf(name));
    await showForm(value, etag, false);
  } catch (error) {
    showLoadFailure(error, BACK);
  }
}

if (asked("new") !== null && mayAct) showForm({mounts: []}, null, true).catch((error) => showLoadFailure(error, BACK));
else if (namedObject()) showOne(namedObject());
else showList();
