// The settings of the whole cluster.

import {element} from "./dom.js";
import {brandingFields} from "./branding.js";
import {makeForm} from "./form.js";
import {load, saveObject, showLoadFailure} from "./objectpage.js";
import {fieldFor, schemas, withDefaults} from "./schemafields.js";

const URL = "/api/v1/settings";

/** What belongs together; what is in none is at the end. */
const GROUPS = [
  {label: "Log-ins and bans", help: "Whoever fails to log in too often is kept out of all nodes for a while.", keys: ["banAfterFailures", "banWindowSeconds", "banSeconds", "neverBan", "loginsPerMinute", "sessionsPerAddress", "leastPasswordCharacters", "probeNetworks"]},
  {label: "Who may connect at all", keys: ["allow", "deny"]},
  {label: "Sessions on the web", help: "Of users and of administrators, on any node.", keys: ["sessionIdleSeconds", "sessionAbsoluteSeconds"]},
  {label: "Files", keys: ["partialSeconds"]},
  {label: "Nodes", keys: ["drainSeconds", "drainGraceSeconds", "synchronousFollowers", "appendUnconfirmed"]},
  {label: "History and audit log", keys: ["historyRevisions", "auditSeconds", "auditBytes"]},
];

const MORE = {
  banAfterFailures: {zero: "Nobody is banned", help: "So many failed log-ins of one address (IPv6: of one /64), over all protocols and nodes, ban it."},
  banWindowSeconds: {help: "Failures that are older do not count."},
  banSeconds: {help: "From its last failure on. Bans by hand can be longer or shorter."},
  loginsPerMinute: {zero: "No limit"},
  sessionsPerAddress: {zero: "No limit"},
  synchronousFollowers: {zero: "Does not wait for others"},
  allow: {none: "Anybody", help: "Networks that may connect to listeners for users and administrators. What listeners, users and groups allow and deny holds besides. Think of your own address."},
};

function groupsOf(properties) {
  const grouped = GROUPS.flatMap((one) => one.keys);
  const rest = Object.keys(properties).filter((key) => !grouped.includes(key) && !["branding", "revision"].includes(key));
  return rest.length ? [...GROUPS, {label: "More", keys: rest}] : GROUPS;
}

async function show() {
  const [{value, etag}, {Settings}] = await Promise.all([load(URL), schemas()]);
  const {properties} = Settings;
  const sections = groupsOf(properties).map(({label, help, keys}) => ({
    kind: "section",
    label,
    help,
    fields: keys.filter((key) => properties[key]).map((key) => fieldFor(key, properties[key], MORE[key])).filter(Boolean),
  }));
  const branding = {kind: "section", label: "What users see", help: "The look of the file manager, on the listener for users.", fields: brandingFields(value.branding ?? {})};
  const state = {etag, value};
  const form = makeForm([...sections, branding], withDefaults(value, properties), {
    readOnly: document.body.dataset.role !== "full",
    onSubmit: (now, form) => save(now, state, form, properties),
  });
  element("content").append(form);
}

/** Only what was changed is sent, so that others may change the rest meanwhile. */
async function save(now, state, form, properties) {
  const changed = Object.entries(now).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(state.value[key]));
  if (!changed.length) return true;
  const answer = await saveObject({method: "PATCH", url: URL, json: Object.fromEntries(changed), describe: "Settings saved", form, given: (value) => withDefaults(value, properties)}, state);
  if (!answer) return false;
  state.value = {...state.value, ...Object.fromEntries(changed)};
  return true;
}

show().catch((error) => showLoadFailure(error, {href: "/", text: "To the cluster"}));
