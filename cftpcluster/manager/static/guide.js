// The first steps to a cluster that works: each looks at the cluster itself whether it is done.

import {send, sentence} from "./api.js";
import {countText, displayed, element, icon, make, tell} from "./dom.js";
import {watchStatus} from "./live.js";

const LOCAL = {key: "guideStorageIsLocal", text: "It stays local"};
const DIRECT = {key: "guideNoBalancer", text: "Without a balancer"};

/** What a step found: whether it is done, and what there is to say about it. */
const done = (text) => ({isDone: true, text});
const open = (text) => ({isDone: false, text});

/** Asks by itself, which is no use of the session. */
const ask = async (what) => (await send("GET", `/api/v1/${what}`, {headers: {"X-Background": "1"}})).json();

const STEPS = [
  {
    title: "A password of your own",
    async look() {
      const {initialPassword} = await ask("session");
      return initialPassword ? open("You still have the password that the cluster was founded with.") : done("The initial password is not good any more. Its file on the first node can be deleted.");
    },
    link: {href: "/account", text: "Your account"},
  },
  {
    title: "A second node",
    isOfNodes: true,
    look({nodes, primary}) {
      const following = nodes.filter((row) => row.state === "following" || row.name === primary);
      if (nodes.length > 1 && following.length > 1) return done(`${countText(nodes.length, "node", "nodes")}, ${following.length} of them up to date: one can fail, and users do not notice.`);
      if (nodes.length > 1) return open(`There are ${nodes.length} nodes, but no other one follows just now. The cluster's page says why.`);
      return open("One node serves alone: while it is down, nobody can log in. The wizard gives you the command that adds another one.");
    },
    link: {href: "/nodes/add", text: "Add a node"},
  },
  {
    title: "Storage that all nodes share",
    isOfNodes: true,
    async look({nodes}) {
      const {items} = await ask("backends?limit=1000");
      const shared = items.filter((one) => one.shared);
      if (shared.length) return done(`${shared.map((one) => displayed(one.name)).join(", ")}: the same files on all nodes.`);
      if (localStorage.getItem(LOCAL.key)) return {...done("You said that files stay on the node where they were uploaded."), isSaid: LOCAL};
      const why = nodes.length > 1 ? "Files that are uploaded to one node are not found on the others." : "It matters as soon as there is a second node.";
      return {...open(`Mount a network file system at the same place on all nodes, and say in its backend that it is shared. ${why}`), mayBeSaid: LOCAL};
    },
    link: {href: "/backends", text: "Backends"},
  },
  {
    title: "A first user",
    async look() {
      const {total} = await ask("users?limit=1");
      return total ? done(`${countText(total, "user", "users")} can log in over SFTP, FTPS and HTTPS.`) : open("A name, a password or an SSH key, and a folder of a backend: more is not needed.");
    },
    link: {href: "/users?new", text: "Add a user"},
  },
  {
    title: "A certificate that clients trust",
    async look() {
      const {certificates} = await ask("keys");
      const trusted = certificates.filter((one) => one.selfSigned === false && one.listeners.length);
      return trusted.length ? done(`${trusted.map((one) => displayed(one.name)).join(", ")}, from ${displayed(trusted[0].issuer)}.`) : open("The one that the cluster made for itself works, but browsers warn of it. Upload one of your authority, or have a request made here for it to sign.");
    },
    link: {href: "/certificates", text: "Certificates"},
  },
  {
    title: "One address for all nodes",
    async look() {
      const {items} = await ask("listeners?limit=1000");
      const behind = items.filter((one) => one.proxyProtocol !== "off" && one.trustedProxies.length);
      if (behind.length) return done(`Balancers are trusted by ${behind.map((one) => displayed(one.name)).join(", ")}.`);
      if (localStorage.getItem(DIRECT.key)) return {...done("You said that clients reach the nodes without a balancer."), isSaid: DIRECT};
      return {...open("A balancer before the nodes gives clients one address that stays when a node fails. “Balancer” on the cluster's page has HAProxy's configuration; then say in the listeners which balancers are trusted."), mayBeSaid: DIRECT};
    },
    link: {href: "/listeners", text: "Listeners"},
  },
];

const shown = STEPS.map(makeStep);
const progress = make("progress", {max: STEPS.length, value: 0, "aria-label": "Steps done"});
const count = make("p", {className: "guideCount", role: "status"});
let status = null;

function makeStep(step, index) {
  const mark = make("span", {className: "guideMark", textContent: String(index + 1), "aria-hidden": "true"});
  const title = make("h2", {textContent: step.title});
  const state = make("span", {className: "badge quiet", textContent: "Looking …"});
  const text = make("p");
  const actions = make("div", {className: "guideActions"});
  const item = make("li", {className: "card guideStep"}, mark, make("div", {className: "grow"}, make("div", {className: "guideHead"}, title, state), text, actions));
  return {step, item, mark, state, text, actions, index, isDone: false};
}

function show(one, found) {
  one.isDone = found.isDone;
  one.item.classList.toggle("done", found.isDone);
  one.mark.replaceChildren(found.isDone ? icon("check") : String(one.index + 1));
  one.state.className = found.isDone ? "badge good" : "badge warn";
  one.state.textContent = found.isDone ? "Done" : "To do";
  one.text.textContent = found.text;
  const {href, text} = one.step.link;
  const parts = [make("a", {className: found.isDone ? "button" : "button primary", href, textContent: text})];
  if (found.mayBeSaid) parts.push(say(found.mayBeSaid.text, () => localStorage.setItem(found.mayBeSaid.key, "yes"), one));
  if (found.isSaid) parts.push(say("Undo", () => localStorage.removeItem(found.isSaid.key), one));
  one.actions.replaceChildren(...parts);
}

function say(text, keep, one) {
  const made = make("button", {type: "button", textContent: text});
  made.addEventListener("click", async () => {
    keep();
    await look(one);
    one.actions.querySelector("button")?.focus();
    showCount();
  });
  return made;
}

async function look(one) {
  try {
    show(one, await one.step.look(status));
  } catch (error) {
    one.text.textContent = sentence(error.message);
  }
}

function showCount() {
  const ready = shown.filter((one) => one.isDone).length;
  progress.value = ready;
  count.textContent = ready === STEPS.length ? "All steps are done: your cluster is ready." : `${ready} of ${STEPS.length} steps are done.`;
}

async function lookAtAll(which) {
  await Promise.all(which.map(look));
  showCount();
}

function start() {
  const intro = make("p", {className: "faint", textContent: "From here to a cluster that serves your users, whatever fails. In any order; you find this page again in the navigation."});
  element("actions").append(make("a", {className: "button", href: "/", textContent: "Not now"}));
  element("content").append(make("div", {className: "guide"}, intro, make("div", {className: "guideProgress"}, progress, count), make("ol", {className: "guideSteps"}, ...shown.map((one) => one.item))));
  let looked = "";
  watchStatus((now) => {
    const isFirst = !status;
    status = now;
    const words = JSON.stringify([now.revision, now.nodes.map((row) => [row.name, row.state])]);
    if (words === looked) return;
    looked = words;
    lookAtAll(isFirst ? shown : shown.filter((one) => one.step.isOfNodes || !one.isDone)).catch((error) => tell(sentence(error.message), {failed: true}));
  });
}

start();
