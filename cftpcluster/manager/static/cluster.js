// The cluster's page: warnings, the nodes as cards, the drawing of who reaches what, and charts.

import {call, sentence} from "./api.js";
import {makeCharts} from "./charts.js";
import {button, countText, displayed, element, icon, make, tell} from "./dom.js";
import {makeDrawing} from "./drawing.js";
import {isHeard, watchStatus} from "./live.js";
import {openNodeMenu} from "./nodeactions.js";
import {makeCard} from "./nodecards.js";
import {askBalancer} from "./balancer.js";

const mayAct = document.body.dataset.role === "full";
const cards = new Map();
const shown = {status: null, revision: null};

const summary = make("p", {className: "clusterSummary"});
const warnings = make("section", {className: "clusterWarnings", hidden: true, "aria-label": "Warnings"});
const list = make("ul", {className: "nodeGrid", "aria-label": "Nodes"});
const drawing = makeDrawing();
const charts = makeCharts();
const loading = make("li", {className: "skeleton nodeSkeleton"});

function start() {
  if (mayAct) element("actions").append(make("a", {className: "button primary", href: "/nodes/add"}, icon("plus"), "Add a node"));
  const configuration = button("file-code", {text: "Balancer", classes: ""});
  configuration.title = "The configuration for HAProxy";
  configuration.addEventListener("click", () => askBalancer());
  element("actions").prepend(configuration);
  list.append(loading);
  element("content").append(
    warnings,
    summary,
    list,
    make("section", {className: "card drawingCard", "aria-label": "Who reaches what"}, make("h2", {textContent: "Who reaches what"}), drawing.element),
    charts.element,
  );
  watchStatus(show);
}

function show(status) {
  shown.status = status;
  loading.remove();
  showWarnings(status);
  showSummary(status);
  showCards(status);
  charts.update(status.nodes);
  if (status.revision !== shown.revision) {
    shown.revision = status.revision;
    loadBackends();
  } else drawing.update(status.nodes, shown.backends ?? []);
}

function showWarnings({warnings: texts}) {
  const now = JSON.stringify(texts);
  if (warnings.dataset.shown === now) return;
  warnings.dataset.shown = now;
  warnings.hidden = !texts.length;
  warnings.replaceChildren(
    make("h2", {}, icon("triangle-alert"), countText(texts.length, "warning", "warnings")),
    make("ul", {}, ...texts.map((text) => make("li", {textContent: displayed(text)}))),
  );
}

function showSummary({nodes, revision, primary, epoch}) {
  const live = nodes.filter((row) => (row.live ?? row.revision) >= revision && isHeard(row)).length;
  const text = `Revision ${revision.toLocaleString()} is live on ${live} of ${countText(nodes.length, "node", "nodes")}. Primary: ${primary ? displayed(primary) : "unknown"}, epoch ${epoch}.`;
  if (summary.textContent !== text) summary.textContent = text;
}

function showCards(status) {
  const names = status.nodes.map((row) => row.name);
  for (const [name, card] of cards) {
    if (!names.includes(name)) {
      card.element.remove();
      cards.delete(name);
    }
  }
  status.nodes.forEach((row, index) => {
    if (!cards.has(row.name)) {
      const card = makeCard(row.name, mayAct ? (opener) => openMenu(opener, row.name) : null);
      cards.set(row.name, card);
      list.insertBefore(card.element, list.children[index] ?? null);
    }
    cards.get(row.name).update(row, status);
  });
}

function openMenu(opener, name) {
  const row = shown.status.nodes.find((one) => one.name === name);
  if (row) openNodeMenu(opener, row, shown.status, cards.get(name));
}

async function loadBackends() {
  try {
    const page = await call("GET", "/api/v1/backends?limit=100");
    shown.backends = page.items.map(({name, kind, shared = false}) => ({name, kind, shared}));
    drawing.update(shown.status.nodes, shown.backends);
  } catch (error) {
    tell(sentence(error.message), {failed: true});
  }
}

start();
