// The file manager. Folders are rendered by the server: what is shown anew is the page fetched anew, so that uploads go on
// while people walk through folders.

import {ask, busyWhile, closeMenu, countText, element, make, showMenu, showTimes, startTheme, announce, tell} from "./dom.js";
import {call, renew, send, sentence, signIn, wait} from "./api.js";
import {download, newFolder, relocate, remove, rename} from "./actions.js";
import {Decisions} from "./conflicts.js";
import {readChosen, readDrop} from "./drop.js";
import {showPreview} from "./preview.js";
import {Panel} from "./queue.js";
import {focusOn, Selection} from "./selection.js";
import {offerToResume} from "./resume.js";
import {forget, Queue} from "./uploads.js";

const MOST_ROWS = 3000;
const DELAYS = [300, 1000, 2000, 4000];
const REFRESH_MILLISECONDS = 700;
const IN_USE_MILLISECONDS = 240000;

const queue = new Queue();
let main = element("main");
let selection = null;
let pages = 1;

// --- pages of the server

function fetchOnce(url) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.addEventListener("loadend", () => resolve(request));
    request.send();
  });
}

/** A page as a document; nothing of it runs. */
async function fetchPage(url) {
  for (let attempt = 0; ; attempt += 1) {
    const {status, response} = await fetchOnce(url);
    if (status === 200 && response?.getElementById("main")) return response;
    if (status === 401 || (status === 200 && response?.getElementById("login"))) {
      await signIn();
      attempt = 0;
    } else if ((status === 0 || status === 502 || status === 503) && attempt < DELAYS.length) await wait(DELAYS[attempt]);
    else {
      const said = response?.querySelector("main p")?.textContent;
      throw new Error(said || (status ? `The server answered ${status}.` : "The server cannot be reached."));
    }
  }
}

async function go(url, {isBack = false} = {}) {
  closeMenu();
  let page;
  try {
    page = await busyWhile(fetchPage(url));
  } catch (error) {
    tell(sentence(error.message), {failed: true});
    return;
  }
  if (!isBack) history.pushState(null, "", url);
  adopt(page);
  scrollTo(0, 0);
}

function adopt(page) {
  const fresh = document.adoptNode(page.getElementById("main"));
  renew(page.body.dataset.csrf);
  document.title = page.title;
  main.replaceWith(fresh);
  main = fresh;
  started();
  main.focus({preventScroll: true});
  announce(page.title);
}

/** The folder as it is now; who is chosen and where the focus is stays. */
async function refresh(focusURL = null) {
  const chosen = new Set(selection.chosen.map((row) => row.dataset.url));
  const focused = focusURL ?? document.activeElement?.closest?.("tr")?.dataset.url;
  const address = location.href;
  let page;
  try {
    page = await busyWhile(fetchPage(address));
    await appendPages(page, pages);
  } catch (error) {
    tell(sentence(error.message), {failed: true});
    return;
  }
  if (location.href !== address) return;
  renew(page.body.dataset.csrf);
  element("listing").replaceWith(document.adoptNode(page.getElementById("listing")));
  shown();
  selection.only(selection.rows.filter((row) => chosen.has(row.dataset.url)));
  const row = selection.rows.find((each) => each.dataset.url === focused);
  if (row && !document.querySelector("dialog[open]")) focusOn(row);
}

async function appendPages(page, count) {
  for (let number = 1; number < count; number += 1) {
    const next = page.querySelector("a[rel=next]");
    if (!next) return;
    append(page, await fetchPage(next.href));
  }
}

/** Put the rows of a following page beneath those of one. */
function append(page, following) {
  const body = page.querySelector("tbody");
  for (const row of following.querySelectorAll("tbody tr")) body.append(row);
  const more = following.querySelector(".following");
  if (more) page.querySelector(".following").replaceWith(more);
  else page.querySelector(".following").remove();
}

async function showMore() {
  const link = main.querySelector("a[rel=next]");
  if (!link || link.dataset.asked) return;
  link.dataset.asked = "1";
  try {
    const page = await fetchPage(link.href);
    if (!link.isConnected) return;
    const before = selection.rows.length;
    append(document, page);
    pages += 1;
    showTimes(main);
    selection.show();
    watchEnd();
    announce(`${countText(selection.rows.length - before, "more entry", "more entries")} shown`);
  } catch (error) {
    delete link.dataset.asked;
    tell(sentence(error.message), {failed: true});
  }
}

const end = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && showMore(), {rootMargin: "800px"});

function watchEnd() {
  end.disconnect();
  const following = main.querySelector(".following");
  if (following && selection.rows.length < MOST_ROWS) end.observe(following);
}

// --- what is done here

const folderURL = () => main.dataset.folder;

async function perform(verb, rows) {
  if (verb === "clear") selection.clear();
  else if (verb === "download") download(rows);
  else if (verb === "preview") showPreview(rows[0], selection.rows);
  else if (verb === "rename") {
    const renamed = await rename(rows[0]);
    if (renamed) {
      selection.clear();
      await refresh(renamed);
    }
  } else if (verb === "delete") {
    const next = rows.at(-1).nextElementSibling ?? rows[0].previousElementSibling;
    if (await remove(rows)) await refresh(next?.dataset.url);
  } else if (verb === "move" || verb === "copy") {
    if (await relocate(rows, verb)) {
      if (verb === "move") selection.clear();
      await refresh();
    }
  }
}

function rowMenu(opener) {
  const row = opener.closest("tr");
  const {name, kind, url, preview} = row.dataset;
  const rows = row.classList.contains("chosen") ? selection.chosen : [row];
  const items = [];
  if (rows.length === 1 && preview) items.push({text: "Preview", picture: "eye", run: () => perform("preview", rows)});
  if (rows.length === 1 && kind === "file") items.push({text: "Download", picture: "download", href: url, download: true});
  else items.push({text: "Download as ZIP", picture: "download", run: () => perform("download", rows)});
  if (rows.length === 1) items.push({text: "Rename", picture: "pencil", run: () => perform("rename", rows)});
  items.push({text: "Move", picture: "folder-input", run: () => perform("move", rows)});
  items.push({text: "Copy", picture: "copy", run: () => perform("copy", rows)});
  items.push({text: "Delete", picture: "trash-2", classes: "danger", run: () => perform("delete", rows)});
  showMenu(opener, `Actions for ${rows.length === 1 ? name : countText(rows.length, "entry", "entries")}`, items);
}

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || !main.contains(event.target)) return;
  const link = event.target.closest("a[href]");
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  const row = event.target.closest("tbody tr");
  if (link && isPlain && !link.hasAttribute("download") && link.origin === location.origin) {
    event.preventDefault();
    if (link.rel === "next" && selection.rows.length < MOST_ROWS) showMore();
    else go(link.href);
  } else if (link && isPlain && row?.dataset.preview) {
    event.preventDefault();
    perform("preview", [row]);
  }
  const verb = event.target.closest("button[data-verb]")?.dataset.verb;
  if (verb === "menu") rowMenu(event.target.closest("button"));
  else if (verb) perform(verb, selection.chosen);
});

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open], .menu") || event.target.matches("input:not([type=checkbox]), textarea")) return;
  const row = event.target.closest("tbody tr");
  const rows = selection.chosen.length ? selection.chosen : row ? [row] : [];
  if (event.key === "F2" && rows.length === 1) perform("rename", rows);
  else if (event.key === "Delete" && rows.length) perform("delete", rows);
  else if (event.key === "Escape" && selection.chosen.length) selection.clear();
  else if (event.key === "a" && (event.ctrlKey || event.metaKey)) selection.only(selection.rows);
  else if (event.key === "/") main.querySelector("[name=find]").focus();
  else if (event.key === "ArrowUp" && event.altKey) [...main.querySelectorAll(".crumbs a")].at(-2)?.click();
  else if (event.key === "ArrowDown" && !row && selection.rows.length && !event.altKey && event.target === main) focusOn(selection.rows[0]);
  else return;
  event.preventDefault();
});

addEventListener("popstate", () => go(location.href, {isBack: true}));

// --- the folder that is shown

let searching = 0;

function started() {
  pages = 1;
  selection = new Selection(main);
  const form = main.querySelector(".search");
  const submit = () => {
    clearTimeout(searching);
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    search(query.size ? `${main.dataset.here}?${query}` : main.dataset.here);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("input", () => {
    clearTimeout(searching);
    searching = setTimeout(submit, 300);
  });
  element("newFolder").addEventListener("click", async () => {
    const made = await newFolder(folderURL());
    if (made) await refresh(made);
  });
  element("uploadFiles").addEventListener("click", () => element("chosenFiles").click());
  element("uploadFolder").addEventListener("click", () => element("chosenFolder").click());
  shown();
}

function shown() {
  showTimes(main);
  watchEnd();
}

/** Only the listing changes while somebody types. */
async function search(url) {
  history.replaceState(null, "", url);
  try {
    const page = await busyWhile(fetchPage(url));
    if (location.href !== new URL(url, location.href).href) return;
    pages = 1;
    element("listing").replaceWith(document.adoptNode(page.getElementById("listing")));
    shown();
    selection.clear();
    const count = selection.rows.length;
    announce(count ? `${countText(count, "entry", "entries")} found` : "Nothing found");
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
}

// --- uploads

let refreshing = 0;

function refreshSoon() {
  clearTimeout(refreshing);
  refreshing = setTimeout(() => document.querySelector("dialog[open], .menu") ? refreshSoon() : refresh(), REFRESH_MILLISECONDS);
}

new Panel(queue);
queue.addEventListener("uploaded", (event) => event.detail.folder === folderURL() && refreshSoon());
queue.addEventListener("folder", refreshSoon);

async function upload(folder, files, folders = []) {
  if (!files.length && !folders.length) return;
  queue.add(folder, files, new Decisions());
  try {
    await queue.makeFolders(folder, folders);
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
}

for (const id of ["chosenFiles", "chosenFolder"]) {
  element(id).addEventListener("change", (event) => {
    upload(folderURL(), readChosen(event.target));
    event.target.value = "";
  });
}

const isOfFiles = (event) => event.dataTransfer?.types.includes("Files");

/** The folder that is dropped on: a row, a folder above, or the one that is shown. */
function targetAt(event) {
  const row = event.target.closest?.("tbody tr[data-kind=folder]");
  if (row) return {mark: row, url: `${row.dataset.url}/`, name: row.dataset.name};
  return {mark: null, url: folderURL(), name: [...main.querySelectorAll(".crumbs a")].at(-1).textContent.trim()};
}

function unmark() {
  for (const each of document.querySelectorAll(".target")) each.classList.remove("target");
}

addEventListener("dragover", (event) => {
  if (!isOfFiles(event)) return;
  event.preventDefault();
  const isAsking = document.querySelector("dialog[open]");
  event.dataTransfer.dropEffect = isAsking ? "none" : "copy";
  if (isAsking) return;
  const {mark, name} = targetAt(event);
  unmark();
  mark?.classList.add("target");
  element("dropHere").hidden = mark !== null;
  element("dropName").textContent = name;
});

addEventListener("dragleave", (event) => {
  if (event.relatedTarget) return;
  unmark();
  element("dropHere").hidden = true;
});

addEventListener("drop", async (event) => {
  if (!isOfFiles(event)) return;
  event.preventDefault();
  unmark();
  element("dropHere").hidden = true;
  if (document.querySelector("dialog[open]")) return;
  const {url} = targetAt(event);
  try {
    const {files, folders} = await readDrop(event.dataTransfer);
    await upload(url, files, folders);
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
});

addEventListener("beforeunload", (event) => {
  if (queue.isActive) event.preventDefault();
});

// However long a file takes: the session is in use.
setInterval(() => queue.isActive && send("GET", "/api/v1/session").catch(() => {}), IN_USE_MILLISECONDS);

element("logout")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (queue.isActive) {
    const body = [make("p", {textContent: "Uploads are still under way, and would be given up."})];
    const buttons = [{text: "Stay", value: ""}, {text: "Log out", value: "yes", classes: "primary danger"}];
    if (!(await ask("Log out now?", body, buttons))) return;
  }
  queue.cancelAll();
  try {
    await call("POST", "/api/v1/logout");
    await forget();
    location.assign("/");
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
});

startTheme();
announce("");
started();
// The library is loaded before modules run; without it folders can be read all the same.
if (window.tus) offerToResume(queue, (note) => main.before(note));
