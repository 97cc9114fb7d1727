// A field for several short texts: what is there as rows that can be removed, and an input that adds more.

import {button, displayed, make} from "./dom.js";

/** Where a pasted text holds several values. */
const BETWEEN = /[\n,;]+/;

export function makeList(field, value, {id, isReadOnly}) {
  const items = [...(value ?? [])];
  const shown = make("ul", {className: field.ordered ? "chips ordered" : "chips", "aria-label": field.label});
  const input = make("input", {id, type: "text", autocomplete: "off", spellcheck: false, "autocapitalize": "none", maxLength: 4096});
  const add = button("plus", {text: field.add ?? "Add", classes: ""});
  const state = {field, items, shown, input, isReadOnly};
  if (field.placeholder) input.placeholder = field.placeholder;
  const suggested = make("datalist", {id: `${id}-suggested`});
  if (field.suggestions || field.suggest) input.setAttribute("list", suggested.id);
  suggest(suggested, field.suggestions ?? []);
  if (field.suggest) input.addEventListener("input", async () => suggest(suggested, await field.suggest(input.value)));
  add.addEventListener("click", () => {
    take(state);
    input.focus();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !input.value.trim()) return;
    event.preventDefault();
    take(state);
  });
  input.addEventListener("paste", () => setTimeout(() => BETWEEN.test(input.value) && take(state)));
  showItems(state);
  const read = () => {
    const last = pending(state);
    return [...items, ...last.filter((each) => !items.includes(each))];
  };
  const check = () => {
    const wrong = pending(state).map((each) => field.check?.(each)).find(Boolean);
    return wrong ?? (field.required && !read().length ? "At least one is needed." : "");
  };
  const row = make("div", {className: "inputRow"}, make("span", {className: "grow"}, input), add);
  const parts = isReadOnly ? [shown] : [shown, row, suggested];
  return {isGroup: isReadOnly, parts, target: isReadOnly ? shown : input, read, check, place: () => input};
}

const pending = ({field, input}) => input.value.split(field.between ?? BETWEEN).map((each) => each.trim()).filter(Boolean);

function suggest(list, names) {
  list.replaceChildren(...names.slice(0, 100).map((name) => make("option", {value: name})));
}

/** Makes items of what was typed, unless something about it is wrong. */
function take(state) {
  const {field, input, items} = state;
  const texts = pending(state);
  const wrong = texts.map((each) => field.check?.(each)).find(Boolean);
  if (wrong) {
    input.setCustomValidity(wrong);
    input.reportValidity();
    input.addEventListener("input", () => input.setCustomValidity(""), {once: true});
    return;
  }
  for (const each of texts) if (!items.includes(each)) items.push(each);
  input.value = "";
  showItems(state);
  input.dispatchEvent(new Event("change", {bubbles: true}));
}

function showItems(state) {
  const {field, items, shown, isReadOnly} = state;
  shown.replaceChildren(
    ...items.map((text, index) => {
      const parts = [make("bdi", {textContent: displayed(text)})];
      if (field.ordered && !isReadOnly && items.length > 1) parts.push(mover(state, index, -1), mover(state, index, 1));
      if (!isReadOnly) parts.push(remover(state, index));
      return make("li", {className: "chip"}, ...parts);
    }),
  );
  if (!items.length && field.none) shown.append(make("li", {className: "note", textContent: field.none}));
  shown.hidden = !shown.childElementCount;
}

function changed(state, focused) {
  showItems(state);
  (focused?.(state.shown) ?? state.input).focus();
  state.input.dispatchEvent(new Event("change", {bubbles: true}));
}

function remover(state, index) {
  const remove = button("x", {label: `Remove ${displayed(state.items[index])}`});
  remove.addEventListener("click", () => {
    state.items.splice(index, 1);
    changed(state, (shown) => shown.children[Math.min(index, shown.childElementCount - 1)]?.querySelector("button:last-child"));
  });
  return remove;
}

function mover(state, index, by) {
  const {items} = state;
  const move = button(by < 0 ? "arrow-up" : "arrow-down", {label: `Move ${displayed(items[index])} ${by < 0 ? "up" : "down"}`});
  move.disabled = index + by < 0 || index + by >= items.length;
  move.addEventListener("click", () => {
    [items[index], items[index + by]] = [items[index + by], items[index]];
    changed(state, (shown) => shown.children[index + by].querySelectorAll("button:not(:disabled)")[0]);
  });
  return move;
}
