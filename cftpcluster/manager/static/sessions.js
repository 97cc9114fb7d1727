// Who is in, on all nodes: users and administrators.

import {displayed, durationText, element, make} from "./dom.js";
import {askBan, askEnd, askEndAll} from "./ending.js";
import {makeLiveTable, momentCell} from "./livetable.js";

const ADMINISTRATORS = "manager";
const NAMES = {ftp: "FTP", sftp: "SFTP", https: "HTTPS", manager: "Manager"};
const IDLE_SECONDS = 90;

const mayAct = document.body.dataset.role !== "auditor";
const secondsSince = (moment) => Math.max(0, Date.now() / 1000 - moment);
const isAdministrator = (session) => session.protocol === ADMINISTRATORS;
const idleText = (session) => (secondsSince(session.seen) < IDLE_SECONDS ? "now" : `${durationText(secondsSince(session.seen))} ago`);

function whoCell(session) {
  const name = make("bdi", {textContent: displayed(session.user)});
  return isAdministrator(session) ? make("span", {}, name, " ", make("span", {className: "badge quiet", textContent: "Administrator"})) : name;
}

/** Of browsers, which say that they are all of them, the one that it is; the whole text is the title. */
function programCell({software}) {
  const found = /^Mozilla/.test(software) && /(Firefox|Edg|OPR|Chrome|HeadlessChrome|Version)\/(\d+)/.exec(software.replace(/Chrome(?=.*(Edg|OPR)\/)/, ""));
  const names = {Edg: "Edge", OPR: "Opera", HeadlessChrome: "Chrome", Version: "Safari"};
  return make("span", {textContent: found ? `${names[found[1]] ?? found[1]} ${found[2]}` : displayed(software), title: displayed(software)});
}

const columns = [
  {key: "user", label: "Who", show: whoCell},
  {key: "protocol", label: "Protocol", show: (one) => NAMES[one.protocol] ?? one.protocol},
  {key: "node", label: "Node", show: (one) => displayed(one.node), classes: "steady"},
  {key: "address", label: "Address", show: (one) => displayed(one.address), classes: "steady"},
  {key: "software", label: "Program", show: programCell},
  {key: "since", label: "In for", show: (one) => momentCell(one.since, durationText(secondsSince(one.since))), classes: "number steady"},
  {key: "seen", label: "Last use", show: (one) => momentCell(one.seen, idleText(one)), classes: "number steady"},
];

function actions(session) {
  const {user, address} = session;
  const again = async (asked) => (await asked) && table.refresh();
  const items = [{text: "End this session…", picture: "log-out", classes: "danger", run: () => again(askEnd({...session, protocol: NAMES[session.protocol] ?? session.protocol}))}];
  if (!isAdministrator(session)) items.push({text: `End all of ${displayed(user)}…`, picture: "user", classes: "danger", run: () => again(askEndAll(user))});
  items.push({text: `Ban ${displayed(address)}…`, picture: "shield-off", run: () => askBan(address)});
  return items;
}

const table = await makeLiveTable({
  url: "/api/v1/sessions",
  seconds: 3,
  columns,
  search: "User, address or program",
  noun: ["session", "sessions"],
  row: (one) => ({href: `/${isAdministrator(one) ? "admins" : "users"}/${encodeURIComponent(one.user)}`, label: `the session of ${displayed(one.user)}`}),
  empty: {text: "Nobody is in. Sessions of users and administrators are shown here as soon as they begin."},
  ...(mayAct ? {actions} : {}),
});
element("content").append(table);
