"""The problem browser in Chromium: rows as a slow reference has them, texts on demand, hostile texts."""

import json
import random
import tracemalloc
from dataclasses import replace

import pytest

from mathloop.errors import BadConfig
from mathloop.evaluation.comparing import Side, compare
from mathloop.records import Problem, Response
from mathloop.reports import browser as problems
from mathloop.reports.problem_rows import details_of, packed
from tests.chromium import launched
from tests.unit.reports.conftest import HOSTILE

CHANGES = {"01": "fixed", "10": "broken", "11": "right in both", "00": "wrong in both"}


def make_problem(n):
    benchmark = ("gsm8k", "math500", "")[n % 3]
    text = f"Mia has {n} apples and ${n}^2$ pears." if n % 4 else f"小明有{n}个苹果。"
    name = f"{benchmark}/{n}" if benchmark else f"p{n}"
    language = "en" if n % 4 else "zh"
    return Problem(name, text, str(n), benchmark, language, ("sums", "rates")[n % 2], n % 4)


PROBLEMS = [make_problem(n) for n in range(40)]


def make_side(label, skill):
    """Greedy and four samples in both modes; TIR of even problems alone, no greedy one for every seventh."""
    chance = random.Random(label)
    rows = []
    for n, problem in enumerate(PROBLEMS):
        for mode in ("cot", "tir")[: 2 - n % 2]:
            for sample in range(-1 if n % 7 else 0, 4):
                right = chance.random() < skill
                answer = str(n if right else n + chance.randint(1, 3))
                text = f"{HOSTILE} It is {answer}: <!-- </script> \\boxed{{{answer}}} \u2028"
                rest = {"reward": chance.gauss(0, 1) if n % 5 else None, "reason": "<b>why</b>", "tokens": 7}
                rows.append((problem, Response(problem.id, sample, mode, text, answer, right, **rest)))
    return Side(label, lambda: iter(rows), own_counts=True, prompts=lambda: prompts_of(rows))


def prompts_of(rows):
    return ((problem.id, one.mode, f"<b>Solve</b> {problem.problem} by {one.mode}") for problem, one in rows)


SIDES = [make_side("before </script>", 0.4), make_side("after", 0.6)]


def reference(search="", verdict="", mode="", benchmark="", family="", level="", change=""):
    """The slow way: for every row, all responses are looked through."""
    found = set()
    for problem in PROBLEMS:
        for its in ("cot", "tir"):
            own = [
                [one for p, one in side.rows() if p.id == problem.id and one.mode == its] for side in SIDES
            ]
            if not all(own):
                continue
            heads = [_head(rows) for rows in own]
            verdicts = "".join(str(int(head.correct)) for head in heads)
            texts = [problem.problem, problem.id, problem.answer, *(head.answer for head in heads)]
            wanted = (
                (verdict, verdicts[1]),
                (mode, its),
                (benchmark, problem.source or "held-out"),
                (family, problem.family),
                (level, str(problem.difficulty)),
                (change, verdicts),
            )
            words = search.lower().split()
            if all(want in ("", has) for want, has in wanted) and all(
                any(word in text.lower() for text in texts) for word in words
            ):
                found.add((problem.id, its))
    return found


def _head(rows):
    """The greedy response, else the first of those with the most frequent answer, first drawn of equals."""
    if rows[0].sample < 0:
        return rows[0]
    answers = [one.answer for one in rows]
    return max(rows, key=lambda one: (answers.count(one.answer), -answers.index(one.answer)))


@pytest.fixture(scope="module")
def browser():
    with launched() as one:
        yield one


@pytest.fixture(scope="module", params=["one file", "a folder"])
def visit(request, browser, tmp_path_factory):
    """(page, what it said): the page with all data in it, and with its data beside it."""
    out = tmp_path_factory.mktemp("browsed") / "of é # 1.html"
    inline = problems.INLINE if request.param == "one file" else 2_000
    folder = problems.run(sides=SIDES, out=out, title="Problems", inline=inline)
    assert (folder is not None) == (request.param == "a folder")
    said = []
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda one: None if one.url.startswith(("file:", "data:")) else said.append(one.url))
    page.goto(out.as_uri())
    return page, said


SELECTS = ("verdict of B", "mode", "benchmark", "family", "level", "B against A")
NAMES = ("verdict", "mode", "benchmark", "family", "level", "change")


def shown(page):
    """The rows in the list: (id, mode)."""
    rows = page.evaluate(
        """() => [...document.querySelectorAll('#problems .listed button')].map((one) =>
            [one.querySelector('.where').textContent.split(' · ')[0], one.children[1].textContent])"""
    )
    assert len({tuple(row) for row in rows}) == len(rows)
    return {(name, mode.lower()) for name, mode in rows}


def test_search_and_each_filter_give_the_rows_of_a_slow_reference(visit):
    page, said = visit
    assert shown(page) == reference()
    assert page.locator("#problems .found").inner_text() == f"1 to {len(reference())} of {len(reference())}"
    search = page.get_by_label("search")
    for words in ("apples", "MIA pears", "苹果", "gsm8k/1", "12", "nothing like it", "<script>"):
        search.fill(words)
        assert shown(page) == reference(search=words), words
    search.fill("")
    for text, name in zip(SELECTS, NAMES, strict=True):
        select = page.get_by_label(text, exact=True)
        values = select.evaluate("(one) => [...one.options].map((each) => each.value)")
        assert len(values) > 2
        for value in values:
            select.select_option(value)
            assert shown(page) == reference(**{name: value}), (name, value)
        select.select_option("")
    page.get_by_label("mode", exact=True).select_option("cot")
    page.get_by_label("B against A", exact=True).select_option("01")
    search.fill("apples")
    assert shown(page) == reference(search="apples", mode="cot", change="01")
    search.fill("")
    for text in ("mode", "B against A"):
        page.get_by_label(text, exact=True).select_option("")
    assert said == []


def test_a_row_opens_with_both_sides_votes_and_samples_and_runs_nothing(visit):
    page, said = visit
    page.get_by_label("search").fill("gsm8k/9")
    page.locator("#problems .listed button").first.click()
    sides = page.locator("#problems .sides > div")
    sides.first.locator("article").first.wait_for()
    assert sides.count() == 2
    assert page.locator("#problems .problem math").count() == 1, "the statement's formula is drawn"
    for side, place in zip(SIDES, (0, 1), strict=True):
        own = [one for p, one in side.rows() if p.id == "gsm8k/9"]
        votes = sides.nth(place).locator(".votes tbody tr")
        assert sum(int(votes.nth(n).locator("td").nth(2).inner_text()) for n in range(votes.count())) == 4
        chosen = votes.filter(has_text="maj@4").locator("td").first.inner_text()
        assert chosen == _head(own[1:]).answer
        folded = sides.nth(place).locator("details").filter(has_text="sample")
        assert folded.count() == 4
        folded.first.locator("summary").click()
        folded.first.locator("article").wait_for()
        text = folded.first.inner_text()
        assert "<script>document.title='owned'</script>" in text
        assert "<b>why</b>" in text
        assert folded.first.locator("math menclose").count() > 0, "formulas of samples are drawn"
        prompt = sides.nth(place).get_by_text("prompt", exact=True)
        prompt.click()
        assert "<b>Solve</b> Mia has 9 apples and $9^2$ pears. by cot" in sides.nth(place).inner_text()
        assert f"reward {round(own[1].reward * 1000) / 1000:g}" in text
    assert page.locator(".sides pre.python").count() > 0
    assert page.locator(".sides pre.output").count() > 0
    page.get_by_role("button", name="Back to the list").first.click()
    page.get_by_label("search").fill("")
    page.wait_for_timeout(100)
    assert page.title() == "Problems"
    assert page.locator("main :is(script, style, img, iframe, svg)").count() == 0
    assert said == []


def test_fixed_and_broken_are_those_of_compare(visit):
    page, _ = visit
    greedy = [
        replace(side, rows=lambda rows=side.rows: (one for one in rows() if one[1].sample < 0))
        for side in SIDES
    ]
    changed = compare(*greedy).changed
    voted = {one.id for n, one in enumerate(PROBLEMS) if n % 7 == 0}
    for value, name in (("01", "fixed"), ("10", "broken")):
        page.get_by_label("B against A", exact=True).select_option(value)
        found = {row for row in shown(page) if row[0] not in voted}
        assert found == {(one.problem.id, one.mode) for one in changed if one.fixed is (name == "fixed")}
    page.get_by_label("B against A", exact=True).select_option("")


def test_data_of_another_page_is_said_so(browser, tmp_path):
    out = tmp_path / "page.html"
    folder = problems.run(sides=SIDES[:1], out=out, title="Problems", inline=0)
    first = folder / "0.js"
    first.write_text(first.read_text("utf-8").replace("It is", "It was"), "utf-8")
    call, _, rest = first.read_text("utf-8").partition(", ")
    first.write_text(f'{call}, "{"0" * 12}"{rest[14:]}', "utf-8")
    page = browser.new_page()
    page.goto(out.as_uri())
    page.locator("#problems .listed button").first.click()
    page.get_by_text("The folder page-data must be beside this page").wait_for()


def test_texts_wait_on_disk(tmp_path):
    """20 MB of responses, of which neither all nor a quarter is ever in memory."""

    def rows():
        for n in range(100):
            for sample in range(-1, 9):
                yield (
                    Problem(f"p{n}", "What?", "1"),
                    Response(f"p{n}", sample, "cot", "word " * 4_000, "1", True),
                )

    tracemalloc.start()
    folder = problems.run(
        sides=[Side("one", rows)], out=tmp_path / "p.html", title="Problems", inline=100_000
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(path.stat().st_size for path in folder.iterdir()) > 19_000_000
    assert peak < 5_000_000
    assert (tmp_path / "p.html").stat().st_size < 100_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p-data", "p.html"]


def test_a_formula_that_samples_repeat_is_written_once():
    def record(sample):
        text = f"$\\frac{{1}}{{2}}$ and \\[{sample}\\] so $\\frac{{1}}{{2}}$ $\\bad{{$ is \\boxed{{7}}"
        own = {"sample": sample, "text": text, "answer": r"\frac{1}{2}", "correct": True, "reward": None}
        rest = {"finish": "stop", "tokens": 1, "calls": 0, "temperature": 0.0, "reason": ""}
        return {"side": 0, "mode": "cot", **own, **rest}

    found = packed("What is $\\frac{1}{2}$?", details_of([record(n) for n in range(-1, 4)], 1))
    half, first = found["text"][1], found["modes"]["cot"][0]["samples"][0]
    assert [half, *(one["answer"] for one in found["modes"]["cot"][0]["votes"])] == [0, [0]]
    assert first["blocks"] == [["prose", [0, " and ", 3, " so ", 0, *first["blocks"][0][1][5:]]]]
    assert len(found["formulas"]) == 1 + 5 + 1, "a half, five numbers, a box"
    code = first["blocks"][0][1][6]
    assert (code.name, code.children) == ("code", (r"$\bad{$",))


def test_the_folder_is_ours_or_refused(tmp_path):
    out = tmp_path / "p.html"
    (tmp_path / "p-data").mkdir()
    (tmp_path / "p-data" / "thesis.txt").write_text("mine")
    with pytest.raises(BadConfig, match="p-data: the page's data would go there, and something else is"):
        problems.run(sides=SIDES[:1], out=out, title="Problems")
    assert not out.exists()
    (tmp_path / "p-data" / "thesis.txt").unlink()
    problems.run(sides=SIDES[:1], out=out, title="Problems", inline=0)
    assert (tmp_path / "p-data" / "0.js").is_file()
    problems.run(sides=SIDES[:1], out=out, title="Problems")
    assert not (tmp_path / "p-data").exists(), "all data is in the page now"


def test_json_in_a_page_ends_no_script():
    written = problems.to_json({"a": "</script><!--\u2028\u2029\ud800"})
    assert "<" not in written
    assert "\u2028" not in written
    assert json.loads(written.encode("utf-8", "backslashreplace"))["a"] == "</script><!--\u2028\u2029\ud800"
