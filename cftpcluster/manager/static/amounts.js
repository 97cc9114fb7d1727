// Fields for amounts with units: bytes, and times in seconds.

import {make} from "./dom.js";

export const BYTE_UNITS = [
  {text: "bytes", of: 1},
  {text: "kB", of: 1e3},
  {text: "MB", of: 1e6},
  {text: "GB", of: 1e9},
  {text: "TB", of: 1e12},
];
export const SECOND_UNITS = [
  {text: "seconds", of: 1},
  {text: "minutes", of: 60},
  {text: "hours", of: 3600},
  {text: "days", of: 86400},
];

/** The largest unit that tells an amount without a remainder worth a word. */
function unitFor(value, units, usual) {
  if (!value) return usual ?? units[units.length > 4 ? 3 : 0];
  return units.findLast((unit) => value >= unit.of && Number((value / unit.of).toFixed(3)) * unit.of === value) ?? units[0];
}

export function makeAmount(field, value, {id, isReadOnly}, units) {
  const unit = unitFor(value, units, units.find((each) => each.text === field.unit));
  const input = make("input", {id, type: "number", min: 0, step: "any", inputMode: "decimal", readOnly: isReadOnly, className: "amount"});
  input.value = value === undefined || value === null ? "" : String(value / unit.of);
  const select = make("select", {disabled: isReadOnly, "aria-label": `Unit of: ${field.label}`});
  const ending = field.perSecond ? " per second" : "";
  for (const each of units) select.append(make("option", {value: String(each.of), textContent: each.text + ending, selected: each === unit}));
  const read = () => (input.value === "" ? (field.nullable ? null : undefined) : Math.round(Number(input.value) * Number(select.value)));
  const check = () => {
    if (input.validity.badInput || input.validity.rangeUnderflow) return "This has to be a number, 0 or more.";
    const amount = read();
    if (field.required && amount === undefined) return "This is needed.";
    if (amount > Number.MAX_SAFE_INTEGER) return "This is too much.";
    if (amount && field.least && amount < field.least) return `This has to be at least ${field.least.toLocaleString()} ${units[0].text}${ending}.`;
    return "";
  };
  const both = make("span", {className: "amountRow"}, input, select);
  return {parts: [withZero(field, both, input)], target: input, read, check};
}

/** A number with what 0 means beside it. */
export function withZero(field, inputs, input) {
  if (!field.zero) return make("div", {className: "inputRow"}, inputs);
  const meaning = make("span", {className: "note"});
  const show = () => {
    meaning.textContent = input.value !== "" && Number(input.value) === 0 ? field.zero : "";
  };
  input.addEventListener("input", show);
  show();
  return make("div", {className: "inputRow"}, inputs, meaning);
}
