"use strict";
// The list of problems, its filters, and what is chosen of it. What models wrote becomes text, never markup.
{
  const MATHML = "http://www.w3.org/1998/Math/MathML";
  const PAGE = 100;
  const index = JSON.parse(document.getElementById("index").textContent);
  const names = index.sides.length > 1 ? ["A", "B"] : [""];
  const last = index.sides.length - 1;

  function h(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value != null) made.setAttribute(key, value);
    made.append(...children.flat().filter((child) => child != null && child !== ""));
    return made;
  }

  // A formula is [name, attributes, children]; the page's writer allows known names and attributes only.
  function formula([name, attributes, children]) {
    const made = name === "code" ? document.createElement(name) : document.createElementNS(MATHML, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...pieces(children));
    return made;
  }
  // A piece is a text, a formula, or the number of one in the problem's table.
  const pieces = (list, table) =>
    list.map((one) => (typeof one === "string" ? one : formula(typeof one === "number" ? table[one] : one)));
  const block = ([kind, list], table) =>
    kind === "prose" ? h("p", {}, pieces(list, table)) : h("pre", { class: kind }, h("code", {}, pieces(list, table)));
  const prose = (blocks, table) => h("div", { class: "prose", dir: "auto" }, blocks.map((one) => block(one, table)));

  // Texts: in elements of this page or in files beside it, each of which calls mathloopData.
  const waiting = new Map();
  const recent = new Map();
  function piece(number) {
    const inside = document.getElementById(`data-${number}`);
    if (inside) return Promise.resolve(JSON.parse(inside.textContent));
    if (recent.has(number)) return Promise.resolve(recent.get(number));
    return new Promise((resolve, reject) => {
      const script = h("script", { src: `${encodeURIComponent(index.folder)}/${number}.js?${index.pieces[number]}` });
      const missing = `The folder ${index.folder} must be beside this page, as both were written.`;
      waiting.set(number, (digest, data) => digest === index.pieces[number] ? resolve(data) : reject(new Error(missing)));
      script.addEventListener("error", () => reject(new Error(missing)));
      script.addEventListener("load", () => script.remove());
      document.head.append(script);
    });
  }
  window.mathloopData = (number, digest, data) => {
    waiting.get(number)?.(digest, data);
    waiting.delete(number);
    if (digest !== index.pieces[number]) return;
    recent.set(number, data);
    if (recent.size > 8) recent.delete(recent.keys().next().value);
  };

  const option = ([value, text]) => h("option", { value }, text);
  function choice(text, values) {
    const select = h("select", { "aria-label": text }, [["", "any"], ...values].map(option));
    return { label: h("label", {}, text, select), get value() { return select.value; }, select };
  }
  function searching() {
    const input = h("input", { "aria-label": "search", type: "search", autocomplete: "off", spellcheck: "false" });
    return { label: h("label", { class: "search" }, "search", input), input };
  }
  const wordsOf = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);

  // A list in pages, and one of its rows in its place.
  function browser(place, filters, find, row, detail, kind) {
    const found = h("span", { class: "found", role: "status" });
    const list = h("ul", { class: `listed ${kind}`, style: `--sides: ${names.length}` });
    const shown = h("div");
    const button = (text, go) => {
      const made = h("button", { type: "button" }, text);
      made.addEventListener("click", go);
      return made;
    };
    const before = button("Previous", () => move(-1));
    const after = button("Next", () => move(1));
    const back = button("Back to the list", () => { open = null; draw(); });
    const bar = h("div", { class: "filters" }, filters.map((one) => one.label));
    const top = h("div", { class: "pages" }, found, back, before, after);
    let rows = [], first = 0, open = null, turn = 0;
    place.append(bar, top, list, shown);
    const search = () => { rows = find(); first = 0; open = null; draw(); };
    for (const one of filters) (one.input ?? one.select).addEventListener(one.input ? "input" : "change", search);
    function move(step) {
      if (open !== null) open += step;
      else first += step * PAGE;
      draw();
    }
    async function draw() {
      const now = ++turn;
      const total = rows.length.toLocaleString("en");
      back.hidden = open === null;
      list.hidden = open !== null;
      shown.replaceChildren();
      if (open === null) {
        const end = Math.min(first + PAGE, rows.length);
        found.textContent = rows.length ? `${(first + 1).toLocaleString("en")} to ${end.toLocaleString("en")} of ${total}` : "nothing found";
        before.disabled = first === 0;
        after.disabled = end >= rows.length;
        list.replaceChildren(...rows.slice(first, end).map((one, at) => {
          const made = h("button", { type: "button" }, row(one));
          made.addEventListener("click", () => { open = first + at; draw(); });
          return h("li", {}, made);
        }));
        return;
      }
      found.textContent = `${(open + 1).toLocaleString("en")} of ${total}`;
      before.disabled = open === 0;
      after.disabled = open >= rows.length - 1;
      try {
        const content = await detail(rows[open]);
        if (now === turn) shown.replaceChildren(content);
      } catch (error) {
        if (now === turn) shown.replaceChildren(h("p", { class: "warning" }, error.message));
      }
    }
    search();
  }

  const MARKS = { 1: ["right", "right"], 0: ["wrong", "wrong"] };
  const mark = (verdict) => {
    const [name, text] = MARKS[Number(verdict ?? NaN)] ?? ["none", "not judged"];
    return h("span", { class: `mark ${name}` }, text);
  };
  const MODES = { cot: "CoT", tir: "TIR" };

  function problems(place) {
    const text = index.problems.map((one) => `${one[6]}\n${one[0]}\n${one[1] ?? ""}`.toLowerCase());
    const distinct = (at) => [...new Set(index.problems.map((one) => one[at]))].filter((one) => one !== "" && one !== 0);
    const same = (values) => values.map((one) => [one, one]);
    const search = searching();
    const verdict = choice(`verdict${last ? " of B" : ""}`, [["1", "right"], ["0", "wrong"], ["null", "not judged"]]);
    const mode = choice("mode", [...new Set(index.rows.map((one) => one[1]))].map((one) => [one, MODES[one] ?? one]));
    const benchmark = choice("benchmark", same(distinct(2).sort()));
    const family = choice("family", same(distinct(3).sort()));
    const level = choice("level", same(distinct(4).sort((a, b) => a - b)));
    const change = choice("B against A", [["01", "fixed"], ["10", "broken"], ["11", "right in both"], ["00", "wrong in both"]]);
    const filters = [search, verdict, mode, benchmark, family, level, ...(last ? [change] : [])];
    const matches = (one, words) => {
      const [number, its, sides] = one;
      const problem = index.problems[number];
      const own = sides.map((side) => (side ? String(side[0]) : "none"));
      return (
        (!verdict.value || own[last] === verdict.value) &&
        (!mode.value || its === mode.value) &&
        (!benchmark.value || problem[2] === benchmark.value) &&
        (!family.value || problem[3] === family.value) &&
        (!level.value || String(problem[4]) === level.value) &&
        (!change.value || own.join("") === change.value) &&
        words.every((word) => text[number].includes(word) || sides.some((side) => side?.[3]?.toLowerCase().includes(word)))
      );
    };
    const find = () => {
      const words = wordsOf(search.input);
      return index.rows.filter((one) => matches(one, words));
    };
    const where = (problem) =>
      [problem[0], problem[2], problem[3], problem[4] ? `level ${problem[4]}` : ""].filter(Boolean).join(" · ");
    const row = ([number, its, sides]) => {
      const problem = index.problems[number];
      return [
        h("span", {}, h("span", { class: "words", dir: "auto" }, problem[6].slice(0, 200)), h("span", { class: "where" }, where(problem))),
        h("span", { class: its }, MODES[its] ?? its),
        ...sides.map((side, at) => h("span", { class: "cell" }, h("b", {}, names[at]), side ? mark(side[0]) : "–",
          side?.[2] ? h("span", { class: "share" }, `${side[1]}/${side[2]}`) : null)),
      ];
    };
    const detail = async ([number, its]) => {
      const problem = index.problems[number];
      const all = (await piece(problem[7]))[number];
      const ending = [where(problem), " · ", MODES[its] ?? its, " · gold ", h("b", {}, problem[1] ?? "none")];
      return h("div", { lang: problem[5] }, h("p", { class: "problem", dir: "auto" }, pieces(all.text, all.formulas)),
        h("p", { class: "caption" }, ending), h("div", { class: "sides" }, all.modes[its].map((one, at) => side(one, at, all.formulas))));
    };
    browser(place, filters, find, row, detail, "");
  }

  function side(one, at, table) {
    const heading = h("h3", {}, `${names[at]} ${index.sides[at]}`.trim());
    if (!one) return h("div", {}, heading, h("p", { class: "caption" }, "No response."));
    const prompt = one.prompt && h("details", {}, h("summary", {}, "prompt"), h("pre", { class: "code", dir: "auto" }, h("code", {}, one.prompt)));
    const greedy = one.greedy && [h("h4", {}, "Greedy"), response(one.greedy, table)];
    return h("div", {}, heading, prompt, greedy, one.votes.length ? votes(one.votes, table) : null,
      one.samples.map((sample) => folded(sample, table)));
  }

  const number = (value) => (value == null ? "–" : String(Math.round(value * 1000) / 1000));
  function votes(groups, table) {
    const head = ["answer", "", "votes", "Σ σ(reward)", "best reward", "chosen by"].map((one) => h("th", { scope: "col" }, one));
    const rows = groups.map((one) => h("tr", {}, h("td", {}, one.answer ? pieces(one.answer, table) : "no answer"), h("td", {}, mark(one.correct)),
      [one.votes, number(one.weight), number(one.best), one.chosen.join(", ")].map((cell) => h("td", {}, String(cell)))));
    return h("table", { class: "votes" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows));
  }

  function badges(one) {
    const facts = [
      one.reward == null ? "" : `reward ${number(one.reward)}`,
      one.finish === "stop" ? "" : `truncated: ${one.finish}`,
      one.tokens ? `${one.tokens.toLocaleString("en")} tokens` : "",
      one.calls ? `tool calls: ${one.calls}` : "",
      one.temperature ? `temperature ${number(one.temperature)}` : "",
    ];
    return [mark(one.correct), ...facts.filter(Boolean).map((fact) => h("span", { class: "reward" }, fact))];
  }
  const answer = (one, table) => [" answer ", h("b", {}, one.answer ? pieces(one.answer, table) : "none")];
  function response(one, table) {
    return h("article", {}, h("div", { class: "badges" }, badges(one)), prose(one.blocks, table),
      h("p", { class: "caption" }, answer(one, table), one.reason ? ` · ${one.reason}` : ""));
  }
  // Drawn when it is opened first.
  function folded(one, table) {
    const details = h("details", {}, h("summary", {}, `sample ${one.sample} `, mark(one.correct), answer(one, table),
      one.reward == null ? "" : ` · reward ${number(one.reward)}`));
    details.addEventListener("toggle", () => details.append(response(one, table)), { once: true });
    return details;
  }

  function records(place) {
    const search = searching();
    const stage = choice("stage", index.stages.map((one) => [one.step, one.title]));
    const reasons = new Map();
    for (const one of index.stages) for (const [reason, count] of one.reasons) reasons.set(reason, (reasons.get(reason) ?? 0) + count);
    const reason = choice("outcome", [...reasons].map(([name, count]) => [name ? `- ${name}` : "+", `${name ? `dropped: ${name}` : "kept"} (${count.toLocaleString("en")})`]));
    const rows = index.stages.flatMap((one) => one.rows.map(([at, words, own], place) =>
      ({ stage: one, reason: one.reasons[at][0], words, piece: own, key: `${one.step}-${place}` })));
    const code = (one) => (one.reason ? `- ${one.reason}` : "+");
    const outcome = (one) => (one.reason ? `dropped: ${one.reason}` : "kept");
    const find = () => {
      const words = wordsOf(search.input);
      return rows.filter((one) => (!stage.value || one.stage.step === stage.value) && (!reason.value || code(one) === reason.value) &&
        words.every((word) => one.words.toLowerCase().includes(word)));
    };
    const row = (one) => [h("span", { class: "words", dir: "auto" }, one.words), h("span", { class: "where" }, `${one.stage.title} · ${outcome(one)}`)];
    const detail = async (one) => {
      const fields = (await piece(one.piece))[one.key];
      return h("dl", { class: "fields" }, h("div", {}, h("dt", {}, one.stage.title), h("dd", {}, outcome(one))),
        fields.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, typeof value === "string" ? value : prose(value)))));
    };
    browser(place, [search, stage, reason], find, row, detail, "rows");
  }

  problems(document.querySelector("#problems .browser"));
  const place = document.querySelector("#records .browser");
  if (place) records(place);
}
