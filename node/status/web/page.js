// Asks the node for its figures once a second and shows them, as long as somebody looks.

import { Chart } from "./charts.js";

const INTERVAL = 1000; // ms
const PATIENCE = 5000; // ms until an answer is given up

const MARKS = { ok: "✓", warning: "!", failed: "✕", unknown: "?" };
const NAMES = {
  "no-peer": "other end not there yet",
  "node-kbps": "over --node-kbps",
  maxkbps: "over --maxkbps",
  private: "private address",
  locked: "not the latched source",
  own: "from this relay itself",
  quota: "quota used up",
  unsent: "not sent by the system",
};

const at = (id) => document.getElementById(id);

/** A number with a unit, in steps of a thousand: 12.3 Mbit/s. */
function scaled(value, unit, prefixes = ["", "k", "M", "G", "T", "P"]) {
  let step = 0;
  while (value >= 999.5 && step < prefixes.length - 1) {
    value /= 1000;
    step += 1;
  }
  const digits = step === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return [value.toFixed(digits), prefixes[step] + unit];
}
const written = (pair) => pair.join(" ");
const bits = (bytes) => written(scaled(bytes * 8, "bit/s"));
const volume = (bytes) => written(scaled(bytes, "B"));
const count = (number) => number.toLocaleString("en").replaceAll(",", " ");
const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

function duration(seconds) {
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor((seconds % 86400) / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds)} s`;
}

function day(time, more = {}) {
  return new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short", ...more });
}

function make(name, text = "", classes = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

function set(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

function figure(id, [value, unit]) {
  at(id).replaceChildren(make("span", value), " ", make("small", unit));
}

function list(id, entries) {
  const parts = entries
    .filter(([, value]) => value !== null)
    .flatMap(([term, value, classes]) => [make("dt", term), make("dd", value, classes)]);
  at(id).replaceChildren(...parts);
}

function legend(id, entries) {
  const parts = entries.map(([classes, name, value]) => {
    const part = make("span", "", classes);
    part.append(make("i"), `${name} `, make("b", value));
    return part;
  });
  at(id).replaceChildren(...parts);
}

let latest = null;
const throughput = new Chart(at("throughput"), {
  classes: ["first", "second"],
  floor: 10_000,
  label: (value) => written(scaled(value, "bit/s").map((part, index) => (index ? part : Number(part)))),
  steps: false,
  onPoint: () => throughputLegend(),
});
const channels = new Chart(at("channels"), {
  classes: ["first"],
  floor: 2,
  label: (value) => (Number.isInteger(value) ? count(value) : ""),
  steps: true,
  onPoint: () => channelsLegend(),
});

function throughputLegend() {
  if (latest === null) return;
  const { history } = latest;
  const index = throughput.index ?? history.to_peers.length - 1;
  legend("throughput-legend", [
    ["first", "requester → peer", bits(history.to_peers[index] ?? 0)],
    ["second", "peer → requester", bits(history.to_requesters[index] ?? 0)],
  ]);
}

function channelsLegend() {
  if (latest === null) return;
  const { history } = latest;
  const index = channels.index ?? history.channels.length - 1;
  legend("channels-legend", [["first", "open", count(history.channels[index] ?? latest.channels.open)]]);
}

/** What the node is like, in one word and the colour of its worst check. */
function state(status) {
  const results = status.checks.map((check) => check.result);
  const failed = results.filter((result) => result === "failed").length;
  if (failed) return ["failed", failed === 1 ? "One check failed" : `${failed} checks failed`];
  if (results.includes("warning")) return ["warning", status.channels.free ? "Lending, with a warning" : "Not lending now"];
  return ["ok", status.channels.open ? "Lending" : "Ready to lend"];
}

function showTiles(status) {
  const { traffic, channels: use, lifetime, quota, turn } = status;
  figure("rate", scaled((traffic.to_peers.rate + traffic.to_requesters.rate) * 8, "bit/s"));
  const passed = traffic.to_peers.packets + traffic.to_requesters.packets;
  set("rate-note", `${count(passed)} packets`);
  figure("open", [count(use.open), `of ${count(use.capacity)}`]);
  const byTurn = turn === null ? "" : `${count(turn.allocations)} by TURN, `;
  set("open-note", `${byTurn}${Math.round(use.free * 100)} % offered`);
  figure("given", scaled(lifetime.bytes, "B"));
  set("given-note", `since ${day(lifetime.since, { year: "numeric" })}`);
  at("quota-bar").hidden = quota === null;
  if (quota === null) {
    figure("quota", ["none", ""]);
    set("quota-note", "set one with --quota");
    return;
  }
  const share = Math.min(1, quota.used / quota.bytes);
  figure("quota", [(share * 100).toFixed(share < 0.0995 ? 1 : 0), "% used"]);
  at("quota-bar").value = share;
  set("quota-note", `of ${quota.name}, anew on ${day(quota.ends)}`);
}

function showChecks(checks) {
  const parts = checks.map((check) => {
    const part = make("li");
    const mark = make("span", MARKS[check.result], "mark");
    mark.dataset.result = check.result;
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", check.result);
    const text = make("div", "", "text");
    text.append(make("p", check.meaning));
    if (check.remedy) text.append(make("p", check.remedy, "remedy"));
    part.append(mark, make("span", check.name, "name"), text);
    return part;
  });
  at("checks").replaceChildren(...parts);
}

function counts(values) {
  return Object.entries(values).map(([name, value]) => `${NAMES[name] ?? name} ${count(value)}`).join(", ");
}

function showLists(status) {
  const { channels: use, traffic, limits, overlay, turn } = status;
  const dropped = sum(traffic.dropped);
  list("since", [
    ["Channels granted", count(use.granted)],
    ["Requests refused", sum(use.refused) ? counts(use.refused) : "0"],
    ["Channels ended", sum(use.ended) ? counts(use.ended) : "0"],
    ["TURN credentials given", turn && count(turn.credentials)],
    ["Requester → peer", volume(traffic.to_peers.bytes)],
    ["Peer → requester", volume(traffic.to_requesters.bytes)],
    ["Packets dropped", dropped ? counts(traffic.dropped) : "0"],
  ]);
  const rate = (kbps) => (kbps === null ? "not limited" : `${count(kbps)} kbit/s`);
  list("limits", [
    ["Lends to", limits.policy === "roster" ? "the roster" : limits.allowed ? "who is named" : "everybody"],
    ["Allowed by name", limits.allowed ? count(limits.allowed) : null],
    ["Denied by name", limits.denied ? count(limits.denied) : null],
    ["Hours", limits.hours ?? "always"],
    ["Channels of a JID, of a domain", `${count(limits.channels_per_jid)}, ${count(limits.channels_per_domain)}`],
    ["Requests a minute of a JID", count(limits.requests_per_minute)],
    ["Each channel and direction", rate(limits.maxkbps)],
    ["All channels together", rate(limits.node_kbps)],
    ["A silent channel ends after", `${limits.expire} s`],
  ]);
  const events = overlay.events;
  list("overlay", [
    ["Neighbours", count(overlay.neighbours)],
    ...overlay.reachability.map((reach) => [
      `Strangers over ${reach.family}`,
      reach.verdict === "unknown" ? "not known yet" : `${reach.verdict} (${reach.heard} heard, ${reach.missed} missed)`,
    ]),
    ["Datagrams received, sent", `${count(events.received ?? 0)}, ${count(events.sent ?? 0)}`],
    ["Requests answered", count(events.answered ?? 0)],
    ["Requests timed out", count(events.timed_out ?? 0)],
  ]);
  list("node", [
    ["Up for", duration(status.uptime)],
    ["Version", status.version],
    ["Forwarder", status.forwarder.name],
    ["Overlay and STUN", status.public_address, "mono"],
    ["Ports of channels", status.relay_ports, "mono"],
    ["TURN", turn === null ? "not offered" : turn.address, turn && "mono"],
    ["Peer", overlay.peer_id, "mono"],
  ]);
}

function show(status) {
  latest = status;
  document.body.classList.remove("stale");
  set("jid", status.jid);
  document.title = `${status.channels.open} open – ${status.jid}`;
  const [result, word] = state(status);
  at("state").dataset.result = result;
  set("state", word);
  showTiles(status);
  throughput.show([status.history.to_peers, status.history.to_requesters].map((one) => one.map((rate) => rate * 8)));
  channels.show([status.history.channels]);
  throughputLegend();
  channelsLegend();
  showChecks(status.checks);
  showLists(status);
}

function lose() {
  document.body.classList.add("stale");
  at("state").dataset.result = "failed";
  set("state", "The node does not answer");
}

async function follow() {
  for (;;) {
    if (!document.hidden) {
      let status = null;
      try {
        const answer = await fetch("status.json", { signal: AbortSignal.timeout(PATIENCE) });
        if (answer.ok) status = await answer.json();
      } catch {
        status = null; // the node has ended, or is busy: ask again
      }
      if (status === null) lose();
      else show(status);
    }
    await new Promise((done) => setTimeout(done, INTERVAL));
  }
}

follow();
