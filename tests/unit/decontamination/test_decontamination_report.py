"""The report of removed rows: counts, the matrix, marked differences, no scripts from the data."""

import json
import re
from pathlib import Path

from mathloop.decontamination import stage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.reports import decontamination

ITEM = (
    "A train travels 270 miles in 3 hours. At the same rate, how far does it get in 5 hours more than that?"
)


def test_the_page_counts_by_rule_and_source_and_marks_what_differs(tmp_path: Path) -> None:
    rows = [
        {"problem": ITEM.replace("train", "plane"), "source": "<script>alert(1)</script>"},
        {"problem": ITEM.replace("270", "450"), "source": "web"},
        {"problem": "Name a prime between 20 and 30.", "source": "web"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "train.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "bench.jsonl").write_text(json.dumps({"problem": ITEM}) + "\n", encoding="utf-8")
    report = stage.run(
        problems=tmp_path / "train.jsonl",
        responses=None,
        benchmarks=[tmp_path / "bench.jsonl"],
        out=tmp_path / "out.jsonl",
        removed=tmp_path / "removed.jsonl",
        config=DecontaminationConfig(rules=("structure",)),
    )
    decontamination.run(report=report, out=tmp_path / "report.html", heading="train.jsonl")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "3 rows checked, 2 removed (66.67 %)" in page
    assert {"plane", "train", "450", "270"} == set(re.findall(r"<mark>(\w+)</mark>", page))
    tables = [re.findall(r"<t[hd]>(?:<b>)?([^<]*)", table) for table in page.split("<table")[1:]]
    assert tables[0] == ["benchmark", "structure", "all", "bench", "2", "2"]
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert tables[1] == ["source", "bench", "all", escaped, "1", "1", "web", "1", "1"]
    assert page.count("<script>") == 1
