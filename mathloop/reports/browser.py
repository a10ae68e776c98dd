"""Every problem of a benchmark, to search and to read: one page, or a page and a folder with its texts.

The page holds the index: each problem's statement, and of each mode and side the verdict and the number of
right samples. Texts are in pieces of about `PIECE` bytes. Up to `INLINE` bytes of them are in the page too;
else they are files beside it, which a script of the page adds as scripts when they are asked for: a page from
a disk may fetch nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mathloop.errors import BadConfig
from mathloop.evaluation.comparing import Side
from mathloop.files import disk, replacing_folder, write_file
from mathloop.records import Problem, Response, benchmark_of
from mathloop.reports.figures import count
from mathloop.reports.markup import Markup, clip, element
from mathloop.reports.page import page
from mathloop.reports.problem_rows import answered, details_of, packed
from mathloop.reports.process import stages_section
from mathloop.reports.spill import Spill, open_spill
from mathloop.reports.stage_rows import read_stage_rows, stage_pieces
from mathloop.stages import StageReport

INLINE = 4 << 20
"""Bytes of texts that the page holds; of more, it has a folder beside it."""
PIECE = 512 << 10
"""Bytes of a piece, unless one problem alone has more."""
_STATEMENT = 4_000
"""Characters of a statement in the index."""
_PIECE_NAME = re.compile(r"\d+\.js")


def run(
    *,
    sides: Sequence[Side],
    out: Path,
    title: str,
    stages: Sequence[StageReport] = (),
    run: Path | None = None,
    inline: int = INLINE,
) -> Path | None:
    """Writes the page to `out`; returns the folder with its data, None if the page holds all of it.

    Responses are read once, as a stream; memory grows with the problems' statements, and by some 16 bytes
    per response.

    Args:
        sides: one or two: before and after.
        stages: the reports of a run's stages.
        run: the run's folder, for what its stages kept and dropped.

    Raises:
        BadConfig: the folder's name is taken by something else.
        BadData: responses cannot be read.
        StorageRefused: the disk refuses.
    """
    folder = out.with_name(f"{out.stem}-data")
    _check_ours(folder)
    with open_spill(out) as spill, ExitStack() as opened:
        problems = _read(sides, spill)
        kept_rows = read_stage_rows(run, spill) if run else []
        pieces = _Pieces(folder, inline, opened)
        rows: list[Any] = []
        for number, problem in enumerate(problems.values()):
            found = details_of(spill.read(number), len(sides))
            rows += [[number, mode, one] for mode, one in answered(found)]
            problem.append(pieces.add(str(number), packed(problem[_TEXT], found)))
        listed = [stage_pieces(one, spill, pieces.add) for one in kept_rows]
        pieces.close()
        index = {
            "sides": [side.name for side in sides],
            "problems": [[*one[:_TEXT], clip(one[_TEXT], _STATEMENT), one[-1]] for one in problems.values()],
            "rows": rows,
            "stages": listed,
            "pieces": pieces.digests,
            "folder": folder.name if pieces.outside else None,
        }
        document = _document(title, sides, len(problems), index, pieces, stages)
    write_file(out, document.encode("utf-8", "backslashreplace"))
    if not pieces.outside and folder.is_dir():  # of an earlier page
        with disk(folder):
            shutil.rmtree(folder)
    return folder if pieces.outside else None


_TEXT = 6
"""Where a problem's list has its statement: after id, gold, benchmark, family, level, language."""


def _read(sides: Sequence[Side], spill: Spill) -> dict[str, list[Any]]:
    """Id → what the index says of the problem; its responses go into the spill, by the problem's number."""
    problems: dict[str, list[Any]] = {}
    numbers: dict[str, int] = {}
    for place, side in enumerate(sides):
        for problem, response in side.rows():
            number = numbers.setdefault(problem.id, len(numbers))
            if number == len(problems):
                problems[problem.id] = _listed(problem)
            spill.add(number, _record(place, response))
        prompted = set()
        for name, mode, prompt in side.prompts():
            if (name, mode) not in prompted:  # a problem's samples share it
                prompted.add((name, mode))
                spill.add(numbers[name], {"side": place, "mode": mode, "prompt": prompt})
    return problems


def _listed(problem: Problem) -> list[Any]:
    gold = None if problem.answer is None else clip(problem.answer)
    benchmark = benchmark_of(problem)
    return [
        problem.id,
        gold,
        benchmark,
        problem.family,
        problem.difficulty,
        problem.language,
        problem.problem,
    ]


def _record(place: int, one: Response) -> dict[str, Any]:
    reward = one.reward if one.reward is None or math.isfinite(one.reward) else None
    return {
        "side": place,
        "mode": one.mode,
        "sample": one.sample,
        "text": one.text,
        "answer": one.answer,
        "correct": one.correct,
        "reward": reward,
        "reason": one.reason,
        "finish": one.finish_reason,
        "tokens": one.tokens,
        "calls": one.tool_calls,
        "temperature": one.temperature,
    }


class _Pieces:
    """Texts by key, put together into pieces: in memory up to `inline` bytes, then in the folder."""

    def __init__(self, folder: Path, inline: int, opened: ExitStack) -> None:
        self._folder, self._left, self._opened = folder, inline, opened
        self._open: dict[str, str] = {}
        self._size = 0
        self._number = 0
        self.inside: dict[str, str] = {}
        """Id of the page's element → JSON."""
        self.digests: list[str] = []
        """Of each piece: tells the files of this page from those of another one."""
        self.outside = False
        """Whether the pieces are in the folder."""

    def add(self, key: str, value: Any) -> int:
        """Adds a value; returns the number of its piece."""
        written = to_json(value)
        if self._open and self._size + len(written) > PIECE:
            self._end()
        self._open[key] = written
        self._size += len(written)
        return self._number

    def close(self) -> None:
        """Ends the last piece; the folder appears."""
        self._end()
        self._opened.close()

    def _end(self) -> None:
        content = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in self._open.items()) + "}"
        data = content.encode("utf-8", "backslashreplace")
        self.digests.append(hashlib.sha256(data).hexdigest()[:12])
        self.inside[f"data-{self._number}"] = content
        self._left -= len(data)
        self._open, self._size, self._number = {}, 0, self._number + 1
        if self._left < 0:
            if not self.outside:
                self.outside = True
                self._partial = self._opened.enter_context(replacing_folder(self._folder))
            self._write_out()

    def _write_out(self) -> None:
        for name, content in self.inside.items():
            number = name.removeprefix("data-")
            path = self._partial / f"{number}.js"
            call = f'mathloopData({number}, "{self.digests[int(number)]}", {content});\n'
            with disk(path):
                path.write_bytes(call.encode("utf-8", "backslashreplace"))
        self.inside = {}


def to_json(value: Any) -> str:
    """JSON that is safe in a script of a page, and as a script: no text in it can end either."""
    written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _check_ours(folder: Path) -> None:
    """Raises BadConfig if there is something that no earlier page wrote."""
    if folder.exists() or folder.is_symlink():
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else [""]
        if folder.is_symlink() or not all(map(_PIECE_NAME.fullmatch, names)):
            raise BadConfig(
                f"{folder}: the page's data would go there, and something else is there; choose another --out"
            )


def _document(
    title: str,
    sides: Sequence[Side],
    problems: int,
    index: Mapping[str, Any],
    pieces: _Pieces,
    stages: Sequence[StageReport],
) -> str:
    names = [
        element("p", element("b", mark), f" {side.name}", class_="reason") for mark, side in _named(sides)
    ]
    header = element(
        "header",
        element("p", "mathloop · problems", class_="eyebrow"),
        element("h1", title),
        names,
        element("p", f"{count(problems)} problems.", class_="reason"),
        element("noscript", element("p", "This page needs JavaScript.", class_="warning")),
    )
    sections: dict[str, Markup | None] = {
        "problems": _section("problems", "Problems", _PROBLEMS),
        "stages": stages_section(stages) if stages else None,
        "records": _section("records", "Kept and dropped", _RECORDS) if index["stages"] else None,
    }
    data = {"index": to_json(index), **pieces.inside}
    return page(title, header, sections, parts=("round", "browser"), data=data, loads=pieces.outside)


_PROBLEMS = (
    "A row per problem and mode. The verdict is that of the greedy answer or, where none was drawn, of the "
    "majority vote; beside it, right samples of all. Fixed: wrong in A and right in B. A search finds rows "
    "with every one of its words in the statement, id, gold answer or an answer."
)
_RECORDS = (
    "What the stages kept, and what they dropped with the reason. Of each reason and stage the first rows "
    "are here; the run's files have all."
)


def _section(name: str, heading: str, intro: str) -> Markup:
    """A section that the page's script fills."""
    return element(
        "section",
        element("h2", heading),
        element("p", intro, class_="caption"),
        element("div", class_="browser"),
        id=name,
    )


def _named(sides: Sequence[Side]) -> Iterator[tuple[str, Side]]:
    return zip("AB" if len(sides) > 1 else [""], sides, strict=True)
