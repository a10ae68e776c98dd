"""The page at `/`: its routes, and a real Chromium that asks, watches, and meets hostile models."""

from __future__ import annotations

import json
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mathloop.serving import page
from mathloop.serving.config import SolverConfig
from mathloop.serving.keys import Keys
from mathloop.serving.refusals import Refused
from pipelines.commands import answering, endpoint
from tests.chromium import launched
from tests.unit.serving.standins import ScriptedEngine, response
from tests.unit.serving.test_serving_routes import CHAT, KEY, Served, wait_until

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg onload=document.title='owned'> [a](javascript:document.title='owned') "
    "$\\text{<script>document.title='owned'</script>}$ $\\href{javascript:alert(1)}{x}$ "
    "$\\color{red;background:url(//example.org)}{x}$ $\\style{x}{y}$\n"
    "```python\n</code></pre><script>document.title='owned'</script>\n```\n"
    "```output\n<iframe src=https://example.org></iframe>\n```\n\\boxed{<b onclick=alert(1)>1</b>}"
)


class WritingEngine(ScriptedEngine):
    """Gives texts of its own, not only answers."""

    def __init__(self, texts: list[tuple[str | None, str]], rewards: list[float] | None = None) -> None:
        super().__init__([answer for answer, _ in texts], rewards)
        self.texts = texts

    async def draw(self, question: Any, begin: int, count: int) -> Any:
        made = await super().draw(question, begin, count)
        for at, number in enumerate(range(begin, begin + count)):
            answer, text = self.texts[number % len(self.texts)]
            made.responses[at] = response(answer, text=text)
        return made


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Served] = []

    def begin(engine: ScriptedEngine | None = None, key: str | None = None, **settings: Any) -> Served:
        running.append(
            Served(engine or ScriptedEngine(["7"]), SolverConfig(**settings), Keys.of(key) if key else None)
        )
        return running[-1]

    yield begin
    for served in running:
        served.close()


def test_the_page_is_for_people_and_the_probe_for_machines(serve: Serve) -> None:
    served = serve(key=KEY)
    page = served.client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in page.text.replace("https://", "").split("<body>")[0]
    assert served.client.get("/").json() == {"status": "alive"}
    for name in ("page.css", "page.js", "typesetting.js"):
        reply = served.client.get(f"/page/{name}")
        kind = "text/css" if name.endswith("css") else "text/javascript"
        assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (200, kind)
    assert served.client.get("/page/page.py").status_code == 404
    assert served.client.post("/page/typeset", json={"texts": ["x"]}).status_code == 401


def test_typesetting_is_bounded_and_refuses_in_one_line(serve: Serve) -> None:
    served = serve()

    def ask(body: Any) -> Any:
        return served.client.post("/page/typeset", json=body)

    made = ask({"texts": ["So $x^2$.\n```python\nprint(1)\n```"], "answers": ["\\frac12", "7"]}).json()
    prose, code = made["texts"][0]
    assert (prose["kind"], prose["pieces"][0], prose["pieces"][1][0]) == ("prose", "So ", "math")
    assert code == {"kind": "python", "pieces": ["print(1)"]}
    assert [one[0] if isinstance(one[0], str) else one[0][0] for one in made["answers"]] == ["math", "7"]
    assert "texts: expected a list" in ask({"texts": [1]}).json()["error"]["message"]
    assert ask({"texts": ["x"] * 300}).status_code == 422
    assert ask([]).status_code == 400
    many = ask({"texts": ["$x$ " * 4_000] * 3}).json()["texts"]
    formulas = sum(piece[0] == "math" for blocks in many for one in blocks for piece in one["pieces"])
    assert 1_000 <= formulas <= 2_000


def test_typesetting_has_few_waiting_and_leaves_with_its_client(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, may_go, begun, ended = serve(), threading.Event(), threading.Event(), threading.Event()

    def slow(texts: Any, answers: Any, over: Callable[[], bool]) -> bytes:
        begun.set()
        while not may_go.wait(0.01) and not over():
            pass
        ended.set()
        return b"{}"

    monkeypatch.setattr(page, "_typeset", slow)
    monkeypatch.setattr(page, "SECONDS", 60.0)
    monkeypatch.setattr(page, "MOST_WAITING", 1)
    body = '{"texts":["x"]}'
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        head = "POST /page/typeset HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert begun.wait(10)
        refused = served.client.post("/page/typeset", json={"texts": ["x"]})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "queue_full"
        assert not ended.is_set()
    assert ended.wait(10), "who hangs up ends the work"
    may_go.set()
    wait_until(lambda: served.client.post("/page/typeset", json={"texts": ["x"]}).status_code == 200)


def test_one_request_typesets_so_many_characters(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_CHARACTERS", 10)
    body = {"texts": ["$x$ and so", "$y$"], "answers": ["x^2"]}
    made = serve().client.post("/page/typeset", json=body).json()
    assert made["texts"][0][0]["pieces"][0][0] == "math"
    assert made["texts"][1][0]["pieces"] == ["$y$"]
    assert made["answers"] == [["x^2"]]
    monkeypatch.undo()
    late = page._typeset(["$x$"], ["x^2"], lambda: True)
    assert json.loads(late) == {"texts": [[{"kind": "prose", "pieces": ["$x$"]}]], "answers": [["x^2"]]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as one:
        yield one


class Visit:
    """The page opened at a width, with all that it said and asked for."""

    def __init__(self, browser: Any, served: Served, width: int = 1280, scheme: str = "light") -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"http://127.0.0.1:{served.port}/")
        self.page.locator("#strategy option").first.wait_for(state="attached")

    def ask(self, problem: str = "What is $3 + 4$?") -> None:
        self.page.fill("#problem", problem)
        self.page.press("#problem", "Control+Enter")

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def shows(self, selector: str, words: str) -> None:
        self.page.locator(selector).filter(has_text=words).first.wait_for()


TEXTS: list[tuple[str | None, str]] = [
    ("\\frac{7}{2}", "Half of $7$:\n```python\nprint(7 / 2)\n```\n```output\n3.5\n```\n$$\\frac{7}{2}$$"),
    ("8", "I guess \\boxed{8}."),
]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_ask_and_see_why(browser: Any, serve: Serve, width: int, scheme: str) -> None:
    served = serve(WritingEngine(TEXTS, [2.0, -1.0]))
    seen = Visit(browser, served, width, scheme)
    page = seen.page
    page.fill("#samples", "4")
    page.fill("#seed", "5")
    seen.ask()
    seen.shows("#status", "Answered")
    assert seen.text("#answer .reason").startswith("weighted: the answer with the largest sum")
    page.locator("#answer .final math mfrac").wait_for()
    assert page.locator("#candidates tbody tr").count() == 2
    assert seen.text("#candidates tbody tr.chosen td:nth-child(2)").strip() == "2"
    assert page.locator("#responses li").count() == 4
    seen.shows("#responses li.chosen .badge", "chosen")
    page.locator("#responses li.chosen pre.python").wait_for()
    assert seen.text("#responses li.chosen pre.output").strip() == "3.5"
    page.locator("#responses li.chosen math[display=block]").wait_for()
    seen.shows("#responses li", "reward 2.00")
    page.locator("#asked math").wait_for()
    (question,) = served.engine.questions
    assert (question.samples, question.seed, question.strategy) == (4, 5, "weighted")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert seen.said == []
    assert {url.split("/")[2] for url in seen.asked if not url.startswith("data:")} == {
        f"127.0.0.1:{served.port}"
    }


def test_typesetting_that_comes_late_is_not_shown(browser: Any, serve: Serve) -> None:
    seen = Visit(browser, serve())
    held: list[Any] = []
    first = True
    busy = [429]

    def handle(route: Any) -> None:
        if first:
            held.append(route)
        elif busy:
            route.fulfill(status=busy.pop(), headers={"Retry-After": "0"})
        else:
            route.continue_()

    seen.page.route("**/page/typeset", handle)
    seen.ask("The first: $x$")
    seen.shows("#status", "Answered.")
    seen.page.wait_for_timeout(100)
    assert held
    first = False
    seen.ask("The second: $y$")
    seen.page.locator("#asked math").wait_for()  # after a refusal, once more
    assert busy == []
    for late in held:
        with seen.page.expect_response("**/page/typeset"):
            late.continue_()
    seen.page.wait_for_timeout(100)
    assert seen.text("#asked .prose").startswith("The second")
    assert seen.text("#status") == "Answered."


def test_keyboard_names_and_contrast(browser: Any, serve: Serve) -> None:
    seen = Visit(browser, serve())
    page = seen.page
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    wanted = ["skip", "problem", "strategy", "samples", "mode", "seed", "ask", "copy"]
    assert reached[: len(wanted)] == wanted, "in the order of the page; a disabled button is skipped"
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('textarea, input, select')]
            .filter((one) => !one.labels.length).map((one) => one.id)"""
    )
    assert unnamed == []
    assert page.locator("[role=status]").count() == page.locator("[role=alert]").count() == 1
    page.select_option("#strategy", "greedy")
    assert page.locator("#samples").is_disabled()
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme)
        ratios = seen.page.evaluate(
            """() => {
                const style = getComputedStyle(document.documentElement);
                const light = (name) => {
                    const hex = style.getPropertyValue(name).trim().slice(1);
                    const [r, g, b] = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
                        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const pairs = ['ink', 'soft'].flatMap((c) => ['paper', 'card', 'wash'].map((p) => [c, p]));
                pairs.push(['good', 'goodwash'], ['good', 'paper'], ['bad', 'badwash'], ['wait', 'waitwash'],
                    ['onaccent', 'accent'], ['ink', 'mark']);
                return pairs.map(([one, other]) => {
                    const [a, b] = [light('--' + one), light('--' + other)].sort((x, y) => y - x);
                    return [one, other, (a + 0.05) / (b + 0.05)];
                });
            }"""
        )
        assert [pair for pair in ratios if pair[2] < 4.5] == [], f"{scheme}: WCAG AA asks for 4.5 to 1"


def test_what_a_model_wrote_never_becomes_html(browser: Any, serve: Serve) -> None:
    served = serve(
        WritingEngine([("<b>1</b>$\\frac{<i>1</i>}{2}$", HOSTILE), ("\\frac{<img src=x>}{2}", HOSTILE)])
    )
    served.engine.name = "<script>document.title='owned'</script>"
    seen = Visit(browser, served)
    seen.ask(HOSTILE)
    seen.shows("#status", "Answered")
    page = seen.page
    page.evaluate("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
    page.locator("#responses li .prose pre.output").nth(7).wait_for()
    assert page.title() == "mathloop"
    allowed = page.evaluate(
        """() => [...new Set([...document.querySelectorAll('main *')].map((one) => one.localName))]
            .filter((name) => /^(script|style|img|iframe|svg|a|object|embed|link|b2|i)$/.test(name))"""
    )
    assert allowed == []
    assert seen.said == [], "the content policy would have complained of anything that tried"
    assert "<script>document.title='owned'</script>" in seen.text("#responses")
    assert (
        page.evaluate("(() => { try { document.body.innerHTML = '<p>'; return 1 } catch { return 0 } })()")
        == 0
    )


def test_the_queue_stopping_and_errors_are_shown(browser: Any, serve: Serve) -> None:
    served = serve(ScriptedEngine(["7"]), queue=1)
    first, second = Visit(browser, served), Visit(browser, served)
    served.hold()
    first.ask()
    wait_until(lambda: served.engine.at_once == 1)
    second.ask()
    second.shows("#status", "In the queue: 1 question before this one.")
    third = served.client.post(CHAT, json={"messages": [{"role": "user", "content": "x"}]})
    assert third.status_code in (429, 503)
    second.page.press("body", "Escape")
    second.shows("#status", "Stopped.")
    served.let_go()
    first.shows("#status", "Answered.")
    served.engine.failure = Refused(400, "the problem has 9 tokens; the model's context has 8")
    second.ask()
    second.shows("#error", "400: the problem has 9 tokens; the model's context has 8")
    second.page.fill("#problem", " ")
    second.page.click("#ask")
    assert second.page.locator("#problem:invalid").count() + second.page.locator("#error:not(:empty)").count()


def test_a_key_is_asked_for_and_curl_is_the_same_question(browser: Any, serve: Serve) -> None:
    served = serve(key=KEY)
    seen = Visit.__new__(Visit)
    seen.page = browser.new_page()
    seen.page.goto(f"http://127.0.0.1:{served.port}/")
    seen.shows("#error", "API key")
    seen.page.fill("#key", KEY)
    seen.page.press("#key", "Tab")
    seen.page.locator("#strategy option").first.wait_for(state="attached")
    seen.ask('It\'s $5 for "two"; how much is one?')
    seen.shows("#status", "Answered.")
    seen.page.click("#curl summary")
    words = shlex.split(seen.text("#curl pre").replace("\\\n", " "))
    assert words[:2] == ["curl", f"http://127.0.0.1:{served.port}{CHAT}"]
    assert "Authorization: Bearer $MATHLOOP_API_KEY" in words
    assert KEY not in " ".join(words)
    body = json.loads(words[words.index("-d") + 1])
    assert body["messages"][0]["content"] == 'It\'s $5 for "two"; how much is one?'
    reply = served.client.post(CHAT, json=body, headers={"Authorization": f"Bearer {KEY}"})
    assert reply.status_code == 200


def test_no_page_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(endpoint, "serve", lambda **options: asked.append(options["page"]))
    answering.serve()
    answering.serve(no_page=True)
    assert asked == [True, False]
