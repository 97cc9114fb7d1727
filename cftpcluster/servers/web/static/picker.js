// The dialog in which a folder is picked, to move or copy to.

import {call, sentence} from "./api.js";
import {ask, askText, button, displayed, icon, make} from "./dom.js";
import {entryURL, FILES, inFolder, lastOf, parentOf, shownOf} from "./names.js";

const MOST_FOLDERS = 5000;

async function foldersOf(url) {
  const found = [];
  let after = "";
  do {
    const page = await call("GET", `${url}?foldersFirst=true&limit=1000${after}`);
    const folders = page.entries.filter((entry) => entry.type === "folder");
    found.push(...folders);
    const next = page.nextBytes === undefined ? encodeURIComponent(page.next ?? "") : [...atob(page.nextBytes)].map((each) => `%${each.charCodeAt(0).toString(16).padStart(2, "0")}`).join("");
    after = page.next !== null && folders.length === page.entries.length ? `&after=${next}` : "";
  } while (after && found.length < MOST_FOLDERS);
  return found;
}

/**
 * @param {string} title
 * @param {string} start URL of the folder to begin in
 * @param {string} yes
 * @param {string[]} without URLs of folders that cannot be picked, nor anything in them
 * @returns {Promise<string|null>} the URL of the folder that was picked
 */
export async function pickFolder(title, start, yes, without) {
  let here = start;
  const name = make("strong", {role: "status"});
  const up = button("chevron-up", {label: "To the folder above"});
  const anew = button("folder-plus", {label: "New folder"});
  const list = make("div", {className: "picker", role: "group", "aria-label": "Folders", "data-first": "", tabIndex: -1});

  async function show(url) {
    here = url;
    name.textContent = url === `${FILES}/` ? "Home" : displayed(shownOf(lastOf(url)));
    up.disabled = url === `${FILES}/`;
    list.replaceChildren(make("p", {textContent: "…"}));
    let folders;
    try {
      folders = await foldersOf(url);
    } catch (error) {
      if (here === url) list.replaceChildren(make("p", {textContent: sentence(error.message)}));
      return;
    }
    if (here !== url) return;
    const rows = folders
      .map((entry) => ({text: displayed(entry.name), url: `${entryURL(url, entry)}/`}))
      .filter((folder) => !without.includes(folder.url.slice(0, -1)))
      .map((folder) => make("button", {type: "button", value: folder.url}, icon("folder"), make("bdi", {textContent: folder.text})));
    list.replaceChildren(...(rows.length ? rows : [make("p", {textContent: "No folders in here."})]));
    (list.querySelector("button") ?? list).focus();
  }

  list.addEventListener("click", (event) => {
    const pressed = event.target.closest("button");
    if (pressed) show(pressed.value);
  });
  up.addEventListener("click", () => show(parentOf(here)));
  anew.addEventListener("click", async () => {
    const made = await askText("New folder", "Name", "", "Create", async (text) => {
      try {
        await call("POST", `${inFolder(here, text)}?op=mkdir`, {done: [409]});
        return "";
      } catch (error) {
        return sentence(error.message);
      }
    });
    if (made !== null) show(`${inFolder(here, made)}/`);
  });
  show(start);
  const where = make("div", {className: "where"}, up, name, make("span", {className: "grow"}), anew);
  const buttons = [{text: "Cancel", value: ""}, {text: yes, value: "yes", classes: "primary"}];
  return (await ask(title, [where, list], buttons)) ? here : null;
}
