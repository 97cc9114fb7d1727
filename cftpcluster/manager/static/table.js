// A list of objects: a table that searches and pages on the server, and becomes cards where the page is narrow.
//
// What is searched for, filtered and paged to stands in the page's address, so that it can be kept, shared and gone back to.

import {send, sentence, wait} from "./api.js";
import {announce, button, countText, icon, make, showMenu} from "./dom.js";

const SEARCH_MILLISECONDS = 200;
const SKELETON_ROWS = 5;

/**
 * @param {{
 *   url: string,
 *   columns: {key: string, label: string, show?: function(object): Node|string|null, classes?: string}[],
 *   search?: string,
 *   filters?: {key: string, label: string, choices: {value: string, text: string}[]}[],
 *   row?: function(object): {href?: string, label?: string, classes?: string},
 *   empty?: {text: string, action?: Node},
 *   actions?: function(object): {text: string, picture: string, classes?: string, run?: function(), href?: string}[],
 *   noun?: [string, string], limit?: number, label?: string, items?: function(object): object[],
 * }} options `search` is what the search field is called; without it there is none. `row` says where a row leads to.
 *   `actions` are the items of a row's menu. `items` finds the rows in an answer.
 * @returns {HTMLElement} with `refresh()`, which loads the page anew and keeps what is there until it has come
 */
export function makeTable(options) {
  const table = new Table(options);
  table.start();
  table.element.refresh = () => table.load({isQuiet: true});
  return table.element;
}

class Table {
  constructor({noun = ["entry", "entries"], limit = 50, label = "", items = (answer) => answer.items, ...options}) {
    Object.assign(this, options, {noun, limit, label: label || noun[1], itemsOf: items});
    this.asked = 0;
    this.count = make("p", {className: "note tableCount", role: "status"});
    this.body = make("tbody");
    this.table = make("table", {className: "list", "aria-label": this.label}, make("thead", {}, this.headRow()), this.body);
    this.place = make("div", {className: "tablePlace"}, this.table);
    this.pages = make("nav", {className: "tablePages", "aria-label": "Pages", hidden: true});
    this.tools = make("div", {className: "tableTools", role: "search"}, ...this.makeTools(), this.count);
    this.element = make("section", {className: "tableSection", "aria-label": this.label}, this.tools, this.place, this.pages);
  }

  start() {
    this.fromAddress();
    addEventListener("popstate", () => {
      this.fromAddress();
      this.load();
    });
    this.load();
  }

  // --- what is asked for

  fromAddress() {
    const query = new URLSearchParams(location.search);
    this.after = query.get("after") ?? "";
    this.trail = history.state?.trail ?? [];
    if (this.field) this.field.value = query.get("search") ?? "";
    for (const {key} of this.filters ?? []) this.chosen[key].value = query.get(key) ?? "";
  }

  /** The query as it is asked and kept: only what is not as usual. */
  query() {
    const query = new URLSearchParams();
    if (this.field?.value.trim()) query.set("search", this.field.value.trim());
    for (const {key} of this.filters ?? []) if (this.chosen[key].value) query.set(key, this.chosen[key].value);
    if (this.after) query.set("after", this.after);
    return query;
  }

  get isFiltered() {
    return [...this.query().keys()].some((key) => key !== "after");
  }

  askAnew(isQuiet) {
    this.after = "";
    this.trail = [];
    this.keep("replaceState");
    this.load({isQuiet});
  }

  keep(how) {
    const text = this.query().toString();
    history[how]({trail: this.trail}, "", text ? `?${text}` : location.pathname);
  }

  makeTools() {
    const made = [];
    this.chosen = {};
    if (this.search) {
      this.field = make("input", {type: "search", placeholder: this.search, "aria-label": this.search, autocomplete: "off", spellcheck: false, maxLength: 64});
      let timer = 0;
      this.field.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(() => this.askAnew(true), SEARCH_MILLISECONDS);
      });
      made.push(make("span", {className: "searchField"}, icon("search"), this.field));
    }
    for (const {key, label, choices} of this.filters ?? []) {
      const select = make("select", {"aria-label": label}, ...choices.map(({value, text}) => make("option", {value, textContent: text})));
      select.addEventListener("change", () => this.askAnew(true));
      this.chosen[key] = select;
      made.push(select);
    }
    return made;
  }

  // --- loading

  async load({isQuiet = false} = {}) {
    this.asked += 1;
    const turn = this.asked;
    const query = this.query();
    query.set("limit", String(this.limit));
    if (!isQuiet || !this.answer) this.showSkeleton();
    this.place.setAttribute("aria-busy", "true");
    const late = wait(1000).then(() => turn === this.asked && this.place.getAttribute("aria-busy") && this.place.classList.add("waiting"));
    try {
      // What a page does by itself is no use of the session.
      const headers = isQuiet ? {"X-Background": "1"} : {};
      const response = await send("GET", `${this.url}${this.url.includes("?") ? "&" : "?"}${query}`, {headers});
      const answer = await response.json();
      if (turn !== this.asked) return;
      this.answer = answer;
      this.showAnswer(answer);
    } catch (error) {
      if (turn === this.asked) this.showError(error);
    } finally {
      if (turn === this.asked) this.place.removeAttribute("aria-busy");
      this.place.classList.remove("waiting");
      void late;
    }
  }

  // --- showing

  headRow() {
    const heads = this.columns.map(({label, classes = ""}) => make("th", {scope: "col", className: classes, textContent: label}));
    if (this.actions) heads.push(make("th", {scope: "col", className: "menuCell"}, make("span", {className: "hidden", textContent: "Actions"})));
    return make("tr", {}, ...heads);
  }

  get width() {
    return this.columns.length + (this.actions ? 1 : 0);
  }

  showSkeleton() {
    const cell = () => make("td", {colSpan: this.width}, make("div", {className: "skeleton"}));
    this.body.replaceChildren(...Array.from({length: SKELETON_ROWS}, () => make("tr", {className: "loading", "aria-hidden": "true"}, cell())));
    this.table.hidden = false;
    this.place.querySelector(".empty, .tableError")?.remove();
    this.count.textContent = "Loading…";
  }

  showAnswer(answer) {
    const items = this.itemsOf(answer);
    this.latest = new Map(items.map((item) => [item.name ?? item.id, item]));
    const focused = this.body.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.name : null;
    this.place.querySelector(".empty, .tableError")?.remove();
    this.showRows(items.map((item) => this.makeRow(item)));
    this.table.hidden = !items.length;
    if (!items.length) this.place.append(this.makeEmpty());
    if (focused !== null && !this.body.contains(document.activeElement)) [...this.body.rows].find((row) => row.dataset.name === focused)?.querySelector("a, button")?.focus({preventScroll: true});
    const {total} = answer;
    this.count.textContent = total === undefined ? "" : countText(total, ...this.noun);
    this.showPages(answer.next ?? null);
    this.tools.hidden = !items.length && !this.isFiltered && !this.after;
  }

  /** Rows that stand already stay, with the cells of theirs that are as they were: what is selected or focused too. */
  showRows(rows) {
    const standing = new Map([...this.body.rows].map((row) => [row.dataset.name, row]));
    const wanted = rows.map((row) => {
      const old = row.dataset.name && standing.get(row.dataset.name);
      if (!old) return row;
      [...row.cells].forEach((cell, index) => {
        const isOpen = old.cells[index].querySelector("[aria-expanded=true]");
        if (!isOpen && !old.cells[index].isEqualNode(cell)) old.cells[index].replaceWith(cell);
      });
      old.className = row.className;
      return old;
    });
    for (const row of [...this.body.rows]) if (!wanted.includes(row)) row.remove();
    wanted.forEach((row, index) => this.body.rows[index] === row || this.body.insertBefore(row, this.body.rows[index] ?? null));
  }

  makeRow(item) {
    const {href = "", classes = ""} = this.row?.(item) ?? {};
    const row = make("tr", {className: classes});
    row.dataset.name = item.name ?? item.id ?? "";
    this.columns.forEach(({key, label, show = (one) => String(one[key] ?? ""), classes: look = ""}, index) => {
      const content = show(item) ?? "";
      const cell = make(index ? "td" : "th", {className: look}, index || !href ? content : make("a", {href, className: "rowLink"}, content));
      if (!index) cell.scope = "row";
      cell.dataset.label = label;
      row.append(cell);
    });
    if (this.actions) row.append(make("td", {className: "menuCell"}, this.makeMenu(item)));
    return row;
  }

  makeMenu(item) {
    if (!this.actions(item).length) return "";
    const label = `Actions for ${this.row?.(item)?.label ?? item.name ?? item.id}`;
    const opener = button("ellipsis-vertical", {label});
    opener.setAttribute("aria-haspopup", "menu");
    opener.setAttribute("aria-expanded", "false");
    // The row may stand for longer than what it was made of.
    opener.addEventListener("click", () => showMenu(opener, label, this.actions(this.latest.get(item.name ?? item.id) ?? item)));
    return opener;
  }

  makeEmpty() {
    if (!this.isFiltered && !this.after) {
      const {text = `There are no ${this.noun[1]}.`, action = null} = this.empty ?? {};
      return make("div", {className: "empty"}, icon("folder-open", "large"), make("p", {textContent: text}), action?.cloneNode(true) ?? null);
    }
    const clear = make("button", {type: "button", textContent: "Show all"});
    clear.addEventListener("click", () => {
      if (this.field) this.field.value = "";
      for (const select of Object.values(this.chosen)) select.value = "";
      this.askAnew(false);
      this.field?.focus();
    });
    return make("div", {className: "empty"}, icon("search-x", "large"), make("p", {textContent: `No ${this.noun[1]} fit.`}), clear);
  }

  showError(error) {
    const again = make("button", {type: "button", textContent: "Try again"});
    again.addEventListener("click", () => this.load());
    this.table.hidden = true;
    this.pages.hidden = true;
    this.count.textContent = "";
    this.place.querySelector(".empty, .tableError")?.remove();
    this.place.append(make("div", {className: "empty tableError", role: "alert"}, icon("server-off", "large"), make("p", {textContent: sentence(error.message)}), again));
  }

  showPages(next) {
    const go = (picture, text, after, trail) => {
      const turn = button(picture, {text, classes: ""});
      turn.addEventListener("click", async () => {
        Object.assign(this, {after, trail});
        this.keep("pushState");
        await this.load({isQuiet: true});
        this.element.scrollIntoView({block: "start"});
        announce(this.count.textContent);
        [...this.pages.querySelectorAll("button")].find((each) => each.textContent === text)?.focus({preventScroll: true});
      });
      return turn;
    };
    const parts = [];
    if (this.after) {
      parts.push(go("chevron-up", "First page", "", []));
      if (this.trail.length) parts.push(go("chevron-up", "Previous page", this.trail.at(-1), this.trail.slice(0, -1)));
    }
    if (next !== null) parts.push(go("chevron-down", "Next page", next, [...this.trail, this.after]));
    this.pages.replaceChildren(...parts);
    this.pages.hidden = !parts.length;
  }
}
