// Building blocks of pages: elements, icons, dialogs, menus, messages. What users named only ever becomes text.

export const element = (id) => document.getElementById(id);

/** An element. Properties are set as they are named, `aria-` and `data-` ones as attributes. */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function icon(name, classes = "") {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  const use = document.createElementNS(space, "use");
  drawing.setAttribute("class", `icon ${classes}`);
  drawing.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `${document.body.dataset.icons}#${name}`);
  drawing.append(use);
  return drawing;
}

/** A button with an icon; without text, `label` is what it is called. */
export function button(picture, {text = "", label = "", verb = "", classes = "plain", type = "button"} = {}) {
  const made = make("button", {type, className: classes}, icon(picture));
  if (text) made.append(make("span", {textContent: text}));
  if (label) {
    made.setAttribute("aria-label", label);
    made.title = label;
  }
  if (verb) made.dataset.verb = verb;
  return made;
}

// --- text

/** A name for people: characters that nobody sees, or that turn text around, as \uNNNN. */
export function displayed(name) {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (each) => `\\u${each.codePointAt(0).toString(16).padStart(4, "0")}`);
}

export function sizeText(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (; bytes >= 999.95 && unit < units.length - 1; unit += 1) bytes /= 1000;
  return `${unit ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

export function durationText(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  const minutes = Math.round(seconds / 60);
  if (seconds < 172800) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(seconds / 86400)} days`;
}

export const countText = (count, one, many) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

/** Times as this browser writes them. */
export function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.valueOf())) continue;
    time.textContent = date.toLocaleString(undefined, {dateStyle: "medium", timeStyle: "short"});
    time.title = date.toLocaleString(undefined, {dateStyle: "full", timeStyle: "long"});
  }
}

// --- dialogs

/**
 * Shows a dialog until a button closes it, and tells what was chosen.
 *
 * @param {string} title
 * @param {Node[]} body
 * @param {{text: string, value: string, classes?: string}[]} buttons the last one is what Enter presses
 * @param {{label?: string, classes?: string, check?: function(string): Promise<string>|string}} options `check` tells what is
 *   wrong, or "" to let the dialog close
 * @returns {Promise<string>} the value of the button, "" where it was dismissed
 */
export function ask(title, body, buttons, {classes = "", check = () => ""} = {}) {
  const heading = make("h2", {textContent: title, id: "dialogTitle"});
  const message = make("p", {className: "alert", role: "alert", hidden: true});
  const actions = make("div", {className: "actions"});
  const content = make("div", {className: "body"}, ...body);
  const form = make("form", {method: "dialog", noValidate: true}, heading, content, message, actions);
  const dialog = make("dialog", {className: classes, "aria-labelledby": "dialogTitle"}, form);
  const main = buttons.at(-1);
  for (const {text, value, classes: look = ""} of buttons) {
    const isMain = value === main.value;
    actions.append(make("button", {type: isMain ? "submit" : "button", value, textContent: text, className: look}));
  }
  let chosen = "";
  return new Promise((resolve) => {
    async function choose(value) {
      for (const each of actions.children) each.disabled = true;
      const wrong = value ? await check(value) : "";
      for (const each of actions.children) each.disabled = false;
      message.textContent = wrong;
      message.hidden = !wrong;
      if (wrong) {
        dialog.querySelector("input:not([type=checkbox])")?.focus();
        return;
      }
      chosen = value;
      dialog.close();
    }
    actions.addEventListener("click", (event) => {
      const pressed = event.target.closest("button");
      if (pressed && pressed.type === "button") choose(pressed.value);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      choose(main.value);
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(chosen);
    });
    document.body.append(dialog);
    dialog.showModal();
    // Enter must not destroy what nobody has read about.
    const safest = main.classes?.includes("danger") ? actions.firstElementChild : actions.lastElementChild;
    (dialog.querySelector("[data-first], input, textarea") ?? safest).focus();
    dialog.querySelector("input[data-select]")?.setSelectionRange(0, Number(dialog.querySelector("input[data-select]").dataset.select));
  });
}

/** Asks for a text; null where it was dismissed. */
export async function askText(title, label, value, yes, check) {
  const input = make("input", {id: "askedText", value, autocomplete: "off", spellcheck: false, maxLength: 255, "autocapitalize": "none"});
  const dot = value.lastIndexOf(".");
  input.dataset.select = String(dot > 0 ? dot : value.length);
  const body = [make("label", {for: "askedText", textContent: label}), input];
  const buttons = [{text: "Cancel", value: ""}, {text: yes, value: "yes", classes: "primary"}];
  const chosen = await ask(title, body, buttons, {check: () => check(input.value)});
  return chosen ? input.value : null;
}

// --- menus

let openMenu = null;

export function closeMenu() {
  openMenu?.close();
}

/** A menu beside what opened it. Items: {text, picture, classes?, run} or {text, picture, href, download?}. */
export function showMenu(opener, label, items) {
  closeMenu();
  const menu = make("div", {className: "menu", role: "menu", "aria-label": label});
  for (const item of items) {
    const made = make(item.href ? "a" : "button", {className: item.classes ?? "", role: "menuitem", tabIndex: -1}, icon(item.picture), make("span", {textContent: item.text}));
    if (item.href) {
      made.href = item.href;
      if (item.download) made.download = "";
    } else made.type = "button";
    made.addEventListener("click", () => {
      closeMenu();
      item.run?.();
    });
    menu.append(made);
  }
  const outside = (event) => menu.contains(event.target) || closeMenu();
  const keys = (event) => {
    const at = [...menu.children].indexOf(document.activeElement);
    const to = {ArrowDown: at + 1, ArrowUp: at - 1 + menu.children.length, Home: 0, End: menu.children.length - 1}[event.key];
    if (to !== undefined) menu.children[to % menu.children.length].focus();
    else if (event.key === "Escape" || event.key === "Tab") closeMenu();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  openMenu = {
    close() {
      openMenu = null;
      document.removeEventListener("pointerdown", outside);
      removeEventListener("scroll", closeMenu);
      menu.remove();
      opener.setAttribute("aria-expanded", "false");
      opener.focus({preventScroll: true});
    },
  };
  menu.addEventListener("keydown", keys);
  (opener.closest("main") ?? document.body).append(menu);
  const place = opener.getBoundingClientRect();
  const top = place.bottom + menu.offsetHeight > innerHeight ? Math.max(4, place.top - menu.offsetHeight) : place.bottom;
  menu.style.setProperty("top", `${top}px`);
  menu.style.setProperty("left", `${Math.max(4, place.right - menu.offsetWidth)}px`);
  opener.setAttribute("aria-expanded", "true");
  menu.firstElementChild.focus({preventScroll: true});
  setTimeout(() => {
    document.addEventListener("pointerdown", outside);
    addEventListener("scroll", closeMenu, {once: true});
  });
}

// --- messages

const toasts = make("div", {className: "toasts", role: "status", "aria-live": "polite"});

/**
 * Says something at the edge of the page; failures, and what is lasting, stay until they are dismissed or closed.
 *
 * @returns {{change: function(string): void, close: function(): void}}
 */
export function tell(text, {failed = false, isLasting = false} = {}) {
  if (!toasts.isConnected) document.body.append(toasts);
  const dismiss = button("x", {label: "Dismiss"});
  const said = make("p", {textContent: text});
  said.className = "grow";
  said.style.setProperty("margin", "0");
  const toast = make("div", {className: failed ? "toast failed" : "toast", role: failed ? "alert" : "presentation"}, icon(failed ? "circle-alert" : "circle-check"), said, dismiss);
  while (toasts.childElementCount >= 4) toasts.firstElementChild.remove();
  toasts.append(toast);
  dismiss.addEventListener("click", () => toast.remove());
  if (!failed && !isLasting) setTimeout(() => toast.remove(), 5000);
  return {
    change(other) {
      if (said.textContent !== other) said.textContent = other;
    },
    close() {
      toast.remove();
    },
  };
}

/** Says it to screen readers only. */
export function announce(text) {
  let place = element("announced");
  if (!place) {
    place = make("p", {id: "announced", className: "hidden", role: "status"});
    document.body.append(place);
  }
  place.textContent = text;
}

/** Shows that something is at work, where it takes longer than a moment. */
export async function busyWhile(work) {
  const line = make("div", {className: "busy", role: "progressbar", "aria-label": "At work"});
  const timer = setTimeout(() => document.body.append(line), 250);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
    line.remove();
  }
}

// --- light and dark

const THEMES = {
  "": {picture: "sun-moon", label: "Colours: as the system has them"},
  light: {picture: "sun", label: "Colours: light"},
  dark: {picture: "moon", label: "Colours: dark"},
};

function showTheme(theme) {
  const place = element("theme");
  place.setAttribute("aria-label", THEMES[theme].label);
  place.title = THEMES[theme].label;
  place.replaceChildren(icon(THEMES[theme].picture));
}

export function startTheme() {
  const root = document.documentElement;
  const order = Object.keys(THEMES);
  element("theme")?.addEventListener("click", () => {
    const theme = order[(order.indexOf(root.dataset.theme ?? "") + 1) % order.length];
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // It holds for this page then.
    }
    showTheme(theme);
    announce(THEMES[theme].label);
  });
  if (element("theme")) showTheme(root.dataset.theme ?? "");
}
