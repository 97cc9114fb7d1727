// Files shown in the page. What can be shown, and as what, the server says; it is never more than seen.

import {send, sentence} from "./api.js";
import {button, icon, make, sizeText} from "./dom.js";
import {save} from "./actions.js";

const TEXT_BYTES = 512 * 1024;
const PICTURES = {audio: "music", image: "image", pdf: "file-text", text: "file-text", video: "film"};

function message(picture, text, row) {
  const get = button("download", {text: "Download", classes: "primary"});
  get.addEventListener("click", () => save(row.dataset.url));
  return make("div", {className: "message"}, icon(picture, "large"), make("p", {textContent: text}), get);
}

async function textOf(row) {
  const headers = Number(row.dataset.bytes) > TEXT_BYTES ? {Range: `bytes=0-${TEXT_BYTES - 1}`} : {};
  const response = await send("GET", row.dataset.url, {headers});
  const text = new TextDecoder().decode(await response.arrayBuffer());
  const shown = make("pre", {textContent: text, tabIndex: 0});
  if (headers.Range) shown.append(make("span", {className: "faint", textContent: `\n\n… ${sizeText(Number(row.dataset.bytes) - TEXT_BYTES)} more`}));
  return shown;
}

async function contentOf(row) {
  const {preview, name, url} = row.dataset;
  const shown = `${url}?inline=true`;
  const broken = () => message(PICTURES[preview], "This file cannot be shown.", row);
  if (preview === "text") return textOf(row);
  if (preview === "pdf") {
    if (navigator.pdfViewerEnabled === false) return message("file-text", "This browser cannot show PDF in a page.", row);
    return make("iframe", {src: shown, title: name});
  }
  if (preview === "image") {
    const picture = make("img", {src: shown, alt: name});
    picture.addEventListener("error", () => picture.replaceWith(broken()));
    return picture;
  }
  const player = make(preview === "audio" ? "audio" : "video", {src: shown, controls: true, "aria-label": name});
  player.addEventListener("error", () => player.replaceWith(broken()));
  return player;
}

/** Shows one of the rows that can be shown, and leads to the others. */
export function showPreview(row, rows) {
  const shown = rows.filter((each) => each.dataset.preview);
  let at = shown.indexOf(row);
  const title = make("h2", {id: "previewTitle"});
  const previous = button("chevron-right", {label: "Previous file"});
  const next = button("chevron-right", {label: "Next file"});
  const get = button("download", {label: "Download"});
  const close = button("x", {label: "Close"});
  const content = make("div", {className: "content"});
  const head = make("div", {className: "head"}, title, previous, next, get, close);
  const dialog = make("dialog", {className: "preview", "aria-labelledby": "previewTitle"}, make("div", {}, head, content));
  previous.firstElementChild.classList.add("back");

  async function show(index) {
    at = index;
    const current = shown[at];
    title.replaceChildren(make("bdi", {textContent: current.dataset.name}));
    previous.disabled = at === 0;
    next.disabled = at === shown.length - 1;
    content.replaceChildren();
    let made;
    try {
      made = await contentOf(current);
    } catch (error) {
      made = message("circle-alert", sentence(error.message), current);
    }
    if (shown[at] === current) content.replaceChildren(made);
  }

  previous.addEventListener("click", () => show(at - 1));
  next.addEventListener("click", () => show(at + 1));
  get.addEventListener("click", () => save(shown[at].dataset.url));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("audio, video")) return;
    if (event.key === "ArrowLeft" && at > 0) show(at - 1);
    else if (event.key === "ArrowRight" && at < shown.length - 1) show(at + 1);
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
  show(at);
}
