// Charts of what the nodes did in their last hour or day; the same numbers in words, and as a table.
//
// uPlot draws (https://github.com/leeoniya/uPlot); what is drawn is decided here.

import {send} from "./api.js";
import {displayed, durationText, icon, make, sizeText} from "./dom.js";
import {CHARTS, summary, together} from "./series.js";
import uPlot from "./uplot-1.6.32.min.js";

// A page that is only open does not keep its session alive.
const BY_ITSELF = {"X-Background": "1"};
const EACH_SECONDS = {1: 10, 24: 60};
const HEIGHT = 180;
const TABLE_ROWS = 12;

const timeText = (time, hours) => new Date(time * 1000).toLocaleTimeString(undefined, hours === 1 ? {timeStyle: "medium"} : {timeStyle: "short"});
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A value as a chart's unit has it; "–" where nothing is known. */
export function valueText(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "bytes") return `${sizeText(value)}/s`;
  if (unit === "seconds") return value && value < 1 ? `${value.toFixed(1)} s` : value ? durationText(value) : "0 s";
  return value.toLocaleString();
}

function axisText(value, unit) {
  return unit === "bytes" ? sizeText(value) : unit === "seconds" ? (value >= 60 ? durationText(value) : `${value} s`) : value.toLocaleString();
}

function axes(unit) {
  const common = {stroke: token("--faint"), font: "12px system-ui, sans-serif", grid: {stroke: token("--line"), width: 1}, ticks: {show: false}};
  return [
    {...common, grid: {show: false}, size: 28, space: 58, values: (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString(undefined, {hour: "2-digit", minute: "2-digit"}))},
    {...common, size: 64, space: 36, incrs: unit === "count" ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] : undefined, values: (_, values) => values.map((value) => axisText(value, unit))},
  ];
}

const LEAST = {count: 4, bytes: 1000, seconds: 1};

/** One chart: what it shows is changed by `update`. */
class Chart {
  constructor({title, unit}) {
    this.unit = unit;
    this.plot = null;
    this.legend = make("ul", {className: "chartLegend"});
    this.tip = make("div", {className: "chartTip", hidden: true});
    this.place = make("div", {className: "chartPlace", tabIndex: 0, role: "img"}, this.tip);
    this.text = make("p", {className: "chartText faint small"});
    this.table = make("table", {className: "chartTable"});
    const details = make("details", {}, make("summary", {className: "small", textContent: "As a table"}), make("div", {className: "chartScroll", tabIndex: 0, role: "region", "aria-label": `${title}, as a table`}, this.table));
    const heading = make("h3", {textContent: title});
    this.title = title;
    this.element = make("section", {className: "card chart", "aria-label": title}, heading, this.legend, this.place, this.text, details);
    this.place.addEventListener("keydown", (event) => this.pressed(event));
    this.place.addEventListener("blur", () => this.plot?.setCursor({left: -10, top: -10}));
    new ResizeObserver(() => this.plot?.setSize({width: this.place.clientWidth, height: HEIGHT})).observe(this.place);
  }

  /** @param {{times: number[], lines: {name: string, color: string, values: (number|null)[]}[], hours: number}} data */
  update(data) {
    this.data = data;
    const look = JSON.stringify([data.lines.map(({name, color}) => [name, token(color)]), token("--line"), data.hours]);
    const values = [data.times, ...data.lines.map((line) => line.values)];
    if (look !== this.look) {
      this.look = look;
      this.build(values);
    } else this.plot.setData(values);
    this.legend.replaceChildren(...data.lines.map(({name, color, values: all}) => {
      const mark = make("span", {className: "chartMark"});
      mark.style.setProperty("background-color", `var(${color})`);
      return make("li", {}, mark, make("bdi", {textContent: displayed(name)}), make("strong", {textContent: valueText(all.findLast((value) => value !== null), this.unit)}));
    }));
    this.say();
  }

  build(values) {
    this.plot?.destroy();
    const isDay = this.data.hours !== 1;
    const lines = this.data.lines.map(({name, color}) => ({label: name, stroke: token(color), width: 2, spanGaps: false, points: {show: false}}));
    const until = Date.now() / 1000;
    const shortest = isDay ? 7200 : 300;
    const options = {
      width: this.place.clientWidth || 300,
      height: HEIGHT,
      legend: {show: false},
      padding: [8, 26, 0, 0],
      cursor: {y: false, drag: {setScale: false, x: false, y: false}, points: {size: 7}},
      scales: {x: {range: (_, least, most) => [Math.min(least ?? until, (most ?? until) - shortest), most ?? until]}, y: {range: (_, least, most) => [0, Math.max((most ?? 0) * 1.08, LEAST[this.unit])]}},
      series: [{}, ...lines],
      axes: axes(this.unit),
      hooks: {setCursor: [(plot) => this.pointed(plot)]},
    };
    this.plot = new uPlot(options, values, this.place);
  }

  /** The values at the cursor, beside it. */
  pointed(plot) {
    const {idx, left} = plot.cursor;
    const isShown = idx !== null && idx !== undefined && left >= 0 && this.data.times.length > 0;
    this.tip.hidden = !isShown;
    if (!isShown) return;
    const rows = this.data.lines.map(({name, values}) => make("div", {}, make("bdi", {textContent: displayed(name)}), make("strong", {textContent: valueText(values[idx], this.unit)})));
    this.tip.replaceChildren(make("div", {className: "faint", textContent: timeText(this.data.times[idx], this.data.hours)}), ...rows);
    const at = plot.valToPos(this.data.times[idx], "x") + plot.over.offsetLeft;
    const width = this.tip.offsetWidth;
    this.tip.style.setProperty("left", `${at + width + 16 > this.place.clientWidth ? at - width - 12 : at + 12}px`);
  }

  /** With the arrow keys the cursor moves, and what is there is said. */
  pressed(event) {
    const {times, lines, hours} = this.data ?? {times: []};
    const step = {ArrowLeft: -1, ArrowRight: 1, Home: -times.length, End: times.length}[event.key];
    if (step === undefined || !times.length) return;
    event.preventDefault();
    const from = this.tip.hidden ? times.length : this.plot.cursor.idx;
    const index = Math.max(0, Math.min(times.length - 1, from + step));
    this.plot.setCursor({left: this.plot.valToPos(times[index], "x"), top: 10});
    this.place.setAttribute("aria-label", `${this.title} at ${timeText(times[index], hours)}: ${lines.map(({name, values}) => `${displayed(name)} ${valueText(values[index], this.unit)}`).join(", ")}`);
  }

  say() {
    const {times, lines, hours} = this.data;
    const text = summary(lines, (value) => valueText(value, this.unit), hours);
    if (this.text.textContent !== text) this.text.textContent = text;
    if (document.activeElement !== this.place) this.place.setAttribute("aria-label", `${this.title}. ${text} Arrow keys tell single values.`);
    const every = Math.max(1, Math.ceil(times.length / TABLE_ROWS));
    const chosen = times.map((_, index) => index).filter((index) => (times.length - 1 - index) % every === 0).reverse();
    const head = make("tr", {}, make("th", {scope: "col", textContent: "Time"}), ...lines.map(({name}) => make("th", {scope: "col", textContent: displayed(name)})));
    const rows = chosen.map((index) => make("tr", {}, make("th", {scope: "row", textContent: timeText(times[index], hours)}), ...lines.map(({values}) => make("td", {textContent: valueText(values[index], this.unit)}))));
    this.table.replaceChildren(make("caption", {className: "hidden", textContent: this.title}), make("thead", {}, head), make("tbody", {}, ...rows));
  }
}

/** Charts of all nodes, or of one of them. */
export function makeCharts() {
  const charts = CHARTS.map((described) => new Chart(described));
  const node = make("select", {id: "chartNode"}, make("option", {value: "", textContent: "All nodes"}));
  const time = make("div", {className: "segments", role: "group", "aria-label": "How far back"});
  const trouble = make("p", {className: "chartTrouble alert", role: "status", hidden: true});
  const head = make("div", {className: "sectionHead"}, make("h2", {className: "grow", textContent: "Activity"}), make("label", {for: "chartNode", className: "hidden", textContent: "Node"}), node, time);
  const element = make("section", {className: "charts"}, head, trouble, make("div", {className: "chartGrid"}, ...charts.map((one) => one.element)));
  let hours = 1;
  let names = [];
  let timer = 0;
  let asking = 0;

  for (const [value, text] of [[1, "Last hour"], [24, "Last day"]]) {
    const choice = make("button", {type: "button", textContent: text, "aria-pressed": String(value === hours)});
    choice.addEventListener("click", () => {
      hours = value;
      for (const each of time.children) each.setAttribute("aria-pressed", String(each === choice));
      refresh();
    });
    time.append(choice);
  }
  node.addEventListener("change", () => refresh());

  async function seriesOf(name) {
    const response = await send("GET", `/api/v1/nodes/${encodeURIComponent(name)}/series?hours=${hours}`, {headers: BY_ITSELF});
    return response.json();
  }

  async function refresh() {
    clearTimeout(timer);
    asking += 1;
    const mine = asking;
    const wanted = node.value ? [node.value] : names;
    if (wanted.length && !document.hidden) {
      const answers = await Promise.allSettled(wanted.map(seriesOf));
      if (mine !== asking) return;
      show(wanted, answers);
    }
    timer = setTimeout(refresh, 1000 * EACH_SECONDS[hours]);
  }

  function show(wanted, answers) {
    const missing = wanted.filter((_, index) => answers[index].status === "rejected");
    trouble.replaceChildren(icon("triangle-alert", "small"), ` ${missing.map(displayed).join(", ")} ${missing.length === 1 ? "does" : "do"} not answer: what happened there is missing here.`);
    trouble.hidden = !missing.length;
    const series = answers.filter((one) => one.status === "fulfilled").map((one) => one.value);
    const data = together(series, wanted);
    charts.forEach((chart, index) => chart.update({times: data.times, lines: CHARTS[index].lines(data), hours}));
  }

  new MutationObserver(refresh).observe(document.documentElement, {attributeFilter: ["data-theme"]});
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());

  return {
    element,
    /** There may be other nodes now, or others that answer. */
    update(rows) {
      const now = rows.map((row) => row.name);
      if (JSON.stringify(now) === JSON.stringify(names)) return;
      names = now;
      const chosen = names.includes(node.value) ? node.value : "";
      node.replaceChildren(make("option", {value: "", textContent: "All nodes"}), ...names.map((name) => make("option", {value: name, textContent: displayed(name)})));
      node.value = chosen;
      refresh();
    },
  };
}
