// The nodes as cards: each shows how a node is, and stays where it is while that changes.

import {button, countText, displayed, durationText, icon, make, sizeText} from "./dom.js";
import {isHeard} from "./live.js";

const STATES = {
  primary: ["good", "Primary"],
  following: ["good", "Following"],
  catchingUp: ["warn", "Catching up"],
  paused: ["warn", "Paused"],
  draining: ["warn", "Draining"],
  unconfirmed: ["bad", "Unconfirmed"],
  refused: ["bad", "Refused"],
  disconnected: ["bad", "Disconnected"],
};
const MOST_PROBLEMS = 3;

const isKnown = (value) => value !== null && value !== undefined;

/** What a state is called, and which badge says it. */
export const stateOf = (row) => (row.state === "disconnected" && isHeard(row) ? ["warn", "No primary"] : STATES[row.state] ?? ["quiet", row.state]);
const whole = (value) => (isKnown(value) ? value.toLocaleString() : "–");
const rate = (value) => (isKnown(value) ? `${sizeText(value)}/s` : "–");

/** How far a node is behind, for people. */
export function lagText(row) {
  if (row.state === "primary" || (!isHeard(row) && !row.lagSeconds)) return "–";
  if (!row.lagSeconds) return "none";
  return row.lagSeconds < 1 ? "under 1 s" : durationText(row.lagSeconds);
}

function revisionText(row, status) {
  if (!row.revision) return "–";
  const behind = status.revision - row.revision;
  const live = isKnown(row.live) && row.live < row.revision ? `, live ${row.live.toLocaleString()}` : "";
  return `${row.revision.toLocaleString()}${behind > 0 ? ` (${behind.toLocaleString()} behind)` : ""}${live}`;
}

const FACTS = [
  ["Revision", revisionText],
  ["Lag", lagText],
  ["Sessions", (row) => whole(row.sessions)],
  ["Connections", (row) => whole(row.connections)],
  ["In", (row) => rate(row.bytesInPerSecond)],
  ["Out", (row) => rate(row.bytesOutPerSecond)],
  ["Version", (row) => row.version || "–"],
  ["Address", (row) => row.address || "–"],
];

function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/**
 * A card of one node.
 *
 * @param {string} name
 * @param {function(HTMLElement): void} openMenu called with what was pressed; null where nothing may be done
 * @returns {{element: HTMLElement, update: function(object, object): void, progress: HTMLElement}}
 */
export function makeCard(name, openMenu) {
  const badge = make("span", {className: "badge"});
  const role = make("p", {className: "nodeRole faint small"});
  const heading = make("h2", {}, make("bdi", {textContent: displayed(name), title: name}));
  const head = make("div", {className: "nodeHead"}, heading, badge);
  if (openMenu) {
    const opener = button("ellipsis-vertical", {label: `Actions for ${displayed(name)}`});
    opener.setAttribute("aria-haspopup", "menu");
    opener.addEventListener("click", () => openMenu(opener));
    head.append(opener);
  }
  const values = FACTS.map(() => make("dd"));
  const facts = make("dl", {className: "nodeFacts"}, ...FACTS.map(([label], index) => make("div", {}, make("dt", {textContent: label}), values[index])));
  const problems = make("div", {className: "nodeProblems", hidden: true});
  const progress = make("div", {className: "nodeProgress", role: "status", hidden: true});
  const element = make("li", {className: "card nodeCard"}, make("div", {}, head, role), facts, problems, progress);
  element.dataset.node = name;
  let shown = null;

  function update(row, status) {
    const [kind, text] = stateOf(row);
    element.dataset.state = row.state;
    element.classList.toggle("bad", kind === "bad");
    badge.className = `badge ${kind}`;
    setText(badge, text);
    setText(role, [row.role === "primary" ? "Primary" : "Secondary", ...(name === status.node ? ["this node"] : [])].join(", "));
    FACTS.forEach(([, textOf], index) => {
      setText(values[index], textOf(row, status));
      values[index].title = values[index].textContent;
    });
    const listed = JSON.stringify(row.problems);
    if (listed !== shown) {
      shown = listed;
      showProblems(problems, row.problems);
    }
  }
  return {element, update, progress};
}

function showProblems(place, problems) {
  const wasOpen = place.querySelector("details")?.open;
  const items = problems.map((text) => make("li", {textContent: displayed(text)}));
  const first = make("ul", {}, ...items.slice(0, MOST_PROBLEMS));
  const parts = [make("h3", {}, icon("triangle-alert", "small"), countText(problems.length, "problem", "problems")), first];
  if (items.length > MOST_PROBLEMS) {
    const rest = items.slice(MOST_PROBLEMS);
    parts.push(make("details", {open: wasOpen ?? false}, make("summary", {textContent: `${rest.length} more`}), make("ul", {}, ...rest)));
  }
  place.replaceChildren(...parts);
  place.hidden = !problems.length;
}
