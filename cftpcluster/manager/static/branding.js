// What the file manager looks like: name, logo and colour, and how that comes out.

import {button, make, tell} from "./dom.js";

const LOGO_BYTES = 64 * 1024;
const BUILT_IN = {name: "Files", accentColor: "#2457c5"};
const COLOUR = /^#[0-9a-f]{6}$/i;

/** The fields; what they hold is shown as it will look. */
export function brandingFields(branding) {
  const shown = {name: branding.name ?? "", logo: branding.logo ?? "", accentColor: branding.accentColor ?? ""};
  const preview = makePreview();
  const show = (key, value) => {
    shown[key] = value;
    preview.show(shown);
  };
  preview.show(shown);
  return [
    {
      key: "branding.name",
      label: "Name",
      kind: "custom",
      help: "Stands at the head of its pages, at most 60 characters. Empty: Files.",
      make: (value, {id, isReadOnly}) => {
        const input = make("input", {id, type: "text", value: value ?? "", maxLength: 60, readOnly: isReadOnly, autocomplete: "off"});
        input.addEventListener("input", () => show("name", input.value));
        return input;
      },
      read: (input) => input.value.trim(),
    },
    {key: "branding.logo", label: "Logo", kind: "custom", help: "A PNG or SVG picture of at most 64 KiB, shown 28 pixels high.", make: (value, context) => makeLogo(value, context, (data) => show("logo", data)), read: (row) => row.dataset.logo},
    {key: "branding.accentColor", label: "Colour of links and buttons", kind: "custom", help: "Made darker or lighter where it could not be read. Empty: blue.", make: (value, context) => makeColour(value, context, (text) => show("accentColor", text)), read: (row) => row.querySelector("[type=text]").value.trim(), check: (row) => (/^$|^#[0-9a-f]{6}$/i.test(row.querySelector("[type=text]").value.trim()) ? "" : "A colour is written as #rrggbb.")},
    {kind: "part", make: () => preview.element},
  ];
}

/** A picture of base64, which a page may only show as a blob; the kind is in its first bytes. */
function pictureURL(logo) {
  const bytes = Uint8Array.from(atob(logo), (each) => each.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], {type: bytes[0] === 0x89 ? "image/png" : "image/svg+xml"}));
}

function makePreview() {
  const picture = make("img", {alt: "", hidden: true});
  const name = make("span");
  const link = make("span", {textContent: "report.pdf"});
  const pressed = make("span", {className: "previewButton", textContent: "Upload"});
  const bar = make("div", {className: "previewBar"}, picture, name);
  const element = make("div", {className: "brandPreview", role: "img", "aria-label": "How it will look"}, bar, make("div", {className: "previewBody"}, pressed, link));
  const show = ({name: text, logo, accentColor}) => {
    name.textContent = text || BUILT_IN.name;
    const colour = COLOUR.test(accentColor) ? accentColor : BUILT_IN.accentColor;
    link.style.setProperty("color", colour);
    pressed.style.setProperty("background", colour);
    pressed.style.setProperty("color", isLight(colour) ? "#111" : "#fff");
    if (picture.src) URL.revokeObjectURL(picture.src);
    picture.hidden = !logo;
    if (logo) picture.src = pictureURL(logo);
    else picture.removeAttribute("src");
  };
  return {element, show};
}

function isLight(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 150;
}

function makeColour(value, {id, isReadOnly}, show) {
  const text = make("input", {id, type: "text", value: value ?? "", maxLength: 7, placeholder: "#2457c5", autocomplete: "off", spellcheck: false, readOnly: isReadOnly});
  const picker = make("input", {type: "color", className: "colour", value: COLOUR.test(value ?? "") ? value : BUILT_IN.accentColor, disabled: isReadOnly, "aria-label": "Choose a colour"});
  text.addEventListener("input", () => {
    if (COLOUR.test(text.value)) picker.value = text.value;
    show(text.value);
  });
  picker.addEventListener("input", () => {
    text.value = picker.value;
    show(text.value);
  });
  return make("div", {className: "colourRow"}, text, picker);
}

function makeLogo(value, {isReadOnly}, show) {
  const chooser = make("input", {type: "file", accept: ".png,.svg,image/png,image/svg+xml", hidden: true});
  const choose = button("upload", {text: "Choose a picture", classes: ""});
  const remove = button("trash-2", {text: "None", classes: "plain"});
  const row = make("div", {className: "logoRow"}, choose, remove, chooser);
  choose.disabled = isReadOnly;
  const put = (logo) => {
    row.dataset.logo = logo;
    remove.hidden = !logo || isReadOnly;
    show(logo);
    row.dispatchEvent(new Event("change", {bubbles: true}));
  };
  choose.addEventListener("click", () => chooser.click());
  remove.addEventListener("click", () => {
    put("");
    choose.focus();
  });
  chooser.addEventListener("change", async () => {
    const [file] = chooser.files;
    chooser.value = "";
    if (file.size > LOGO_BYTES) tell("The picture is too large: at most 64 KiB.", {failed: true});
    else put(btoa(String.fromCharCode(...new Uint8Array(await file.arrayBuffer()))));
  });
  put(value ?? "");
  return row;
}
