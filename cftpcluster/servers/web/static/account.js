// One's own account: sessions, the password, keys.

import {call, sentence} from "./api.js";
import {ask, button, displayed, element, icon, make, showTimes, startTheme, tell} from "./dom.js";

const PROTOCOLS = {ftp: "FTP", https: "Browser or script (HTTPS)", sftp: "SFTP"};

function softwareText(text) {
  const known = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]].find(([mark]) => text.includes(mark));
  const system = [["Windows", "Windows"], ["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Mac OS", "macOS"], ["Linux", "Linux"]].find(([mark]) => text.includes(mark));
  return known ? `${known[1]}${system ? ` on ${system[1]}` : ""}` : text;
}

async function attempt(work, message) {
  message.hidden = true;
  try {
    return await work();
  } catch (error) {
    message.textContent = sentence(error.message);
    message.hidden = false;
    return null;
  }
}

// --- sessions

function timeOf(seconds) {
  return make("time", {dateTime: typeof seconds === "number" ? new Date(1000 * seconds).toISOString() : String(seconds)});
}

function sessionRow(one) {
  const what = displayed(softwareText(one.software ?? "")) || PROTOCOLS[one.protocol] || one.protocol;
  const title = make("strong", {}, make("bdi", {textContent: what}));
  if (one.current) title.append(make("span", {className: "tag", textContent: "This session"}));
  const about = make("span", {className: "small"}, `${PROTOCOLS[one.protocol] ?? one.protocol} from `, make("bdi", {textContent: one.address}), ` on ${one.node}, since `, timeOf(one.since));
  const end = make("button", {type: "button", textContent: one.current ? "Log out" : "End", value: one.id, "aria-label": one.current ? "Log out of this session" : `End ${what} from ${one.address}`});
  return make("li", {}, icon(one.protocol === "https" ? "compass" : "laptop"), make("div", {}, title, about), end);
}

async function showSessions() {
  const list = element("sessions");
  try {
    const {items} = await call("GET", "/api/v1/sessions");
    items.sort((one, other) => Number(other.current) - Number(one.current));
    list.replaceChildren(...items.map(sessionRow));
    showTimes(list);
  } catch (error) {
    list.replaceChildren(make("li", {className: "faint", textContent: sentence(error.message)}));
  }
  list.setAttribute("aria-busy", "false");
}

element("sessions").addEventListener("click", async (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  pressed.disabled = true;
  try {
    const isOwn = pressed.textContent === "Log out";
    await call("DELETE", `/api/v1/sessions/${pressed.value}`, {done: [404]});
    if (isOwn) location.assign("/");
    else await showSessions();
  } catch (error) {
    pressed.disabled = false;
    tell(sentence(error.message), {failed: true});
  }
});

element("endAll").addEventListener("click", async () => {
  const body = [make("p", {textContent: "Every session of yours ends, this one too. Transfers that are under way are broken off."})];
  const buttons = [{text: "Cancel", value: ""}, {text: "Log out everywhere", value: "yes", classes: "primary danger"}];
  if (!(await ask("Log out everywhere?", body, buttons))) return;
  try {
    await call("DELETE", "/api/v1/sessions");
    location.assign("/");
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
});

// --- the password

element("password").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [current, fresh, again] = ["current", "new", "again"].map(element);
  const message = element("passwordMessage");
  if (fresh.value !== again.value) {
    message.textContent = "The new password was not typed the same way twice.";
    message.hidden = false;
    again.focus();
    return;
  }
  const changed = await attempt(() => call("PUT", "/api/v1/password", {json: {current: current.value, new: fresh.value}}), message);
  if (!changed) return;
  event.target.reset();
  tell("Your password was changed.");
  showSessions();
});

// --- keys

function keyRow(key) {
  const title = make("strong", {}, make("bdi", {textContent: displayed(key.comment) || key.type}));
  const about = make("code", {className: "small", textContent: key.fingerprint});
  const remove = button("trash-2", {label: `Remove ${key.comment || key.fingerprint}`, classes: "plain danger"});
  remove.value = key.id;
  remove.hidden = element("addKey").hidden;
  return make("li", {}, icon("key-round"), make("div", {}, title, about), remove);
}

async function showKeys() {
  const list = element("keys");
  try {
    const {items} = await call("GET", "/api/v1/publickeys");
    const none = make("li", {className: "faint", textContent: "There is no key yet."});
    list.replaceChildren(...(items.length ? items.map(keyRow) : [none]));
  } catch (error) {
    list.replaceChildren(make("li", {className: "faint", textContent: sentence(error.message)}));
  }
  list.setAttribute("aria-busy", "false");
}

element("keys").addEventListener("click", async (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  const body = [make("p", {textContent: "Whoever logs in with this key cannot do so any more."})];
  const buttons = [{text: "Cancel", value: ""}, {text: "Remove", value: "yes", classes: "primary danger"}];
  if (!(await ask("Remove this key?", body, buttons))) return;
  try {
    await call("DELETE", `/api/v1/publickeys/${pressed.value}`, {done: [404]});
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
  await showKeys();
});

element("addKey").addEventListener("submit", async (event) => {
  event.preventDefault();
  const json = {key: element("key").value.trim(), password: element("keyPassword").value};
  if (!(await attempt(() => call("POST", "/api/v1/publickeys", {json}), element("keyMessage")))) return;
  event.target.reset();
  tell("The key was added.");
  await showKeys();
});

async function start() {
  startTheme();
  showSessions();
  try {
    const {mayChange, leastPasswordCharacters} = await call("GET", "/api/v1/session");
    element("passwordCard").hidden = !mayChange.includes("password");
    element("rule").textContent = `At least ${leastPasswordCharacters} characters; several words are easy to remember.`;
    element("addKey").hidden = !mayChange.includes("publicKeys");
    element("keysCard").hidden = false;
    await showKeys();
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
}

element("logout")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("POST", "/api/v1/logout");
    location.assign("/");
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
});

start();
