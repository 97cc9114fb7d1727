// Ending sessions, and keeping addresses out: the questions before it.

import {call, sentence} from "./api.js";
import {attempt, reasonOf} from "./attempt.js";
import {ask, countText, displayed, make, tell} from "./dom.js";

const CANCEL = {text: "Cancel", value: ""};

/** Lengths of bans that are offered, in seconds. */
export const BAN_LENGTHS = [["3600", "One hour"], ["86400", "One day"], ["604800", "One week"], ["2592000", "30 days"], ["31536000", "One year"]];

const said = (textContent) => make("p", {textContent});

export async function askEnd({id, user, protocol, address}) {
  const body = [said(`The ${protocol} session of ${displayed(user)} from ${displayed(address)} ends at once. Its transfers are broken off, and can be continued later.`), said("It may log in again. Disable the user first where it should not.")];
  const chosen = await ask("End this session?", body, [CANCEL, {text: "End it", value: "yes", classes: "primary danger"}]);
  const answer = chosen && (await attempt(() => call("DELETE", `/api/v1/sessions/${encodeURIComponent(id)}`)));
  if (answer) tell("The session is ended.");
  return Boolean(answer);
}

export async function askEndAll(user) {
  const body = [said(`All sessions of ${displayed(user)} end at once, on all nodes and over all protocols. Transfers are broken off, and can be continued later.`), said("The user may log in again. Disable it first where it should not.")];
  const chosen = await ask(`End all sessions of ${displayed(user)}?`, body, [CANCEL, {text: "End all", value: "yes", classes: "primary danger"}]);
  const answer = chosen && (await attempt(() => call("DELETE", `/api/v1/sessions?user=${encodeURIComponent(user)}`)));
  if (answer) tell(`${countText(answer.ended, "session", "sessions")} of ${displayed(user)} ended.`);
  return Boolean(answer);
}

/** Asks for a ban; whether there is one now. */
export async function askBan(address = "") {
  const network = make("input", {id: "banNetwork", value: address, autocomplete: "off", spellcheck: false, "autocapitalize": "none", maxLength: 100, "aria-describedby": "banNetworkHelp"});
  const length = make("select", {id: "banLength"}, make("option", {value: "", textContent: "As the settings say"}), ...BAN_LENGTHS.map(([value, text]) => make("option", {value, textContent: text})));
  const reason = make("input", {id: "banReason", autocomplete: "off", maxLength: 200, "aria-describedby": "banReasonHelp"});
  const body = [
    said("Whoever is banned can connect to no node: listeners for users and administrators close the connection at once. Sessions that stand go on."),
    make("label", {for: "banNetwork", textContent: "Address or network"}),
    network,
    make("p", {id: "banNetworkHelp", className: "note", textContent: "Such as 203.0.113.7 or 203.0.113.0/24. An IPv6 address counts with its whole /64. Think of where you are yourself."}),
    make("label", {for: "banLength", textContent: "For how long"}),
    length,
    make("label", {for: "banReason", textContent: "Why"}),
    reason,
    make("p", {id: "banReasonHelp", className: "note", textContent: "For whoever reads the list."}),
  ];
  const check = async () => {
    const json = {network: network.value.trim(), reason: reason.value.trim()};
    if (!json.network) return "Which address, or which network?";
    if (length.value) json.seconds = Number(length.value);
    try {
      await call("POST", "/api/v1/bans", {json});
      return "";
    } catch (error) {
      return sentence(reasonOf(error));
    }
  };
  const chosen = await ask("Ban an address", body, [CANCEL, {text: "Ban", value: "yes", classes: "primary"}], {check});
  if (chosen) tell(`${displayed(network.value.trim())} is banned.`);
  return Boolean(chosen);
}
