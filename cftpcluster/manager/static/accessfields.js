// Fields that users and groups have alike: folders, networks, how a log-in is proven, what users may change themselves.

import {button, displayed, make} from "./dom.js";

const RIGHTS = [
  {value: "list", text: "List"},
  {value: "download", text: "Download"},
  {value: "upload", text: "Upload"},
  {value: "overwrite", text: "Overwrite"},
  {value: "delete", text: "Delete"},
  {value: "rename", text: "Rename"},
  {value: "mkdir", text: "Make folders"},
  {value: "attributes", text: "Set times and modes"},
  {value: "links", text: "Make links"},
];
const SETS = [
  {text: "Everything but links", rights: RIGHTS.map((one) => one.value).filter((one) => one !== "links")},
  {text: "Look and download", rights: ["list", "download"]},
  {text: "Drop box: upload, never see", rights: ["upload", "mkdir"]},
  {text: "Upload and download, nothing is replaced", rights: ["list", "download", "upload", "mkdir"]},
];
const METHODS = ["publickey", "certificate", "password", "keyboard-interactive"];

const mounts = new WeakMap();
let made = 0;

const isSame = (one, other) => one.length === other.length && one.every((each) => other.includes(each));

// --- folders

/** A field for the folders that make up a tree. */
export function mountsField(backends, help) {
  return {
    key: "mounts",
    label: "Folders",
    kind: "custom",
    help,
    make: (value, {isReadOnly}) => makeMounts(value ?? [], backends, isReadOnly),
    read: (list) => [...list.querySelectorAll(".mount")].map((row) => mounts.get(row).read()),
    check: (list) => [...list.querySelectorAll(".mount")].map((row) => mounts.get(row).check()).find(Boolean) ?? "",
    place: (list, [index, key]) => mounts.get(list.querySelectorAll(".mount")[Number(index)])?.inputs[key] ?? null,
  };
}

function makeMounts(value, backends, isReadOnly) {
  const list = make("div", {className: "mounts"});
  const rows = make("div", {className: "mountRows"});
  const told = () => list.dispatchEvent(new Event("change", {bubbles: true}));
  const none = make("p", {className: "note", textContent: "None."});
  const showNone = () => {
    none.hidden = rows.childElementCount > 0;
  };
  const put = (mount) => {
    const row = makeMount(mount, backends, isReadOnly);
    mounts.get(row).remove?.addEventListener("click", () => {
      row.remove();
      showNone();
      list.querySelector(".addMount").focus();
      told();
    });
    rows.append(row);
    return row;
  };
  for (const each of value) put(each);
  showNone();
  list.append(rows, none);
  if (isReadOnly) return list;
  const add = button("folder-plus", {text: "Add a folder", classes: "addMount"});
  add.addEventListener("click", () => {
    const row = put({path: rows.childElementCount ? "" : "/", backend: backends[0] ?? "", permissions: SETS[0].rights, atomicUploads: true});
    showNone();
    mounts.get(row).inputs.path.focus();
    told();
  });
  list.append(add);
  return list;
}

function labelled(label, input, note = "") {
  made += 1;
  input.id = `mountPart${made}`;
  const help = note ? make("p", {className: "note", id: `${input.id}-note`, textContent: note}) : null;
  if (help) input.setAttribute("aria-describedby", help.id);
  return make("div", {className: "mountPart"}, make("label", {for: input.id, textContent: label}), input, help);
}

function makeMount(mount, backends, isReadOnly) {
  const plain = {type: "text", autocomplete: "off", spellcheck: false, "autocapitalize": "none", maxLength: 4096, readOnly: isReadOnly};
  const path = make("input", {...plain, value: mount.path ?? "", placeholder: "/in"});
  const folder = make("input", {...plain, value: mount.folder ?? "", placeholder: "all of it"});
  const known = backends.includes(mount.backend) ? backends : [mount.backend, ...backends].filter(Boolean);
  const backend = make("select", {disabled: isReadOnly}, ...known.map((name) => make("option", {value: name, textContent: displayed(name), selected: name === mount.backend})));
  const atomic = make("input", {type: "checkbox", checked: mount.atomicUploads !== false, disabled: isReadOnly});
  const rights = makeRights(mount.permissions ?? SETS[0].rights, isReadOnly);
  const remove = isReadOnly ? null : button("x", {label: "Remove this folder"});
  const head = make("div", {className: "mountHead"}, labelled("Seen at", path), labelled("On the backend", backend), labelled("In the folder", folder, "Made when it is missing."), remove);
  const check = make("label", {className: "check"}, atomic, make("span", {textContent: "Others see an upload only when it is complete"}));
  const row = make("fieldset", {className: "mount"}, make("legend", {className: "hidden", textContent: "Folder"}), head, rights.element, check);
  mounts.set(row, {
    remove,
    inputs: {path, backend, folder, permissions: rights.target},
    read: () => ({...mount, path: path.value.trim(), backend: backend.value, folder: folder.value.trim(), permissions: rights.read(), atomicUploads: atomic.checked}),
    check: () => (path.value.trim().startsWith("/") ? "" : "Say of each folder where users see it, such as / or /in."),
  });
  return row;
}

function makeRights(given, isReadOnly) {
  const boxes = RIGHTS.map((one) => ({...one, box: make("input", {type: "checkbox", checked: given.includes(one.value), disabled: isReadOnly})}));
  const chosen = () => boxes.filter(({box}) => box.checked).map(({value}) => value);
  const select = make("select", {disabled: isReadOnly}, ...SETS.map(({text}, index) => make("option", {value: String(index), textContent: text})), make("option", {value: "", textContent: "As ticked below"}));
  const list = make("ul", {className: "checks short"}, ...boxes.map(({box, text}) => make("li", {}, make("label", {className: "check"}, box, make("span", {textContent: text})))));
  const showSet = () => {
    const index = SETS.findIndex(({rights}) => isSame(rights, chosen()));
    select.value = index < 0 ? "" : String(index);
    list.hidden = index >= 0;
  };
  select.addEventListener("change", () => {
    const set = SETS[Number(select.value)]?.rights;
    if (select.value !== "" && set) for (const {box, value} of boxes) box.checked = set.includes(value);
    list.hidden = select.value !== "";
  });
  showSet();
  // As it was where nothing else was chosen: order included.
  const read = () => (isSame(given, chosen()) ? given : chosen());
  return {element: make("div", {}, labelled("What may be done there", select), list), target: select, read};
}

// --- who may log in, and how

export const networkFields = [
  {key: "allow", label: "May log in from", kind: "list", placeholder: "192.0.2.0/24", none: "Anywhere", help: "Networks or addresses. None: from anywhere."},
  {key: "deny", label: "May not log in from", kind: "list", placeholder: "192.0.2.0/24", none: "None", help: "Stronger than what is above."},
];

export const changeField = (help) => ({
  key: "mayChange",
  label: "May change themselves, over HTTPS",
  kind: "checks",
  isShort: true,
  choices: [{value: "password", text: "The password"}, {value: "publicKeys", text: "SSH keys"}],
  help,
});

const steps = (line) => line.split(/[,+]/).map((one) => one.trim()).filter(Boolean);
const lines = (area) => area.value.split("\n").map(steps).filter((one) => one.length);

/** What has to be proven: lines of which any one will do. */
export function authenticationField(empty) {
  return {
    key: "authentication",
    label: "What has to be proven",
    kind: "custom",
    help: `A line for each way to log in, with all that it takes, in order: ${METHODS.join(", ")}. “publickey, password” takes both. HTTPS takes a line with password alone. ${empty}`,
    make: (value, {id, isReadOnly}) => make("textarea", {id, rows: 2, className: "monospace", spellcheck: false, autocomplete: "off", readOnly: isReadOnly, value: (value ?? []).map((one) => one.join(", ")).join("\n")}),
    read: lines,
    check(area) {
      const wrong = lines(area).flat().find((one) => !METHODS.includes(one));
      return wrong ? `“${wrong}” is none of ${METHODS.join(", ")}.` : "";
    },
    place: (area) => area,
  };
}
