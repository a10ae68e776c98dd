"""The page says what the records say, and nothing that a model wrote becomes markup."""

import base64
import hashlib
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mathloop.errors import BadData
from mathloop.evaluation import Outcomes, check_orderings, score_table
from mathloop.records import Response, read_problems, read_responses, read_rows, write_responses
from mathloop.reports import round as report
from mathloop.settings import Settings
from mathloop.stages import StageReport, timed

SETTINGS = {"seed": 11, "grpo": {"learning_rate": 5e-5, "sampling": {"temperature": 1.0}}}


class Page(HTMLParser):
    """Tags, attributes and visible text of a document."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.attributes, self.words, self._raw = [], [], [], None
        self.script = ""
        self.feed(document)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._raw = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._raw = None

    def handle_data(self, data):
        if self._raw is None:
            self.words.append(data)
        elif self._raw == "script":
            self.script += data


def draw(made, folder, **settings):
    out = folder / "report.html"
    stage = report.run(**made.paths, out=out, title="Round 3", **settings)
    return Page(out.read_text(encoding="utf-8")), stage


def test_the_page_shows_what_the_records_say(make_round, tmp_path):
    made = make_round()
    page, stage = draw(made, tmp_path, configuration=json.dumps(SETTINGS))
    gate = json.loads(made.paths["gate"].read_text())
    assert gate["promote"]
    assert "Promoted: champion 3" in page.text
    assert f"{100 * gate['difference']:+.1f}" in page.text
    assert f"95 % interval {100 * gate['low']:+.1f} to {100 * gate['high']:+.1f}" in page.text
    table = score_table(read_problems(made.paths["benchmark"]), read_responses(made.paths["results"]))
    for score in table.scores:
        if score.group in ("all", "family:large_numbers") and not score.metric.startswith("mean"):
            assert f"{100 * score.value:.1f} {100 * score.low:.1f}–{100 * score.high:.1f}" in page.text
    outcomes = Outcomes(read_problems(made.paths["benchmark"]), read_responses(made.paths["results"]))
    for one in check_orderings(outcomes):
        assert f"{one.mark} {one.claim}" in page.text
    assert "7,420 wrong answer" in page.text
    assert "1,712 in → 13,696 generated → 4,120 kept" in page.text
    assert "9,120 tokens/s" in page.text
    assert "1,730 checked, 18 removed: 14 by ngram and lcs, 4 by near." in page.text
    assert "seed 11" in page.text
    assert "grpo.sampling.temperature 1.0" in page.text
    assert "小明有" in page.text
    assert stage.values["bytes"] == (tmp_path / "report.html").stat().st_size < 1_500_000


def test_samples_cover_right_and_wrong_of_both_modes_and_languages(make_round, tmp_path):
    page, _ = draw(make_round(), tmp_path)
    found = page.text[page.text.index("Greedy responses of the challenger") :]
    for verdict in ("right", "wrong"):
        for mode in ("CoT", "TIR"):
            assert len(re.findall(f"{verdict} {mode} reward", found)) >= 2
    assert len(re.findall(r"champion wrote \((?:right|wrong)\)", found)) >= 8


def test_nothing_comes_from_elsewhere_and_only_our_script_may_run(make_round, tmp_path):
    page, _ = draw(make_round(hostile=True), tmp_path)
    links = [value for name, value in page.attributes if name in ("href", "src", "srcset", "action", "data")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not {"img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert page.tags.count("script") == 1
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    policy = next(value for name, value in page.attributes if name == "content" and "script-src" in value)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "<script>document.title='owned'</script>" in page.text, "hostile text is shown, as text"


def test_a_refused_round_says_so_and_why(make_round, tmp_path):
    made = make_round()
    decision = json.loads(made.paths["gate"].read_text()) | {
        "promote": False,
        "reason": "no better <than> before",
    }
    made.paths["gate"].write_text(json.dumps(decision))
    made.paths["published"].write_text(json.dumps({"promoted": False, "number": None, "reason": "x"}))
    page, _ = draw(made, tmp_path)
    assert "Not promoted: the champion stays No better <than> before." in page.text


def test_a_round_that_was_overtaken_is_not_called_promoted(make_round, tmp_path):
    made = make_round()
    moved = {"promoted": False, "number": None, "reason": "round r9 promoted champion 4 first"}
    made.paths["published"].write_text(json.dumps(moved))
    page, _ = draw(made, tmp_path)
    assert "Better, but not promoted" in page.text
    assert "ound r9 promoted champion 4 first" in page.text
    assert "Promoted: champion" not in page.text


def test_orderings_that_fail_are_said_to_fail(make_round, tmp_path):
    made = make_round()
    swap = {"sft": "base", "base": "sft"}
    rows = [row | {"model": swap.get(row["model"], row["model"])} for row in read_rows(made.paths["results"])]
    write_responses(made.paths["results"], [Response(**row) for row in rows])
    page, _ = draw(made, tmp_path)
    assert "fails SFT improves on the base model" in page.text
    assert "holds Reinforcement learning improves on SFT" in page.text


def test_a_first_round_without_champion_rewards_or_stages(make_round, tmp_path):
    made = make_round(models=("base", "sft", "challenger"), count=24)
    bare = [replace(row, reward=None) for row in read_responses(made.paths["results"])]
    write_responses(made.paths["results"], bare)
    made.paths["stages"] = []
    page, _ = draw(made, tmp_path)
    assert "Champion (base)" in page.text
    assert "Curves" not in page.text
    assert "–" in page.text
    assert "The reward model beats the vote" not in page.text


def test_the_same_records_make_the_same_page(make_round, tmp_path):
    made = make_round(count=24)
    draw(made, tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    draw(made, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first


def test_long_records_do_not_make_a_long_page(make_round, tmp_path):
    made = make_round(count=24)
    wordy = StageReport(
        "sft",
        curves={f"loss_{index}": [(step, step % 9) for step in range(20_000)] for index in range(8)},
        samples=[{"response": "x" * 1_000_000, "why": "y" * 1_000_000}] * 20,
        notes=["z" * 1_000_000] * 5,
    )
    made.paths["stages"][0] = wordy
    _, stage = draw(made, tmp_path)
    assert stage.values["bytes"] < 1_500_000


@pytest.mark.parametrize("broken", ["gate", "published"])
def test_a_broken_record_is_named_and_leaves_no_page(make_round, tmp_path, broken):
    made = make_round(count=24)
    path = made.paths[broken]
    path.write_text('{"nothing": [')
    with pytest.raises(BadData, match=path.name):
        draw(made, tmp_path)
    assert not list(tmp_path.glob("report.html*"))


def test_a_gate_file_without_its_interval_is_named_with_the_field(make_round, tmp_path):
    made = make_round(count=24)
    made.paths["gate"].write_text('{"promote": true, "difference": 0.1}')
    with pytest.raises(BadData, match="'low'"):
        draw(made, tmp_path)


def test_the_time_that_passed_is_beside_the_time_in_stages(make_round, tmp_path):
    made = make_round(count=8)
    for number, stage in enumerate(made.paths["stages"]):
        stage.started, stage.seconds = 1_000_000.0 + 3_600 * number, 60.0
    count = len(made.paths["stages"])
    page, _ = draw(made, tmp_path)
    assert f"Time in all stages {count} min 0 s" in page.text
    assert f"Time that passed {count - 1} h 1 min" in page.text
    for stage in made.paths["stages"]:
        stage.started = 0.0
    assert "Time that passed" not in draw(made, tmp_path)[0].text


def test_stages_take_their_start(make_round):
    @timed
    def run():
        return StageReport("x")

    before = time.time()
    assert before - 1 <= run().started <= time.time()


def test_settings_are_set_keys_with_those_that_are_not_the_default_and_were_used(make_round, tmp_path):
    settings = Settings(grpo=Settings().grpo.model_copy(update={"steps": 77}))
    page, _ = draw(make_round(count=8), tmp_path, configuration=settings.model_dump_json())
    shown = page.text[page.text.rindex("Configuration") :]
    default = Settings().grpo
    assert f"grpo.steps 77 ({default.steps})" in shown
    assert f"grpo.group_size {default.group_size} " in shown
    assert "decontamination.rules" in shown, "a section whose stages have longer names"
    assert "deployment." not in shown
    assert "pools." not in shown
    assert "pretrain." not in shown, "no first model was made"


def test_sections_name_the_files_behind_them(make_round, tmp_path):
    page, _ = draw(make_round(count=8), tmp_path)
    for name in ("stages/evaluation/results", "stages/grpo/rollouts", "stages/cot/responses"):
        assert name in page.text
