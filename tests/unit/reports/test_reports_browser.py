"""The page in a real Chromium: quiet, offline, fits a phone, runs nothing that a model wrote."""

import pytest

from mathloop.reports import round as report
from mathloop.settings import Settings
from tests.chromium import launched

SETTINGS = Settings().model_dump_json()


@pytest.fixture(scope="module")
def browser():
    with launched() as one:
        yield one


class Visit:
    """A page opened at a width, with all that it said and asked for."""

    def __init__(self, browser, path, width, scheme):
        self.said, self.asked = [], []
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def visit(browser, make_round, tmp_path):
    def open_page(width=1280, scheme="light", **settings):
        made = make_round(**settings)
        report.run(**made.paths, out=tmp_path / "report.html", title="Round 3", configuration=SETTINGS)
        return Visit(browser, tmp_path / "report.html", width, scheme)

    return open_page


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_is_quiet_offline_and_fits(visit, width, scheme):
    seen = visit(width, scheme)
    page = seen.page
    page.evaluate("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    outside = page.evaluate(
        """(width) => [...document.querySelectorAll('main *')].filter((one) => {
            const box = one.getBoundingClientRect();
            return box.width && box.right > width + 1 && !one.closest('.wide, pre');
        }).map((one) => one.outerHTML.slice(0, 120))""",
        width,
    )
    assert outside == []
    assert seen.said == []
    assert [url for url in seen.asked if not url.startswith(("file:", "data:"))] == []


def test_light_and_dark_have_readable_contrast(visit):
    seen = visit(count=24)
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme)
        ratios = seen.page.evaluate(
            """() => {
                const style = getComputedStyle(document.documentElement);
                const light = (name) => {
                    const hex = style.getPropertyValue(name).trim().slice(1);
                    const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
                    const [r, g, b] = parts.map((c) =>
                        c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const pairs = ['ink', 'soft', 'cot', 'tir', 'accent'].flatMap((c) =>
                    ['paper', 'card', 'wash'].map((p) => [c, p]));
                pairs.push(['good', 'goodwash'], ['bad', 'badwash'], ['wait', 'waitwash'], ['ink', 'mark']);
                return pairs.map(([one, other]) => {
                    const [a, b] = [light('--' + one), light('--' + other)].sort((x, y) => y - x);
                    return [one, other, (a + 0.05) / (b + 0.05)];
                });
            }"""
        )
        low = [(scheme, *pair) for pair in ratios if pair[2] < 4.5]
        assert low == [], "WCAG AA asks for 4.5 to 1"


def test_what_a_model_wrote_never_runs(visit):
    seen = visit(hostile=True, count=24)
    page = seen.page
    page.evaluate("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
    for place in page.locator(".cards article").all():
        place.hover()
    page.wait_for_timeout(200)
    assert page.title() == "Round 3"
    assert seen.said == [], "the content policy would have complained of anything that tried"
    assert page.locator("main :is(script, style, img, iframe)").count() == 0
    assert "<script>document.title='owned'</script>" in page.locator("#samples").inner_text()
    boxes = page.locator("#samples .prose math menclose")
    assert boxes.first.bounding_box()["width"] > 5, "formulas are drawn"


def test_pointing_at_a_curve_reads_its_nearest_step(visit):
    page = visit(count=24).page
    chart = page.locator("svg.curve").first
    value = chart.locator(".cursor .value")
    assert not value.is_visible()
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 46 / 340, box["y"] + box["height"] / 2)
    assert value.text_content().startswith("step 1: ")
    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + box["height"] / 2)
    assert value.text_content().startswith("step 260: ")
    page.mouse.move(1, 1)
    assert not value.is_visible()


def test_printing_unfolds_everything(visit):
    page = visit(count=24).page
    assert page.locator("details:not([open])").count() > 0
    assert page.pdf().startswith(b"%PDF")
    assert page.locator("details:not([open])").count() == 0


def test_links_scroll_in_a_sandboxed_frame_as_kubeflow_shows_it(browser, make_round, tmp_path):
    made = make_round(count=24)
    path = tmp_path / "report.html"
    report.run(**made.paths, out=path, title="Round 3", configuration='{"seed": 1}')
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_content('<iframe sandbox="allow-scripts" style="width: 1200px; height: 800px"></iframe>')
    page.evaluate("(html) => { document.querySelector('iframe').srcdoc = html; }", path.read_text("utf-8"))
    frame = page.frame_locator("iframe")
    assert frame.locator("h1").inner_text() == "Round 3"
    stages = frame.locator("#stages")
    assert stages.bounding_box()["y"] > 800
    frame.locator('nav a[href="#stages"]').click()
    page.wait_for_function("() => true")
    frame.locator("#stages h2").wait_for(state="visible")
    for _ in range(100):
        if stages.bounding_box()["y"] < 700:
            break
        page.wait_for_timeout(50)
    assert stages.bounding_box()["y"] < 700
    assert frame.locator("h1").count() == 1, "the frame still holds the report"


def test_short_settings_are_not_broken_over_lines(visit):
    broken = visit(width=1280, count=8).page.evaluate(
        """() => [...document.querySelectorAll('.configuration dd')].filter((one) => {
            const range = document.createRange();
            range.selectNodeContents(one);
            const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top / 12)));
            return one.textContent.length <= 8 && lines.size > 1;
        }).map((one) => one.textContent)"""
    )
    assert broken == []
