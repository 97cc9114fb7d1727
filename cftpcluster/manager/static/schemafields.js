// Fields of a form, made from JSON Schema as the API's description has it: what an option means is said there.

import {send, sentence} from "./api.js";

/** What options are called; the others by their key. */
const LABELS = {
  allow: "May connect",
  appendUnconfirmed: "Take changes unconfirmed",
  auditBytes: "Audit log, at most",
  auditSeconds: "Audit log, for how long",
  banAfterFailures: "Failures that ban an address",
  banSeconds: "A ban lasts",
  banWindowSeconds: "Failures count for",
  clientAuthorities: "Authorities of client certificates",
  clientCertificates: "Client certificates",
  deny: "May not connect",
  drainGraceSeconds: "Grace for balancers",
  drainSeconds: "Transfers may finish for",
  historyRevisions: "Revisions kept",
  implicit: "TLS from the first byte",
  keepAliveSeconds: "Ask silent clients after",
  leastPasswordCharacters: "Least length of a password",
  legacyAlgorithms: "Algorithms for old clients",
  loginAttempts: "Log-ins for each connection",
  loginSeconds: "Time to log in",
  loginsPerMinute: "Log-ins a minute from one address",
  neverBan: "Never banned",
  partialSeconds: "Broken uploads are kept for",
  passiveAddress: "Passive address",
  passivePorts: "Passive ports",
  passwords: "Passwords",
  probeNetworks: "Networks of probes",
  rekeyBytes: "New keys after",
  rekeySeconds: "New keys after a time of",
  requireCloseNotify: "Uploads have to end properly",
  sessionAbsoluteSeconds: "A web session lasts at most",
  sessionIdleSeconds: "An unused web session lasts",
  sessionsPerAddress: "Sessions from one address",
  synchronousFollowers: "Nodes that have to have a change",
  tls: "TLS",
  tlsSessionReuse: "Resumed TLS sessions",
  uploadLimitBytes: "Largest upload",
  waitingConnections: "Connections before log-in",
};

const NUMBERS = {integer: true, number: true};
let described = null;

/** The schemas of the API's description, by name; asked for once. */
export function schemas() {
  described ??= send("GET", "/api/v1/openapi.json").then(async (response) => (await response.json()).components.schemas);
  return described;
}

const typesOf = (schema) => [schema.type ?? []].flat();
const words = (key) => key.replace(/(Seconds|Bytes)$/, "").replace(/[A-Z]/g, (each) => ` ${each.toLowerCase()}`);
const capital = (text) => text[0].toUpperCase() + text.slice(1);

export const labelOf = (key) => LABELS[key] ?? capital(words(key));

function kindOf(key, schema) {
  const types = typesOf(schema);
  if (schema.enum) return "choice";
  if (types.includes("boolean")) return "switch";
  if (types.some((each) => NUMBERS[each])) return key.endsWith("Seconds") ? "seconds" : key.endsWith("Bytes") ? "bytes" : "number";
  if (types.includes("array")) return "list";
  return types.includes("string") ? "text" : null;
}

/** A field for a key, or null where its values are of a form that takes more. */
export function fieldFor(key, schema, more = {}) {
  const kind = more.kind ?? kindOf(key, schema);
  if (!kind) return null;
  const field = {key, label: labelOf(key), help: sentence(schema.description?.replaceAll("`", "") ?? ""), kind};
  if (schema.enum) field.choices = schema.enum.map((value) => ({value, text: capital(value)}));
  if (kind === "number" || kind === "seconds" || kind === "bytes") Object.assign(field, {least: 0, required: schema.default === undefined});
  if (kind === "list" && /CIDR|network/.test(schema.description ?? "")) Object.assign(field, {placeholder: "192.0.2.0/24", none: "None"});
  return {...field, ...more};
}

/** A value with the defaults of keys that it does not have. */
export function withDefaults(value, properties) {
  const whole = structuredClone(value);
  for (const [key, schema] of Object.entries(properties)) if (schema.default !== undefined) whole[key] ??= structuredClone(schema.default);
  return whole;
}

/** A value without the keys that were not there before, and are as they are by default. */
export function withoutDefaults(value, before, properties) {
  const isDefault = (key) => JSON.stringify(value[key]) === JSON.stringify(properties[key]?.default);
  return Object.fromEntries(Object.entries(value).filter(([key]) => key in before || !(key in properties) || !isDefault(key)));
}
