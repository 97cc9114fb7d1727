// Branches: changes that only one node had when it took another history; shown, made anew, or discarded.

import {call} from "./api.js";
import {attempt, lines} from "./attempt.js";
import {write} from "./changes.js";
import {ask, countText, displayed, make, showTimes, tell} from "./dom.js";

const STATES = {
  open: ["warn", "can be made anew"],
  conflict: ["bad", "changed since by others too"],
  same: ["good", "nothing left to do"],
  kept: ["quiet", "never made anew"],
};

const urlOf = (node, branch = "", rest = "") => `/api/v1/nodes/${encodeURIComponent(node)}/branches${branch ? `/${encodeURIComponent(branch)}` : ""}${rest}`;
const timeOf = (seconds) => make("time", {dateTime: new Date(seconds * 1000).toISOString()});

/** Lists the branches of a node, and shows one of them. */
export async function askBranches(node) {
  const answer = await attempt(() => call("GET", urlOf(node)));
  if (!answer) return;
  const {branches} = answer;
  if (!branches.length) {
    await ask(`Branches of ${displayed(node)}`, [make("p", {textContent: "There are none. When a node has to take another history, what only it had is kept here."})], [{text: "Close", value: "", classes: "primary"}]);
    return;
  }
  const body = branches.map((one, index) => {
    const input = make("input", {type: "radio", name: "branch", value: one.id, checked: index === 0, className: "radio"});
    const about = make("span", {}, make("strong", {textContent: countText(one.changes, "change", "changes")}), ", kept ", timeOf(one.kept), `, when it followed ${displayed(one.primary)}`);
    return make("label", {className: "choice"}, input, about);
  });
  const group = make("div", {role: "radiogroup", "aria-label": "Branches"}, make("p", {textContent: "Changes that only this node had when it took the primary’s history:"}), ...body);
  showTimes(group);
  const chosen = await ask(`Branches of ${displayed(node)}`, [group], [{text: "Close", value: ""}, {text: "Show", value: "yes", classes: "primary"}]);
  if (chosen) await askBranch(node, group.querySelector("input:checked").value);
}

async function askBranch(node, id) {
  const branch = await attempt(() => call("GET", urlOf(node, id)));
  if (!branch) return;
  const boxes = branch.parts.map((part) => partOf(part));
  const entries = branch.entries.map((entry) => make("li", {}, `Revision ${entry.revision}, `, timeOf(entry.time), `, ${displayed(entry.author)}: `, make("span", {className: "faint", textContent: entry.changed.map(lines).join("; ")})));
  const overwrite = make("input", {type: "checkbox", id: "overwrite"});
  const hasConflict = branch.parts.some((part) => part.state === "conflict");
  const body = [
    make("h3", {textContent: "What it changed"}),
    make("div", {className: "branchParts"}, ...boxes.map((one) => one.element)),
    ...(hasConflict ? [make("label", {className: "choice", for: "overwrite"}, overwrite, "Also replace what others have changed since")] : []),
    make("details", {}, make("summary", {textContent: `Who did, in ${countText(branch.entries.length, "revision", "revisions")}`}), make("ul", {className: "textList"}, ...entries)),
  ];
  for (const part of body) showTimes(part);
  const buttons = [{text: "Close", value: ""}, {text: "Discard…", value: "discard", classes: "danger"}, {text: "Make anew", value: "apply", classes: "primary"}];
  const wanted = () => boxes.filter((one) => one.input.checked).map((one) => one.name);
  const check = (value) => (value === "apply" && !wanted().length ? "Choose what to make anew." : "");
  const chosen = await ask(`Branch ${displayed(id)}`, body, buttons, {check, classes: "broad"});
  if (chosen === "apply") await makeAnew(node, id, {only: wanted(), overwrite: overwrite.checked});
  else if (chosen === "discard") await discard(node, id);
}

function partOf({name, state, details}) {
  const [kind, text] = STATES[state] ?? ["quiet", state];
  const isOpen = state === "open" || state === "conflict";
  const input = make("input", {type: "checkbox", disabled: !isOpen, checked: state === "open"});
  const label = make("label", {className: "choice"}, input, make("bdi", {className: "grow", textContent: displayed(name)}), make("span", {className: `badge ${kind}`, textContent: text}));
  const changes = make("ul", {className: "differenceLines"}, ...details.map((one) => make("li", {textContent: lines(one)})));
  return {name, input, element: make("div", {}, label, ...(details.length ? [changes] : []))};
}

async function makeAnew(node, id, json) {
  const answer = await attempt(() => write("POST", urlOf(node, id, "/apply"), {json, describe: "Branch made anew"}));
  if (answer && !answer.changed.length) tell("Nothing was left to do.");
}

async function discard(node, id) {
  const body = [make("p", {textContent: `The changes of branch ${displayed(id)} are forgotten for good.`})];
  const chosen = await ask("Discard the branch?", body, [{text: "Cancel", value: ""}, {text: "Discard", value: "yes", classes: "primary danger"}]);
  if (chosen && (await attempt(async () => (await call("DELETE", urlOf(node, id))) ?? {}))) tell("The branch is discarded.");
}
