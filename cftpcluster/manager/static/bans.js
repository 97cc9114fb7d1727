// Who may not connect.

import {call} from "./api.js";
import {ask, button, countText, displayed, durationText, element, make, tell} from "./dom.js";
import {attempt} from "./attempt.js";
import {askBan} from "./ending.js";
import {makeLiveTable, momentCell} from "./livetable.js";

const mayAct = document.body.dataset.role !== "auditor";

async function askLift({network}) {
  const body = [make("p", {textContent: `${displayed(network)} may connect to all nodes again, whichever of them made the ban. Failed log-ins from there count anew.`})];
  const chosen = await ask(`Lift the ban of ${displayed(network)}?`, body, [{text: "Cancel", value: ""}, {text: "Lift it", value: "yes", classes: "primary"}]);
  const answer = chosen && (await attempt(() => call("DELETE", `/api/v1/bans/${encodeURIComponent(network)}`)));
  if (!answer) return;
  tell(`${displayed(network)} may connect again.`);
  table.refresh();
}

async function addBan() {
  if (await askBan()) table.refresh();
}

const columns = [
  {key: "network", label: "Address or network", show: (one) => displayed(one.network)},
  {key: "reason", label: "Why", show: (one) => displayed(one.reason) || "not said"},
  {key: "by", label: "Banned by", show: (one) => (one.by ? displayed(one.by) : `the rules, on ${displayed(one.node)}`)},
  {key: "seconds", label: "Still for", show: (one) => momentCell(Math.round(Date.now() / 1000 + one.seconds), durationText(one.seconds)), classes: "number"},
  {key: "refused", label: "Refused", show: (one) => countText(one.refused, "connection", "connections"), classes: "number"},
];

function addButton() {
  const add = button("plus", {text: "Ban an address", classes: "primary"});
  add.addEventListener("click", addBan);
  return add;
}

const table = await makeLiveTable({
  url: "/api/v1/bans",
  seconds: 5,
  key: (one) => one.network,
  isByNode: false,
  columns,
  search: "Address, reason or who made it",
  noun: ["ban", "bans"],
  row: (one) => ({label: displayed(one.network)}),
  empty: {text: "Nobody is banned. Whoever fails to log in too often is banned by the rules in the settings."},
  ...(mayAct ? {actions: (one) => [{text: "Lift the ban…", picture: "x", run: () => askLift(one)}]} : {}),
});
if (mayAct) element("actions").append(addButton());
const settings = make("a", {href: "/settings", textContent: "settings"});
element("content").append(
  make("p", {className: "note"}, "Bans hold on all nodes, for listeners of users and administrators. What was refused is counted by each node for itself; this is what this one has refused. How many failures make a ban is in the ", settings, "."),
  table,
);
