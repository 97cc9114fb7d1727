// Series of several nodes as one: their steps do not end at the same moments.

const COLORS = ["--series1", "--series2", "--series3", "--series4", "--series5", "--series6"];

const sum = (values) => {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((one, other) => one + other, 0) : null;
};

/**
 * @param {object[]} series answers of `/nodes/NAME/series`, with the same step
 * @param {string[]} names the nodes, in the order that gives them their colours
 */
export function together(series, names) {
  const step = series[0]?.stepSeconds ?? 10;
  const slots = [...new Set(series.flatMap((one) => one.times.map((time) => Math.round(time / step))))].sort((one, other) => one - other);
  const places = new Map(slots.map((slot, index) => [slot, index]));
  const spread = (one, values) => {
    const all = Array(slots.length).fill(null);
    one.times.forEach((time, index) => {
      all[places.get(Math.round(time / step))] = values[index];
    });
    return all;
  };
  const total = (lists) => slots.map((_, index) => sum(lists.map((list) => list[index])));
  const totalOf = (key) => total(series.map((one) => spread(one, one[key])));
  const protocols = [...new Set(series.flatMap((one) => Object.keys(one.sessions)))].sort();
  return {
    times: slots.map((slot) => slot * step),
    lag: series.map((one) => ({name: one.node, color: COLORS[names.indexOf(one.node) % COLORS.length], values: spread(one, one.lagSeconds)})),
    sessions: protocols.map((protocol) => ({
      name: protocol.toUpperCase(),
      values: total(series.filter((one) => protocol in one.sessions).map((one) => spread(one, one.sessions[protocol]))),
    })),
    in: totalOf("bytesInPerSecond"),
    out: totalOf("bytesOutPerSecond"),
    accepted: totalOf("loginsAccepted"),
    failed: totalOf("loginsFailed"),
  };
}

const colored = (lines) => lines.map((line, index) => ({...line, color: COLORS[index % COLORS.length]}));

/** The charts that there are: each tells its lines of what `together` gives. */
export const CHARTS = [
  {title: "Sessions", unit: "count", lines: (data) => colored(data.sessions)},
  {title: "Throughput", unit: "bytes", lines: (data) => colored([{name: "In", values: data.in}, {name: "Out", values: data.out}])},
  {title: "Log-ins", unit: "count", lines: (data) => [{name: "Accepted", color: "--series1", values: data.accepted}, {name: "Failed", color: "--seriesBad", values: data.failed}]},
  {title: "Replication lag", unit: "seconds", lines: (data) => data.lag},
];

/** What a chart shows, in a few words. */
export function summary(lines, textOf, hours) {
  const known = lines.filter(({values}) => values.some((value) => value !== null));
  if (!known.length) return "Nothing is known yet: the first numbers come within a few " + (hours === 1 ? "seconds." : "minutes.");
  const most = (values) => values.reduce((one, other) => Math.max(one, other ?? 0), 0);
  return `Highest in the last ${hours === 1 ? "hour" : "day"}: ${known.map(({name, values}) => `${name} ${textOf(most(values))}`).join(", ")}.`;
}
