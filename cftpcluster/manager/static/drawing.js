// A plain drawing of who reaches what: clients by way of the balancer, the nodes, and their storage.

import {displayed, make} from "./dom.js";
import {isHeard} from "./live.js";
import {stateOf} from "./nodecards.js";

const SPACE = "http://www.w3.org/2000/svg";
const ROW = 58;
const BOX = 40;
const MARGIN = 8;
const FONTS = {name: "500 14px system-ui, sans-serif", note: "12px system-ui, sans-serif"};

function draw(tag, attributes, ...children) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const isServing = (row) => isHeard(row) && row.state !== "draining";
const linkOf = (row) => (isServing(row) ? "good" : row.state === "draining" ? "warn" : "bad");

/** Why a node cannot use a backend; "" where it can. */
function lacking(row, backend) {
  const begin = `backends/${backend.name}: `;
  return row.problems.find((problem) => problem.startsWith(begin))?.slice(begin.length) ?? "";
}

/** All of it in words. */
export function drawingText(nodes, backends) {
  const named = (rows) => rows.map((row) => displayed(row.name)).join(", ");
  const said = [`Clients reach ${named(nodes.filter(isServing)) || "no node"}.`];
  for (const row of nodes.filter((one) => !isServing(one))) said.push(`${displayed(row.name)}: ${stateOf(row)[1].toLowerCase()}.`);
  for (const backend of backends) {
    said.push(backend.shared ? `Storage ${displayed(backend.name)} is shared by all nodes.` : `Storage ${displayed(backend.name)} is each node’s own.`);
    for (const row of nodes) if (lacking(row, backend)) said.push(`${displayed(row.name)} lacks ${displayed(backend.name)}: ${lacking(row, backend)}.`);
  }
  return said.join(" ");
}

const measuring = document.createElement("canvas").getContext("2d");

/** As much of a text as has room. */
function shorten(text, width, kind) {
  measuring.font = FONTS[kind];
  const fits = (some) => measuring.measureText(some).width <= width;
  if (fits(text)) return text;
  const characters = [...text];
  while (characters.length > 1 && !fits(`${characters.join("")}…`)) characters.pop();
  return `${characters.join("")}…`;
}

function box(x, y, width, kind, name, note) {
  const text = draw("text", {x: x + 14, y: y + (note ? BOX / 2 - 3 : BOX / 2 + 5), class: "name"});
  text.textContent = shorten(displayed(name), width - 22, "name");
  const group = draw("g", {class: `box ${kind}`}, draw("rect", {x, y, width, height: BOX, rx: 9}), draw("rect", {x, y: y + 8, width: 4, height: BOX - 16, rx: 2, class: "mark"}), text);
  if (note) {
    const line = draw("text", {x: x + 14, y: y + BOX / 2 + 13, class: "note"});
    line.textContent = shorten(note, width - 22, "note");
    group.append(line);
  }
  const title = draw("title", {});
  title.textContent = note ? `${displayed(name)}: ${note}` : displayed(name);
  group.append(title);
  return group;
}

function line(fromX, fromY, toX, toY, kind) {
  const middle = (fromX + toX) / 2;
  return draw("path", {class: `link ${kind}`, d: `M${fromX} ${fromY}C${middle} ${fromY} ${middle} ${toY} ${toX} ${toY}`});
}

function cross(x, y) {
  return draw("path", {class: "cross", d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`});
}

function render(width, nodes, backends) {
  const gap = Math.min(150, Math.max(22, width * 0.11));
  const column = Math.min(230, (width - 2 * gap - 2) / 3);
  const between = (width - 3 * column - 2) / 2;
  const rows = Math.max(nodes.length, backends.length, 1);
  const height = rows * ROW - (ROW - BOX) + 2 * MARGIN;
  const columns = [1, 1 + column + between, 1 + 2 * (column + between)];
  const top = (index, count) => MARGIN + (rows - count) * ROW / 2 + index * ROW;
  const drawing = draw("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-labelledby": "drawingText"});
  const links = draw("g", {});
  const boxes = draw("g", {});
  const entry = top(0, 1);
  boxes.append(box(columns[0], entry, column, "quiet", "Clients", width < 520 ? "" : "by the balancer"));
  nodes.forEach((row, index) => {
    const y = top(index, nodes.length);
    const kind = linkOf(row);
    links.append(line(columns[0] + column, entry + BOX / 2, columns[1], y + BOX / 2, kind));
    if (kind === "bad") links.append(cross((columns[0] + column + columns[1]) / 2, (entry + y + BOX) / 2));
    boxes.append(box(columns[1], y, column, stateOf(row)[0], row.name, stateOf(row)[1]));
    backends.forEach((backend, number) => {
      const theirs = top(number, backends.length);
      const missing = !isHeard(row) ? "unknown" : lacking(row, backend) ? "bad" : backend.shared ? "good" : "own";
      links.append(line(columns[1] + column, y + BOX / 2, columns[2], theirs + BOX / 2, missing));
      if (missing === "bad") links.append(cross((columns[1] + column + columns[2]) / 2, (y + theirs + BOX) / 2));
    });
  });
  backends.forEach((backend, number) => {
    const isMissing = nodes.some((row) => lacking(row, backend));
    const note = isMissing ? "missing on a node" : backend.shared ? "shared" : nodes.length > 1 ? "each node’s own" : backend.kind;
    boxes.append(box(columns[2], top(number, backends.length), column, isMissing ? "bad" : "quiet", backend.name, note));
  });
  drawing.append(links, boxes);
  return drawing;
}

/** @returns {{element: HTMLElement, update: function(object[], object[]): void}} */
export function makeDrawing() {
  const words = make("p", {id: "drawingText", className: "hidden"});
  const place = make("div", {className: "drawing"});
  const element = make("div", {}, place, words);
  let last = [[], []];
  let shown = "";

  function show(isForced) {
    const width = Math.floor(place.clientWidth);
    const [nodes, backends] = last;
    const now = JSON.stringify([width, nodes.map((row) => [row.name, row.state, row.problems]), backends]);
    if (!width || (!isForced && now === shown)) return;
    shown = now;
    words.textContent = drawingText(nodes, backends);
    place.replaceChildren(render(width, nodes, backends));
  }

  new ResizeObserver(() => show(false)).observe(place);
  return {
    element,
    update(nodes, backends) {
      last = [nodes, backends];
      show(false);
    },
  };
}
