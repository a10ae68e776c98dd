"""From texts to problems: parsed, checked, compared with their parents and with all that was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from mathloop.decontamination.minhash import NearCopies, least_estimate, resemblance, signatures
from mathloop.errors import BadConfig, BadData
from mathloop.problems.nano_grammar import is_reserved
from mathloop.records import Drops, Problem
from mathloop.validation import cut
from mathloop.writing.checks import wrong_with
from mathloop.writing.config import WritingConfig
from mathloop.writing.drafts import Drafts
from mathloop.writing.parsing import PARSERS
from mathloop.writing.planning import ReadProblems, Task, plan
from mathloop.writing.quantities import common_share, same_quantities
from mathloop.writing.templates import Template
from mathloop.writing.writers import Text

HOPELESS = 100
"""Texts after which one must have been usable: a writer of rubbish is not asked for a million more."""
_SHINGLE, _TOGETHER = 3, 4096
"""Tokens of the runs that near-copies have in common; statements that are read together."""
FEW = 10
"""Of fewer texts none may be usable: that is bad luck and no mistake."""


class Author:
    """Has a model write problems; counts what became of its texts."""

    def __init__(
        self, drafts: Drafts, config: WritingConfig, seed: int, read: ReadProblems, drops: Drops
    ) -> None:
        """`read` yields all problems that there are, each time anew."""
        self._drafts, self._config, self._seed, self._read, self._drops = drafts, config, seed, read, drops
        self._seen = NearCopies(config.similarity, _SHINGLE)
        self.parents = self.texts = 0
        self.kept: Counter[str] = Counter()
        """Operation → problems."""

    def written(self, templates: Sequence[Template]) -> Iterator[Problem]:
        """Yields the problems of each template, in order.

        Raises:
            BadConfig: a template takes none of the problems as a parent.
            BadData: the writer writes nothing usable.
        """
        parents = self._read()
        while statements := [problem.problem for problem in islice(parents, _TOGETHER)]:
            self._seen.add(statements)
            self.parents += len(statements)
        for template in templates:
            before = self.texts
            for shard in self._shards(template):
                yield from self._of_shard(template, shard)
                if self.texts >= HOPELESS:
                    self._check_hope(template)
            if self.texts == before:
                of = f", of {', '.join(template.families)}" if template.families else ""
                raise BadConfig(
                    f"template {template.name}: none of the {self.parents:,} problems can be a parent (in "
                    f"{' or '.join(sorted(template.prompts))}{of}, without choices); leave it out of "
                    "writing.templates"
                )
        if self.texts >= FEW:
            self._check_hope(templates[-1])

    def _shards(self, template: Template) -> Iterator[list[Task]]:
        tasks = plan(template, self._read, self._config.count, self._seed)
        while shard := list(islice(tasks, self._config.shard)):
            yield shard

    def _of_shard(self, template: Template, shard: Sequence[Task]) -> Iterator[Problem]:
        prompts = [template.prompt(task.language, task.parents) for task in shard]
        texts = self._drafts.texts(prompts, [task.sample for task in shard])
        self.texts += len(texts)
        candidates: list[tuple[Task, Problem]] = []
        for task, text in zip(shard, texts, strict=True):
            statement = PARSERS[template.parser](text.text) if text.finish_reason == "stop" else None
            problem = self._problem(template, task, statement or text.text)
            if reason := self._wrong_with(template, task, text, statement):
                self._drop(reason, template, task, problem, text.text)
            else:
                candidates.append((task, problem))
        if template.back:
            candidates = self._translated_back(template, candidates)
        candidates = self._unlike_parents(template, candidates)
        copies = self._seen.add([problem.problem for _, problem in candidates])
        for (task, problem), copied in zip(candidates, copies, strict=True):
            if copied is not None:
                self._drop("a near-copy of a problem that was seen", template, task, problem)
            else:
                self.kept[template.operation] += 1
                yield problem

    def _problem(self, template: Template, task: Task, statement: str) -> Problem:
        does = template.does
        of = f"{task.parents[0].id}-" if task.parents else ""
        new = Problem(
            id=f"{of}{template.name}-{self._seed}-{task.sample}",
            problem=statement,
            source="written",
            language=does.writes or task.language,
            operation=template.operation,
        )
        if not task.parents:
            return new
        parent = task.parents[0]
        answer = parent.answer if does.keeps_answer and self._config.keep_answers else None
        return replace(new, source=parent.source, family=parent.family, parent=parent.id, answer=answer)

    def _wrong_with(self, template: Template, task: Task, text: Text, statement: str | None) -> str:
        """Why the text is no usable problem; empty if it is one."""
        if text.finish_reason != "stop":
            return "truncated" if text.finish_reason == "length" else "the writer refused the prompt"
        if statement is None:
            return f"not in the form of parser {template.parser}"
        language = template.does.writes or task.language
        if reason := wrong_with(statement, language, self._config):
            return reason
        if reason := template.does.check(task.parents, statement):
            return reason
        return "reserved for the benchmark" if is_reserved(statement) else ""

    def _unlike_parents(
        self, template: Template, candidates: Sequence[tuple[Task, Problem]]
    ) -> list[tuple[Task, Problem]]:
        """Those that are no near-copy of a parent. Two languages have no tokens in common but numbers."""
        pairs = [(parent.problem, one.problem) for task, one in candidates for parent in task.parents]
        ours, theirs = (signatures([pair[side] for pair in pairs], _SHINGLE).values for side in (0, 1))
        alike = iter((resemblance(ours, theirs) >= least_estimate(self._config.similarity)).tolist())
        kept = []
        for task, problem in candidates:
            if sum(next(alike) for _ in task.parents):
                self._drop("a near-copy of its parent", template, task, problem)
            else:
                kept.append((task, problem))
        return kept

    def _translated_back(
        self, template: Template, candidates: Sequence[tuple[Task, Problem]]
    ) -> list[tuple[Task, Problem]]:
        """Those whose back-translation says what their parent says."""
        prompts = [template.back_prompt(problem.problem) for _, problem in candidates]
        texts = self._drafts.texts(prompts, [0] * len(prompts))
        kept = []
        for (task, problem), text in zip(candidates, texts, strict=True):
            statement = PARSERS[template.parser](text.text) if text.finish_reason == "stop" else None
            before = task.parents[0].problem
            if statement is None or not same_quantities(before, statement):
                self._drop("its back-translation has other numbers", template, task, problem, text.text)
            elif common_share(before, statement) < self._config.back_similarity:
                self._drop("its back-translation says something else", template, task, problem, text.text)
            else:
                kept.append((task, problem))
        return kept

    def _drop(
        self, reason: str, template: Template, task: Task, problem: Problem, text: str | None = None
    ) -> None:
        details = {} if text is None else {"text": text}
        parents = [parent.problem for parent in task.parents]
        named = f"{template.name} {template.version}"
        self._drops.add(reason, problem, template=named, parents=parents, **details)

    def _check_hope(self, template: Template) -> None:
        if self.kept:
            return
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in self._drops.counts.most_common(3))
        raise BadData(
            f"the writer wrote nothing usable: {self.texts:,} texts up to template {template.name}, of which "
            f"{cut(reasons)}; try another writer (writing.model, writing.endpoint) or other templates"
        )
