// What the solver's page shows: elements built by name, and formulas that the server typesets. No text is parsed as HTML.

const MATHML = "http://www.w3.org/1998/Math/MathML";
export const $ = (id) => document.getElementById(id);
export const find = (selector) => document.querySelector(selector);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A formula arrives as [name, attributes, children]; the server sends known names only.
function formula([name, attributes, children]) {
  const made = name === "code" ? document.createElement("code") : document.createElementNS(MATHML, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key !== "style") made.setAttribute(key, value);
    else for (const rule of value.split(";")) {
      const [property, setting] = rule.split(":");
      if (setting) made.style.setProperty(property.trim(), setting.trim());
    }
  }
  made.append(...children.map((child) => (typeof child === "string" ? child : formula(child))));
  return made;
}

const pieces = (list) => list.map((one) => (typeof one === "string" ? one : formula(one)));

function block({ kind, pieces: list }) {
  if (kind === "prose") return element("p", {}, ...pieces(list));
  const label = { python: "Python code", output: "Output of the code" }[kind] || "Code";
  return element("pre", { class: kind, tabindex: "0", role: "group", "aria-label": label }, element("code", {}, ...pieces(list)));
}

// Texts and answers wait a moment, so that one request typesets those that arrive together.
let waiting = [];
function typeset(kind, text, show, tries = 3) {
  if (waiting.length === 0) setTimeout(typesetWaiting, 30);
  waiting.push({ kind, text, show, tries });
}

async function typesetWaiting() {
  const batch = waiting.splice(0, 100);
  if (waiting.length > 0) setTimeout(typesetWaiting, 0);
  const of = (kind) => batch.filter((one) => one.kind === kind);
  const body = { texts: of("text").map((one) => one.text), answers: of("answer").map((one) => one.text) };
  try {
    const reply = await fetch("page/typeset", { method: "POST", headers: headers(), body: JSON.stringify(body) });
    if (reply.status === 429) setTimeout(() => again(batch), 1000 * Number(reply.headers.get("Retry-After") ?? 1));
    if (!reply.ok) return; // the texts stay as they were written
    const made = await reply.json();
    of("text").forEach((one, at) => one.show(made.texts[at].map(block)));
    of("answer").forEach((one, at) => one.show(pieces(made.answers[at])));
  } catch {
    // the server is gone: the texts stay
  }
}

// What a place shows now: a reply for what it showed before comes too late.
const shown = new WeakMap();
function show(place, plain, kind, text) {
  const now = {};
  shown.set(place, now);
  place.replaceChildren(plain);
  if (text !== null) typeset(kind, text, (made) => { if (shown.get(place) === now) place.replaceChildren(...made); });
}

export const showText = (place, text) => show(place, element("p", {}, text), "text", text);
export const showAnswer = (place, answer) => show(place, answer ?? "no answer", "answer", answer);

const again = (batch) => batch.filter((one) => one.tries > 1).forEach((one) => typeset(one.kind, one.text, one.show, one.tries - 1));

export function headers() {
  const key = $("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}
