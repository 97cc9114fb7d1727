// Adding a node: a name, the command to start it with, and how far it has come.

import {busyWhile, button, displayed, durationText, element, icon, make, tell} from "./dom.js";
import {send, sentence} from "./api.js";
import {copy} from "./balancer.js";
import {commandFor, isLoopback, nameProblem} from "./joining.js";
import {watchStatus} from "./live.js";

const LOOK_MILLISECONDS = 3000;
const EXPIRIES = [["3600", "One hour"], ["86400", "One day"], ["604800", "One week"]];

const content = element("content");
const mayAct = document.body.dataset.role === "full";
let status = null;
let showState = () => {};

function field(id, label, help, input) {
  input.id = id;
  input.setAttribute("aria-describedby", `${id}Help ${id}Problem`);
  const problem = make("p", {id: `${id}Problem`, className: "alert", hidden: true});
  const place = make("div", {className: "field"}, make("label", {for: id, textContent: label}), input, make("p", {id: `${id}Help`, className: "note", textContent: help}), problem);
  const say = (text) => {
    problem.textContent = text;
    problem.hidden = !text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  return {place, input, say};
}

const textInput = (properties) => make("input", {autocomplete: "off", spellcheck: false, "autocapitalize": "none", ...properties});

function showForm(before = {}) {
  const name = field("name", "Name", "What the node is called in the cluster, such as its host name. It stays so.", textInput({required: true, maxLength: 64, value: before.name ?? ""}));
  const address = field("address", "Address", "Where the other nodes reach it. Empty: the address of its default route.", textInput({value: before.address ?? "", placeholder: "192.0.2.4"}));
  const folder = field("folder", "State folder", "Where it keeps its state. Empty: the default, /var/lib/cftpcluster for root.", textInput({value: before.folder ?? ""}));
  const expires = make("select", {}, ...EXPIRIES.map(([value, text]) => make("option", {value, textContent: text})));
  expires.value = before.expires ?? "86400";
  const good = field("expires", "Token good for", "Whoever has the token can become a member: carry it as you would a password.", expires);
  const form = make("form", {className: "card wizard", noValidate: true}, make("h2", {textContent: "1. Name it"}), name.place, address.place, folder.place, good.place, make("button", {type: "submit", className: "primary", textContent: "Make the command"}));
  address.input.addEventListener("change", () => {
    if (isLoopback(address.input.value.trim()) && !folder.input.value) folder.input.value = `/tmp/${name.input.value.trim()}`;
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = {name: name.input.value.trim(), address: address.input.value.trim(), folder: folder.input.value.trim(), expires: expires.value};
    const wrong = nameProblem(wanted.name);
    name.say(wrong);
    address.say(/[\s"'\\$`]/.test(wanted.address) ? "An IP address, or a host name." : "");
    const first = form.querySelector("[aria-invalid]");
    if (first) {
      first.focus();
      return;
    }
    try {
      const response = await busyWhile(send("POST", "/api/v1/tokens/join", {json: {name: wanted.name, expiresSeconds: Number(wanted.expires)}}));
      const made = Date.parse(response.headers.get("Date") ?? "") || Date.now();
      showCommand(wanted, await response.json(), made / 1000);
    } catch (error) {
      name.say(sentence(error.problem?.errors?.map((one) => one.message).join("; ") || error.message));
      name.input.focus();
    }
  });
  content.replaceChildren(form);
  name.input.focus();
}

function showCommand(wanted, {token, expiresSeconds}, since) {
  const command = commandFor(wanted, token);
  const text = make("pre", {className: "code command", tabIndex: 0, textContent: command, "aria-label": "Command"});
  const copying = button("copy", {text: "Copy", classes: ""});
  copying.addEventListener("click", async () => {
    const wrong = await copy(command, text);
    if (wrong) tell(wrong);
  });
  const expiry = make("p", {className: "note"});
  const again = make("p", {}, "Does the name exist already? The node with that name joins anew.");
  again.hidden = !status?.nodes.some((row) => row.name === wanted.name);
  const commandCard = make(
    "section",
    {className: "card wizard"},
    make("h2", {textContent: "2. Start it"}),
    make("p", {}, "Run this on the new host, as the user that the node is to run as. cftpcluster has to be installed there, and the host has to reach the primary."),
    again,
    text,
    make("div", {className: "commandFoot"}, copying, expiry),
    make("p", {className: "note", textContent: "The token is shown this once. It is used up by the first node that shows it; later starts need none."}),
  );
  const steps = make("ol", {className: "steps"});
  const trouble = make("div", {className: "stepTrouble", role: "alert"});
  const end = make("div", {className: "commandFoot", hidden: true});
  const waiting = make("section", {className: "card wizard", "aria-live": "polite"}, make("h2", {textContent: "3. Wait until it follows"}), steps, trouble, end);
  content.replaceChildren(commandCard, waiting);
  commandCard.querySelector("h2").tabIndex = -1;
  commandCard.querySelector("h2").focus();
  new Joining({wanted, since, expiresSeconds, expiry, commandCard, waiting, steps, trouble, end}).start();
}

/** One node on its way into the cluster. */
class Joining {
  constructor(parts) {
    Object.assign(this, parts);
    this.until = Date.now() + 1000 * this.expiresSeconds;
    this.hasJoined = false;
    this.isOver = false;
    this.refusals = [];
  }

  start() {
    showState = () => this.show();
    this.timer = setInterval(() => this.look(), LOOK_MILLISECONDS);
    this.show();
  }

  get row() {
    return status?.nodes.find((one) => one.name === this.wanted.name);
  }

  /** What was told of joins since the token was made. */
  async look() {
    if (document.hidden || this.isOver) return;
    const left = this.until - Date.now();
    this.expiry.textContent = this.hasJoined ? "" : left > 0 ? `Good for ${durationText(left / 1000)} more.` : "";
    try {
      const page = await (await send("GET", `/api/v1/events?kind=NodeJoined,NodeRefused&since=${Math.floor(this.since)}&limit=20`, {headers: {"X-Background": "1"}})).json();
      this.hasJoined ||= page.items.some((one) => one.kind === "NodeJoined" && one.name === this.wanted.name);
      this.refusals = page.items.filter((one) => one.kind === "NodeRefused");
    } catch {
      // The next look may find an answer; the head of the page says when there is none.
    }
    this.show();
  }

  show() {
    if (this.isOver) return;
    const {row} = this;
    const isFollowing = row?.state === "following" && (row.live ?? 0) >= row.revision && (this.hasJoined || this.wasAway);
    this.wasAway ||= Boolean(status) && !row;
    this.hasJoined ||= this.wasAway && Boolean(row);
    const isExpired = !this.hasJoined && Date.now() > this.until;
    const state = row?.state === "catchingUp" || !row ? "" : row.state;
    this.steps.replaceChildren(
      step("done", "The token is made."),
      step(this.hasJoined ? "done" : isExpired ? "failed" : "now", this.hasJoined ? `${displayed(this.wanted.name)} has joined${row?.address ? `, at ${displayed(row.address)}` : ""}.` : isExpired ? "The token has expired before a node showed it." : "Waiting for the node to show its token…"),
      step(isFollowing ? "done" : this.hasJoined ? "now" : "", isFollowing ? `It has everything, revision ${row.revision.toLocaleString()}.` : state === "disconnected" ? "It takes what the others have… There is no link to it yet." : "It takes what the others have."),
      step(isFollowing ? "done" : "", isFollowing ? "It follows the primary, and serves clients." : "It follows the primary."),
    );
    this.showTrouble(isExpired);
    if (isFollowing) this.finish();
  }

  showTrouble(isExpired) {
    const texts = [];
    if (!this.hasJoined) for (const {address, reason} of this.refusals.slice(0, 3)) texts.push(`A node at ${displayed(address ?? "")} was refused: ${displayed(reason ?? "")}`);
    if (this.hasJoined) texts.push(...(this.row?.problems ?? []).slice(0, 3).map(displayed));
    const now = JSON.stringify([texts, isExpired]);
    if (now === this.shown) return;
    this.shown = now;
    this.trouble.replaceChildren(...texts.map((text) => make("p", {className: "alert", textContent: sentence(text)})));
    this.end.hidden = !isExpired && !(texts.length && !this.hasJoined);
    const another = make("button", {type: "button", className: "primary", textContent: "Make another token"});
    another.addEventListener("click", () => this.leave());
    this.end.replaceChildren(another);
  }

  leave() {
    clearInterval(this.timer);
    this.isOver = true;
    showForm(this.wanted);
  }

  finish() {
    clearInterval(this.timer);
    this.isOver = true;
    this.waiting.classList.add("reached");
    this.commandCard.remove();
    this.trouble.replaceChildren();
    const name = make("h2", {tabIndex: -1}, icon("circle-check"), `${displayed(this.wanted.name)} is part of the cluster`);
    this.waiting.querySelector("h2").replaceWith(name);
    const again = make("button", {type: "button", textContent: "Add another node"});
    again.addEventListener("click", () => showForm());
    this.end.replaceChildren(again, make("a", {className: "button primary", href: "/", textContent: "To the cluster"}));
    this.end.hidden = false;
    name.focus();
  }
}

function step(state, text) {
  const pictures = {done: ["circle-check", "Done: "], now: ["rotate-cw", "Now: "], failed: ["circle-alert", "Failed: "]};
  const [picture, word] = pictures[state] ?? ["minus", "Then: "];
  return make("li", {className: `step ${state}`}, icon(picture), make("span", {}, make("span", {className: "hidden", textContent: word}), text));
}

watchStatus((now) => {
  status = now;
  showState();
});
if (mayAct) showForm();
else content.append(make("p", {className: "card", textContent: "Only administrators with role full add nodes."}));
