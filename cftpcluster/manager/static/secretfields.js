// Fields for what is pasted or made, and not shown again: passwords, keys and certificates.

import {button, make, tell} from "./dom.js";

const LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const MOST_FILE_BYTES = 256 * 1024;

/** 20 characters that nobody mixes up, in groups of five: 115 bits. */
export function makeGoodPassword() {
  const letters = [];
  while (letters.length < 20) {
    // Values beyond the last whole multiple would make the first letters likelier.
    const [random] = crypto.getRandomValues(new Uint8Array(1));
    if (random < 256 - (256 % LETTERS.length)) letters.push(LETTERS[random % LETTERS.length]);
  }
  return [0, 5, 10, 15].map((start) => letters.slice(start, start + 5).join("")).join("-");
}

/** A password to be set: never shown again once it is saved. `value` is one that was typed before. */
export function makePassword(field, value, {id, isReadOnly}) {
  const input = make("input", {id, type: "password", autocomplete: "new-password", spellcheck: false, maxLength: 1024, readOnly: isReadOnly, value: value ?? ""});
  if (field.placeholder) input.placeholder = field.placeholder;
  const reveal = button("eye", {label: "Show the password"});
  reveal.setAttribute("aria-pressed", "false");
  const show = (isShown) => {
    input.type = isShown ? "text" : "password";
    reveal.setAttribute("aria-pressed", String(isShown));
  };
  reveal.addEventListener("click", () => show(input.type === "password"));
  const row = make("div", {className: "inputRow"}, make("span", {className: "withButton grow"}, input, reveal));
  if (field.generate && !isReadOnly) row.append(...makeGenerator(input, show));
  const check = () => (field.required && !input.value ? "A password is needed." : "");
  return {parts: isReadOnly ? [make("p", {className: "note", textContent: "It is never shown."}), input] : [row], target: input, check, read: () => input.value || undefined};
}

function makeGenerator(input, show) {
  const generate = button("key-round", {text: "Generate", classes: ""});
  const copy = button("copy", {label: "Copy the password"});
  copy.hidden = true;
  generate.addEventListener("click", () => {
    input.value = makeGoodPassword();
    show(true);
    copy.hidden = false;
    input.dispatchEvent(new Event("input", {bubbles: true}));
    input.focus();
    input.select();
  });
  copy.addEventListener("click", () => copyText(input.value, "The password is copied. It is not shown again after it is saved."));
  return [copy, generate];
}

export async function copyText(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    tell(said);
  } catch {
    tell("This browser does not let pages copy. Select it, and copy it by hand.", {failed: true});
  }
}

/** The text of a file, where it is one of text and small. */
export async function textOf(file) {
  if (file.size > MOST_FILE_BYTES) throw new Error("The file is too large to be a key or a certificate.");
  const text = await file.text();
  if (text.includes("\0")) throw new Error("The file is not text. Convert it to PEM first.");
  return text;
}

/** A text that is pasted, chosen as a file, or dropped. */
export function makePem(field, value, {id, isReadOnly}) {
  const area = make("textarea", {id, rows: field.rows ?? 6, spellcheck: false, autocomplete: "off", className: "monospace", readOnly: isReadOnly, value: value ?? ""});
  if (field.placeholder) area.placeholder = field.placeholder;
  const put = (text) => {
    area.value = field.adds && area.value.trim() ? `${area.value.trim()}\n${text}` : text;
    area.dispatchEvent(new Event("input", {bubbles: true}));
  };
  acceptDrops(area, put);
  const check = () => (field.required && !area.value.trim() ? "This is needed." : "");
  const read = () => (area.value.trim() ? area.value : field.nullable ? null : undefined);
  const parts = [area];
  if (!isReadOnly) parts.push(makeChooser({text: field.chooseText ?? "Choose a file", accept: field.accept ?? ".pem,.crt,.cer,.key,.pub,.txt", put}));
  return {parts, target: area, read, check};
}

/** A button that has a file chosen, and hands on its text. */
export function makeChooser({text, accept, put}) {
  const chooser = make("input", {type: "file", accept, className: "hidden", tabIndex: -1, "aria-hidden": "true"});
  const choose = button("upload", {text, classes: ""});
  choose.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", async () => {
    for (const file of chooser.files) await putFile(file, put);
    chooser.value = "";
    choose.focus();
  });
  return make("div", {className: "chooser"}, choose, chooser);
}

/** Has files dropped on an element as well. */
export function acceptDrops(place, put) {
  place.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    place.classList.add("dropping");
  });
  place.addEventListener("dragleave", () => place.classList.remove("dropping"));
  place.addEventListener("drop", async (event) => {
    place.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    for (const file of event.dataTransfer.files) await putFile(file, put);
  });
}

async function putFile(file, put) {
  try {
    put(await textOf(file));
  } catch (error) {
    tell(error.message, {failed: true});
  }
}
