"""A round's records as they look in life: a small model that learns, in English and Chinese."""

import json
import math
import random
from pathlib import Path

import pytest

from mathloop.evaluation import gate
from mathloop.evaluation.config import GateConfig
from mathloop.records import Problem, Response, write_problems, write_responses
from mathloop.stages import StageReport

SKILL = {"base": 0.3, "champion": 0.46, "sft": 0.5, "challenger": 0.66}
HOSTILE = (
    "<script>document.title='owned'</script></style></pre></code>"
    "<img src=x onerror=\"document.title='owned'\">"
    "<svg onload=document.title='owned'>\n```python\n</pre><script>document.title='owned'</script>\n```\n"
    "```output\n\"' onmouseover='document.title=1' <iframe src=https://example.org></iframe>\n```\n\\boxed{<b>1</b>}"
)


class Round:
    """Writes a round's files to a folder; `paths` are the arguments of `mathloop.reports.round.run`."""

    def __init__(
        self, folder: Path, *, models=("base", "champion", "sft", "challenger"), hostile=False, count=160
    ):
        self.chance = random.Random(7)
        self.hostile = hostile
        self.problems = [self._problem(index) for index in range(count)]
        write_problems(folder / "benchmark.parquet", self.problems)
        write_responses(folder / "results.parquet", self._responses(models))
        self.paths = {"benchmark": folder / "benchmark.parquet", "results": folder / "results.parquet"}
        decided = gate.run(**self.paths, out=folder / "gate.json", config=GateConfig(), seed=0)
        promote = json.loads((folder / "gate.json").read_text())["promote"]
        published = {"promoted": promote, "number": 3 if promote else None, "reason": decided.notes[0]}
        (folder / "published.json").write_text(json.dumps(published))
        self.paths |= {"gate": folder / "gate.json", "published": folder / "published.json"}
        self.paths["stages"] = [*self._stages(), decided]

    def _problem(self, index):
        a, b = self.chance.randint(3, 60), self.chance.randint(3, 60)
        if index % 4 == 3:
            a, b = a * 8191, b * 6007
            text = f"A factory makes {a} screws a day and works {b} days. How many screws is that?"
            return Problem(f"p{index}", text, str(a * b), "nano", family="large_numbers", difficulty=4)
        if index % 5 == 2:
            text = f"小明有{a}个苹果，小红给了他{b}个。他现在一共有多少个苹果？"
            return Problem(f"p{index}", text, str(a + b), "nano", "zh", "sums", 1)
        family = ("sums", "sharing", "rates")[index % 3]
        text = f"Mia has {a} apples. Tom gives her {b} more. How many apples does Mia have now?"
        return Problem(f"p{index}", text, str(a + b), "nano", "en", family, 1 + index % 3)

    def _responses(self, models):
        for model in models:
            for problem in self.problems:
                for mode in ("cot", "tir"):
                    skill = SKILL[model] + (0.1 if mode == "tir" else 0.0)
                    if problem.family == "large_numbers":
                        skill = skill - 0.32 if mode == "cot" else skill + 0.12
                    for sample in range(-1, 8):
                        ease = random.Random(f"{problem.id}{mode}").gauss(0, 0.35)
                        right = self.chance.random() < skill + ease - (0.08 if sample >= 0 else 0)
                        yield self._response(problem, mode, model, sample, right)

    def _response(self, problem, mode, model, sample, right):
        gold = int(problem.answer)
        answer = gold if right else gold + self.chance.choice([-10, -1, 1, 2, 10])
        chinese = problem.language == "zh"
        if mode == "tir":
            lead = "我们用程序来算。" if chinese else "Let us compute this with a short program."
            code = f"# the total\ntotal = {answer - 3} + 3\nfor name in ['total']:\n    print(total)"
            end = "所以答案是" if chinese else "So the answer is"
            text = f"{lead}\n```python\n{code}\n```\n```output\n{answer}\n```\n{end} $\\boxed{{{answer}}}$."
        else:
            lead = "先把两个数加起来：" if chinese else "First we add the two numbers step by step:"
            end = "答案是" if chinese else "The answer is"
            text = f"{lead} {answer - 3} + 3 = {answer}.\n{end} $\\boxed{{{answer}}}$."
        if self.hostile:
            text = HOSTILE + text
        reward = self.chance.gauss(1.6 if right else -0.4, 1.1)
        reason = "equal integers" if right else "integers differ"
        rest = {"reason": reason, "reward": reward, "temperature": 0.0 if sample < 0 else 0.8, "model": model}
        return Response(problem.id, sample, mode, text, str(answer), right, tokens=40, **rest)

    def _stages(self):
        evil = HOSTILE if self.hostile else "Mia has 3 apples. Tom gives her 4 more. How many apples has she?"
        name = "<script>document.title='owned'</script>" if self.hostile else "wrong_answer"
        finding = {
            "id": "t17",
            "text": evil,
            "benchmark": "nano_test",
            "benchmark_item": "Mia has 3 apples. Tom gives her 5 more. How many apples has she?",
            "rule": "ngram_and_lcs",
            "evidence": {"ngram": "has 3 apples tom gives her", "lcs": 0.93},
        }
        wrote = {
            "problem": "2 + 2 = ?",
            "response": evil,
            "correct": False,
            "reward": -0.31,
            "why": "wrong answer",
        }
        return [
            StageReport("preflight", 0.2, notes=["Champion 2 and both of its models are in the store."]),
            StageReport("problems", 1.4, 1200, 1200, 1180, {"no_answer": 12, "duplicate": 8}),
            StageReport("evolution", 4.2, 1180, 640, 1730, {"malformed": 61, "unchanged": 29}),
            StageReport(
                "decontamination_problems",
                2.6,
                1730,
                0,
                1712,
                {"ngram_and_lcs": 14, "near": 4},
                samples=[finding] * 2,
            ),
            StageReport(
                "cot",
                61,
                1712,
                13696,
                4120,
                {name: 7420, "duplicate": 1310, "below_top_k": 846},
                {"tokens_per_second": 9120.4, "accuracy": 0.41},
                samples=[wrote],
            ),
            StageReport(
                "tir",
                74,
                1712,
                13696,
                5022,
                {"wrong_answer": 6100, "tool_error": 2574},
                {"tokens_per_second": 8210},
            ),
            StageReport("decontamination_cot", 3.1, 4120, 0, 4120, {}),
            StageReport(
                "sft",
                96,
                9142,
                kept=9142,
                values={"tokens_per_second": 21800},
                curves={"loss": self._decay(2.6, 0.42, 260)},
            ),
            StageReport(
                "reward_model",
                48,
                900,
                kept=702,
                dropped={"all_right": 120, "all_wrong": 78},
                values={"pair_accuracy": 0.77},
                curves={"loss": self._decay(0.69, 0.47, 90), "pair_accuracy": self._decay(0.5, 0.77, 12)},
            ),
            StageReport("selection", 22, 800, 6400, 312, {"too_easy": 300, "too_hard": 188}),
            StageReport(
                "grpo",
                138,
                312,
                15104,
                values={"tokens_per_second": 6400, "learning_rate": 5e-5},
                curves={
                    "reward": self._decay(-0.42, 0.31, 118),
                    "kl": self._decay(0.0, 0.021, 118),
                    "length": self._decay(61, 48, 118),
                    "accuracy": self._decay(0.42, 0.68, 118),
                    "loss": self._decay(0.01, -0.02, 118),
                },
            ),
            StageReport("evaluation", 52, 160, 11520, 11520, {}, {"tokens_per_second": 9800}),
        ]

    def _decay(self, start, end, steps):
        spread = abs(start - end) * 0.09
        return [
            (step, end + (start - end) * math.exp(-4 * step / steps) + self.chance.gauss(0, spread))
            for step in range(1, steps + 1)
        ]


@pytest.fixture
def make_round(tmp_path):
    """Builds a `Round` under the test's folder."""

    def build(**settings):
        return Round(tmp_path, **settings)

    return build
