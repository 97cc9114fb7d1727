// What is being sent and fetched on all nodes.

import {displayed, durationText, element, icon, make, sizeText} from "./dom.js";
import {askBan, askEnd, askEndAll} from "./ending.js";
import {makeLiveTable, momentCell} from "./livetable.js";

const NAMES = {ftp: "FTP", sftp: "SFTP", https: "HTTPS"};
const WORDS = {upload: "Upload", download: "Download"};

const mayAct = document.body.dataset.role !== "auditor";
const isWholeKnown = (one) => one.size !== null && one.size >= one.bytes;

function fileCell(one) {
  const folder = one.path.slice(0, one.path.lastIndexOf("/") + 1);
  const picture = make("span", {title: WORDS[one.direction]}, icon(one.direction), make("span", {className: "hidden", textContent: `${WORDS[one.direction]} of `}));
  const name = make("bdi", {textContent: displayed(one.path.slice(folder.length))});
  return make("div", {className: "fileCell"}, picture, make("div", {}, name, make("bdi", {className: "note", textContent: displayed(folder)})));
}

function progressCell(one) {
  const part = one.size ? one.bytes / one.size : 1;
  const text = isWholeKnown(one) ? `${sizeText(one.bytes)} of ${sizeText(one.size)}, ${Math.floor(100 * part)} %` : sizeText(one.bytes);
  const bar = isWholeKnown(one) ? make("progress", {"aria-label": `Progress of ${displayed(one.path)}`, max: 1, value: part}) : null;
  return make("div", {className: "progressCell"}, make("span", {textContent: text}), bar);
}

function rateCell(one) {
  if (!one.bytesPerSecond) return "waiting";
  const left = isWholeKnown(one) ? (one.size - one.bytes) / one.bytesPerSecond : 0;
  const rate = make("span", {textContent: `${sizeText(one.bytesPerSecond)}/s`});
  return left < 1 ? rate : make("div", {className: "twoLines"}, rate, make("span", {className: "note", textContent: `${durationText(left)} left`}));
}

const columns = [
  {key: "path", label: "File", show: fileCell},
  {key: "user", label: "User", show: (one) => make("a", {href: `/users/${encodeURIComponent(one.user)}`}, make("bdi", {textContent: displayed(one.user)})), classes: "steady"},
  {key: "node", label: "Node", show: (one) => displayed(one.node), classes: "steady"},
  {key: "address", label: "From", show: (one) => `${NAMES[one.protocol] ?? one.protocol}, ${displayed(one.address)}`, classes: "steady"},
  {key: "bytes", label: "Done", show: progressCell},
  {key: "bytesPerSecond", label: "Speed", show: rateCell, classes: "number steady"},
  {key: "since", label: "For", show: (one) => momentCell(one.since, durationText(Math.max(0, Date.now() / 1000 - one.since))), classes: "number steady"},
];

function actions(one) {
  const {user, protocol, address, session} = one;
  const again = async (asked) => (await asked) && table.refresh();
  return [
    {text: "End its session…", picture: "log-out", classes: "danger", run: () => again(askEnd({id: session, user, protocol: NAMES[protocol] ?? protocol, address}))},
    {text: `End all sessions of ${displayed(user)}…`, picture: "user", classes: "danger", run: () => again(askEndAll(user))},
    {text: `Ban ${displayed(address)}…`, picture: "shield-off", run: () => askBan(address)},
  ];
}

const table = await makeLiveTable({
  url: "/api/v1/transfers",
  seconds: 2,
  columns,
  search: "User, file or address",
  noun: ["transfer", "transfers"],
  row: (one) => ({label: displayed(one.path)}),
  empty: {text: "Nothing is being moved. Uploads and downloads are shown here while they are under way; what is over is among the events."},
  ...(mayAct ? {actions} : {}),
});
element("content").append(table);
