/*
 * page.js  Draws the phone's lines and follows what happens to them
 *
 * Whatever comes from the phone is put in as text, never as HTML: names are
 * those of a configuration and of servers.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
"use strict";

(() => {

const OPEN_UP_TO = 6;           // more lines than that begin closed
const STRIP_FROM = 7;           // so many lines get a strip of tiles
const SHOWN = 30;               // entries of the history, at first
const KEPT = 5000;              // entries kept in all

const $ = (id) => document.getElementById(id);

const lines = new Map();        // number -> {doc, at, card}
const entries = new Map();      // seq -> entry of the history
let clockAhead = 0;             // the phone's clock minus ours [ms]
let shown = SHOWN;
let source = null;
let retryTimer = 0;
let saidTimer = 0;

const phoneNow = () => Date.now() + clockAhead;


// ---- small things ---------------------------------------------------------

function el(tag, attrs = {}, ...children) {
	const e = document.createElement(tag);

	for (const [name, value] of Object.entries(attrs))
		e.setAttribute(name, value);
	e.append(...children);

	return e;
}

function setText(e, text) {
	if (e.textContent !== text)
		e.textContent = text;
}

function setData(e, name, value) {
	if (e.dataset[name] !== value)
		e.dataset[name] = value;
}

function duration(ms) {
	const s = Math.max(0, Math.round(ms / 1000));

	if (s < 60)
		return s + " s";
	if (s < 3600)
		return Math.floor(s / 60) + " min " + s % 60 + " s";
	if (s < 86400)
		return Math.floor(s / 3600) + " h " +
			Math.floor(s / 60) % 60 + " min";

	return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 +
		" h";
}

function two(n) {
	return String(n).padStart(2, "0");
}

function clock(ms, seconds) {
	const d = new Date(ms);

	return two(d.getHours()) + ":" + two(d.getMinutes()) +
		(seconds ? ":" + two(d.getSeconds()) : "");
}

function day(ms) {
	const d = new Date(ms);

	return two(d.getMonth() + 1) + "-" + two(d.getDate());
}

function plural(n, one, many = one + "s") {
	return n + " " + (n === 1 ? one : many);
}

function say(text, bad = false) {
	const said = $("said");

	said.dataset.bad = bad ? "yes" : "no";
	said.textContent = text;
	clearTimeout(saidTimer);
	saidTimer = setTimeout(() => { said.textContent = ""; },
			       bad ? 8000 : 3500);
}


// ---- commands -------------------------------------------------------------

async function command(text, button) {
	if (button.getAttribute("aria-busy") === "true")
		return;

	button.setAttribute("aria-busy", "true");
	try {
		const r = await fetch("command", {
			method: "POST",
			headers: {"Content-Type": "text/plain"},
			body: text,
		});
		if (r.status === 401)
			askToken("");
		else
			say((await r.text()).trim() || r.statusText, !r.ok);
	}
	catch (e) {
		say("The phone does not answer.", true);
	}
	finally {
		button.removeAttribute("aria-busy");
	}
}


// ---- a line ---------------------------------------------------------------

const SERVICES = {
	primary: "primary", backup: "backup", mixed: "mixed",
	none: "no service",
};

const ROLES = {
	outbound_proxy: "outbound proxy", proxy: "proxy",
	registrar: "registrar",
};

// Where the line is in service, "none" if it is not
function service(doc) {
	return doc.registered && doc.service in SERVICES ? doc.service :
		"none";
}

function makeCard(number) {
	const c = {open: lines.size < OPEN_UP_TO};

	c.root = el("details", {class: "line", id: "line" + number});
	c.number = el("span", {class: "number"}, String(number));
	c.aor = el("span", {class: "aor"});
	c.service = el("span", {class: "pill service"});
	c.held = el("span", {class: "pill"});
	c.call = el("span", {class: "pill"}, "in a call");
	c.where = el("span", {class: "where"});
	c.fault = el("p", {class: "fault"});
	c.paths = el("p", {class: "paths"});
	c.flows = el("ul", {class: "flows", "aria-label": "Servers"});
	c.lamps = el("ul", {class: "lamps", "aria-label": "Lamps"});
	c.counters = el("p", {class: "counters"});
	c.buttons = {};

	const row = el("div", {class: "buttons", role: "group",
		"aria-label": "Line " + number});
	for (const [name, label, title] of [
		["failover", "Failover", "move it to its backup, and hold it there"],
		["failback", "Failback", "move it to its primary, and hold it there"],
		["auto", "Auto", "let it choose by itself"],
		["probe", "Probe", "try its failed servers now"]]) {

		const b = el("button", {type: "button", title: label +
			" line " + number + ": " + title,
			"data-command": name}, label);

		b.addEventListener("click", () => command(
			name + " " + number, b));
		c.buttons[name] = b;
		row.append(b);
	}

	c.root.append(
		el("summary", {}, c.number, c.aor, c.service, c.held, c.call,
		   c.where),
		el("div", {class: "body"}, c.fault, c.flows, c.paths, c.lamps,
		   c.counters, row));

	c.tile = el("button", {type: "button"}, String(number));
	c.tile.addEventListener("click", () => {
		c.root.open = true;
		c.root.scrollIntoView({block: "start"});
		c.root.firstElementChild.focus();
	});

	return c;
}

function flowItem(flow) {
	const how = flow.state === "up" && flow.rtt_ms > 0 ?
		flow.rtt_ms.toFixed(flow.rtt_ms < 10 ? 1 : 0) + " ms" :
		flow.state;
	const li = el("li", {"data-state": flow.state,
		"data-rank": flow.rank, "data-role": flow.role},
		el("span", {class: "dot"}),
		el("span", {}, flow.rank),
		el("span", {class: "uri", title: ROLES[flow.role] || flow.role},
		   flow.uri),
		el("span", {class: "how",
			title: flow.state === "up" ? "up, answers after " + how :
				flow.state}, how));

	if (flow.error || flow.retry_in_ms > 0)
		li.append(el("span", {class: "why"}));

	return li;
}

// What changes every second
function updateFlowTimes(line) {
	const gone = performance.now() - line.at;

	line.doc.flows.forEach((flow, i) => {
		const li = line.card.flows.children[i];
		const why = li && li.querySelector(".why");
		const left = flow.retry_in_ms - gone;

		if (!why)
			return;

		setText(why, [flow.error, flow.retry_in_ms > 0 ? left > 0 ?
			"next try in " + duration(left + 999) :
			"trying again" : ""].filter(Boolean).join("; "));
	});
}

function lampName(sub) {
	const user = sub.uri.replace(/^sips?:/, "").replace(/@.*$/, "");

	if (sub.label)
		return sub.label;
	if (sub.event === "message-summary")
		return "messages";

	return sub.event === "dialog" || sub.event === "presence" ? user :
		sub.event + " " + user;
}

function lampItem(sub) {
	const lost = sub.state !== "active";
	const calm = ["", "idle", "open", "terminated", "offline", "closed"];
	const on = !lost && !calm.includes(sub.value) &&
		!sub.value.startsWith("no");

	return el("li", {
		"data-lamp": lost ? "lost" : on ? "on" : "off",
		title: sub.event + " of " + sub.uri + ", " + sub.state +
			" on the " + sub.rank + (sub.error ? ": " + sub.error :
			"")},
		el("b", {}, lampName(sub)), " ",
		lost ? sub.state : sub.value || "unknown");
}

// The server in force, and how quick it is
function where(doc) {
	const flow = doc.flows.find((f) => f.state === "up" &&
		f.rank === doc.active[f.role]);

	return !flow ? "" : flow.uri.replace(/^sips?:/, "")
		.replace(/;.*$/, "") + (flow.rtt_ms > 0 ? " · " +
		flow.rtt_ms.toFixed(flow.rtt_ms < 10 ? 1 : 0) + " ms" : "");
}

function updateCard(line) {
	const {doc, card: c} = line;
	const now = service(doc);
	const was = c.root.dataset.service;

	setData(c.root, "service", now);
	if (was && was !== now) {
		c.root.classList.remove("moved");
		void c.root.offsetWidth;        // begins the animation anew
		c.root.classList.add("moved");
	}

	setText(c.aor, doc.aor.replace(/^sip:/, ""));
	c.aor.title = doc.aor;
	setText(c.service, SERVICES[now]);
	c.held.hidden = doc.mode === "auto";
	setText(c.held, "held on the " + doc.mode);
	c.call.hidden = !doc.calls;
	setText(c.where, where(doc));
	c.fault.hidden = now !== "none";
	setText(c.fault, "Not registered: calls do not come in.");

	const noBackup = doc.scenario === "none";
	for (const [name, pressed] of [["failover", doc.mode === "backup"],
		["failback", doc.mode === "primary"],
		["auto", doc.mode === "auto"]])
		c.buttons[name].setAttribute("aria-pressed", String(pressed));
	c.buttons.failover.disabled = noBackup;

	c.paths.replaceChildren(...Object.entries(doc.active)
		.filter(([, rank]) => rank !== "none")
		.map(([role, rank]) => el("span", {}, (ROLES[role] || role) +
			": ", el("b", {}, rank))));
	c.paths.hidden = !c.paths.firstChild;

	c.flows.replaceChildren(...doc.flows.map(flowItem));
	updateFlowTimes(line);

	c.lamps.replaceChildren(...doc.subscriptions.map(lampItem));
	c.lamps.hidden = !doc.subscriptions.length;

	setText(c.counters, [
		plural(doc.counters.failovers, "failover"),
		plural(doc.counters.failbacks, "failback"),
		plural(doc.counters.probes, "probe"),
		plural(doc.counters.registrations, "registration"),
	].join(" · "));

	setData(c.tile, "service", now);
	c.tile.setAttribute("aria-label", "Line " + doc.line + ": " +
			    SERVICES[now]);
	c.tile.title = doc.aor + ": " + SERVICES[now];
}

function updateSummary() {
	const count = {};
	const parts = [];

	for (const {doc} of lines.values())
		count[service(doc)] = (count[service(doc)] || 0) + 1;

	for (const [name, words] of [["none", "without service"],
		["mixed", "mixed"], ["backup", "on the backup"],
		["primary", "on the primary"]])
		if (count[name])
			parts.push((count[name] === lines.size ? lines.size > 1 ?
				"all" : "" : count[name]) + " " + words);

	setText($("summary"), lines.size ? plural(lines.size, "line") + ": " +
		parts.map((p) => p.trim()).join(", ") : "This phone has no lines.");
	document.title = (count.none ? "✕ " : count.backup || count.mixed ?
		"▲ " : "") + plural(lines.size, "line");
}

function takeLine(doc) {
	let line = lines.get(doc.line);

	if (!line) {
		line = {card: makeCard(doc.line)};
		lines.set(doc.line, line);
	}
	line.doc = doc;
	line.at = performance.now();
	updateCard(line);
}

// The whole state: lines that are not in it are gone
function takeState(state) {
	const fresh = new Set(state.lines.map((doc) => doc.line));
	const first = !lines.size;

	for (const [number, line] of lines) {
		if (!fresh.has(number)) {
			line.card.root.remove();
			line.card.tile.remove();
			lines.delete(number);
		}
	}

	state.lines.forEach(takeLine);

	const sorted = [...lines.keys()].sort((a, b) => a - b);
	sorted.forEach((number, i) => {
		const {card} = lines.get(number);

		if (first)
			card.root.open = sorted.length <= OPEN_UP_TO;
		if ($("lines").children[i] !== card.root)
			$("lines").insertBefore(card.root,
						$("lines").children[i]);
		if ($("strip").children[i] !== card.tile)
			$("strip").insertBefore(card.tile,
						$("strip").children[i]);
	});
	$("strip").hidden = lines.size < STRIP_FROM;

	$("main").hidden = false;
	$("tools").hidden = false;
	$("login").hidden = true;
	updateSummary();
}


// ---- moves ----------------------------------------------------------------

const EVENTS = {
	"registered": "registered on",
	"failover": "failover to",
	"failback": "failback to",
	"flow-down": "lost",
	"flow-up": "answers again:",
	"subscription-moved": "lamps moved to",
	"call-moved": "call moved to",
	"forced": "by command:",
	"config": "configuration:",
	"refused": "refused by",
};

function takeHistory(history) {
	// the phone began to count anew
	if (entries.size && history.last < Math.max(...entries.keys()))
		entries.clear();

	for (const e of history.entries)
		entries.set(e.seq, e);
	if (entries.size > KEPT) {
		for (const seq of [...entries.keys()].sort((a, b) => a - b)
			.slice(0, entries.size - KEPT))
			entries.delete(seq);
	}

	chooseSpan();
	drawHistory();
	drawPicture();
}

// Until somebody chooses: as little as shows everything
function chooseSpan() {
	const span = $("span");

	if (span.dataset.chosen === "yes" || !entries.size)
		return;

	const age = phoneNow() - Math.min(...[...entries.values()]
		.map((e) => e.time_ms));
	const fits = [...span.options].find((o) =>
		Number(o.value) * 1000 > age * 1.05);

	span.value = fits ? fits.value : "604800";
}

function latest() {
	return [...entries.values()].sort((a, b) => b.seq - a.seq);
}

// One cause moves many lines: what is the same stands there once
function grouped() {
	const out = [];

	for (const e of latest()) {
		const g = out.find((x) => x.time_ms - e.time_ms < 2000 &&
			x.event === e.event && x.to === e.to &&
			x.reason === e.reason &&
			x.decision === e.decision && !x.lines.includes(e.line));

		if (g) {
			g.lines.push(e.line);
			g.took_ms = Math.max(g.took_ms, e.took_ms);
		}
		else {
			out.push({...e, lines: [e.line]});
		}

		// only what is near in time can be the same
		if (out.length > 2 * shown + 50)
			break;
	}

	return out;
}

// "1-3, 7"
function ranges(numbers) {
	const out = [];

	for (const n of numbers.sort((a, b) => a - b)) {
		const last = out[out.length - 1];

		if (last && last[1] === n - 1)
			last[1] = n;
		else
			out.push([n, n]);
	}

	return out.map(([a, b]) => a === b ? a : a + "-" + b).join(", ");
}

function drawHistory() {
	const all = grouped();
	const today = day(phoneNow());

	$("history").replaceChildren(...all.slice(0, shown).map((e) => {
		const when = day(e.time_ms) === today ? "" :
			day(e.time_ms) + " ";
		const took = e.took_ms > 0 ? e.took_ms < 10000 ?
			e.took_ms + " ms" : duration(e.took_ms) : "";
		// "answers again" stands before the server already
		const why = [e.event === "flow-up" ? "" : e.reason, e.decision]
			.filter(Boolean).join("; ");
		const who = ranges(e.lines);
		const label = (e.lines.length > 1 ? "lines " : "line ") + who;
		const li = el("li", {"data-event": e.event,
			"data-lines": e.lines.join(" ")},
			el("time", {class: "time",
				datetime: new Date(e.time_ms).toISOString()},
			   when + clock(e.time_ms, true)),
			el("span", {class: "who", "aria-label": label,
				title: label}, who.length <= 5 ? who :
				e.lines.length + "×"),
			el("span", {}, ((EVENTS[e.event] || e.event) + " " +
				e.to).trim()),
			el("span", {class: "took"}, took));

		if (why)
			li.append(el("span", {class: "why"}, why));

		return li;
	}));

	$("more").hidden = all.length <= shown;
}

// [{from, to, service}] of a line, from what the history says
function segments(number, doc) {
	const rankOf = new Map(doc.flows.map((f) => [f.uri, f.rank]));
	const out = [];
	let now = null, since = 0;

	const turn = (time, next) => {
		if (next === now)
			return;
		if (now)
			out.push({from: since, to: time, service: now});
		now = next;
		since = time;
	};

	for (const e of latest().reverse()) {
		if (e.line !== number)
			continue;
		if (["registered", "failover", "failback"].includes(e.event) &&
		    e.to in SERVICES)
			turn(e.time_ms, e.to);
		else if (e.event === "flow-down" && now && now !== "none" &&
			 rankOf.get(e.to) === now)
			turn(e.time_ms, "none");
	}

	// what is, is more certain than what was told
	if (now && now !== service(doc)) {
		turn(Math.max(phoneNow() - 1000, since), service(doc));
	}
	else if (!now) {
		turn(phoneNow() - 1, service(doc));
	}
	turn(phoneNow(), "");

	return out;
}

function svg(tag, attrs, ...children) {
	const e = document.createElementNS("http://www.w3.org/2000/svg", tag);

	for (const [name, value] of Object.entries(attrs))
		e.setAttribute(name, value);
	e.append(...children);

	return e;
}

const STEPS = [10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600,
	       43200, 86400, 172800];

function drawPicture() {
	const width = Math.floor($("picture").clientWidth);
	const span = Number($("span").value) * 1000;
	const numbers = [...lines.keys()].sort((a, b) => a - b);
	const n = numbers.length;

	if (width < 50 || !n) {
		$("picture").replaceChildren();
		return;
	}

	const lane = n <= 8 ? 22 : n <= 20 ? 14 : 9;
	const gap = n <= 20 ? 4 : 2;
	const left = 26, top = 8;
	const bottom = top + n * (lane + gap);
	const end = phoneNow(), begin = end - span;
	const x = (t) => left + Math.max(0, (t - begin) / span) *
		(width - left - 8);
	const out = svg("svg", {viewBox: "0 0 " + width + " " + (bottom + 18),
		width, height: bottom + 18, role: "img"});
	const moves = latest().filter((e) => e.time_ms >= begin &&
		(e.event === "failover" || e.event === "failback"));

	out.setAttribute("aria-label", "Where the lines were registered: " +
		plural(moves.length, "move") + " in this time. The same in " +
		"words stands below.");

	const step = 1000 * (STEPS.find((s) => span / 1000 / s <=
		Math.max(2, width / 70)) || 172800);
	const zone = new Date(end).getTimezoneOffset() * 60000;
	for (let t = Math.ceil((begin - zone) / step) * step + zone; t <= end;
		t += step) {
		const text = step >= 86400000 ? day(t) : clock(t, step < 60000);

		out.append(svg("line", {class: "grid", x1: x(t), x2: x(t),
			y1: top - 4, y2: bottom}));
		if (x(t) > left + 12 && x(t) < width - 24)
			out.append(svg("text", {x: x(t), y: bottom + 13,
				"text-anchor": "middle"}, text));
	}

	numbers.forEach((number, i) => {
		const {doc} = lines.get(number);
		const y = top + i * (lane + gap);

		if (n <= 20 || number === 1 || number % 5 === 0)
			out.append(svg("text", {x: left - 6,
				y: y + lane / 2 + 4, "text-anchor": "end"},
				String(number)));
		out.append(svg("rect", {class: "lane", x: left, y,
			width: width - left - 8, height: lane, rx: 2}));

		for (const s of segments(number, doc)) {
			if (s.to < begin)
				continue;
			const bar = svg("rect", {class: "bar", x: x(s.from), y,
				width: Math.max(1.5, x(s.to) - x(s.from)),
				height: lane, rx: 2});

			bar.dataset.service = s.service;
			bar.append(svg("title", {}, "line " + number + ": " +
				SERVICES[s.service] + " from " +
				clock(s.from, true) + " to " +
				clock(s.to, true)));
			out.append(bar);
		}
	});

	// a triangle down is a failover, one up a failback
	for (const e of moves.reverse()) {
		const i = numbers.indexOf(e.line);

		if (i < 0)
			continue;

		const r = Math.min(6, lane / 2), cx = x(e.time_ms);
		const cy = top + i * (lane + gap) + lane / 2;
		const down = e.event === "failover" ? 1 : -1;
		const mark = svg("path", {class: "mark", d: "M" + (cx - r) +
			" " + (cy - down * r * 0.8) + "H" + (cx + r) + "L" +
			cx + " " + (cy + down * r) + "Z"});

		mark.append(svg("title", {}, clock(e.time_ms, true) +
			" line " + e.line + ": " + e.event + " to " + e.to +
			(e.reason ? ": " + e.reason : "")));
		out.append(mark);
	}

	$("picture").replaceChildren(out);
}


// ---- live -----------------------------------------------------------------

function setLive(live, text) {
	setData($("live"), "live", live ? "yes" : "no");
	setText($("live"), text);
}

function askToken(error) {
	if (source)
		source.close();
	clearTimeout(retryTimer);
	setLive(false, "not connected");
	setText($("summary"), "");
	$("main").hidden = true;
	$("tools").hidden = true;
	$("login").hidden = false;
	setText($("login-error"), error);
	$("token").focus();
}

async function login(token) {
	try {
		const r = await fetch("login", {method: "POST", body: token});

		if (r.ok)
			connect();
		else
			askToken(r.status === 401 ? "This is not the token." :
				 "The phone refused: " + r.status + ".");
	}
	catch (e) {
		askToken("The phone does not answer.");
	}
}

// No stream: find out why, and show at least what is now
async function look() {
	try {
		const r = await fetch("state");

		if (r.status === 401) {
			askToken("");
			return;
		}
		if (r.status === 403) {
			setText($("summary"), "The phone does not answer to " +
				"this name: use its address, or localhost.");
			return;
		}
		if (r.ok) {
			takeState(await r.json());
			const h = await fetch("history?max=500");
			if (h.ok)
				takeHistory(await h.json());
			setLive(false, "every few seconds");
		}
	}
	catch (e) {
		setLive(false, "no answer");
	}

	clearTimeout(retryTimer);
	retryTimer = setTimeout(connect, 3000);
}

function connect() {
	clearTimeout(retryTimer);
	if (source)
		source.close();
	source = new EventSource("events");

	const on = (name, f) => source.addEventListener(name, (ev) =>
		f(JSON.parse(ev.data)));

	source.onopen = () => setLive(true, "live");
	source.onerror = () => {
		setLive(false, "no answer");
		// refused: the browser does not try again by itself
		if (source.readyState === EventSource.CLOSED)
			look();
	};
	on("clock", (c) => { clockAhead = c.time_ms - Date.now(); });
	on("state", (state) => {
		takeState(state);
		drawPicture();
	});
	on("line", (state) => {
		for (const doc of state.lines)
			takeLine(doc);
		updateSummary();
		drawPicture();
	});
	on("history", takeHistory);
}

$("probe-all").addEventListener("click",
	(ev) => command("probe", ev.currentTarget));
$("reload").addEventListener("click",
	(ev) => command("reload", ev.currentTarget));
$("span").addEventListener("change", () => {
	$("span").dataset.chosen = "yes";
	drawPicture();
});
$("more").addEventListener("click", () => {
	shown += 100;
	drawHistory();
});
$("login").addEventListener("submit", (ev) => {
	ev.preventDefault();
	login($("token").value);
	$("token").value = "";
});

new ResizeObserver(drawPicture).observe($("picture"));

setInterval(() => {
	if (document.hidden)
		return;
	lines.forEach(updateFlowTimes);
}, 1000);
setInterval(() => {
	if (!document.hidden)
		drawPicture();
}, 5000);

// what is behind # never leaves the browser
if (location.hash.startsWith("#token=")) {
	const token = decodeURIComponent(location.hash.slice(7));

	history.replaceState(null, "", location.pathname);
	login(token);
}
else {
	connect();
}

})();
