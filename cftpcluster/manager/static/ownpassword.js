// Changing the own password: the one that holds, and another one, twice.

import {Refused, call, sentence} from "./api.js";
import {button, make} from "./dom.js";

const RULES = {current: "It is needed as a proof.", new: "Choose a password.", again: "Type the new password once more."};

function makeField(id, label, autocomplete, help = "") {
  const input = make("input", {id, type: "password", autocomplete, required: true, maxLength: 1024, spellcheck: false});
  const problem = make("p", {id: `${id}Problem`, className: "ownProblem", hidden: true});
  const note = help ? make("p", {id: `${id}Help`, className: "note ownHelp", textContent: help}) : null;
  input.setAttribute("aria-describedby", note ? `${note.id} ${problem.id}` : problem.id);
  const say = (text) => {
    problem.textContent = text;
    problem.hidden = !text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  input.addEventListener("input", () => say(""));
  return {id, input, label: make("label", {for: id, textContent: label}), note, problem, say};
}

/** How well a password resists guessing, as far as its form tells: 0 to 3. */
function strengthOf(password, least) {
  const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\d/, /[^\p{L}\d]/u].filter((each) => each.test(password)).length;
  const different = new Set(password).size;
  if (password.length < least || different < 5) return 0;
  const worth = Math.min(password.length, different * 2) + 2 * (kinds - 1);
  return worth < 14 ? 1 : worth < 20 ? 2 : 3;
}

const STRENGTHS = ["Too easy to guess", "Could be better: make it longer", "Good", "Very good"];

function makeMeter(input, least) {
  const bar = make("meter", {min: 0, max: 3, low: 1, high: 2, optimum: 3, value: 0, "aria-hidden": "true"});
  const text = make("span", {className: "small", role: "status"});
  const meter = make("p", {className: "strength", hidden: true}, bar, text);
  input.addEventListener("input", () => {
    const strength = strengthOf(input.value, least);
    meter.hidden = !input.value;
    bar.value = strength;
    text.textContent = input.value.length < least ? `${input.value.length} of at least ${least} characters` : STRENGTHS[strength];
  });
  return meter;
}

function makeReveal(...inputs) {
  const reveal = button("eye", {label: "Show the passwords"});
  const show = (isShown) => {
    for (const each of inputs) each.type = isShown ? "text" : "password";
    reveal.setAttribute("aria-pressed", String(isShown));
  };
  show(false);
  reveal.addEventListener("click", () => show(inputs[0].type === "password"));
  return {reveal, conceal: () => show(false)};
}

/** Where each fault is told: what the server refuses stands at its field. */
function showFailure(error, fields, message) {
  const errors = error instanceof Refused ? (error.problem.errors ?? []) : [];
  for (const {path, message: text} of errors) fields.find((each) => each.id === path)?.say(sentence(path === "new" ? `it ${text}` : "this is not the password"));
  message.textContent = errors.length ? "" : sentence(error.message);
  message.hidden = Boolean(errors.length);
  (fields.find((each) => each.input.hasAttribute("aria-invalid")) ?? fields[0]).input.focus();
}

/**
 * @param {{least: number, currentLabel?: string, onDone: function(object): void}} options `least`: characters that a
 *   password must have
 * @returns {HTMLFormElement}
 */
export function makePasswordForm({least, currentLabel = "Present password", onDone}) {
  const rule = `At least ${least} characters. A few words that have nothing to do with each other are hard to guess, and easy to remember.`;
  const fields = [makeField("current", currentLabel, "current-password"), makeField("new", "New password", "new-password", rule), makeField("again", "New password, once more", "new-password")];
  const [current, fresh, again] = fields;
  const {reveal, conceal} = makeReveal(fresh.input, again.input);
  const message = make("p", {className: "alert", role: "alert", hidden: true});
  const submit = make("button", {type: "submit", className: "primary", textContent: "Change the password"});
  const form = make("form", {className: "ownPassword", noValidate: true}, message);
  form.append(make("input", {type: "text", autocomplete: "username", value: document.body.dataset.user, hidden: true}));
  form.append(current.label, current.input, current.problem);
  form.append(fresh.label, make("span", {className: "withButton"}, fresh.input, reveal), makeMeter(fresh.input, least), fresh.note, fresh.problem);
  form.append(again.label, again.input, again.problem, submit);

  function isWhole() {
    for (const each of fields) each.say(each.input.value ? "" : RULES[each.id]);
    if (fresh.input.value && [...fresh.input.value].length < least) fresh.say(`It must have at least ${least} characters.`);
    else if (fresh.input.value && again.input.value && fresh.input.value !== again.input.value) again.say("This is not what you typed above.");
    const first = fields.find((each) => each.input.hasAttribute("aria-invalid"));
    first?.input.focus();
    return !first;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    message.hidden = true;
    if (submit.disabled || !isWhole()) return;
    conceal();
    submit.disabled = true;
    try {
      const answer = await call("PUT", "/api/v1/account/password", {json: {current: current.input.value, new: fresh.input.value}});
      form.reset();
      fresh.input.dispatchEvent(new Event("input"));
      onDone(answer);
    } catch (error) {
      showFailure(error, fields, message);
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}
