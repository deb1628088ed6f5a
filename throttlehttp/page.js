"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const own = (parent, selector) => parent.querySelector(selector);

// ---- words and numbers

function short(x) {
  const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, name] of units) if (Math.abs(x) >= size * 0.9995) return digits(x / size) + name;
  return digits(x);
}
function digits(x) {
  const a = Math.abs(x);
  if (a > 0 && a < 0.1) return x.toPrecision(1);
  return a < 9.95 ? x.toFixed(1).replace(/\.0$/, "") : a < 99.95 ? x.toFixed(1).replace(/\.0$/, "") : x.toFixed(0);
}
function span(s) {
  if (s < 0.0005) return "0 s";
  if (s < 0.9995) return Math.round(s * 1000) + " ms";
  if (s < 99.95) return s.toFixed(1) + " s";
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (s < 3600) return Math.floor(s / 60) + "m" + two(s % 60) + "s";
  if (s < 48 * 3600) return Math.floor(s / 3600) + "h" + two(s / 60 % 60) + "m";
  return Math.floor(s / 86400) + "d" + Math.floor(s / 3600 % 24) + "h";
}
const per = (p) => ({ "1s": "s", "1m": "min", "1h": "h", "1d": "day" })[p] || p;
const some = (n, of) => short(n) + " " + (n === 1 ? of.replace(/s$/, "") : of);
const percent = (part) => part < 9.995 ? Math.round(part * 100) + " %" : short(part) + " ×";
const count = (n, one, many) => n + " " + (n === 1 ? one : many);

// set changes a text only if it differs, so that nothing that is selected or read aloud is disturbed for nothing.
function set(node, text) { if (node.textContent !== text) node.textContent = text; }
function attr(node, name, value) { if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value); }

// ---- what is known

let info = { title: "", store: false, interval: 1000, keep: 300000 };
let latest = null;
let lastEvent = 0;
const families = new Map(); // name → {node, quotas: Map, visible}
const past = new Map();     // family, resource, per → points
const key = (family, q) => JSON.stringify([family, q.resource, q.per]);

function remember(snapshot) {
  const at = Date.parse(snapshot.at), from = at - info.keep;
  for (const f of snapshot.families) for (const q of f.quotas) {
    const k = key(f.name, q);
    if (!past.has(k)) past.set(k, []);
    const points = past.get(k);
    if (!points.length || points[points.length - 1][0] < at) points.push([at, q.level / q.burst, q.seen ? q.use / q.limit : -1]);
    while (points.length && points[0][0] < from) points.shift();
  }
}

// ---- families

const inView = new IntersectionObserver((entries) => {
  for (const e of entries) { const f = families.get(e.target.dataset.name); if (f) { f.visible = e.isIntersecting; if (f.visible) drawPlots(f); } }
}, { rootMargin: "200px" });

function newFamily(name) {
  const node = $("family").content.firstElementChild.cloneNode(true);
  const id = "family-" + (newFamily.count = (newFamily.count || 0) + 1);
  node.dataset.name = name;
  own(node, "h2").id = id;
  set(own(node, "h2"), name === "" ? "(no name)" : name);
  node.setAttribute("aria-labelledby", id);
  own(node, "table").setAttribute("aria-labelledby", id);
  own(node, ".scroll").setAttribute("aria-label", "Line of " + name);
  inView.observe(node);
  return { node, quotas: new Map(), visible: true, state: "" };
}

const states = { paused: "paused", debt: "in debt", waiting: "waiting", busy: "in use", idle: "idle" };

function showFamily(f, data) {
  const { node } = f;
  f.state = data.state;
  attr(node, "data-state", data.state);
  set(own(node, ".state"), data.state === "paused" ? "paused for " + span(data.paused) : states[data.state]);
  const facts = [];
  if (!info.store) {
    facts.push(short(data.granted) + " granted/s");
    if (data.refused > 0) facts.push(short(data.refused) + " refused/s");
    if (data.waiting > 0) facts.push(count(data.waiting, "call waits here", "calls wait here"));
  }
  set(own(node, ".facts"), facts.join(" · "));
  const body = own(node, "tbody"), seen = new Set();
  data.quotas.forEach((q, i) => {
    const k = key(data.name, q);
    seen.add(k);
    let row = f.quotas.get(k);
    if (!row) {
      row = $("quota").content.firstElementChild.cloneNode(true);
      row.past = k;
      hover(row);
      f.quotas.set(k, row);
    }
    if (body.children[i] !== row) body.insertBefore(row, body.children[i] || null);
    showQuota(row, data.name, q);
  });
  for (const [k, row] of f.quotas) if (!seen.has(k)) { row.remove(); f.quotas.delete(k); }
  showLine(own(node, ".line"), data);
  if (f.visible) drawPlots(f);
}

function showQuota(row, family, q) {
  set(own(row, ".resource"), q.resource);
  set(own(row, ".per"), per(q.per));
  own(row, ".set").hidden = !q.overridden;
  own(row, ".set").title = "limit and burst were set at run time";
  const bar = own(row, ".bar"), part = q.level / q.burst;
  bar.classList.toggle("low", part >= 0 && part < 0.1);
  bar.classList.toggle("owed", q.level < 0);
  bar.firstElementChild.style.width = Math.min(100, Math.abs(part) * 100).toFixed(2) + "%";
  const amount = q.level < 0 ? short(-q.level) + " owed" : short(q.level) + " of " + short(q.burst);
  attr(bar, "aria-label", q.resource + " per " + per(q.per) + " that can be used now");
  attr(bar, "aria-valuemax", q.burst);
  attr(bar, "aria-valuenow", Math.max(0, Math.min(q.burst, q.level)));
  attr(bar, "aria-valuetext", amount);
  set(own(row, ".amount"), amount);
  set(own(row, ".full"), q.full > 0 ? "full in " + span(q.full) : "full");
  const use = own(row, "td.use");
  if (!use.firstChild) use.append(document.createTextNode(""), document.createElement("small"));
  const value = q.seen ? percent(q.use / q.limit) : "–";
  use.title = q.seen ? "" : "while a bucket is full, its use can't be seen from outside";
  if (use.firstChild.data !== value) use.firstChild.data = value;
  set(use.lastChild, " of " + short(q.limit));
}

function showLine(node, data) {
  node.hidden = data.places === 0;
  if (node.hidden) return;
  const last = data.line.reduce((most, p) => Math.max(most, p.expected), 0);
  const shown = data.line.length < data.places ? ", the first " + data.line.length + " of them" : "";
  set(own(node, "summary"), "Line of " + count(data.places, "place", "places") + shown + ", the last expected in " + span(last));
  const body = own(node, "tbody");
  while (body.children.length > data.line.length) body.lastElementChild.remove();
  data.line.forEach((p, i) => {
    let row = body.children[i];
    if (!row) {
      row = document.createElement("tr");
      for (let c = 0; c < 7; c++) { const cell = row.insertCell(); if (c !== 1 && c !== 3 && c !== 4) cell.className = "num"; }
      body.append(row);
    }
    row.className = p.ours ? "ours" : "";
    const wants = Object.keys(p.usage).sort().map((r) => some(p.usage[r], r)).join(", ");
    const short = p.resource ? p.resource + "/" + per(p.per) : data.paused ? "the pause" : "";
    [String(i + 1), p.flow, String(p.priority), wants, short, span(p.waited), span(p.expected)].forEach((text, c) => set(row.cells[c], text));
    row.cells[1].title = p.flow;
  });
}

// ---- plots: time to the right, parts of the limit upwards; the burst is the whole height

const W = 300, H = 36;

function drawPlots(f) { for (const row of f.quotas.values()) plot(row); }

function plot(row) {
  const points = past.get(row.past) || [], end = latest ? Date.parse(latest.at) : 0, from = end - info.keep;
  let top = 1.15;
  for (const p of points) top = Math.max(top, Math.min(4, p[2] * 1.05));
  const x = (t) => ((t - from) / info.keep * W).toFixed(1);
  const y = (v) => (H - 1 - Math.max(0, Math.min(top, v)) / top * (H - 2)).toFixed(1);
  let curve = "", lev = "", area = "", before = 0, open = false, most = 0;
  const close = () => { if (open) area += "L" + x(before) + " " + H + "Z"; open = false; };
  for (const p of points) {
    const gap = p[0] - before > 3.5 * info.interval; // nobody looked
    if (gap || p[2] < 0) close();
    lev += (gap ? "M" : "L") + x(p[0]) + " " + (H - 1 - Math.max(0, Math.min(1, p[1])) * (H - 2)).toFixed(1);
    before = p[0];
    if (p[2] < 0) continue;
    area += (open ? "" : "M" + x(p[0]) + " " + H) + "L" + x(p[0]) + " " + y(p[2]);
    curve += (open ? "L" : "M") + x(p[0]) + " " + y(p[2]);
    open = true;
    most = Math.max(most, p[2]);
  }
  close();
  const svg = own(row, "svg");
  own(svg, ".curve").setAttribute("d", curve);
  own(svg, "path.lev").setAttribute("d", lev);
  own(svg, ".area").setAttribute("d", area);
  own(svg, "path.lim").setAttribute("d", "M0 " + y(1) + "H" + W);
  const now = points.length ? points[points.length - 1][2] : -1;
  attr(svg, "aria-label", "Use over the last " + span(info.keep / 1000) + ": " + (now < 0 ? "not seen" : percent(now) + " of the limit") + " now, " + percent(most) + " at most");
}

function hover(row) {
  const svg = own(row, "svg"), out = own(row, "output"), cursor = own(row, ".cursor");
  svg.addEventListener("pointermove", (e) => {
    const box = svg.getBoundingClientRect(), points = past.get(row.past) || [];
    if (!points.length || !latest) return;
    const at = Date.parse(latest.at) - info.keep + (e.clientX - box.left) / box.width * info.keep;
    const p = points.reduce((best, q) => Math.abs(q[0] - at) < Math.abs(best[0] - at) ? q : best);
    const px = ((p[0] - Date.parse(latest.at) + info.keep) / info.keep * W).toFixed(1);
    cursor.setAttribute("d", "M" + px + " 0V" + H);
    set(out, clock(p[0]) + " use " + (p[2] < 0 ? "–" : percent(p[2])) + ", level " + percent(p[1]));
  });
  svg.addEventListener("pointerleave", () => { cursor.removeAttribute("d"); set(out, ""); });
}

// ---- events

const clock = (t) => new Date(t).toLocaleTimeString([], { hour12: false });
const graves = { info: "", warn: "warning: ", bad: "trouble: " };

function showEvents(list) {
  for (const e of list) {
    if (e.id <= lastEvent) continue;
    lastEvent = e.id;
    const item = document.createElement("li"), time = document.createElement("time"), grave = document.createElement("span");
    item.dataset.grave = e.grave;
    time.dateTime = e.at;
    time.textContent = clock(e.at);
    grave.className = "hidden";
    grave.textContent = " " + graves[e.grave];
    item.append(time, grave, " ");
    if (e.family) { const b = document.createElement("b"); b.textContent = e.family; item.append(b, " "); }
    item.append(e.text);
    $("events").prepend(item);
  }
  while ($("events").children.length > 200) $("events").lastElementChild.remove();
  $("no-events").hidden = $("events").children.length > 0;
}

// ---- the whole

const rank = ["paused", "debt", "waiting", "busy", "idle"];

function arrange() {
  const wanted = $("filter").value.trim().toLowerCase(), byState = $("order").value === "state";
  const list = [...families.entries()].sort(([a, f], [b, g]) =>
    (byState ? rank.indexOf(f.state) - rank.indexOf(g.state) : 0) || (a < b ? -1 : a > b ? 1 : 0));
  for (const [name, f] of list) f.node.hidden = !name.toLowerCase().includes(wanted);
  const box = $("families");
  if (box.contains(document.activeElement) && document.activeElement !== box && byState) return; // don't move what has the focus
  list.forEach(([, f], i) => { if (box.children[i] !== f.node) box.insertBefore(f.node, box.children[i] || null); });
}

function show(snapshot) {
  latest = snapshot;
  const seen = new Set();
  for (const data of snapshot.families) {
    seen.add(data.name);
    if (!families.has(data.name)) families.set(data.name, newFamily(data.name));
    showFamily(families.get(data.name), data);
  }
  if (!snapshot.failed) for (const [name, f] of families) if (!seen.has(name)) { inView.unobserve(f.node); f.node.remove(); families.delete(name); }
  arrange();
  $("empty").hidden = families.size > 0;
  const total = (of) => snapshot.families.reduce((n, f) => n + f[of], 0);
  const places = total("places");
  totals([count(snapshot.families.length, "family", "families")].concat(
    snapshot.omitted ? [snapshot.omitted + " more not shown"] : [],
    [places ? count(places, "place in line", "places in line") : "nobody waits"],
    info.store ? [] : [short(total("granted")) + " granted/s"],
    total("refused") > 0 ? [short(total("refused")) + " refused/s"] : []));
  const trouble = snapshot.failed ? count(snapshot.failed, "family", "families") + " can't be seen: " + snapshot.error : "";
  set($("trouble"), trouble);
  $("trouble").hidden = !trouble;
  document.title = (places ? "(" + places + ") " : "") + "throttle" + (info.title ? " · " + info.title : "");
}

function totals(parts) { set($("totals"), parts.join(" · ")); }

let frozen = false, held = null;

function take(message) {
  remember(message);
  showEvents(message.events || []);
  if (frozen) held = message; else show(message);
}

// ---- the connection

function link(state, text) { attr($("link"), "data-state", state); set($("link"), text); }

function connect() {
  const source = new EventSource(location.pathname + "?events");
  source.addEventListener("hello", (e) => {
    const message = JSON.parse(e.data);
    if (info.started && info.started !== message.started) { lastEvent = 0; $("events").replaceChildren(); }
    info = message;
    set($("title"), info.title);
    past.clear();
    for (const h of info.history) past.set(key(h.family, h), h.points);
    link("live", "live");
    take({ ...info.first, events: info.events });
  });
  source.addEventListener("change", (e) => take(JSON.parse(e.data)));
  source.onerror = () => {
    link("lost", "no connection");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000); // the browser itself tries again otherwise
  };
}

$("filter").addEventListener("input", arrange);
$("order").addEventListener("change", arrange);
$("controls").addEventListener("submit", (e) => e.preventDefault());
$("freeze").addEventListener("click", () => {
  frozen = !frozen;
  attr($("freeze"), "aria-pressed", frozen);
  if (!frozen && held) { show(held); held = null; }
});
connect();
})();
