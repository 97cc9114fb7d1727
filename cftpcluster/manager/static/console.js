// The frame of every page: navigation, colours, and the line that says how the cluster is.

import {followOn} from "./changes.js";
import {countText, element, icon, startTheme} from "./dom.js";
import {isHeard, watchStatus, watchTrouble} from "./live.js";

const menuButton = element("menuButton");
const side = element("side");
const live = element("live");
const trouble = element("trouble");
const banner = element("banner");
const OLD_MILLISECONDS = 4000;

function showMenu(isOpen) {
  side.classList.toggle("open", isOpen);
  menuButton.setAttribute("aria-expanded", String(isOpen));
}

menuButton.addEventListener("click", () => showMenu(!side.classList.contains("open")));
side.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !side.classList.contains("open")) return;
  showMenu(false);
  menuButton.focus();
});

function showStatus({node, revision, nodes, warnings}) {
  const liveOn = nodes.filter((row) => row.live >= revision && isHeard(row)).length;
  const isWhole = liveOn === nodes.length;
  const text = nodes.length === 1 ? `${node}: revision ${revision}` : `${node}: revision ${revision}, live on ${liveOn} of ${countText(nodes.length, "node", "nodes")}`;
  live.dataset.state = isWhole ? "good" : "warn";
  if (element("liveText").textContent !== text) element("liveText").textContent = text;
  const troubled = nodes.filter((row) => row.state === "disconnected" || row.problems.length).length;
  const told = [...(warnings.length ? [countText(warnings.length, "warning", "warnings")] : []), ...(troubled ? [countText(troubled, "node with problems", "nodes with problems")] : [])].join(", ");
  if (trouble.textContent !== told) trouble.textContent = told;
  trouble.hidden = !told;
}

let waiting = null;

function showTrouble(isOld) {
  clearTimeout(waiting);
  if (!isOld) {
    banner.hidden = true;
    return;
  }
  // A node that restarts, or a balancer that picks another one, is back before anybody has read this.
  waiting = setTimeout(() => {
    live.dataset.state = "bad";
    banner.replaceChildren(icon("server-off"), "This node does not answer. What is shown may be old; it goes on by itself.");
    banner.hidden = false;
  }, OLD_MILLISECONDS);
}

startTheme();
document.querySelector(".navLink[aria-current]")?.scrollIntoView({block: "nearest"});
watchStatus(showStatus);
watchTrouble(showTrouble);
followOn();
