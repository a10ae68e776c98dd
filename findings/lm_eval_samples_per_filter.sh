#!/usr/bin/env bash
# Whoever reads the sample file of a math benchmark that lm_eval writes with --log_samples expects a row per problem, or
# per response, its verdict beside it, and the gold answer in `target`.
#
#   lm_eval 0.4.13, a task with the two answer filters and the metric of the shipped gsm8k, a model that says "It is 5."
#   rows         problems x filters: each response is there twice, with nothing that numbers it
#   exact_match  0.0 in the row of strict-match, 1.0 in that of flexible-extract, for the same response
#   resps        a list of one list of responses: [["It is 5."]]
#   target       the whole worked solution: "2+3=5\n#### 5"
#
# So rows grouped by problem look like two samples, of which one is right: a mean of 50 % and a pass@2 of 100 % where
# the model gave one answer. Rows have to be taken of one value of `filter` only.
#
# Installs the package into a temporary folder, evaluates two problems of a local file, and fails if what it sees changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lm_eval==0.4.13
cd "$folder"
HF_HOME=$folder HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import json
import pathlib

from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker

SOLUTION = "2+3=5\n#### 5"


class SaysFive(LM):
    def generate_until(self, requests, disable_tqdm=False):
        return ["It is 5." for _ in requests]

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


with open("problems.jsonl", "w") as file:
    for name in ("Tom", "Ann"):
        question = f"{name} has 2 pens and buys 3. How many pens?"
        file.write(json.dumps({"question": question, "answer": SOLUTION}) + "\n")
strict = {"function": "regex", "regex_pattern": r"#### (\-?[0-9\.\,]+)"}
flexible = {"function": "regex", "group_select": -1, "regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)"}
first = {"function": "take_first"}
task = {
    "task": "pens",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "problems.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["Question:"]},
    "filter_list": [
        {"name": "strict-match", "filter": [strict, first]},
        {"name": "flexible-extract", "filter": [flexible, first]},
    ],
    "metric_list": [{"metric": "exact_match", "regexes_to_ignore": [",", r"\$", "(?s).*#### ", r"\.$"]}],
}
results = simple_evaluate(SaysFive(), tasks=[task], log_samples=True, bootstrap_iters=0)
tracker = EvaluationTracker(output_path="out")
tracker.general_config_tracker.model_name_sanitized = "model"
tracker.save_results_aggregated(results=results, samples=results["samples"])
tracker.save_results_samples(task_name="pens", samples=results["samples"]["pens"])
(path,) = pathlib.Path("out").rglob("samples_pens_*.jsonl")
rows = [json.loads(line) for line in path.read_text().splitlines()]
seen = [(row["doc_id"], row["filter"], row["resps"], row["exact_match"]) for row in rows]
print(*seen, sep="\n")
said = [["It is 5."]]
expected = [(0, "strict-match", said, 0.0), (1, "strict-match", said, 0.0)]
expected += [(0, "flexible-extract", said, 1.0), (1, "flexible-extract", said, 1.0)]
assert seen == expected and {row["target"] for row in rows} == {SOLUTION}, "changed"
PYTHON
