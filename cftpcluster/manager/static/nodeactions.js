// What can be done with a node: the menu, and the dialogs that say what follows.

import {call, send, sentence} from "./api.js";
import {attempt, lines} from "./attempt.js";
import {askBranches} from "./branches.js";
import {write} from "./changes.js";
import {announce, ask, countText, displayed, durationText, make, showMenu, tell} from "./dom.js";
import {isHeard} from "./live.js";

const CANCEL = {text: "Cancel", value: ""};
const urlOf = (name, rest = "") => `/api/v1/nodes/${encodeURIComponent(name)}${rest}`;
const said = (text, ...more) => make("p", {textContent: text}, ...more);
const list = (texts, className = "") => make("ul", {className}, ...texts.map((text) => make("li", {textContent: lines(text)})));

const act = (name, action, json = {}) => call("POST", urlOf(name, `/${action}`), {json});

/** The items of a node's menu. */
export function itemsFor(row, status, card) {
  const {name} = row;
  const isPrimary = row.name === status.primary;
  const isHere = name === status.node;
  const isGone = !isHeard(row);
  const items = [];
  if (row.state === "draining") items.push({text: "Resume", picture: "play", run: () => resume(name)});
  else if (!isGone) items.push({text: "Drain…", picture: "log-out", run: () => askDrain(name, card)});
  if (row.state === "paused") items.push({text: "Follow again", picture: "play", run: () => resume(name)});
  else if (!isPrimary && !isGone) items.push({text: "Pause…", picture: "pause", run: () => askPause(name)});
  if (!isPrimary && !isGone) items.push({text: "Resync…", picture: "rotate-cw", run: () => askResync(name)});
  if (!isPrimary && !isGone) items.push({text: "Make it the primary…", picture: "arrow-up", run: () => askPromote(name, status)});
  if (!isPrimary || row.state === "unconfirmed") items.push({text: "Make it the primary by force…", picture: "shield-off", classes: "danger", run: () => askForce(row, status, isHere)});
  if (!isGone) items.push({text: "Kept branches…", picture: "copy", run: () => askBranches(name)});
  if (!isPrimary) items.push({text: "Remove…", picture: "trash-2", classes: "danger", run: () => askRemove(name, isHere)});
  return items;
}

export function openNodeMenu(opener, row, status, card) {
  const items = itemsFor(row, status, card);
  if (items.length) showMenu(opener, `Actions for ${displayed(row.name)}`, items);
  else tell(`Nothing can be done with ${displayed(row.name)} while it cannot be heard. Where it is gone, make another node the primary.`);
}

// --- out of service, and back

async function askDrain(name, card) {
  const input = make("input", {id: "drainSeconds", type: "number", min: 0, max: 86400, step: 1, inputMode: "numeric", "aria-describedby": "drainHelp"});
  const body = [
    said("The node takes no new clients, and lets those that are there finish their transfers. It goes on following the configuration. It takes clients again when it is resumed, or restarted."),
    make("label", {for: "drainSeconds", textContent: "Seconds until those who are left are sent away"}),
    input,
    make("p", {id: "drainHelp", className: "note", textContent: "Empty: as the settings say."}),
  ];
  const check = () => (input.value && !input.checkValidity() ? "Give whole seconds, at most 86400." : "");
  const chosen = await ask(`Drain ${displayed(name)}?`, body, [CANCEL, {text: "Drain", value: "yes", classes: "primary"}], {check});
  if (chosen) await drain(name, input.value === "" ? {} : {seconds: Number(input.value)}, card.progress);
}

/** Drains a node, and shows on its card how far that is. */
async function drain(name, json, place) {
  const text = make("p");
  const bar = make("progress", {"aria-label": `Draining ${displayed(name)}`});
  let most = 0;
  let left = 0;
  place.replaceChildren(text, bar);
  try {
    for (let body = json; ; body = {wait: 1}) {
      const answer = await (await send("POST", urlOf(name, "/drain"), {json: body})).json();
      if (answer.state !== "draining") break;
      if (answer.over) {
        const ended = answer.ended ? ` ${countText(answer.ended, "connection was", "connections were")} ended before the time.` : "";
        tell(`${displayed(name)} is drained.${ended}`, {failed: answer.ended > 0});
        break;
      }
      most = Math.max(most, answer.sessions);
      left = Math.max(left, answer.seconds);
      text.textContent = `${countText(answer.sessions, "connection", "connections")} left, at most ${durationText(answer.seconds)}`;
      bar.max = 1;
      bar.value = most ? Math.max(1 - answer.sessions / most, left ? 1 - answer.seconds / left : 0) : 1;
      place.hidden = false;
    }
  } catch (error) {
    tell(`${displayed(name)} could not be drained: ${sentence(error.message)}`, {failed: true});
  } finally {
    place.hidden = true;
    place.replaceChildren();
  }
}

async function resume(name) {
  if (await attempt(() => act(name, "resume"))) tell(`${displayed(name)} goes on.`);
}

async function askPause(name) {
  const body = [said("The node stays at the configuration that it has, and goes on serving that, until it is told to follow again; also after a restart. Its lag grows meanwhile.")];
  const chosen = await ask(`Pause ${displayed(name)}?`, body, [CANCEL, {text: "Pause", value: "yes", classes: "primary"}]);
  if (chosen && (await attempt(() => act(name, "pause")))) tell(`${displayed(name)} does not follow until it is told to.`);
}

// --- everything anew

async function askResync(name) {
  const preview = await attempt(() => act(name, "resync", {dryRun: true}));
  if (!preview) return;
  const where = preview.sameHistory
    ? `It has what the primary has, revision ${preview.revision}.`
    : `It is at revision ${preview.revision}, the primary at ${preview.primaryRevision}: another history, or another place in it.`;
  const differences = preview.differences.length
    ? [make("h3", {textContent: `What would change on it: ${countText(preview.differences.length, "object", "objects")}`}), list(preview.differences, "differenceLines")]
    : [said("Nothing of its configuration would change.")];
  const body = [said("The node takes the whole configuration anew from the primary. What only it has is kept as a branch. It goes on serving meanwhile."), said(where), ...differences];
  const chosen = await ask(`Resync ${displayed(name)}?`, body, [CANCEL, {text: "Resync", value: "yes", classes: "primary"}], {classes: "broad"});
  if (!chosen) return;
  const answer = await attempt(() => act(name, "resync"));
  if (answer) tell(`${displayed(name)} has taken everything anew, revision ${answer.revision}.`);
}

// --- another primary

function tellPromoted(name, answer) {
  if (answer.already) {
    tell(`${displayed(name)} is the primary already, epoch ${answer.epoch}.`);
    return;
  }
  const notes = [...(answer.mayBeMissing ?? [])];
  for (const one of answer.caughtUpFrom ?? []) notes.unshift(`It took revisions ${one.from} to ${one.to} from ${one.name} first.`);
  if (answer.acknowledged === false) notes.push(`${name} has not acknowledged it yet.`);
  const text = `${displayed(name)} is the primary, epoch ${answer.epoch}, revision ${answer.revision}.`;
  if (!notes.length) tell(text);
  else ask(`${displayed(name)} is the primary`, [said(text), list(notes, "textList")], [{text: "Close", value: "", classes: "primary"}]);
}

async function askPromote(name, status) {
  const body = [said(`${displayed(status.primary)} holds changes up for a moment, waits until ${displayed(name)} has everything, and hands over. Nothing is lost, and clients do not notice. Where that cannot be done, nothing is changed.`)];
  const chosen = await ask(`Make ${displayed(name)} the primary?`, body, [CANCEL, {text: "Make it the primary", value: "yes", classes: "primary"}]);
  const answer = chosen && (await attempt(() => act(name, "promote", {force: false})));
  if (answer) tellPromoted(name, answer);
}

/** Has a name typed before something that cannot be taken back. */
function typedName(name) {
  const input = make("input", {id: "typedName", "data-first": "", autocomplete: "off", spellcheck: false, "autocapitalize": "none", maxLength: 64});
  const label = make("label", {for: "typedName"}, "Type ", make("bdi", {className: "typed", textContent: name}), " to go on");
  return {parts: [label, input], check: () => (input.value === name ? "" : "That is not its name.")};
}

async function askForce(row, status, isHere) {
  const {name} = row;
  if (!isHere) {
    const address = row.address.includes(":") ? `[${row.address}]` : row.address;
    const link = make("a", {href: `https://${address}:${location.port || 443}/`, textContent: `https://${address}:${location.port || 443}/`});
    const body = [said("Without the old primary a node is promoted on itself, so that nobody does it from a place that cannot see it."), make("p", {}, "Open its own Manager: ", link)];
    await ask(`Promote ${displayed(name)} on itself`, body, [{text: "Close", value: "", classes: "primary"}]);
    return;
  }
  const known = status.nodes.filter((one) => one.name !== name && isHeard(one)).map((one) => one.name);
  const lag = row.lagSeconds ? ` It has not followed for ${durationText(row.lagSeconds)}.` : "";
  const typed = typedName(name);
  const body = [
    make("p", {}, make("strong", {textContent: "Only where the old primary is gone. "}), "A new epoch begins: an old primary that comes back takes no changes any more, and follows."),
    said(`This node is at revision ${row.revision}.${lag} It first takes what the nodes have that it can reach${known.length ? ` (${known.map(displayed).join(", ")})` : ""}. Changes that only others have may be missing; an old primary that comes back keeps them as a branch, to be made anew.`),
    ...typed.parts,
  ];
  const chosen = await ask(`Make ${displayed(name)} the primary by force?`, body, [CANCEL, {text: "Make it the primary", value: "yes", classes: "primary danger"}], {check: typed.check});
  const answer = chosen && (await attempt(() => act(name, "promote", {force: true})));
  if (answer) tellPromoted(name, answer);
}

// --- out of the cluster

async function askRemove(name, isHere) {
  const compromised = make("input", {id: "compromised", type: "checkbox", "aria-describedby": "compromisedHelp"});
  const typed = typedName(name);
  const body = [
    said(`${displayed(name)} is put out at once. The others get a new cluster key and new session keys, so that users of the web page log in again. Its files stay where they are.${isHere ? " You are looking at this very node: this page ends." : ""}`),
    make("label", {className: "choice", for: "compromised"}, compromised, "Its keys may be in wrong hands"),
    make("p", {id: "compromisedHelp", className: "note", textContent: "Also replaces the cluster’s authority, the certificates of all nodes and the SSH host keys: no join token is good any more, and SSH clients see new host keys. What has to be replaced by hand is listed afterwards."}),
    ...typed.parts,
  ];
  const chosen = await ask(`Remove ${displayed(name)}?`, body, [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}], {check: typed.check});
  if (!chosen) return;
  const query = compromised.checked ? "?compromised=true" : "";
  const answer = await attempt(() => write("DELETE", urlOf(name, query), {describe: `${displayed(name)} removed`}));
  if (answer) await tellRemoved(name, answer);
}

async function tellRemoved(name, {left = [], byHand = []}) {
  announce(`${displayed(name)} is removed.`);
  if (!left.length && !byHand.length) return;
  const body = [];
  if (left.length) body.push(said("Could not be given the new key, and have to join anew:"), list(left, "textList"));
  if (byHand.length) body.push(said("Replace by hand:"), list(byHand, "textList"));
  await ask(`${displayed(name)} is removed`, body, [{text: "Close", value: "", classes: "primary"}], {classes: "broad"});
}
