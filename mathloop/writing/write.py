"""Stage: a model writes problems from others, by templates (Paper §3.1.1).

The texts are kept in a cache as they are written: killed anywhere and started again, the stage asks only for
those that are missing, and all that follows is a function of the texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mathloop.errors import BadConfig
from mathloop.records import Problem, open_drops, read_problems, write_problems
from mathloop.stages import Progress, StageReport, timed
from mathloop.writing.cache import Cache
from mathloop.writing.candidates import Author
from mathloop.writing.config import WritingConfig
from mathloop.writing.drafts import Drafts
from mathloop.writing.opening import open_writer
from mathloop.writing.possible import possible
from mathloop.writing.solving import balance, solved
from mathloop.writing.templates import load_template
from mathloop.writing.writers import Text

_SHOWN = 4
"""Problems of an operation in the report."""


@timed
def run(
    *,
    problems: Path,
    policy: Path | None,
    out: Path,
    config: WritingConfig,
    seed: int,
    work: Path,
    dropped: Path | None = None,
) -> StageReport:
    """Writes the problems that the model wrote and that passed all checks to `out`.

    Args:
        problems: the parents; what is written is a near-copy of none of them.
        policy: the champion; None where `config` names another writer.
        work: folder for the cache, if `config` names none, and for files of this stage.
        dropped: becomes JSON lines of all other problems, each with its parent's and why it was dropped.

    Raises:
        BadConfig: no template, one not valid, named twice, or that no problem can be a parent of.
        BadData: the writer wrote nothing usable.
        BadModel: the policy cannot be loaded.
        UserError: the endpoint refuses, or does not answer.
    """
    templates = [load_template(name) for name in config.templates]
    if not templates:
        raise BadConfig("writing.templates names no template, so there is nothing to write: name some")
    if twice := [name for name, number in Counter(one.name for one in templates).items() if number > 1]:
        raise BadConfig(
            f"writing.templates: {twice[0]} is named twice; raise writing.count instead, or rename one"
        )
    progress = Progress("writing", None, "texts")
    samples: list[dict[str, Any]] = []
    operations, levels = Counter[str](), Counter[int]()

    def count(text: Text) -> None:
        progress.update(tokens=text.tokens)

    def noted(written: Iterator[Problem]) -> Iterator[Problem]:
        for problem in written:
            name = str(problem.operation)
            levels[problem.difficulty] += 1
            operations[name] += 1
            if operations[name] <= _SHOWN:
                samples.append({"problem": problem.problem, "operation": name, "parent": problem.parent})
            yield problem

    cache = Cache(Path(config.cache).expanduser() if config.cache else work)
    with open_drops(dropped) as drops, cache, open_writer(config, policy) as writer:
        drafts = Drafts(writer, cache, config, seed, count)
        author = Author(drafts, config, seed, lambda: read_problems(problems), drops)
        written = author.written(templates)
        if config.programs:
            written = possible(written, drafts, config, drops)
        if config.votes:
            written = solved(written, drafts, config, drops)
        if config.keep:
            written = balance(written, work / "solved.parquet", config.keep, seed, drops)
        kept = write_problems(out, noted(written))
    return StageReport(
        "writing",
        inputs=author.parents,
        generated=author.texts,
        kept=kept,
        dropped=drops.counts,
        values={
            **progress.speed,
            "texts from the cache": float(progress.done - drafts.written),
            **{f"problems by {name}": float(number) for name, number in sorted(operations.items())},
            **{f"problems of difficulty {n}": float(count) for n, count in sorted(levels.items()) if n},
        },
        samples=samples,
    )
