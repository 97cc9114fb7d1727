// Users: the list, which searches and pages on the server, and the form of one.

import {authenticationField, changeField, mountsField, networkFields} from "./accessfields.js";
import {send} from "./api.js";
import {attempt} from "./attempt.js";
import {write} from "./changes.js";
import {ask, button, countText, displayed, element, icon, make, sizeText} from "./dom.js";
import {askEndAll} from "./ending.js";
import {makeForm} from "./form.js";
import {asked, facts, load, namedObject, saveObject, showLoadFailure, showPart} from "./objectpage.js";
import {makeTable} from "./table.js";

const URL = "/api/v1/users";
const BACK = {href: "/users", text: "Users"};
const CANCEL = {text: "Cancel", value: ""};
const PROTOCOLS = [
  {value: "sftp", text: "SFTP and SCP"},
  {value: "ftp", text: "FTP and FTPS"},
  {value: "https", text: "HTTPS"},
];
const NEW = {enabled: true, protocols: PROTOCOLS.map((one) => one.value), mounts: [], quota: {bytes: 0, files: 0}, limits: {sessions: 0, downloadBytesPerSecond: 0, uploadBytesPerSecond: 0}};

const mayAct = document.body.dataset.role !== "auditor";
const urlOf = (name) => `${URL}/${encodeURIComponent(name)}`;
const pageOf = (name) => `/users/${encodeURIComponent(name)}`;

async function names(what, query = "") {
  return (await (await send("GET", `/api/v1/${what}?limit=1000${query}`)).json()).items.map((one) => one.name);
}

// --- the list

const someText = (texts) => (texts.length > 3 ? `${texts.slice(0, 3).map(displayed).join(", ")} and ${texts.length - 3} more` : texts.map(displayed).join(", "));
const isOver = (one) => Boolean(one.expires) && Date.parse(one.expires) <= Date.now();

function stateCell(one) {
  if (!one.enabled) return make("span", {className: "badge quiet", textContent: "Disabled"});
  if (isOver(one)) return make("span", {className: "badge warn", textContent: "Expired"});
  return make("span", {className: "badge good", textContent: "Enabled"});
}

async function setEnabled(one, enabled) {
  return attempt(() => write("PATCH", urlOf(one.name), {json: {enabled}, describe: `${displayed(one.name)} ${enabled ? "enabled" : "disabled"}`}));
}

function actionsOf(one, table) {
  const again = async (work) => (await work) && table.refresh();
  return [
    {text: one.enabled ? "Disable" : "Enable", picture: one.enabled ? "ban" : "circle-check", run: () => again(setEnabled(one, !one.enabled))},
    {text: "Its sessions", picture: "monitor-smartphone", href: `/sessions?search=${encodeURIComponent(one.name)}`},
    {text: "End all sessions…", picture: "log-out", run: () => again(askEndAll(one.name))},
    {text: "What it did", picture: "scroll-text", href: `/events?user=${encodeURIComponent(one.name)}`},
    {text: "Remove…", picture: "trash-2", classes: "danger", run: () => again(askRemove(one.name))},
  ];
}

async function showList() {
  const add = () => make("a", {className: "button primary", href: "/users?new"}, icon("plus"), "Add a user");
  const groups = (await attempt(() => names("groups"))) ?? [];
  const filters = [{key: "enabled", label: "Log-in", choices: [{value: "", text: "All users"}, {value: "true", text: "Enabled"}, {value: "false", text: "Disabled"}]}];
  if (groups.length) filters.push({key: "group", label: "Group", choices: [{value: "", text: "Any group"}, ...groups.map((name) => ({value: name, text: displayed(name)}))]});
  const table = makeTable({
    url: URL,
    columns: [
      {key: "name", label: "Name", show: (one) => make("bdi", {textContent: displayed(one.name)})},
      {key: "groups", label: "Groups", show: (one) => someText(one.groups)},
      {key: "mounts", label: "Folders of its own", show: (one) => someText(one.mounts.map((mount) => mount.path))},
      {key: "protocols", label: "Over", show: (one) => PROTOCOLS.filter(({value}) => one.protocols.includes(value)).map(({value}) => value.toUpperCase()).join(", ") || "nothing"},
      {key: "enabled", label: "Log-in", show: stateCell, classes: "tight"},
    ],
    search: "Name",
    filters,
    noun: ["user", "users"],
    row: (one) => ({href: pageOf(one.name), label: displayed(one.name), classes: one.enabled ? "" : "off"}),
    empty: {text: "There are no users yet. A user needs a name, a password or an SSH key, and a folder.", action: mayAct ? add() : null},
    ...(mayAct ? {actions: (one) => actionsOf(one, table)} : {}),
  });
  if (mayAct) element("actions").append(add());
  element("content").append(table);
}

async function askRemove(name) {
  const body = [make("p", {textContent: `${displayed(name)} can log in no more, and its sessions end at once, on all nodes.`}), make("p", {className: "note", textContent: "Its files stay where they are."})];
  const chosen = await ask(`Remove ${displayed(name)}?`, body, [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}]);
  return Boolean(chosen && (await attempt(() => write("DELETE", urlOf(name), {describe: `${displayed(name)} removed`}))));
}

// --- one

async function fieldsFor(isNew) {
  const [backends, groups] = await Promise.all([names("backends"), names("groups")]);
  const general = [
    {key: "enabled", label: "May log in", kind: "switch", help: "Who is disabled is logged out at once, on all nodes."},
    {key: "expires", label: "Until", kind: "time", clear: "For good", help: "No log-in from then on. Empty: for good."},
    {key: "protocols", label: "Over", kind: "checks", isShort: true, choices: PROTOCOLS},
  ];
  if (isNew) general.unshift({key: "name", label: "Name", kind: "text", required: true, maxLength: 64, help: "Letters, digits and . _ @ - . It stays so."});
  const password = isNew ? "Empty: it logs in with keys only." : "Empty: it stays as it is. With another one its sessions end.";
  const isPrivate = (text) => (text.includes("PRIVATE KEY") ? "This is a private key. It belongs to the user alone: ask for the line of the .pub file." : "");
  const zero = "no limit";
  return [
    {kind: "section", label: "User", fields: general},
    {
      kind: "section",
      label: "Password and keys",
      fields: [
        {key: "password", label: "Password", kind: "password", generate: true, help: password},
        {key: "publicKeys", label: "SSH keys", kind: "list", between: /\n+/, placeholder: "ssh-ed25519 AAAA…", check: isPrivate, none: "None", help: "Public keys, each a line as in authorized_keys; from and expiry-time hold."},
      ],
    },
    {
      kind: "section",
      label: "Groups and folders",
      fields: [
        {key: "groups", label: "Groups", kind: "list", ordered: true, suggestions: groups, none: "None", help: "It sees their folders too; where two have the same path, the first one's."},
        mountsField(backends, "What it sees of the storage. Of a folder of its own and one of a group at the same path, its own counts."),
      ],
    },
    {
      kind: "section",
      label: "Limits",
      fields: [
        {key: "quota.bytes", label: "Its own folders hold at most", kind: "bytes", zero},
        {key: "quota.files", label: "Files in them at most", kind: "number", least: 0, zero},
        {key: "limits.sessions", label: "Sessions at the same time", kind: "number", least: 0, zero, help: "On all nodes and over all protocols together."},
        {key: "limits.downloadBytesPerSecond", label: "Downloads", kind: "bytes", unit: "MB", perSecond: true, least: 1024, zero, help: "All its sessions on one node together."},
        {key: "limits.uploadBytesPerSecond", label: "Uploads", kind: "bytes", unit: "MB", perSecond: true, least: 1024, zero},
      ],
    },
    {kind: "section", label: "From where", fields: networkFields},
    {kind: "section", label: "Log-in in steps", fields: [authenticationField("Empty: what its groups say, else any one of them."), changeField("Besides what its groups let it change.")]},
  ];
}

function usagePart(name, {quota}) {
  const place = make("div", {className: "card formSection", hidden: true});
  const limit = (amount, show) => (amount ? ` of ${show(amount)}` : "");
  send("GET", `${urlOf(name)}/usage`).then(async (response) => {
    const {bytes, files, complete} = await response.json();
    const count = (amount) => countText(amount, "file", "files");
    place.append(facts([["Holds", `${sizeText(bytes)}${limit(quota.bytes, sizeText)}, ${count(files)}${limit(quota.files, (most) => most.toLocaleString())}${complete === false ? "; still counting" : ""}`]]));
    place.hidden = false;
  }, () => {});
  return place;
}

function makeActions({name}) {
  const remove = button("trash-2", {text: "Remove…", classes: "danger"});
  remove.addEventListener("click", async () => {
    if (await askRemove(name)) location.assign("/users");
  });
  const end = button("log-out", {text: "End all sessions…", classes: ""});
  end.addEventListener("click", () => askEndAll(name));
  return [end, remove];
}

async function showForm(value, etag, isNew) {
  const state = {etag};
  const form = makeForm(await fieldsFor(isNew), value, {
    isNew,
    readOnly: !mayAct,
    submitText: isNew ? "Add" : "Save",
    async onSubmit(json, form) {
      const answer = await saveObject({method: isNew ? "POST" : "PATCH", url: isNew ? URL : urlOf(value.name), json, describe: `${displayed(json.name)} saved`, form}, state);
      if (answer && isNew) {
        history.replaceState(null, "", pageOf(json.name));
        await showOne(json.name);
      }
      return Boolean(answer);
    },
  });
  if (!isNew && mayAct) element("actions").replaceChildren(...makeActions(value));
  showPart(isNew ? "New user" : value.name, BACK, isNew ? null : usagePart(value.name, value), form);
}

async function showOne(name) {
  try {
    const {value, etag} = await load(urlOf(name));
    await showForm(value, etag, false);
  } catch (error) {
    showLoadFailure(error, BACK);
  }
}

if (asked("new") !== null && mayAct) showForm(NEW, null, true).catch((error) => showLoadFailure(error, BACK));
else if (namedObject()) showOne(namedObject());
else showList();
