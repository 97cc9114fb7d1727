// The balancer's configuration, to be copied or saved.

import {call} from "./api.js";
import {attempt} from "./attempt.js";
import {ask, make, tell} from "./dom.js";

/** Copies a text; where that is not possible, selects it, and tells what to do then. */
export async function copy(text, place) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied.");
    return "";
  } catch {
    getSelection().selectAllChildren(place);
    return "It cannot be copied from here. It is selected: copy it with the keyboard.";
  }
}

export async function askBalancer() {
  const answer = await attempt(() => call("GET", "/api/v1/haproxy"));
  if (!answer) return;
  const text = make("pre", {className: "code", tabIndex: 0, textContent: answer.configuration});
  const body = [
    make("p", {textContent: "A complete configuration of HAProxy for the cluster as it is now; comments in it say what to see to. Make it anew after nodes or listeners have changed."}),
    text,
  ];
  const check = (value) => (value === "copy" ? copy(answer.configuration, text) : "");
  await ask("HAProxy configuration", body, [{text: "Close", value: ""}, {text: "Copy", value: "copy", classes: "primary"}], {check, classes: "broad"});
}
