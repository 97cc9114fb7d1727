// The balancer's configuration, to be copied or saved.

import {call, sentence} from "./api.js";
import {ask, displayed, make, tell} from "./dom.js";

/** Copies a text, and says so; where that is not possible, selects it. */
export async function copy(text, place) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied.");
  } catch {
    getSelection().selectAllChildren(place);
    tell("It is selected: copy it with the keyboard.");
  }
}

export async function askBalancer() {
  let answer;
  try {
    answer = await call("GET", "/api/v1/haproxy");
  } catch (error) {
    tell(sentence(error.message), {failed: true});
    return;
  }
  const text = make("pre", {className: "code", tabIndex: 0, textContent: answer.configuration});
  const warnings = answer.warnings.map((one) => make("li", {textContent: displayed(one)}));
  const body = [
    make("p", {textContent: "A complete configuration of HAProxy for the cluster as it is now. Make it anew after nodes or listeners have changed."}),
    ...(warnings.length ? [make("ul", {className: "names"}, ...warnings)] : []),
    text,
  ];
  const check = async (value) => {
    if (value !== "copy") return "";
    await copy(answer.configuration, text);
    return "";
  };
  await ask("HAProxy configuration", body, [{text: "Close", value: ""}, {text: "Copy", value: "copy", classes: "primary"}], {check, classes: "broad"});
}
