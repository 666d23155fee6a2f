// Draws the plots of the page from the figures in `report`. No line is left without an entry in the legend.
"use strict";

const WIDTH = 660, HEIGHT = 370; // of the area between the axes
const MAX_PEERS = 6; // more lines could not be told apart; all rows are in the tables
// The hue of each peer. Peers that never share a plot may share a hue.
const HUES = {
  rtrb: 205, ringfire: 205, ringbuf: 120, shaq: 120, disruptor: 30, iceoryx2: 30, "crossbeam-channel": 271, Unix: 271,
  kanal: 20, pipe: 50, flume: 318, std: 60, heapless: 186, bbqueue: 229, published: 168,
};

const median = values => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const escaped = text => text.replace(/[&<>"]/g, character => `&#${character.charCodeAt(0)};`);

// `500`, `20k`, `5M`
const short = value => {
  const [scale, unit] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([scale]) => value >= scale) ?? [1, ""];
  return Number((value / scale).toFixed(3)) + unit;
};

const kindOf = row =>
  row.role == "bare" || row.name.startsWith("bare:") || row.name == "tango, none attached" ? "bare"
  : row.name.startsWith("tango") ? "ours" : "peer";

// A line for each row, with a point from each table. Some rows have the number of readers in their names.
function linesOver(tables, wanted, value) {
  const lines = new Map();
  for (const table of tables) {
    for (const row of table.rows.filter(wanted)) {
      const name = row.role == "bare" ? row.name.replace(/ \d+ /, " all ") : row.name;
      if (!lines.has(name)) lines.set(name, {name, kind: kindOf(row), points: []});
      lines.get(name).points.push([table.at, value(table, median(row.figures))]);
    }
  }
  return [...lines.values()];
}

// Our lines, bare rows, and the peers with the highest scores.
function best(lines, score) {
  const peers = lines.filter(line => line.kind == "peer").sort((a, b) => score(b) - score(a));
  const leftOut = new Set(peers.slice(MAX_PEERS));
  return lines.filter(line => !leftOut.has(line));
}

// Both axes are logarithmic. This one has ticks around the values; long axes have powers of ten only.
function axisAround(values) {
  const least = Math.min(...values), most = Math.max(...values), steps = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++)
    for (const leading of [1, 2, 5]) steps.push({leading, at: leading * 10 ** power});
  const from = steps.findLast(step => step.at <= least)?.at ?? least;
  const to = steps.find(step => step.at >= most && step.at > from)?.at ?? from * 2;
  const ticks = steps.filter(({leading, at}) => at >= from && at <= to && (to / from < 1000 || leading == 1));
  return {from, to, ticks: ticks.map(({at}) => [at, short(at)])};
}

const axisWith = ticks => {
  const from = ticks[0][0], to = ticks[ticks.length - 1][0];
  return {from, to: to > from ? to : from * 2, ticks};
};

const position = (axis, value, length) =>
  Math.round(Math.log(value / axis.from) / Math.log(axis.to / axis.from) * length * 10) / 10;

function colour(line, index) {
  if (line.kind == "ours") return `hsl(0 75% ${[48, 70, 30][index % 3]}%)`;
  if (line.kind == "bare") return `hsl(0 0% ${[50, 35, 65][index % 3]}%)`;
  const hue = HUES[line.name.split(/[ ,]/)[0]] ?? index * 137;
  return `hsl(${hue} 65% ${line.name.includes("blocking") ? 65 : 42}%)`;
}

function plot(title, all, lines, x, xLabel, yLabel) {
  if (!lines.length) return "";
  const y = axisAround(lines.flatMap(line => line.points.map(point => point[1])));
  const counts = {};
  for (const line of lines) line.colour = colour(line, counts[line.kind] = (counts[line.kind] ?? -1) + 1);
  const place = ([at, value]) => [position(x, at, WIDTH), HEIGHT - position(y, value, HEIGHT)];
  let svg = `<svg width="760" height="440" viewBox="-76 -12 760 440">`;
  for (const [at, name] of x.ticks.map(([at, name]) => [position(x, at, WIDTH), name]))
    svg += `<path class="grid" d="M${at} 0V${HEIGHT}"/><text x="${at}" y="${HEIGHT + 18}">${name}</text>`;
  for (const [at, name] of y.ticks.map(([at, name]) => [HEIGHT - position(y, at, HEIGHT), name]))
    svg += `<path class="grid" d="M0 ${at}H${WIDTH}"/><text class="y" x="-6" y="${at + 5}">${name}</text>`;
  svg += `<path class="axis" d="M0 0V${HEIGHT}H${WIDTH}"/><text x="${WIDTH / 2}" y="${HEIGHT + 40}">${xLabel}</text>`;
  svg += `<text transform="translate(-60 ${HEIGHT / 2}) rotate(-90)">${yLabel}</text>`;
  // Ours last, so that they are on top.
  for (const kind of ["bare", "peer", "ours"]) {
    for (const line of lines.filter(line => line.kind == kind)) {
      const points = line.points.map(place);
      svg += `<g class="${kind}" style="color:${line.colour}"><polyline points="${points.join(" ")}"/>`;
      // The dots of a long curve would hide each other.
      if (points.length <= 12) for (const [cx, cy] of points) svg += `<circle cx="${cx}" cy="${cy}"/>`;
      svg += "</g>";
    }
  }
  // The legend has the order in which the lines end.
  const end = line => line.points[line.points.length - 1][1];
  const legend = [...lines].sort((a, b) => end(b) - end(a)).map(line =>
    `<li class="${line.kind}"><span style="border-color:${line.colour}"></span>${escaped(line.name)}</li>`);
  const leftOut = all.length - lines.length;
  const note = leftOut ? `<p class="conditions">Slower peers that are only in the tables: ${leftOut}.</p>` : "";
  return `<figure><figcaption>${escaped(title)}</figcaption><div class="plot">${svg}</svg><ul>${legend.join("")}</ul></div>`
    + `${note}</figure>`;
}

// Bytes a second over bytes a message, a plot for each kind of row.
function bySize(tables) {
  const size = bytes => bytes < 1024 ? String(bytes) : `${bytes / 1024} Ki`;
  const x = axisWith(tables.map(table => [table.at, size(table.at)]));
  return ["threads", "processes"].flatMap(setting => [false, true].map(batch => {
    const wanted = row =>
      ["tango", "peer", "published"].includes(row.role) && row.setting == setting && row.batch == batch
      || row.name.startsWith("tango, loan") && setting == "threads" && !batch
      || row.role == "bare" || row.name == "bare: one copy, the other core reads";
    const all = linesOver(tables, wanted, (table, nanos) => table.at * 1e9 / nanos);
    const lines = best(all, line => line.points.reduce((sum, point) => sum + Math.log(point[1]), 0));
    const title = `Throughput between ${setting}, ${batch ? "batches" : "one message a call"}`;
    return plot(title, all, lines, x, "bytes a message", "bytes of payload a second");
  }));
}

// Messages a second over readers.
function byReaders(tables) {
  const lines = linesOver(tables, () => true, (_, nanos) => 1e9 / nanos);
  const x = axisWith(tables.map(table => [table.at, short(table.at)]));
  const note = "more threads than cores";
  const crowded = tables.find(table => table.rows.some(row => row.note == note));
  const title = "Messages a second by readers" + (crowded ? `; from ${crowded.at} on, ${note}` : "");
  return [plot(title, lines, lines, x, "readers", "messages a second")];
}

// Latency over the part of the messages that took at most that long, threads and processes apart.
function percentiles(table) {
  if (table.unit != "latency") return [];
  return ["threads", "processes"].map(setting => {
    const curve = row => {
      // A quantile beyond which there is less than one message of a round says nothing.
      const messages = row.messages / Math.max(table.rounds, 1), points = [];
      for (const [index, latency] of (row.latencies ?? []).entries()) {
        const beyond = 1 - report.quantiles[index];
        if (beyond * messages < 1) break;
        points.push([1 / beyond, Math.max(latency, 1)]);
      }
      return {name: row.name, kind: kindOf(row), points};
    };
    const all = table.rows.filter(row => row.setting == setting || row.role == "bare").map(curve)
      .filter(line => line.points.length);
    // By the latencies of up to 99 % of the messages.
    const lines = best(all, line =>
      line.points.filter(point => point[0] < 110).reduce((sum, point) => sum - Math.log(point[1]), 0));
    const farthest = Math.max(...lines.flatMap(line => line.points.map(point => point[0])));
    const ticks = [[1, "0 %"], [2, "50 %"], [10, "90 %"], [1e2, "99 %"], [1e3, "99.9 %"], [1e4, "99.99 %"], [1e5, "99.999 %"]];
    const x = axisWith(ticks.slice(0, 1 + Math.max(2, ticks.findIndex(tick => tick[0] >= farthest * 0.999))));
    return plot(`${table.title}, ${setting}`, all, lines, x, "part of the messages", "latency in ns");
  });
}

// The picture at the top: a line for each workload. The red line is ours; a mark right of it is faster than ours, and one
// left of it is slower.
function picture() {
  const wanted = [
    ["64 bytes, threads", "throughput-64", "threads", "tango"],
    ["64 bytes, two processes", "throughput-64", "processes", "tango, 2 processes"],
    ["64 bytes, little work, threads", "working-little", "threads", "tango"],
    ["64 bytes in batches, threads", "throughput-64", "threads", "tango, batches"],
    ["1 KiB, two processes", "throughput-1024", "processes", "tango, 2 processes"],
    ["8 bytes, threads", "throughput-8", "threads", "tango"],
    ["round trip of 64 bytes, threads", "round-trip-64", "threads", "tango"],
    ["round trip of 64 bytes, processes", "round-trip-64", "processes", "tango, 2 processes"],
    ["bursts of 256, processes", "bursts-256", "processes", "tango, 2 processes"],
    ["waking, two processes", "parked", "processes", "tango, parked, 2 processes"],
  ];
  const units = {
    million_per_second: nanos => `${(1e3 / nanos).toPrecision(3)} M/s`, round_trip: nanos => `${Math.round(nanos)} ns`,
    latency: nanos => `${Math.round(nanos)} ns`,
  };
  const found = wanted.flatMap(([title, key, setting, name]) => {
    const table = report.tables.find(table => table.key == key);
    const ours = table?.rows.find(row => row.name == name);
    if (!ours) return [];
    // In each round, how many times as fast as ours it was.
    const speed = row => median(row.figures.map((figure, round) => ours.figures[round] / figure));
    const peers = table.rows.filter(row => row.role == "peer" && row.setting == setting && row.batch == ours.batch)
      .map(row => ({name: row.name.split(/[ ,]/)[0], speed: speed(row)})).sort((a, b) => b.speed - a.speed);
    const bare = table.rows.find(row => row.role == "bare");
    const inUnit = table.unit == "gibibytes_per_second"
      ? nanos => `${(table.at / nanos * 1e9 / 2 ** 30).toPrecision(3)} GiB/s` : units[table.unit];
    return [{title, peers, bare: bare && speed(bare), ours: inUnit(median(ours.figures))}];
  });
  if (!found.length) return "";
  const left = 330, width = 780, row = 34, top = 56, from = 0.02, to = 5;
  const x = speed => left + Math.log(Math.min(Math.max(speed, from), to) / from) / Math.log(to / from) * width;
  const bottom = top + row * found.length;
  let svg = `<svg viewBox="0 0 1180 ${bottom + 44}" role="img" aria-label="How fast other channels are, compared with rust-tango">`;
  for (const [at, name] of [[0.02, "1/50"], [0.05, "1/20"], [0.1, "1/10"], [0.2, "1/5"], [0.5, "1/2"], [1, "as fast as ours"], [2, "2 x"], [5, "5 x"]])
    svg += `<line class="${at == 1 ? "one" : ""}" x1="${x(at)}" x2="${x(at)}" y1="${top - 12}" y2="${bottom}"/>`
      + `<text class="${at == 1 ? "ours" : "faint"}" text-anchor="middle" x="${x(at)}" y="${bottom + 16}">${name}</text>`;
  svg += `<text class="title" x="0" y="16">Other channels, compared with rust-tango in the same rounds</text>`;
  let at = 0;
  for (const [mark, name] of [[`<circle class="best" r="6" cy="36"/>`, "best other channel"], [`<circle class="iceoryx2" r="6" cy="36"/>`, "iceoryx2"],
    [`<circle class="peer" r="4" cy="36"/>`, "the others"], [`<path class="bare" d="M-6 36l6-6 6 6-6 6z"/>`, "no channel: what the bare hardware does"]]) {
    svg += `<g transform="translate(${left + at} 0)">${mark}</g><text x="${left + at + 12}" y="40">${name}</text>`;
    at += 40 + name.length * 7.5;
  }
  found.forEach((line, index) => {
    const y = top + row * index + row / 2;
    svg += `<text x="0" y="${y + 4}">${line.title}</text><text class="ours" text-anchor="end" x="${left - 14}" y="${y + 4}">${line.ours}</text>`
      + `<line x1="${left}" x2="${left + width}" y1="${y}" y2="${y}"/>`;
    if (line.bare) svg += `<path class="bare" d="M${x(line.bare) - 6} ${y}l6-6 6 6-6 6z"><title>bare: ${line.bare.toFixed(2)} x</title></path>`;
    const mark = (peer, kind, radius) =>
      `<circle class="${kind}" r="${radius}" cx="${x(peer.speed)}" cy="${y}"><title>${escaped(peer.name)}: ${peer.speed.toFixed(2)} x</title></circle>`;
    const [best, ...others] = line.peers;
    for (const peer of others.filter(peer => peer.name != "iceoryx2")) svg += mark(peer, "peer", 4);
    for (const peer of others.filter(peer => peer.name == "iceoryx2")) svg += mark(peer, "iceoryx2", 6);
    if (best) {
      const right = best.speed > 2.5;
      svg += mark(best, "best", 6) + `<text class="faint" text-anchor="${right ? "end" : "start"}" x="${x(best.speed) + (right ? -10 : 10)}" `
        + `y="${y - 9}">${escaped(best.name)} ${best.speed.toFixed(2)} x</text>`;
    }
  });
  svg += `<text class="faint" x="0" y="${bottom + 38}">Right of the red line: faster than ours. Left of it: slower. In red: the figure of ours.</text>`;
  return svg + "</svg>";
}

document.getElementById("picture").innerHTML = picture();
for (const element of document.querySelectorAll(".plots")) {
  const workload = element.dataset.workload, tables = report.tables.filter(table => table.workload == workload);
  const plots = workload == "throughput" ? bySize(tables)
    : workload.startsWith("fan-out") ? byReaders(tables) : tables.flatMap(percentiles);
  element.innerHTML = plots.join("");
}
