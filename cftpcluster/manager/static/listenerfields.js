// The fields of a listener, by its kind.

import {make} from "./dom.js";
import {fieldFor, schemas} from "./schemafields.js";

/** What kinds serve, for people. */
export const KINDS = {
  ftp: {text: "FTP"},
  sftp: {text: "SFTP and SCP", hasTLS: false},
  web: {text: "HTTPS, for users"},
  manager: {text: "The Manager"},
  cluster: {text: "Links between nodes", hasTLS: false},
  health: {text: "Health and metrics", hasTLS: false},
};

const COMMON = ["name", "kind", "port", "allow", "deny", "proxyProtocol", "trustedProxies", "certificate", "revision"];
const CHOICE_HELP = {
  proxyProtocol: [
    {value: "off", text: "No balancer", help: "Clients connect to the nodes themselves."},
    {value: "optional", text: "Balancer or not", help: "Connections from trusted balancers have to carry a PROXY header, others must not."},
    {value: "required", text: "Balancer only", help: "Only trusted balancers may connect."},
  ],
  tls: [
    {value: "required", text: "Required", help: "No log-in and no data without TLS."},
    {value: "optional", text: "Optional", help: "The client chooses. Passwords of those who choose otherwise can be read on their way."},
    {value: "off", text: "Off", help: "Everything can be read on its way."},
  ],
};

/** The schemas of options, by kind and key. */
export async function kindsOf() {
  const all = await schemas();
  const found = {};
  for (const each of all.ListenerWritten.anyOf ?? [all.ListenerWritten]) {
    const options = Object.entries(each.properties).filter(([key]) => !COMMON.includes(key));
    found[each.properties.kind.const] = Object.fromEntries(options);
  }
  common = (all.ListenerWritten.anyOf ?? [all.ListenerWritten])[0].properties;
  return found;
}

let common = {};

const commonField = (key, more = {}) => fieldFor(key, common[key], more);

export function fieldsFor({kinds, value, isNew, certificates}) {
  const hasTLS = (now) => KINDS[now.kind]?.hasTLS !== false;
  const general = [commonField("port", {label: "Port", kind: "number", least: 1, most: 65535})];
  if (isNew) {
    const made = Object.keys(kinds).filter((kind) => !["cluster"].includes(kind));
    general.unshift(
      {key: "name", label: "Name", kind: "text", required: true, help: "Letters, digits and . _ @ -, such as sftp-partners. It stays so.", maxLength: 64},
      {key: "kind", label: "Serves", kind: "choice", choices: made.map((kind) => ({value: kind, text: KINDS[kind]?.text ?? kind}))},
    );
  }
  return [
    {kind: "section", label: "Where", fields: general},
    {kind: "section", label: "Who may connect", help: "Whoever may not is closed out before the first byte.", fields: [commonField("allow", {none: "Anybody"}), commonField("deny")]},
    {
      kind: "section",
      label: "Balancers",
      fields: [commonField("proxyProtocol", {label: "Who connects", help: "Whether connections start with a PROXY header, which says who the client really is.", choices: CHOICE_HELP.proxyProtocol}), commonField("trustedProxies", {label: "Trusted balancers", when: (now) => now.proxyProtocol !== "off"})],
    },
    {
      kind: "section",
      label: "Certificate",
      when: hasTLS,
      fields: [commonField("certificate", {label: "Certificate", kind: "choice", choices: certificates, help: "What the listener proves itself with. To clients that ask for a host by name, the first certificate is shown that is for it."})],
    },
    ...Object.entries(kinds).filter(([kind, options]) => (isNew || kind === value.kind) && Object.keys(options).length).map(([kind, options]) => optionSection(kind, options, isNew)),
  ];
}

function optionSection(kind, options, isNew) {
  const fields = Object.entries(options).map(([key, schema]) => optionField(key, schema)).filter(Boolean);
  return {kind: "section", label: `Options of ${KINDS[kind]?.text ?? kind}`, fields, ...(isNew ? {when: (now) => now.kind === kind} : {})};
}

function optionField(key, schema) {
  if (key === "passiveAddress") return passiveField(key, schema);
  if (key === "clientAuthorities") return fieldFor(key, schema, {kind: "pem", when: (now) => now.clientCertificates !== "off", read: undefined});
  if (CHOICE_HELP[key]) return fieldFor(key, schema, {help: "", choices: CHOICE_HELP[key]});
  return fieldFor(key, schema, key === "rekeyBytes" ? {unit: "GB"} : {});
}

/** One address for all clients, or lines of a network and its address. */
function passiveField(key, schema) {
  const shown = (value) => (Array.isArray(value) ? value.map((each) => `${each.network} ${each.address}`).join("\n") : (value ?? ""));
  const lines = (area) => area.value.split("\n").map((line) => line.trim()).filter(Boolean);
  return fieldFor(key, schema, {
    kind: "custom",
    help: "The IPv4 address that clients are told for data connections. One address for all, or lines with a network and its address, such as “10.0.0.0/8 10.1.2.3”, of which the first that fits counts. Empty: the address that the client connected to.",
    make: (value, {id, isReadOnly} = {}) => make("textarea", {id: id ?? "passiveAddress", rows: 2, className: "monospace", spellcheck: false, value: shown(value), readOnly: Boolean(isReadOnly)}),
    read: (area) => {
      const found = lines(area);
      if (found.length < 2 && !found[0]?.includes(" ")) return found[0] ?? "";
      return found.map((line) => ({network: line.split(/\s+/)[0], address: line.split(/\s+/)[1] ?? ""}));
    },
    check: (area) => (lines(area).length > 1 && lines(area).some((line) => line.split(/\s+/).length !== 2) ? "Each line has a network and an address." : ""),
  });
}

