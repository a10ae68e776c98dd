// The solver's page: a client of /v1/chat/completions.

import { $, element, find, headers, showAnswer, showText } from "./typesetting.js";

const LONGEST_SUMMARY = 80;

// ---- the question ----

let summaries = {};

async function loadModel() {
  const reply = await fetch("v1/models/mathloop", { headers: headers() }).catch(() => null);
  if (reply?.status === 401) return needKey();
  if (!reply?.ok) return say("The server does not say which model it serves.");
  const model = (await reply.json()).mathloop;
  $("model").textContent = `Served: ${model.answers_with}`;
  summaries = model.summaries || {};
  options($("strategy"), model.strategies, model.default_strategy);
  options($("mode"), model.modes, model.modes[0], { cot: "prose (cot)", tir: "with Python (tir)" });
  $("samples").max = model.most_samples;
  if (model.samples) $("samples").value = model.samples;
  strategyChanged();
}

function options(select, names, chosen, titles = {}) {
  select.replaceChildren(...names.map((name) => element("option", { value: name }, titles[name] || name)));
  select.value = chosen;
}

function needKey() {
  $("key-row").hidden = false;
  fail("The server asks for an API key.");
  $("key").focus();
}

function strategyChanged() {
  $("strategy-hint").textContent = summaries[$("strategy").value] || "";
  $("samples").disabled = $("strategy").value === "greedy";
  showCurl();
}

function question() {
  const asked = { model: "mathloop", messages: [{ role: "user", content: $("problem").value }] };
  if ($("strategy").value) asked.strategy = $("strategy").value;
  if (!$("samples").disabled && $("samples").value) asked.samples = Number($("samples").value);
  if ($("mode").value) asked.mode = $("mode").value;
  if ($("seed").value) asked.seed = Number($("seed").value);
  return asked;
}

function curl() {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const key = $("key").value.trim() ? ` \\\n  -H "Authorization: Bearer $MATHLOOP_API_KEY"` : "";
  const url = new URL("v1/chat/completions", document.baseURI).href;
  return `curl ${quoted(url)} -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(JSON.stringify(question()))}`;
}

const showCurl = () => { find("#curl code").textContent = curl(); };

async function copyCurl() {
  showCurl();
  try {
    await navigator.clipboard.writeText(curl());
    say("Copied.");
  } catch {
    $("curl").open = true; // browsers give the clipboard to https and localhost only
    getSelection().selectAllChildren(find("#curl code"));
    say("Selected below: copy it with Ctrl+C.");
  }
}

// ---- the answer ----

let running = null;
let rows = [];
let startedWith = {};

const say = (words) => { $("status").textContent = words; };
const fail = (words) => { $("error").textContent = words; say(""); };

async function ask() {
  if (running) return;
  if (!$("problem").value.trim()) {
    fail("Write a problem first.");
    $("problem").focus();
    return;
  }
  reset();
  running = new AbortController();
  $("ask").disabled = true;
  $("stop").disabled = false;
  startedWith = question();
  say("Asked.");
  try {
    const body = { ...startedWith, stream: true, stream_options: { include_progress: true } };
    const reply = await fetch("v1/chat/completions", {
      method: "POST", headers: headers(), body: JSON.stringify(body), signal: running.signal,
    });
    if (!reply.ok) await refuse(reply);
    else await read(reply.body);
  } catch (error) {
    if (running.signal.aborted) say("Stopped.");
    else fail(`The connection broke (${error.message}). Ask again.`);
  } finally {
    running = null;
    $("ask").disabled = false;
    $("stop").disabled = true;
  }
}

function reset() {
  rows = [];
  fail("");
  for (const id of ["answer", "candidates", "responses"]) $(id).hidden = true;
  find("#responses ol").replaceChildren();
  find("#candidates tbody").replaceChildren();
  $("asked").hidden = false;
  showText(find("#asked .prose"), $("problem").value.trim());
  showCurl();
}

async function refuse(reply) {
  const body = await reply.json().catch(() => ({}));
  const message = body.error?.message || reply.statusText || "no reason given";
  const later = reply.headers.get("Retry-After");
  if (reply.status === 401) needKey();
  else fail(`${reply.status}: ${message}${later ? ` (in ${later} s)` : ""}`);
}

async function read(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", ended = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
      const data = JSON.parse(event.slice(6));
      if (data.error) fail(data.error.message);
      else if (data.mathloop?.progress) progress(data.mathloop.progress);
      else if (data.mathloop) answered(data.mathloop);
      ended ||= Boolean(data.error || (data.mathloop && !data.mathloop.progress));
    }
  }
  if (!ended) fail("The connection ended before the answer. Ask again.");
}

function progress(event) {
  const most = startedWith.strategy === "greedy" ? 1 : startedWith.samples || 1;
  if (event.stage === "queue" && event.ahead > 0) {
    say(`In the queue: ${event.ahead} ${event.ahead === 1 ? "question" : "questions"} before this one.`);
  } else if (event.stage === "draw") {
    say(most === 1 ? "Writing a response." : `Writing up to ${most} responses.`);
  } else if (event.stage === "response") {
    arrived(event);
    say(`${rows.length} of ${most} responses.`);
  } else if (event.stage === "rewards") {
    event.rewards.forEach((reward, at) => {
      const row = rows[event.begin + at];
      if (row && reward !== null) row.reward.replaceChildren(` · reward ${figure(reward)}`);
    });
    say(`${rows.length} of ${most} responses, with rewards.`);
  }
}

function arrived(event) {
  const row = {
    answer: element("b"), reward: element("span"), badge: element("span"), text: element("div", { class: "prose", dir: "auto" }),
  };
  const ended = event.finish_reason === "stop" ? "" : " · cut off";
  const summary = element("summary", {}, `${event.number + 1}. `, row.answer, event.tokens ? ` · ${event.tokens} tokens` : "", ended, row.reward, " ", row.badge);
  const details = element("details", {}, summary, row.text);
  details.addEventListener("toggle", () => showText(row.text, event.text), { once: true });
  row.item = element("li", { class: "fresh" }, details);
  row.details = details;
  row.text.append(element("p", {}, event.text));
  rows[event.number] = row;
  showAnswer(row.answer, short(event.answer));
  find("#responses ol").append(row.item);
  $("responses").hidden = false;
}

const figure = (value) => (value === null ? "–" : value.toFixed(2).replace("-", "−"));
const short = (answer) => (answer !== null && answer.length > LONGEST_SUMMARY ? `${answer.slice(0, LONGEST_SUMMARY)}…` : answer);

function answered(reply) {
  showAnswer(find("#answer .final"), reply.answer);
  showText(find("#answer .reason"), reply.reason);
  find("#answer .degraded").replaceChildren(...reply.degraded.map((one) => element("li", {}, one)));
  const facts = [`${reply.seconds.total.toFixed(1)} s`, `${reply.drawn ?? reply.samples} of ${reply.samples} responses`, `mode ${reply.mode}`];
  if (reply.seed !== null) facts.push(`seed ${reply.seed}`);
  find("#answer .facts").textContent = `${facts.join(" · ")} · ${reply.answers_with}`;
  $("answer").hidden = false;
  candidates(reply);
  markChosen(reply);
  say("Answered."); // the answer, which may be LaTeX, stands below
}

function candidates(reply) {
  const votes = Math.max(1, ...reply.candidates.map((one) => one.votes));
  const made = reply.candidates.map((one, at) => {
    const name = element("th", { scope: "row" });
    showAnswer(name, one.answer);
    const bar = element("meter", { min: "0", max: String(votes), value: String(one.votes), "aria-hidden": "true" });
    return element("tr", at === 0 ? { class: "chosen" } : {}, name,
      element("td", {}, String(one.votes), bar), element("td", {}, figure(one.weighted_votes)), element("td", {}, figure(one.reward)));
  });
  find("#candidates tbody").replaceChildren(...made);
  $("candidates").hidden = false;
}

function markChosen(reply) {
  const chosen = rows[reply.candidates[0].best];
  if (!chosen) return;
  chosen.item.classList.add("chosen");
  chosen.badge.className = "badge";
  chosen.badge.textContent = "chosen";
  chosen.details.open = true;
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("stop").addEventListener("click", () => running?.abort());
$("copy").addEventListener("click", copyCurl);
$("strategy").addEventListener("change", strategyChanged);
$("key").addEventListener("change", () => { fail(""); loadModel(); });
$("form").addEventListener("input", showCurl);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
  if (event.key === "Escape") running?.abort();
});
showCurl();
loadModel();
