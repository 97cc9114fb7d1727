"use strict";
// Names of files only ever become text (textContent) or percent-encoded parts of URLs, never markup.

const manager = document.getElementById("manager");
const message = document.getElementById("message");

function tell(text) {
  message.textContent = text;
  message.hidden = !text;
}

async function detailOf(response) {
  try {
    const problem = await response.json();
    return problem.detail || problem.title;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function ask(method, url, value, headers = {}) {
  const options = {method, headers: {Accept: "application/json", ...headers}};
  if (manager) options.headers["X-CSRF-Token"] = manager.dataset.csrf;
  if (value !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(value);
  }
  return fetch(url, options);
}

// --- log-in

const login = document.getElementById("login");
if (login) {
  login.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = login.querySelector("button");
    button.disabled = true;
    tell("");
    try {
      const answer = await ask("POST", "/api/v1/login", {name: login.elements.namedItem("name").value, password: login.password.value});
      if (answer.ok) {
        location.reload();
        return;
      }
      tell(answer.status === 401 ? "The name or the password is wrong." : await detailOf(answer));
    } catch {
      tell("The server cannot be reached.");
    }
    button.disabled = false;
    login.password.value = "";
    login.password.focus();
  });
}

// --- the folder

function bytesOf(url) {
  // A percent-encoded path as bytes, since a name may be no text.
  const bytes = [];
  for (const part of url.match(/%[0-9A-Fa-f]{2}|[^%]/g) || []) {
    bytes.push(part.length === 3 ? parseInt(part.slice(1), 16) : part.charCodeAt(0));
  }
  return String.fromCharCode(...bytes);
}

function inFolder(name) {
  return manager.dataset.folder + encodeURIComponent(name);
}

async function change(method, url, value, headers) {
  tell("");
  try {
    const answer = await ask(method, url, value, headers);
    if (answer.ok || answer.status === 401) location.reload();
    else tell(await detailOf(answer));
  } catch {
    tell("The server cannot be reached.");
  }
}

const dialog = document.getElementById("ask");

function question(title, text, name, yes) {
  // The name that was given ("" where none is asked for), or null.
  const input = document.getElementById("askName");
  document.getElementById("askTitle").textContent = title;
  document.getElementById("askText").textContent = text;
  document.getElementById("askYes").textContent = yes;
  input.hidden = name === null;
  input.disabled = name === null;
  input.required = name !== null;
  input.value = name || "";
  dialog.returnValue = "";
  dialog.showModal();
  if (name !== null) {
    const dot = name.lastIndexOf(".");
    input.setSelectionRange(0, dot > 0 ? dot : name.length);
  }
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? input.value : null), {once: true});
  });
}

async function newFolder() {
  const name = await question("New folder", "", "", "Create");
  if (name) await change("POST", inFolder(name) + "?op=mkdir");
}

async function rename(row) {
  const name = await question("Rename", "", row.dataset.name, "Rename");
  if (name === null || name === row.dataset.name) return;
  const folder = bytesOf(manager.dataset.folder.slice("/api/v1/files".length));
  await change("POST", row.dataset.url + "?op=move", {toBytes: btoa(folder + bytesOf(encodeURIComponent(name)))});
}

async function remove(row) {
  if ((await question("Delete", `Delete “${row.dataset.name}”? This cannot be undone.`, null, "Delete")) === null) return;
  await change("DELETE", row.dataset.url);
}

// --- uploads, one after the other

function sizeText(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit += 1) bytes /= 1000;
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

function put(file, bar, state, mayReplace) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("PUT", inFolder(file.name));
    request.setRequestHeader("X-CSRF-Token", manager.dataset.csrf);
    request.setRequestHeader("Accept", "application/json");
    if (!mayReplace) request.setRequestHeader("If-None-Match", "*");
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.total ? event.loaded / event.total : 1;
      state.textContent = `${sizeText(event.loaded)} of ${sizeText(event.total)}`;
    });
    request.addEventListener("loadend", () => {
      let detail = "the connection was lost";
      try {
        detail = JSON.parse(request.responseText).detail;
      } catch {
        // not an answer of the API
      }
      resolve({status: request.status, detail});
    });
    request.send(file);
  });
}

async function upload(file) {
  const item = document.createElement("li");
  const name = document.createElement("bdi");
  const state = document.createElement("span");
  const bar = document.createElement("progress");
  name.textContent = file.name;
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", file.name);
  item.append(name, state, bar);
  document.getElementById("uploads").append(item);
  // Asked for first: an answer that comes before a long body was sent may be lost.
  let mayReplace = false;
  if ((await ask("HEAD", inFolder(file.name))).ok) {
    const text = `“${file.name}” is there already. Replace it?`;
    if ((await question("Replace", text, null, "Replace")) === null) {
      item.remove();
      return true;
    }
    mayReplace = true;
  }
  const answer = await put(file, bar, state, mayReplace);
  const done = answer.status === 201 || answer.status === 204;
  state.textContent = done ? "done" : answer.detail;
  state.className = done ? "" : "failed";
  bar.hidden = true;
  return done;
}

async function uploadAll(files) {
  const button = document.getElementById("chooseFiles");
  button.disabled = true;
  let done = true;
  for (const file of files) {
    try {
      done = (await upload(file)) && done;
    } catch (error) {
      tell(String(error));
      done = false;
    }
  }
  button.disabled = false;
  if (done) location.reload();
}

if (manager) {
  const chosen = document.getElementById("chosen");
  document.getElementById("newFolder").addEventListener("click", newFolder);
  document.getElementById("chooseFiles").addEventListener("click", () => chosen.click());
  document.getElementById("askCancel").addEventListener("click", () => dialog.close(""));
  document.getElementById("logout")?.addEventListener("click", () => change("POST", "/api/v1/logout"));
  chosen.addEventListener("change", () => uploadAll([...chosen.files]));
  manager.addEventListener("click", (event) => {
    const verb = event.target.closest("[data-verb]")?.dataset.verb;
    const row = event.target.closest("tr");
    if (verb === "rename") rename(row);
    if (verb === "delete") remove(row);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files.length) uploadAll([...event.dataTransfer.files]);
  });
  for (const time of manager.querySelectorAll("time")) {
    const date = new Date(time.dateTime);
    time.textContent = date.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"});
    time.title = time.dateTime;
  }
}
