"""A corpus of an earlier one and of written dialogues."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mathloop.corpus import build
from mathloop.corpus.config import CorpusConfig
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.errors import BadData
from mathloop.records import read_rows, write_rows


def rows(name: str, count: int) -> list[dict[str, object]]:
    fixed = {"solution": "\\boxed{1}", "mode": "cot", "language": "en", "style": "worked", "misread": False}
    return [{"id": f"{name}-{n}", "problem": f"{name} {n}?", **fixed} for n in range(count)]


def made(tmp_path: Path, seed: int = 0, **fields: object) -> list[str]:
    config = CorpusConfig.model_validate({"given": str(tmp_path / "given.parquet"), **fields})
    out = tmp_path / f"corpus-{seed}"
    (report,) = build.run(
        out=out,
        work=tmp_path / "work",
        config=config,
        decontamination_config=DecontaminationConfig(),
        benchmarks=[],
        seed=seed,
    )
    ids = [str(row["id"]) for row in read_rows(out)]
    assert report.kept == len(ids)
    return ids


def test_written_dialogues_make_up_their_share_each_as_often_as_the_others_up_to_one(tmp_path: Path) -> None:
    write_rows(tmp_path / "given.parquet", rows("given", 30))
    write_rows(tmp_path / "written.parquet", rows("written", 8))
    written = str(tmp_path / "written.parquet")
    ids = made(tmp_path, written=written, written_share=0.4)
    assert ids[:30] == [f"given-{n}" for n in range(30)]
    counts = Counter(ids[30:])
    assert len(ids[30:]) == 20
    assert set(counts.values()) == {2, 3}
    assert made(tmp_path, written=written, written_share=0.4) == ids
    assert made(tmp_path, 1, written=written, written_share=0.4) != ids
    assert made(tmp_path) == ids[:30]


def test_written_dialogues_may_have_the_languages_of_those_given(tmp_path: Path) -> None:
    given = [row | {"language": "zh" if n < 10 else "en"} for n, row in enumerate(rows("given", 30))]
    written = [
        row | {"language": ("zh", "zh", "en", "zh", "fr")[n % 5]} for n, row in enumerate(rows("written", 20))
    ]
    write_rows(tmp_path / "given.parquet", given)
    write_rows(tmp_path / "written.parquet", written)
    languages = {str(row["id"]): str(row["language"]) for row in written}

    def mixed(**fields: bool) -> tuple[Counter[str], Counter[str]]:
        ids = made(tmp_path, written=str(tmp_path / "written.parquet"), written_share=0.8, **fields)[30:]
        assert len(ids) == 120
        return Counter(languages[one] for one in ids), Counter(ids)

    assert mixed()[0] == {"zh": 72, "en": 24, "fr": 24}
    # `given` has no French, which keeps its fifth: 120 in the proportions 1/3, 2/3 and 1/5.
    by_language, each = mixed(written_languages=True)
    assert by_language == {"zh": 33, "en": 67, "fr": 20}
    assert {each[one] for one, language in languages.items() if language == "en"} == {16, 17}


def test_what_is_no_dialogue_is_one_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "given.parquet", rows("given", 2))
    write_rows(tmp_path / "texts.jsonl", [{"text": "prose"}])
    with pytest.raises(BadData, match=r"texts\.jsonl, row 1, field 'problem': expected a text"):
        made(tmp_path, written=str(tmp_path / "texts.jsonl"))
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(BadData, match=r"empty\.jsonl: the file has no dialogue"):
        made(tmp_path, written=str(tmp_path / "empty.jsonl"))


@pytest.mark.parametrize(
    "fields",
    [{"written": "a.parquet"}, {"given": "a.parquet", "sources": ({"name": "b", "path": "b"},)}],
)
def test_two_corpora_at_once_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="given"):
        CorpusConfig.model_validate(fields)
