// Which rows of the listing are chosen: by boxes, clicks with Shift or Ctrl, and keys.

import {element, make, sizeText} from "./dom.js";

export class Selection {
  #anchor = null;

  constructor(main) {
    this.main = main;
    main.addEventListener("click", (event) => this.#clicked(event));
    main.addEventListener("keydown", (event) => this.#pressed(event));
    this.show();
  }

  get rows() {
    return [...this.main.querySelectorAll("tbody tr")];
  }

  get chosen() {
    return [...this.main.querySelectorAll("tbody tr.chosen")];
  }

  choose(row, isChosen) {
    row.classList.toggle("chosen", isChosen);
    row.querySelector("input").checked = isChosen;
  }

  /** Choose these and no others. */
  only(rows) {
    for (const row of this.rows) this.choose(row, rows.includes(row));
    this.show();
  }

  clear() {
    this.#anchor = null;
    this.only([]);
  }

  /** Show how many there are, and what can be done with them. */
  show() {
    const {chosen, rows} = this;
    const bytes = chosen.reduce((sum, row) => sum + Number(row.dataset.bytes), 0);
    element("tools").hidden = chosen.length > 0;
    element("selection").hidden = chosen.length === 0;
    const size = bytes && chosen.every((row) => row.dataset.kind === "file") ? make("span", {textContent: ` · ${sizeText(bytes)}`}) : "";
    element("count").replaceChildren(`${chosen.length.toLocaleString()} selected`, size);
    element("selection").querySelector("[data-verb=rename]").hidden = chosen.length !== 1;
    const all = element("all");
    if (all) {
      all.checked = chosen.length > 0 && chosen.length === rows.length;
      all.indeterminate = chosen.length > 0 && chosen.length < rows.length;
    }
  }

  #upTo(row, keepsOthers) {
    const {rows} = this;
    const ends = [rows.indexOf(this.#anchor ?? row), rows.indexOf(row)].sort((one, other) => one - other);
    const range = rows.slice(Math.max(0, ends[0]), ends[1] + 1);
    this.only(keepsOthers ? [...new Set([...this.chosen, ...range])] : range);
  }

  #toggle(row) {
    this.choose(row, !row.classList.contains("chosen"));
    this.#anchor = row;
    this.show();
  }

  #clicked(event) {
    if (event.target.id === "all") {
      this.only(event.target.checked ? this.rows : []);
      return;
    }
    const row = event.target.closest("tbody tr");
    if (!row || event.target.closest("a, button, bdi")) return;
    const isBox = event.target.matches("input");
    if (event.target.closest("label") && !isBox) return; // its box is clicked next
    if (event.shiftKey) {
      this.#upTo(row, isBox || event.ctrlKey);
      getSelection()?.removeAllRanges();
    } else if (isBox || event.ctrlKey || event.metaKey || matchMedia("(pointer: coarse)").matches) this.#toggle(row);
    else {
      const isAlone = row.classList.contains("chosen") && this.chosen.length === 1;
      this.only(isAlone ? [] : [row]);
      this.#anchor = row;
      focusOn(row);
    }
  }

  #pressed(event) {
    const row = event.target.closest("tbody tr");
    if (!row || event.altKey || event.target.closest("button")) return;
    const step = {ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity}[event.key];
    if (step !== undefined) {
      const {rows} = this;
      const next = rows[Math.min(rows.length - 1, Math.max(0, rows.indexOf(row) + step))];
      focusOn(next);
      if (event.shiftKey) {
        this.#anchor ??= row;
        this.#upTo(next, false);
      } else if (!event.ctrlKey) this.#anchor = next;
    } else if (event.key === " " && !event.target.matches("input")) this.#toggle(row);
    else return;
    event.preventDefault();
  }
}

export function focusOn(row) {
  (row.querySelector("td.name a") ?? row.querySelector("input")).focus();
}
