// Listeners: the list with what is wrong on which node, and the form of one.

import {send} from "./api.js";
import {write} from "./changes.js";
import {ask, button, displayed, element, icon, make} from "./dom.js";
import {attempt} from "./attempt.js";
import {makeForm} from "./form.js";
import {fieldsFor, kindsOf, KINDS} from "./listenerfields.js";
import {watchStatus} from "./live.js";
import {asked, load, namedObject, saveObject, showLoadFailure, showPart} from "./objectpage.js";
import {withDefaults, withoutDefaults} from "./schemafields.js";
import {makeTable} from "./table.js";

const BACK = {href: "/listeners", text: "Listeners"};
const CANCEL = {text: "Cancel", value: ""};
const urlOf = (name) => `/api/v1/listeners/${encodeURIComponent(name)}`;

const mayAct = document.body.dataset.role === "full";
const nodes = new Map();
let status = null;

// --- what nodes say of a listener

/** Problems of a listener, by node. */
function problemsOf(name) {
  const mark = `listeners/${name}: `;
  const found = (row) => row.problems.filter((text) => text.startsWith(mark)).map((text) => ({node: row.name, text: text.slice(mark.length)}));
  return (status?.nodes ?? []).flatMap(found);
}

/** What nodes have of their own for a listener. */
function overridesOf(name) {
  return [...nodes].filter(([, node]) => node.listeners[name]).map(([node, value]) => ({node, values: value.listeners[name]}));
}

async function loadNodes() {
  const {items} = await (await send("GET", "/api/v1/nodes?limit=1000")).json();
  for (const each of items) nodes.set(each.name, each);
}

/** Whether this very page came by that listener. */
function isOurs(listener) {
  const own = nodes.get(status?.node)?.listeners[listener.name]?.port ?? listener.port;
  return listener.kind === "manager" && String(own) === (location.port || "443");
}

// --- the list

function portCell(one) {
  const others = overridesOf(one.name).filter(({values}) => values.port !== undefined);
  const own = others.map(({node, values}) => make("span", {className: "note", textContent: `${values.port} on ${displayed(node)}`}));
  return make("div", {className: "stacked"}, make("span", {textContent: String(one.port)}), ...own);
}

function stateCell(one) {
  const found = problemsOf(one.name);
  if (!status) return "";
  if (!found.length) return make("span", {className: "badge good", textContent: "Open"});
  const lines = found.map(({node, text}) => make("span", {className: "note", textContent: `${displayed(node)}: ${displayed(text)}`}));
  return make("div", {className: "stacked"}, make("span", {className: "badge bad", textContent: found.length === status.nodes.length ? "Not open" : "Not open everywhere"}), ...lines);
}

const someText = (networks) => (networks.length > 3 ? `${networks.length} networks` : networks.map(displayed).join(", "));

function reachCell({allow, deny, proxyProtocol}) {
  const balancer = proxyProtocol === "off" ? "" : `, ${proxyProtocol === "required" ? "by balancers only" : "also by balancers"}`;
  const text = `${allow.length ? someText(allow) : "Anybody"}${deny.length ? `, but not ${someText(deny)}` : ""}${balancer}`;
  return make("span", {textContent: text, title: [...allow, ...deny.map((each) => `not ${each}`)].map(displayed).join(", ")});
}

async function showList() {
  await attempt(loadNodes);
  const table = makeTable({
    url: "/api/v1/listeners",
    columns: [
      {key: "name", label: "Name", show: (one) => make("bdi", {textContent: displayed(one.name)})},
      {key: "kind", label: "Serves", show: (one) => KINDS[one.kind]?.text ?? displayed(one.kind)},
      {key: "port", label: "Port", show: portCell, classes: "tight"},
      {key: "allow", label: "Who may connect", show: reachCell},
      {key: "certificate", label: "Certificate", show: (one) => (KINDS[one.kind]?.hasTLS === false ? "" : displayed(one.certificate))},
      {key: "state", label: "State", show: stateCell, classes: "tight"},
    ],
    search: "Name",
    noun: ["listener", "listeners"],
    row: (one) => ({href: `/listeners/${encodeURIComponent(one.name)}`, label: displayed(one.name)}),
    empty: {text: "There are no listeners, so nobody can connect."},
    ...(mayAct ? {actions: (one) => [{text: "Remove…", picture: "trash-2", classes: "danger", run: async () => (await askRemove(one)) && table.refresh()}]} : {}),
  });
  if (mayAct) element("actions").append(make("a", {className: "button primary", href: "/listeners?new"}, icon("plus"), "Add a listener"));
  element("content").append(table);
  let shown = "";
  watchStatus((now) => {
    status = now;
    const state = JSON.stringify([now.revision, now.nodes.map((row) => row.problems)]);
    if (state === shown) return;
    shown = state;
    attempt(loadNodes).then(() => table.refresh());
  });
}

// --- one

function problemPart(name) {
  const place = make("div", {role: "status"});
  watchStatus((now) => {
    status = now;
    const found = problemsOf(name);
    if (place.dataset.shown === JSON.stringify(found)) return;
    place.dataset.shown = JSON.stringify(found);
    place.replaceChildren(...found.map(({node, text}) => make("p", {className: "alert", textContent: `${displayed(node)}: ${displayed(text)}`})));
  });
  return place;
}

function overridesPart(name) {
  const found = overridesOf(name);
  if (!found.length) return null;
  const text = (values) => Object.entries(values).map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");
  const rows = found.map(({node, values}) => make("li", {}, make("strong", {textContent: displayed(node)}), `: ${displayed(text(values))}`));
  return make("section", {className: "card formSection"}, make("h2", {textContent: "Nodes with their own"}), make("p", {className: "note", textContent: "On these nodes this holds in place of what stands below. It is part of the node."}), make("ul", {}, ...rows));
}

async function showOne(name) {
  try {
    const [{value, etag}, kinds] = await Promise.all([load(urlOf(name)), kindsOf(), loadNodes()]);
    await showForm(value, etag, kinds, false);
  } catch (error) {
    showLoadFailure(error, BACK);
  }
}

async function showNew() {
  try {
    const kinds = await kindsOf();
    await loadNodes();
    await showForm({kind: "sftp"}, null, kinds, true);
  } catch (error) {
    showLoadFailure(error, BACK);
  }
}

async function certificateNames() {
  const {items} = await (await send("GET", "/api/v1/certificates?limit=1000")).json();
  return items.map((one) => one.name);
}

async function showForm(value, etag, kinds, isNew) {
  const everything = Object.assign({}, ...Object.values(kinds), kinds[value.kind]);
  const fields = fieldsFor({kinds, value, isNew, certificates: await certificateNames()});
  const state = {etag};
  const form = makeForm(fields, withDefaults(value, isNew ? everything : (kinds[value.kind] ?? {})), {
    isNew,
    readOnly: !mayAct,
    submitText: isNew ? "Add the listener" : "Save",
    onSubmit: (now, form) => save(now, value, kinds, state, form),
    actions: isNew || !mayAct ? [] : [removeButton(value)],
  });
  const title = isNew ? "New listener" : value.name;
  showPart(title, BACK, isNew ? null : problemPart(value.name), isNew ? null : overridesPart(value.name), form);
}

function removeButton(listener) {
  const remove = button("trash-2", {text: "Remove…", classes: "danger"});
  remove.addEventListener("click", async () => {
    if (await askRemove(listener)) location.assign("/listeners");
  });
  return remove;
}

async function save(now, before, kinds, state, form) {
  const isNew = !before.name;
  const known = kinds[now.kind];
  const kept = known ? Object.fromEntries(Object.entries(now).filter(([key]) => key in known || !isOption(key, kinds))) : now;
  const json = withoutDefaults(kept, before, known ?? {});
  if (!isNew && isOurs(before) && !(await askOurs(before, json))) return false;
  const url = isNew ? "/api/v1/listeners" : urlOf(before.name);
  const answer = await saveObject({method: isNew ? "POST" : "PUT", url, json, describe: `${displayed(json.name)} saved`, form, given: (value) => withDefaults(value, known ?? {})}, state);
  if (!answer) return false;
  if (isNew) {
    history.replaceState(null, "", `/listeners/${encodeURIComponent(json.name)}`);
    await showOne(json.name);
  }
  return true;
}

/** Whether a key is an option of some kind. */
const isOption = (key, kinds) => Object.values(kinds).some((properties) => key in properties);

// --- what takes a moment's thought

/** Asks before the door is moved that this page came in by. */
async function askOurs(before, now) {
  const parts = ["port", "allow", "deny", "proxyProtocol", "trustedProxies"];
  const changed = parts.filter((key) => JSON.stringify(before[key]) !== JSON.stringify(now[key] ?? before[key]));
  if (!changed.length) return true;
  const where = changed.includes("port") ? `The Manager will be at port ${now.port}, on every node that has no port of its own for it. This page does not go on by itself.` : "If your own address is not among those that may connect, this page ends, and nobody else’s may open either.";
  const body = [make("p", {textContent: "You are connected by this very listener."}), make("p", {textContent: where}), make("p", {className: "note", textContent: "cftpctl on a node, with its administration socket, works whatever happens to this listener."})];
  return Boolean(await ask(`Change ${displayed(before.name)}?`, body, [CANCEL, {text: "Change it", value: "yes", classes: "primary danger"}]));
}

async function askRemove(listener) {
  const {name, port} = listener;
  const body = [make("p", {textContent: `Port ${port} is closed on all nodes. Connections by it end.`})];
  if (isOurs(listener)) body.unshift(make("p", {className: "alert", textContent: "You are connected by this very listener: this page ends."}));
  const chosen = await ask(`Remove ${displayed(name)}?`, body, [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}]);
  const answer = chosen && (await attempt(() => write("DELETE", urlOf(name), {describe: `${displayed(name)} removed`})));
  return Boolean(answer);
}

if (asked("new") !== null && mayAct) showNew();
else if (namedObject()) showOne(namedObject());
else showList();
