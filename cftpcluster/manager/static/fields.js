// What a form's fields are made of: one control for each kind of value, with its label, its explanation and its error.
//
// A control is {element, target, read, check, place}: `target` takes the focus, `read` gives the value (undefined to leave the
// key out), `check` says what is wrong before anything is sent, `place` finds the input that a deeper part of a problem's path
// is about.

import {BYTE_UNITS, SECOND_UNITS, makeAmount, withZero} from "./amounts.js";
import {button, displayed, icon, make} from "./dom.js";
import {makeList} from "./listfield.js";
import {makePassword, makePem} from "./secretfields.js";

const PLAIN = {autocomplete: "off", spellcheck: false, "autocapitalize": "none"};

function makeText(field, value, {id, isReadOnly}) {
  const input = make("input", {id, type: "text", value: value ?? "", readOnly: isReadOnly, ...PLAIN});
  input.maxLength = field.maxLength ?? 4096;
  if (field.placeholder) input.placeholder = field.placeholder;
  if (field.monospace) input.className = "monospace";
  const parts = [input];
  if (field.suggestions?.length) {
    parts.push(make("datalist", {id: `${id}-suggested`}, ...field.suggestions.map((each) => make("option", {value: each}))));
    input.setAttribute("list", `${id}-suggested`);
  }
  const read = () => (field.nullable && !input.value.trim() ? null : field.untrimmed ? input.value : input.value.trim());
  return {parts, target: input, read, check: () => (field.required && !input.value.trim() ? "This is needed." : "")};
}

function makeNumber(field, value, {id, isReadOnly}) {
  const input = make("input", {id, type: "number", inputMode: "numeric", step: field.step ?? 1, readOnly: isReadOnly, className: "amount"});
  input.value = value ?? "";
  if (field.least !== undefined) input.min = field.least;
  if (field.most !== undefined) input.max = field.most;
  const check = () => {
    if (!input.value && !input.validity.badInput) return field.required ? "This is needed." : "";
    if (input.validity.badInput || input.validity.stepMismatch) return "This has to be a whole number.";
    if (input.validity.rangeUnderflow) return `This has to be at least ${input.min}.`;
    return input.validity.rangeOverflow ? `This can be ${Number(input.max).toLocaleString()} at most.` : "";
  };
  const read = () => (input.value === "" ? (field.nullable ? null : undefined) : Number(input.value));
  return {parts: [withZero(field, input, input)], target: input, check, read};
}

function makeChoice(field, value, {id, isReadOnly}) {
  const select = make("select", {id, disabled: isReadOnly});
  const choices = field.choices.map((each) => (typeof each === "string" ? {value: each, text: each} : each));
  if (value !== undefined && value !== null && !choices.some((each) => each.value === value)) choices.unshift({value, text: String(value)});
  for (const each of choices) select.append(make("option", {value: String(each.value), textContent: displayed(each.text), selected: each.value === value}));
  const told = make("p", {className: "note choiceHelp", id: `${id}-choice`});
  const chosen = () => choices[select.selectedIndex];
  const show = () => {
    told.textContent = chosen()?.help ?? "";
    told.hidden = !told.textContent;
  };
  select.addEventListener("change", show);
  show();
  return {parts: choices.some((each) => each.help) ? [select, told] : [select], target: select, read: () => chosen()?.value};
}

function makeChecks(field, value, {id, isReadOnly}) {
  const given = [...(value ?? [])];
  const known = field.choices.map((each) => (typeof each === "string" ? {value: each, text: each} : each));
  const boxes = known.map((each, index) => ({...each, box: make("input", {id: `${id}-${index}`, type: "checkbox", checked: given.includes(each.value), disabled: isReadOnly})}));
  const rows = boxes.map(({box, text, help}) => {
    const label = make("label", {className: "check", for: box.id}, box, make("span", {}, make("span", {textContent: text}), help ? make("span", {className: "note", textContent: help}) : null));
    return make("li", {}, label);
  });
  const others = given.filter((each) => !known.some((one) => one.value === each));
  const ticked = () => [...boxes.filter(({box}) => box.checked).map((each) => each.value), ...others];
  const isSame = (values) => values.length === given.length && values.every((each) => given.includes(each));
  // In the order that it had: in another one it would not be the same.
  const read = () => (isSame(ticked()) ? given : ticked());
  const check = () => (field.required && !read().length ? "Choose at least one." : "");
  return {isGroup: true, parts: [make("ul", {className: field.isShort ? "checks short" : "checks"}, ...rows)], target: boxes[0].box, read, check};
}

const padded = (number) => String(number).padStart(2, "0");

/** What `datetime-local` takes of a time: the browser's own. */
function localTime(text) {
  const date = new Date(text);
  if (!text || Number.isNaN(date.valueOf())) return "";
  return `${date.getFullYear()}-${padded(date.getMonth() + 1)}-${padded(date.getDate())}T${padded(date.getHours())}:${padded(date.getMinutes())}`;
}

function makeTime(field, value, {id, isReadOnly}) {
  const first = localTime(value);
  const input = make("input", {id, type: "datetime-local", value: first, readOnly: isReadOnly, className: "time", max: "9999-12-31T23:59"});
  const clear = button("x", {label: field.clear ?? "No time"});
  clear.addEventListener("click", () => {
    input.value = "";
    input.dispatchEvent(new Event("input", {bubbles: true}));
    input.focus();
  });
  const zone = make("span", {className: "note", textContent: Intl.DateTimeFormat().resolvedOptions().timeZone});
  const read = () => (input.value === first ? (value ?? null) : input.value ? new Date(input.value).toISOString().replace(".000Z", "Z") : null);
  const check = () => (input.validity.badInput ? "Give a day and a time." : "");
  return {parts: [make("div", {className: "inputRow"}, input, isReadOnly ? null : clear, zone)], target: input, read, check};
}

function makeCustom(field, value, context) {
  const made = field.make(value, context);
  const target = made.matches("input, select, textarea, button") ? made : made.querySelector("input, select, textarea, button");
  return {isGroup: target !== made, parts: [made], target: target ?? made, read: () => field.read(made), check: () => field.check?.(made) ?? "", place: (rest) => field.place?.(made, rest)};
}

const MAKERS = {
  text: makeText,
  password: makePassword,
  number: makeNumber,
  bytes: (field, value, context) => makeAmount(field, value, context, BYTE_UNITS),
  seconds: (field, value, context) => makeAmount(field, value, context, SECOND_UNITS),
  choice: makeChoice,
  list: makeList,
  checks: makeChecks,
  time: makeTime,
  pem: makePem,
  custom: makeCustom,
};

let made = 0;

/** A field's control, in its element. */
export function makeControl(field, value, isFormReadOnly) {
  made += 1;
  const id = `field${made}`;
  const isReadOnly = isFormReadOnly || Boolean(field.readOnly);
  const control = field.kind === "switch" ? makeSwitch(field, value, {id, isReadOnly}) : makeLabelled(field, value, {id, isReadOnly});
  control.element.dataset.key = field.key;
  return {field, check: () => "", ...control};
}

function makeSwitch(field, value, {id, isReadOnly}) {
  const box = make("input", {id, type: "checkbox", role: "switch", className: "switch", checked: Boolean(value), disabled: isReadOnly});
  const help = helpOf(field, id);
  if (help) box.setAttribute("aria-describedby", help.id);
  const element = make("div", {className: "field switchField"}, make("label", {for: id}, box, make("span", {textContent: field.label})), help);
  return {element, target: box, read: () => box.checked};
}

function helpOf(field, id) {
  return field.help ? make("p", {id: `${id}-help`, className: "note fieldHelp", textContent: field.help}) : null;
}

function makeLabelled(field, value, context) {
  const {id} = context;
  const control = MAKERS[field.kind](field, value, context);
  const help = helpOf(field, id);
  const optional = field.required && !context.isReadOnly ? make("span", {className: "needed", textContent: " (needed)"}) : null;
  const element = control.isGroup
    ? make("fieldset", {className: "field"}, make("legend", {}, field.label, optional), help, ...control.parts)
    : make("div", {className: "field"}, make("label", {for: control.target.id || id}, field.label, optional), help, ...control.parts);
  const described = [help?.id, element.querySelector(".choiceHelp")?.id].filter(Boolean).join(" ");
  if (described) (control.isGroup ? element : control.target).setAttribute("aria-describedby", described);
  return {...control, element};
}

// --- errors at their fields

/** Says at an input what is wrong with it. */
export function mark(input, message) {
  const place = input.closest(".inputRow, .withButton, .checks") ?? input;
  const problem = make("p", {className: "fieldProblem", id: `${input.id || "part"}-problem-${(made += 1)}`}, icon("circle-alert", "small"), make("span", {textContent: message}));
  place.after(problem);
  if (!input.id) input.id = `${problem.id}-input`;
  problem.dataset.of = input.id;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", `${problem.id} ${input.getAttribute("aria-describedby") ?? ""}`.trim());
}

/** Takes back what was said at an input, or at all within an element. */
export function unmark(root) {
  const marked = root.matches("[aria-invalid]") ? [root] : [...root.querySelectorAll("[aria-invalid]")];
  for (const input of marked) {
    input.removeAttribute("aria-invalid");
    const ids = (input.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => !id.includes("-problem-"));
    if (ids.join("")) input.setAttribute("aria-describedby", ids.join(" "));
    else input.removeAttribute("aria-describedby");
    for (const problem of document.querySelectorAll(`.fieldProblem[data-of="${input.id}"]`)) problem.remove();
  }
}
