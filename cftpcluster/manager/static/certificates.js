// Certificates for TLS and SSH host keys: what there is, what uses it, and how it is replaced.

import {call, send} from "./api.js";
import {write} from "./changes.js";
import {ask, button, displayed, durationText, element, icon, make, showMenu} from "./dom.js";
import {attempt} from "./attempt.js";
import {makeForm} from "./form.js";
import {asked, facts, showLoadFailure, showPart} from "./objectpage.js";
import {copyText} from "./secretfields.js";

const BACK = {href: "/certificates", text: "Certificates and keys"};
const CANCEL = {text: "Cancel", value: ""};
const SOON_SECONDS = 21 * 86400;
const PEM = "-----BEGIN ";

const mayAct = document.body.dataset.role === "full";
const certificateURL = (name, rest = "") => `/api/v1/certificates/${encodeURIComponent(name)}${rest}`;
const hostKeyURL = (name) => `/api/v1/hostkeys/${encodeURIComponent(name)}`;
const pageFor = (what, name = "") => `/certificates?do=${what}${name ? `&name=${encodeURIComponent(name)}` : ""}`;
const note = (text) => make("p", {className: "note partNote", textContent: text});
const pem = (key, label, help, more = {}) => ({key, label, help, kind: "pem", required: true, placeholder: `${PEM}…`, ...more});
const NAME = {key: "name", label: "Name", kind: "text", required: true, maxLength: 64, help: "What it is called here. Letters, digits and . _ @ -"};

// --- what there is

async function showAll() {
  const found = await (await send("GET", "/api/v1/keys")).json();
  element("content").replaceChildren(
    part("Certificates", "Listeners prove themselves with them. What is replaced is used at once, on every node: connections that stand go on with the old one.", [["plus", "Upload", pageFor("upload")], ["key-round", "Make a key and a request", pageFor("request")]]),
    make("ul", {className: "keyCards", "aria-label": "Certificates"}, ...found.certificates.map(certificateCard)),
    part("SSH host keys", "The same on every node. Of several of one type the oldest proves the host; the others wait, and clients that log in learn them. To replace one: add another, give clients some weeks to learn it, then remove the old one.", [["plus", "Add a host key", pageFor("hostkey")]]),
    make("ul", {className: "keyCards", "aria-label": "Host keys"}, ...found.hostKeys.map(hostKeyCard)),
  );
}

function part(title, text, links) {
  const actions = mayAct ? links.map(([picture, label, href], index) => make("a", {className: index ? "button" : "button primary", href}, icon(picture), label)) : [];
  return make("div", {}, make("div", {className: "partHead"}, make("h2", {textContent: title}), make("div", {className: "pageActions"}, ...actions)), note(text));
}

function endBadge({ends, problem}) {
  if (problem) return make("span", {className: "badge bad", textContent: "Unreadable"});
  const left = ends - Date.now() / 1000;
  if (left <= 0) return make("span", {className: "badge bad", textContent: "Has expired"});
  return make("span", {className: `badge ${left < SOON_SECONDS ? "bad" : "good"}`, textContent: `Ends in ${durationText(left)}`});
}

function card(title, badge, pairs, items) {
  const head = make("div", {className: "keyHead"}, make("h3", {}, make("bdi", {textContent: displayed(title)})), badge);
  if (mayAct) {
    const opener = button("ellipsis-vertical", {label: `Actions for ${displayed(title)}`});
    opener.setAttribute("aria-haspopup", "menu");
    opener.setAttribute("aria-expanded", "false");
    opener.addEventListener("click", () => showMenu(opener, `Actions for ${displayed(title)}`, items));
    head.append(opener);
  }
  return make("li", {className: "card keyCard"}, head, facts(pairs));
}

const dayOf = (seconds) => make("time", {dateTime: new Date(1000 * seconds).toISOString(), title: new Date(1000 * seconds).toLocaleString(undefined, {dateStyle: "full", timeStyle: "long"}), textContent: new Date(1000 * seconds).toLocaleDateString(undefined, {dateStyle: "medium"})});

function certificateCard(one) {
  const {name, listeners, problem} = one;
  const pairs = problem
    ? [["Problem", problem]]
    : [
        ["For", one.names.join(", ") || one.subject],
        ["Issued by", one.selfSigned ? "itself, so clients do not trust it by themselves" : one.issuer],
        ["Ends", dayOf(one.ends)],
        ["Key", `${one.keyType}, ${one.chainLength === 1 ? "no further certificates" : `a chain of ${one.chainLength}`}`],
        ["SHA-256", make("span", {className: "monospace", textContent: one.fingerprint})],
      ];
  pairs.push(["Used by", listeners.join(", ") || "no listener by name"]);
  return card(name, endBadge(one), pairs, [
    {text: "Replace…", picture: "upload", href: pageFor("upload", name)},
    {text: "Signing request…", picture: "file-text", href: pageFor("request", name)},
    {text: "Import what was signed…", picture: "download", href: pageFor("import", name)},
    {text: "Remove…", picture: "trash-2", classes: "danger", run: () => askRemoveCertificate(one)},
  ]);
}

function hostKeyCard(one) {
  const badge = one.problem ? ["bad", "Unusable"] : one.inUse ? ["good", "In use"] : ["warn", "Waits"];
  const pairs = [["Problem", one.problem], ["Type", one.keyType], ["Fingerprint", one.fingerprint && make("span", {className: "monospace", textContent: one.fingerprint})], ["Since", `revision ${one.since}`]];
  return card(one.name, make("span", {className: `badge ${badge[0]}`, textContent: badge[1]}), pairs, [
    {text: "Copy the public key", picture: "copy", run: () => copyText(one.publicKey, "The public key is copied.")},
    {text: "Replace at once…", picture: "upload", href: pageFor("hostkey", one.name)},
    {text: "Remove…", picture: "trash-2", classes: "danger", run: () => askRemoveHostKey(one)},
  ]);
}

// --- out

async function remove(url, name) {
  const answer = await attempt(() => write("DELETE", url, {describe: `${displayed(name)} removed`}));
  if (answer) await attempt(showAll);
}

async function askRemoveCertificate({name, listeners}) {
  const used = listeners.length ? `Used by ${listeners.map(displayed).join(", ")}: these have to name another one first.` : "No listener names it.";
  const chosen = await ask(`Remove ${displayed(name)}?`, [make("p", {textContent: `Its key is gone for good. ${used}`})], [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}]);
  if (chosen) await remove(certificateURL(name), name);
}

async function askRemoveHostKey({name, inUse, keyType}) {
  const text = inUse ? `Another ${keyType} key proves the host from now on, where there is one. Clients that have not learnt it are warned, or refuse to connect.` : "It only waits: no client notices.";
  const chosen = await ask(`Remove ${displayed(name)}?`, [make("p", {textContent: text})], [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}]);
  if (chosen) await remove(hostKeyURL(name), name);
}

// --- in

/** The parts of a text that holds certificates, a key, or both, as some authorities send them. */
function divided(text) {
  const blocks = text.match(/-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g) ?? [];
  const isKey = (each) => each.includes("PRIVATE KEY-----");
  const joined = (some) => some.map((each) => `${each}\n`).join("");
  return {certificates: joined(blocks.filter((each) => !isKey(each))), key: joined(blocks.filter(isKey))};
}

function showUpload(name) {
  const fields = [
    ...(name ? [] : [NAME]),
    pem("chain", "Certificate and chain", "PEM, the server’s own first, then those of the authorities up to the root. Choose or drop several files one after the other.", {adds: true, rows: 8}),
    pem("key", "Private key", `PEM, without a password. It is sealed, and never shown again.${name ? " Empty: the key stays as it is." : " May stand in the field above, too."}`, {required: false}),
  ];
  const form = makeForm([{kind: "section", label: "What proves it", fields}], {}, {isNew: !name, submitText: name ? "Replace" : "Upload", onSubmit: (now) => saveCertificate(now, name)});
  showPart(name ? `Replace ${name}` : "Upload a certificate", BACK, note("Whether key and chain fit, and whether clients would take them, is looked at before anything changes."), form);
}

async function saveCertificate({name, chain, key}, existing) {
  const both = divided(chain);
  const given = key ?? both.key;
  const json = {chain: both.certificates || chain, ...(given ? {key: {secret: given}} : {})};
  const done = existing ? await write("PATCH", certificateURL(existing), {json, describe: `${displayed(existing)} replaced`}) : await write("POST", "/api/v1/certificates", {json: {name, ...json}, describe: `${displayed(name)} added`});
  if (done) await goBack();
  return Boolean(done);
}

async function goBack() {
  history.pushState(null, "", "/certificates");
  document.querySelector(".pageHead h1").textContent = "Certificates and keys";
  await showAll();
}

function showRequest(name) {
  const fields = [...(name ? [] : [NAME]), {key: "names", label: "Host names and addresses", kind: "list", required: true, placeholder: "files.example.org", help: "What clients connect to. The first becomes the subject."}];
  const help = name ? "The request is for the key that is there." : "A key is made in the cluster, and never leaves it. Until an authority has signed, listeners can serve with a certificate that the key has signed itself.";
  const form = makeForm([{kind: "section", label: "For whom", help, fields}], {}, {
    isNew: true,
    submitText: "Make the request",
    onSubmit: async (now) => {
      const answer = await call("POST", certificateURL(name || now.name, "/csr"), {json: {names: now.names}});
      showMade(name || now.name, answer);
    },
  });
  showPart(name ? `Signing request for ${name}` : "Make a key and a request", BACK, form);
}

function showMade(name, {csr}) {
  const text = make("pre", {className: "code", tabIndex: 0, "aria-label": "Signing request", textContent: csr});
  const copying = button("copy", {text: "Copy", classes: "primary"});
  copying.addEventListener("click", () => copyText(csr, "The request is copied."));
  const saving = make("a", {className: "button", download: `${name}.csr`, href: URL.createObjectURL(new Blob([csr], {type: "application/pkcs10"}))}, icon("download"), "Save as a file");
  const importing = make("a", {className: "button", href: pageFor("import", name)}, icon("upload"), "Import what was signed");
  const made = make("section", {className: "card formCard"}, make("p", {textContent: "Have your authority sign this request, then import what it sends. The key stays in the cluster."}), text, make("div", {className: "logoRow"}, copying, saving, importing));
  showPart(`Signing request for ${name}`, BACK, made);
}

function showImport(name) {
  const fields = [pem("chain", "Signed certificate and chain", "PEM, as the authority sent it: the server’s own first.", {adds: true, rows: 8})];
  const form = makeForm([{kind: "section", label: "What was signed", help: "It has to be for the key of the request.", fields}], {}, {isNew: true, submitText: "Import", onSubmit: (now) => saveCertificate(now, name)});
  showPart(`Import ${name}`, BACK, form);
}

function showHostKey(name) {
  const fields = [...(name ? [] : [NAME]), pem("key", "Private key", "Ed25519 or RSA with at least 2048 bits, in OpenSSH’s form or PEM, without a password. It is sealed, and never shown again.")];
  const command = make("pre", {className: "code", tabIndex: 0, "aria-label": "Command", textContent: "ssh-keygen -t ed25519 -N '' -C '' -f ssh_host_ed25519_key"});
  const how = make("section", {className: "card formSection"}, make("h2", {textContent: "Where from"}), note("Make one on any machine, and delete the file there afterwards:"), command);
  const warning = name ? make("p", {className: "alert", textContent: "Clients that know the old key are warned, or refuse to connect. If it is not urgent, add another key instead, and remove this one some weeks later."}) : null;
  const form = makeForm([{kind: "section", label: "The key", fields}], {}, {
    isNew: !name,
    submitText: name ? "Replace at once" : "Add the key",
    onSubmit: async (now) => {
      const json = {key: {secret: now.key}};
      const done = name ? await write("PATCH", hostKeyURL(name), {json, describe: `${displayed(name)} replaced`}) : await write("POST", "/api/v1/hostkeys", {json: {name: now.name, ...json}, describe: `${displayed(now.name)} added`});
      if (done) await goBack();
      return Boolean(done);
    },
  });
  showPart(name ? `Replace ${name}` : "Add a host key", BACK, warning, how, form);
}

// --- which of these

const PARTS = {upload: showUpload, request: showRequest, import: showImport, hostkey: showHostKey};

function show() {
  const wanted = mayAct ? PARTS[asked("do")] : undefined;
  if (wanted) wanted(asked("name") ?? "");
  else showAll().catch((error) => showLoadFailure(error, BACK));
}

addEventListener("popstate", () => location.reload());
show();
