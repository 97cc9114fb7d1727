// The panel that shows the queue of uploads.

import {announce, button, countText, displayed, durationText, icon, make, sizeText} from "./dom.js";

const MOST_ROWS = 60;
const ORDER = ["asking", "running", "failed", "paused", "waiting", "done", "skipped", "cancelled"];
const PICTURES = {done: "circle-check", failed: "circle-alert", paused: "pause", skipped: "minus", cancelled: "x"};
const STATES = {waiting: "Waiting", asking: "Waiting for your answer", skipped: "Skipped", cancelled: "Cancelled", done: "Uploaded"};

function stateText(upload) {
  const progress = `${sizeText(upload.sent)} of ${sizeText(upload.file.size)}`;
  if (upload.state === "running") return progress;
  if (upload.state === "paused") return `Paused, ${progress}`;
  if (upload.state === "failed") return upload.error;
  return STATES[upload.state];
}

export class Panel {
  #rows = new Map();
  #scheduled = 0;

  constructor(queue) {
    this.queue = queue;
    this.title = make("h2", {textContent: "Uploads"});
    this.all = make("span", {className: "grow"});
    this.left = make("span", {});
    this.bar = make("progress", {max: 1, value: 0, "aria-label": "All uploads"});
    this.list = make("ul", {});
    this.switch = button("pause", {label: "Pause all", verb: "pauseAll"});
    const fold = button("chevron-down", {label: "Fold or unfold", verb: "fold"});
    const close = button("x", {label: "Cancel all, and close", verb: "close"});
    this.close = close;
    this.panel = make(
      "section",
      {className: "queue", "aria-label": "Uploads", hidden: true},
      make("div", {className: "head"}, this.title, this.switch, fold, close),
      make("div", {className: "total"}, make("p", {}, this.all, this.left), this.bar),
      this.list,
    );
    this.panel.addEventListener("click", (event) => this.#clicked(event));
    document.body.append(this.panel);
    queue.addEventListener("change", () => this.#schedule());
    queue.addEventListener("idle", () => this.#ended());
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = setTimeout(() => {
      this.#scheduled = 0;
      this.#show();
      if (this.queue.count("running")) this.#schedule();
    }, 200);
  }

  #ended() {
    const done = this.queue.count("done");
    const failed = this.queue.count("failed");
    if (failed) announce(`${countText(failed, "upload", "uploads")} failed`);
    else if (done) announce(`${countText(done, "file", "files")} uploaded`);
  }

  #show() {
    const {queue} = this;
    this.panel.hidden = !queue.uploads.length;
    if (this.panel.hidden) {
      this.#rows.clear();
      this.list.replaceChildren();
      return;
    }
    const {files, done, all, sent, speed, seconds} = queue.totals();
    const failed = queue.count("failed");
    const isPaused = !queue.isActive && queue.count("paused") > 0;
    this.title.textContent = queue.isActive ? `Uploading ${countText(files - done, "file", "files")}` : isPaused ? "Uploads paused" : failed ? `${countText(failed, "upload", "uploads")} failed` : `${countText(done, "file", "files")} uploaded`;
    this.all.textContent = `${done} of ${files} · ${sizeText(sent)} of ${sizeText(all)}`;
    this.left.textContent = queue.count("running") && speed > 0 ? `${sizeText(speed)}/s · ${durationText(seconds)} left` : "";
    this.bar.value = all ? sent / all : done === files ? 1 : 0;
    this.#showSwitch(isPaused, failed);
    const label = queue.isActive || isPaused ? "Cancel all, and close" : "Close";
    this.close.setAttribute("aria-label", label);
    this.close.title = label;
    this.#showRows();
  }

  #showSwitch(isPaused, failed) {
    const verb = this.queue.isActive ? "pauseAll" : "resumeAll";
    this.switch.hidden = !this.queue.isActive && !isPaused && !failed;
    if (this.switch.dataset.verb === verb && this.switch.dataset.failed === String(failed > 0)) return;
    this.switch.dataset.verb = verb;
    this.switch.dataset.failed = String(failed > 0);
    const label = verb === "pauseAll" ? "Pause all" : isPaused ? "Resume all" : "Try all again";
    this.switch.setAttribute("aria-label", label);
    this.switch.title = label;
    this.switch.replaceChildren(icon(verb === "pauseAll" ? "pause" : isPaused ? "play" : "rotate-cw"));
  }

  #showRows() {
    const ordered = [...this.queue.uploads].sort((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state));
    const shown = ordered.slice(0, MOST_ROWS);
    const items = shown.map((upload) => this.#row(upload));
    const more = ordered.length - shown.length;
    if (more) items.push(make("li", {className: "rest", textContent: `and ${countText(more, "more", "more")}`}));
    const isSame = items.length === this.list.children.length && items.every((item, index) => item === this.list.children[index]);
    if (!isSame) {
      const focused = document.activeElement;
      this.list.replaceChildren(...items);
      if (focused?.isConnected && this.list.contains(focused)) focused.focus();
    }
    for (const upload of this.#rows.keys()) if (!shown.includes(upload)) this.#rows.delete(upload);
  }

  #row(upload) {
    let row = this.#rows.get(upload);
    if (!row) {
      const file = make("bdi", {className: "file", textContent: displayed(upload.name), title: displayed(upload.name)});
      const state = make("span", {className: "state"});
      const bar = make("progress", {max: 1, "aria-label": displayed(upload.name)});
      row = make("li", {}, icon("file"), make("div", {}, file, state, bar), make("span", {}));
      row.upload = upload;
      this.#rows.set(upload, row);
    }
    row.querySelector(".state").textContent = stateText(upload);
    const bar = row.querySelector("progress");
    bar.value = upload.file.size ? upload.sent / upload.file.size : 0;
    bar.hidden = !["running", "paused"].includes(upload.state);
    if (row.dataset.state !== upload.state) this.#becomes(row, upload);
    return row;
  }

  #becomes(row, upload) {
    const {state} = upload;
    const name = displayed(upload.name);
    row.dataset.state = state;
    row.className = state;
    row.querySelector(".file").textContent = name;
    row.firstElementChild.replaceWith(icon(PICTURES[state] ?? "file"));
    const buttons = [];
    if (state === "running" || state === "waiting") buttons.push(button("pause", {label: `Pause ${name}`, verb: "pause"}));
    if (state === "paused") buttons.push(button("play", {label: `Resume ${name}`, verb: "resume"}));
    if (state === "failed") buttons.push(button("rotate-cw", {label: `Try ${name} again`, verb: "resume"}));
    if (["running", "waiting", "paused", "failed"].includes(state)) buttons.push(button("x", {label: `Cancel ${name}`, verb: "cancel"}));
    row.lastElementChild.replaceChildren(...buttons);
  }

  #clicked(event) {
    const verb = event.target.closest("[data-verb]")?.dataset.verb;
    const upload = event.target.closest("li")?.upload;
    if (verb === "fold") this.panel.classList.toggle("folded");
    else if (verb === "pauseAll") this.queue.pauseAll();
    else if (verb === "resumeAll") this.queue.resumeAll();
    else if (verb === "close") {
      this.queue.cancelAll();
      this.queue.clear();
    } else if (verb && upload) this.queue[verb](upload);
  }
}
