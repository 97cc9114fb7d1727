// Forms of the document's objects: fields that explain themselves, errors at their field, nothing lost by accident.
//
// Fields are {key, label, help, kind, ...}; a key with dots is a place within (`quota.bytes`). {kind: "section", label, help,
// fields} puts some into a card of their own, {kind: "part", make} is an element that is no field. `when(value)` says whether a
// field is shown for what the form holds now.

import {Refused, sentence} from "./api.js";
import {make} from "./dom.js";
import {makeControl, mark, unmark} from "./fields.js";

const forms = new WeakMap();

/**
 * @param {object[]} fields
 * @param {object} value the object as it is, whose keys without a field are kept
 * @param {{onSubmit: function(object, HTMLFormElement): Promise, submitText?: string, isNew?: boolean, readOnly?: boolean,
 *   actions?: Node[]}} options `onSubmit` gets what the form reads as; false says that it was not saved, and what it throws is
 *   shown. `actions` stand beside the button that saves.
 * @returns {HTMLFormElement}
 */
export function makeForm(fields, value, {onSubmit, submitText = "Save", isNew = false, readOnly = false, actions = []} = {}) {
  const form = make("form", {className: "objectForm", noValidate: true, autocomplete: "off"});
  const summary = make("div", {className: "alert formSummary", role: "alert", tabIndex: -1, hidden: true});
  const state = {fields, readOnly, summary, onSubmit, isBusy: false, isNew};
  forms.set(form, state);
  if (!readOnly) state.bar = makeBar(form, state, submitText, actions);
  fill(form, state, value);
  state.saved = told(form);
  if (!readOnly) watch(form, state);
  return form;
}

function fill(form, state, value) {
  Object.assign(state, {base: structuredClone(value ?? {}), controls: [], shown: []});
  form.replaceChildren(state.summary, ...state.fields.map((field) => placed(field, state, state.readOnly)));
  if (state.bar) form.append(state.bar);
  showFitting(form);
}

/** Has the form hold another value, `saved` being what is saved of it: the rest is not saved yet. */
export function refill(form, saved, value) {
  const state = forms.get(form);
  clearProblems(form);
  fill(form, state, saved);
  state.saved = told(form);
  fill(form, state, value);
  state.unsaved.textContent = isChanged(form) ? "Not saved yet" : "";
  state.controls[0]?.target.focus();
}

/** What the field of a key is called. */
export function labelOf(form, key) {
  const found = forms.get(form).controls.filter(({field}) => key === field.key || key.startsWith(`${field.key}.`));
  return found.length ? found[0].field.label : key;
}

function placed(field, state, readOnly) {
  if (field.kind === "part") {
    const made = field.make();
    if (field.when) state.shown.push({when: field.when, element: made});
    return made;
  }
  if (field.kind !== "section") {
    const control = makeControl(field, at(state.base, field.key), readOnly);
    state.controls.push(control);
    if (field.when) state.shown.push({when: field.when, element: control.element});
    return control.element;
  }
  const heading = make("h2", {textContent: field.label, id: `section${state.controls.length}`});
  const help = field.help ? make("p", {className: "note", textContent: field.help}) : null;
  const card = make("section", {className: "card formSection", "aria-labelledby": heading.id}, heading, help);
  card.append(...field.fields.map((each) => placed(each, state, readOnly)));
  if (field.when) state.shown.push({when: field.when, element: card});
  return card;
}

function makeBar(form, state, submitText, actions) {
  const unsaved = make("p", {className: "note formState", role: "status"});
  const save = make("button", {type: "submit", className: "primary", textContent: submitText});
  state.save = save;
  state.unsaved = unsaved;
  return make("div", {className: "formBar"}, unsaved, ...actions, save);
}

function watch(form, state) {
  const changed = (event) => {
    if (event?.target.matches?.("[aria-invalid]")) unmark(event.target);
    showFitting(form);
    state.unsaved.textContent = isChanged(form) ? "Not saved yet" : "";
  };
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(form, state);
  });
  addEventListener("beforeunload", (event) => {
    if (form.isConnected && isChanged(form)) event.preventDefault();
  });
}

function showFitting(form) {
  const {shown} = forms.get(form);
  if (!shown.length) return;
  const value = readForm(form);
  for (const {when, element: part} of shown) part.hidden = !when(value);
}

// --- values

const at = (value, key) => key.split(".").reduce((inner, name) => inner?.[name], value);

function put(value, key, part) {
  const names = key.split(".");
  const last = names.pop();
  let inner = value;
  for (const name of names) inner = inner[name] ??= {};
  if (part === undefined) delete inner[last];
  else inner[last] = part;
}

/** What the form says, with the keys that it does not know; without `revision`, which is a condition and no part of it. */
export function readForm(form) {
  const {base, controls} = forms.get(form);
  const value = structuredClone(base);
  for (const {field, read} of controls) put(value, field.key, read());
  delete value.revision;
  return value;
}

const told = (form) => JSON.stringify(readForm(form));

/** What `readForm` gave when the form was made, or saved. */
export const savedForm = (form) => JSON.parse(forms.get(form).saved);

export const isChanged = (form) => told(form) !== forms.get(form).saved;

/** Says that what the form holds is saved. */
export function markSaved(form) {
  const state = forms.get(form);
  state.saved = told(form);
  if (state.unsaved) state.unsaved.textContent = "";
}

// --- sending

async function submit(form, state) {
  if (state.isBusy) return;
  clearProblems(form);
  const wrong = state.controls.filter((each) => !each.element.closest("[hidden]")).map((each) => ({path: each.field.key, message: each.check()}));
  const problems = wrong.filter((each) => each.message);
  if (problems.length) {
    showProblems(form, problems);
    return;
  }
  state.isBusy = true;
  state.save.setAttribute("aria-disabled", "true");
  try {
    if ((await state.onSubmit(readForm(form), form)) !== false) markSaved(form);
  } catch (error) {
    showFailure(form, error);
  } finally {
    state.isBusy = false;
    state.save.removeAttribute("aria-disabled");
  }
}

/** Shows why it was not saved: each problem at its field, what belongs to none at the head. */
export function showFailure(form, error) {
  const errors = error instanceof Refused ? (error.problem.errors ?? []) : [];
  if (!(error instanceof Refused) && !(error instanceof Error)) throw error;
  if (errors.length) showProblems(form, errors);
  else showProblems(form, [{path: "", message: error.message}]);
}

export function clearProblems(form) {
  unmark(form);
  const {summary} = forms.get(form);
  summary.hidden = true;
  summary.replaceChildren();
}

/** The parts of a problem's path within its object: of `users[alice].mounts[0].path`, mounts, 0 and path. */
export function partsOf(path) {
  const parts = path.split(/[.[\]/]+/).filter(Boolean);
  return /^[a-zA-Z]+(\[|\/)/.test(path) && SECTIONS.has(parts[0]) ? parts.slice(2) : parts;
}

const SECTIONS = new Set(["users", "groups", "backends", "listeners", "admins", "certificates", "hostKeys", "checkers", "observers", "nodes"]);

function placeOf(form, path) {
  const {controls} = forms.get(form);
  const isOwn = controls.some((each) => each.field.key === path.split(/[.[]/)[0]);
  const parts = isOwn ? path.split(/[.[\]/]+/).filter(Boolean) : partsOf(path);
  for (let length = parts.length; length > 0; length -= 1) {
    const control = controls.find((each) => each.field.key === parts.slice(0, length).join("."));
    if (control) return {control, input: control.place?.(parts.slice(length)) ?? control.target};
  }
  return null;
}

/** @param {{path: string, message: string}[]} problems */
export function showProblems(form, problems) {
  const {summary} = forms.get(form);
  const rows = problems.map(({path, message}) => {
    const said = sentence(message);
    const found = placeOf(form, path);
    if (!found || found.control.element.closest("[hidden]")) return make("li", {textContent: path && !found ? `${path}: ${said}` : said});
    mark(found.input, said);
    const link = make("a", {href: `#${found.input.id}`, textContent: found.control.field.label});
    link.addEventListener("click", (event) => {
      event.preventDefault();
      found.input.focus();
    });
    return make("li", {}, link, `: ${said}`);
  });
  const count = problems.length === 1 ? "It is not saved:" : `It is not saved: ${problems.length} things are wrong.`;
  summary.replaceChildren(make("p", {textContent: count}), make("ul", {}, ...rows));
  summary.hidden = false;
  summary.focus();
  summary.scrollIntoView({block: "center"});
}
