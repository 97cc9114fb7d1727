// One's own account: who one is, the password, API tokens for scripts, the end of all sessions.

import {call, sentence} from "./api.js";
import {follow, write} from "./changes.js";
import {ask, button, displayed, durationText, element, icon, make, showTimes, tell} from "./dom.js";
import {makeForm} from "./form.js";
import {makePasswordForm} from "./ownpassword.js";
import {copyText} from "./secretfields.js";
import {makeTable} from "./table.js";

const {user, role} = document.body.dataset;
const CANCEL = {text: "Cancel", value: ""};
const DAY_SECONDS = 86400;
const ROLES = {
  full: "You may change everything.",
  users: "You may change users and groups, end sessions and ban addresses. Everything else you may look at.",
  auditor: "You may look at everything, and change nothing but your password and your tokens.",
};
const SCOPES = [
  {value: "read", text: "Read", help: "Look at everything, as an auditor.", roles: ["full", "users", "auditor"]},
  {value: "users", text: "Users", help: "Change users and groups, end sessions, ban addresses.", roles: ["full", "users"]},
  {value: "full", text: "Full", help: "Everything. A script seldom needs it.", roles: ["full"]},
];
const EXPIRIES = [[1, "One day"], [30, "30 days"], [90, "90 days"], [365, "One year"]].map(([days, text]) => ({value: days * DAY_SECONDS, text}));

const time = (seconds) => make("time", {dateTime: new Date(1000 * seconds).toISOString()});
const said = (textContent, className = "") => make("p", {textContent, className});

function card(title, ...parts) {
  const id = `part-${title.replaceAll(" ", "-").toLowerCase()}`;
  return make("section", {className: "card accountCard", "aria-labelledby": id}, make("h2", {textContent: title, id}), ...parts);
}

// --- the password

function passwordCard(least, tokens) {
  const form = makePasswordForm({
    least,
    onDone({revision}) {
      follow(revision, "Your password is changed");
      tokens.refresh();
    },
  });
  return card("Password", said("Your other sessions, and all your API tokens, end with the password.", "note"), form);
}

// --- tokens

function expiryCell({expires, good}) {
  const left = expires - Date.now() / 1000;
  const text = !good ? (left <= 0 ? "Expired" : "Not good any more") : `in ${durationText(left)}`;
  return make("span", {className: good ? "" : "badge quiet", textContent: text, title: new Date(1000 * expires).toLocaleString()});
}

function usedCell({lastUsed}) {
  return lastUsed ? time(lastUsed) : make("span", {className: "faint", textContent: "never"});
}

function tokenTable() {
  const table = makeTable({
    url: `/api/v1/tokens?admin=${encodeURIComponent(user)}`,
    label: "Your API tokens",
    noun: ["token", "tokens"],
    columns: [
      {key: "name", label: "Name", show: (one) => make("bdi", {textContent: displayed(one.name)})},
      {key: "scopes", label: "May", show: (one) => one.scopes.map((scope) => SCOPES.find(({value}) => value === scope)?.text ?? scope).join(", ")},
      {key: "expires", label: "Expires", show: expiryCell},
      {key: "lastUsed", label: "Last used", show: usedCell},
    ],
    items(answer) {
      setTimeout(() => showTimes(table));
      return answer.items;
    },
    empty: {text: "You have no token. A script uses one in place of your password: it may do less, it expires, and you can take it back alone."},
    actions: (one) => [{text: "Remove…", picture: "trash-2", classes: "danger", run: () => askRemove(one, table)}],
  });
  return table;
}

async function askRemove(one, table) {
  const body = [said("Whatever uses it is refused from then on, on all nodes.")];
  if (!(await ask(`Remove the token ${displayed(one.name)}?`, body, [CANCEL, {text: "Remove", value: "yes", classes: "primary danger"}]))) return;
  try {
    await write("DELETE", `/api/v1/tokens/${one.id}`, {describe: `Token ${displayed(one.name)} removed`});
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
  table.refresh();
}

const tokenFields = () => [
  {key: "name", label: "Name", kind: "text", required: true, maxLength: 64, help: "What it is for, such as ci or monitoring."},
  {key: "scopes", label: "It may", kind: "checks", required: true, choices: SCOPES.filter(({roles}) => roles.includes(role))},
  {key: "expiresSeconds", label: "Expires after", kind: "choice", choices: EXPIRIES, help: "Make a new one in time: nobody is told when it ends."},
];

function showTokenForm(place, table, opener) {
  const cancel = make("button", {type: "button", textContent: "Cancel"});
  const close = () => {
    place.replaceChildren();
    place.hidden = true;
    opener.hidden = false;
    opener.focus();
  };
  const form = makeForm(tokenFields(), {name: "", scopes: ["read"], expiresSeconds: 90 * DAY_SECONDS}, {
    submitText: "Make the token",
    isNew: true,
    actions: [cancel],
    async onSubmit(json) {
      const answer = await write("POST", "/api/v1/tokens", {json, describe: `Token ${displayed(json.name)} made`});
      close();
      table.refresh();
      await showToken(answer);
    },
  });
  cancel.addEventListener("click", close);
  opener.hidden = true;
  place.hidden = false;
  place.replaceChildren(make("h3", {textContent: "A new token"}), form);
  form.querySelector("input").focus();
}

async function showToken({token, name, expires}) {
  const text = make("input", {readOnly: true, value: token, className: "tokenText", "aria-label": "Token", spellcheck: false});
  text.addEventListener("focus", () => text.select());
  const copy = button("copy", {text: "Copy", classes: ""});
  copy.addEventListener("click", () => copyText(token, "The token is copied."));
  const body = [
    said("This is shown once. Keep it as you keep a password: whoever has it may do what it may."),
    make("div", {className: "tokenRow"}, text, copy),
    make("p", {className: "note"}, "Used as ", make("code", {textContent: "Authorization: Bearer …"}), `, until ${new Date(1000 * expires).toLocaleString()}.`),
  ];
  await ask(`Token ${displayed(name)}`, body, [{text: "I have it", value: "yes", classes: "primary"}], {classes: "broad"});
}

function tokensCard(table) {
  const opener = button("plus", {text: "Make a token", classes: ""});
  const place = make("div", {className: "tokenForm", hidden: true});
  opener.addEventListener("click", () => showTokenForm(place, table, opener));
  return card("API tokens", said("For scripts and monitoring, in place of your password.", "note"), table, place, opener);
}

// --- sessions

function sessionsCard() {
  const end = make("button", {type: "button", className: "danger", textContent: "Log out everywhere…"});
  end.addEventListener("click", async () => {
    const body = [said("All sessions of yours in browsers end, on all nodes, this one too. API tokens stay.")];
    if (!(await ask("Log out everywhere?", body, [CANCEL, {text: "Log out everywhere", value: "yes", classes: "primary danger"}]))) return;
    try {
      await call("DELETE", "/api/v1/account/sessions");
      location.assign("/");
    } catch (error) {
      tell(sentence(error.message), {failed: true});
    }
  });
  return card("Sessions", said("Where you logged in with a browser and did not log out, such as on a machine that is not yours.", "note"), end);
}

async function start() {
  const who = card("You", make("p", {className: "accountWho"}, icon("user"), make("strong", {}, make("bdi", {textContent: displayed(user)})), " ", make("span", {className: "badge quiet", textContent: `Role ${role}`})), said(ROLES[role] ?? "", "faint"));
  const content = element("content");
  content.classList.add("ownAccount");
  content.append(who);
  try {
    const {leastPasswordCharacters} = await call("GET", "/api/v1/settings");
    const table = tokenTable();
    content.append(passwordCard(leastPasswordCharacters, table), tokensCard(table), sessionsCard());
  } catch (error) {
    content.append(make("p", {className: "alert", role: "alert", textContent: sentence(error.message)}));
  }
}

start();
