"""Scales, ticks, thinning and markup."""

import html
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.reports.charts import Scale, curve_chart, difference_chart, smooth, tick_labels, ticks
from mathloop.reports.figures import duration, points, scalar
from mathloop.reports.markup import Markup, clip, element, join, text
from mathloop.reports.process import curves_section
from mathloop.reports.samples import prose
from mathloop.stages import StageReport

finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.text())
def test_text_comes_back_from_its_escaped_form_and_holds_no_markup(words):
    escaped = text(words)
    assert not set(escaped) & set("<>\"'")
    back = html.unescape(escaped)
    assert len(back) == len(words)
    assert all(one == other or other == "\ufffd" for one, other in zip(words, back, strict=True))
    escaped.encode("utf-8")


def test_only_elements_are_markup():
    inside = element("b", "<i>", title='"><script>')
    assert inside == '<b title="&quot;&gt;&lt;script&gt;">&lt;i&gt;</b>'
    assert join([inside, None, ["<", 3]]) == inside + "&lt;3"
    assert isinstance(join([]), Markup)
    assert element("p", data_points="1", class_="x", lang=None) == '<p data-points="1" class="x"></p>'


def test_clipped_text_says_how_much_is_missing():
    assert clip("abc", 3) == "abc"
    assert clip("abcdef", 2) == "ab … (4 more characters)"


@given(finite, st.floats(1e-6, 1e6), st.integers(1, 8))
def test_ticks_are_evenly_spaced_round_numbers_inside_the_range(low, span, about):
    high = low + span
    found = ticks(low, high, about)
    slack = 1e-6 * (1 + abs(low) + span)
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert len(found) <= about + 1
    if len(found) > 1:
        step = found[1] - found[0]
        lead = step / 10 ** math.floor(math.log10(step * 1.0001))
        assert min(abs(lead - nice) for nice in (1, 2, 5, 10)) < 0.01 or step < 1e-4 * abs(low)


def test_a_moving_mean_keeps_a_line_and_quiets_noise():
    line = [(float(x), 3.0) for x in range(100)]
    assert smooth(line) == (line, 7)
    noisy = [(float(x), float((-1) ** x)) for x in range(100)]
    assert max(abs(y) for _, y in smooth(noisy)[0]) < 0.5
    assert smooth(noisy[:20]) == (noisy[:20], 1)


def test_a_scale_maps_ends_to_ends():
    scale = Scale(10, 20, 100, 0)
    assert (scale(10), scale(15), scale(20)) == (100, 50, 0)
    assert Scale(3, 3, 0, 10)(3) == 5


@pytest.mark.parametrize(
    "curve", [[(1, 0.5)], [(1, 2.0), (2, 2.0)], [(5, -1e-9), (1, 1e9)], [(x, x % 7) for x in range(5000)]]
)
def test_any_curve_is_drawn_inside_its_frame(curve):
    drawn = curve_chart("loss", curve, "sft")
    for found in re.findall(r' d="([^"]+)"', drawn):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", found)]
        assert all(0 <= x <= 340 for x in numbers[::2])
        assert all(0 <= y <= 170 for y in numbers[1::2])
    assert len(drawn) < 60_000


def test_the_gate_chart_puts_the_interval_on_the_right_side_of_zero():
    drawn = difference_chart(0.1, 0.05, 0.15, margin=0.0)
    zero = float(re.search(r'class="zero" x1="([\d.]+)"', drawn)[1])
    low, high = map(float, re.search(r'class="band" x1="([\d.]+)" x2="([\d.]+)"', drawn).groups())
    assert zero < low < high
    assert "95 % interval +5.0 to +15.0" in drawn


def test_figures():
    assert [points(0.042), points(-0.0421), points(0)] == ["+4.2", "−4.2", "+0.0"]
    assert [scalar(12000.0), scalar(5e-5), scalar(-0.12345), scalar(math.nan)] == [
        "12,000",
        "5e−05",
        "−0.123",
        "nan",
    ]
    assert [duration(one) for one in (0.25, 9.97, 59.9, 179.6, 200, 3599.7, 7500)] == [
        "0.2 s",
        "10 s",
        "1 min 0 s",
        "3 min 0 s",
        "3 min 20 s",
        "1 h 0 min",
        "2 h 5 min",
    ]


def test_prose_sets_code_output_and_the_boxed_answer():
    shown = prose(
        "Think <hard>.\n```python\nprint('a<b')  # why\n```\n```output\n7\n```\nIs $\\boxed{\\frac{1}{2}}$."
    )
    assert "<p>Think &lt;hard&gt;.</p>" in shown
    assert re.search(r'<pre class="python"><code>print\(<i class="string">&#x27;a&lt;b&#x27;</i>\)', shown)
    assert '<i class="comment"># why</i>' in shown
    assert '<pre class="output"><code>7</code></pre>' in shown
    assert '<menclose notation="box"><mfrac><mn>1</mn><mn>2</mn></mfrac></menclose>' in shown


@given(st.text(alphabet="python\n<>{} #&'\"`1"))
def test_prose_loses_nothing_but_blanks(written):
    shown = html.unescape(re.sub(r"<[^>]*>", "", prose(written)))
    assert shown.split() == re.sub(r"```[ \t]*\w*[^\n]*\n|\n?```", "", written).split() or "```" in written


def test_a_fence_that_never_closes_takes_the_rest():
    shown = prose("So:\n```python\nwhile True: pass")
    assert '<pre class="python"><code><i class="word">while</i> <i class="word">True</i>' in shown


def test_ticks_of_a_small_range_are_told_apart():
    assert tick_labels([0.9996, 0.9998, 1.0, 1.0002]) == ["0.9996", "0.9998", "1.0000", "1.0002"]
    assert tick_labels([0.0, 0.5, 1.0]) == ["0", "0.5", "1"]
    drawn = curve_chart("sampler ratio", [(step, 1 + step * 1e-5) for step in range(40)], "GRPO")
    labels = re.findall(r'class="tick"[^>]*text-anchor="end">([^<]+)<', drawn)[:4]
    assert len(set(labels)) == len(labels) > 2


def test_an_axis_says_what_it_counts():
    curves = {"problems by right samples": [(0, 4.0), (1, 2.0)], "loss": [(1, 0.5), (2, 0.4)]}
    curves["calibration: share right over predicted"] = [(0.1, 0.2), (0.9, 0.8)]
    drawn = curves_section([StageReport("selection", curves=curves)])
    for name in ("right samples", "predicted probability", "step"):
        assert 'class="axis"' in drawn
        assert f">{name}</text>" in drawn
    assert "problems by right samples, y: problems" in drawn
    assert "right samples 1: 2" in drawn  # under the pointer
