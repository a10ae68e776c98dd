"""What `mathloop compare` and `browse` take: runs, champions, rounds of a store, evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation.comparing import Side
from mathloop.evaluation.response_layouts import samples_of
from mathloop.evaluation.response_rows import saved_rows
from mathloop.evaluation.roles import CHALLENGER, CHAMPIONS
from mathloop.evaluation.saved import is_complete, read_plan
from mathloop.records import Problem, Response, read_problems, read_responses
from mathloop.registry import Champion, Registry
from mathloop.reports import records
from mathloop.storage import Store, local_copy, open_store
from pipelines.local.folder import RUNS, read_json

ROLES = ("base", "sft", CHALLENGER, "champion")
EXPECTED = (
    "expected a run (its id or folder), the number of a champion in --store, a round of that store, or an "
    "evaluation (its folder, a file of responses, or s3://…)"
)
_ALSO = ("reason", "finish_reason", "tokens", "tool_calls", "temperature")
"""Columns of a saved response beside those that scores need."""
Rows = Callable[[], Iterable[tuple[Problem, Response]]]


@contextmanager
def open_sides(names: Sequence[str], store_url: str) -> Iterator[list[Side]]:
    """The sides with these names; copies of what is in a bucket are removed at the end.

    `RUN:ROLE` is that model's responses of a run; else they are the challenger's.

    Raises:
        BadConfig: a name is nothing of all this.
        BadData: the responses cannot be read, or are not there.
        StorageRefused: the store cannot be reached.
    """
    with ExitStack() as copies:
        yield [_side(name, store_url, copies) for name in names]


@contextmanager
def open_browsed(names: Sequence[str], store_url: str) -> Iterator[list[Side]]:
    """As `open_sides`; a run alone, of which no model is named, has its champion and its challenger."""
    run = find_run(names[0]) if len(names) == 1 else None
    if run is None:
        with open_sides(names, store_url) as sides:
            yield sides
    else:
        benchmark, results, settings = _evaluated(run)
        present = {response.model for response in read_responses(results)}
        before = next((role for role in CHAMPIONS if role in present), None)
        after = CHALLENGER if CHALLENGER in present or before is None else None
        yield [
            _role_side(f"run {run.resolve().name}, {role}", benchmark, results, [role], settings)
            for role in (before, after)
            if role
        ]


def find_run(name: str) -> Path | None:
    """The folder of a local run with this id or path; None if there is none."""
    return next((path for path in (RUNS / name, Path(name)) if (path / "run.json").is_file()), None)


def _side(text: str, store_url: str, copies: ExitStack) -> Side:
    name, _, role = text.rpartition(":")
    if role not in ROLES or not name:
        name, role = text, ""
    run = find_run(name)
    if run is not None:
        return _of_run(run, role or CHALLENGER)
    if name.isdecimal() and not Path(name).exists():
        return _of_champion(int(name), store_url, copies)
    if name.startswith("s3:/") or Path(name).exists():
        return _of_evaluation(name, role, copies)
    if "/" not in name:
        store = open_store(store_url)
        if name in records.round_ids(store):
            return _of_record(store, name, role or CHALLENGER, f"round {name}, {role or CHALLENGER}", copies)
    raise BadConfig(f"{text}: nothing of this name; {EXPECTED}")


def _of_run(run: Path, role: str) -> Side:
    benchmark, results, settings = _evaluated(run)
    return _role_side(f"run {run.resolve().name}, {role}", benchmark, results, [role], settings)


def _evaluated(run: Path) -> tuple[Path, Path, Mapping[str, Any]]:
    """A run's benchmark, responses and settings; raises BadData if it has no evaluation."""
    benchmark, results = run / "stages" / "problems" / "benchmark", run / "stages" / "evaluation" / "results"
    for path in (benchmark, results):
        if not path.exists():
            raise BadData("the run has no evaluation to compare; finish it with --resume", path=path)
    return benchmark, results, (read_json(run / "run.json") or {}).get("profile") or {}


def _of_champion(number: int, store_url: str, copies: ExitStack) -> Side:
    store = open_store(store_url)
    history = Registry(store).history()
    champion = next((one for one in history if one.number == number), None)
    if champion is None:
        there = f"champions 0 to {len(history) - 1}" if history else "no champions"
        raise BadConfig(f"{number}: {store.url} has {there}; choose one of them, or another --store")
    name = f"champion {number} of {store.url}"
    # A rollback's entry names the policy of an older one.
    made_by = next((one for one in history if one.policy == champion.policy), champion)
    if made_by.round_id in records.round_ids(store):
        return _of_record(store, made_by.round_id, CHALLENGER, name, copies)
    if (RUNS / made_by.round_id / "stages" / "evaluation" / "results").exists():
        return replace(_of_run(RUNS / made_by.round_id, CHALLENGER), name=name)
    if side := _as_parent(store, made_by, history, name, copies):
        return side
    raise BadData(
        f"the store has no responses of champion {number}: its round was made by an older version, or none "
        "started from it yet; evaluate both models with mathloop evaluate, and compare these"
    )


def _as_parent(
    store: Store, champion: Champion, history: Sequence[Champion], name: str, copies: ExitStack
) -> Side | None:
    """The champion as a later round measured it, which started from it: how a first model is known."""
    same = {one.number for one in history if one.policy == champion.policy}
    for record in records.read_records(store, damaged={}):
        if record.parent in same:
            return _of_record(store, record.round_id, CHAMPIONS, name, copies)
    return None


def _of_record(store: Store, round_id: str, role: str | Sequence[str], name: str, copies: ExitStack) -> Side:
    record, folder = copies.enter_context(records.fetched(store, round_id))
    roles = [role] if isinstance(role, str) else role
    return _role_side(name, folder / records.PROBLEMS, folder / records.OUTCOMES, roles, record.settings)


def _role_side(
    name: str, benchmark: Path, results: Path, roles: Sequence[str], settings: Mapping[str, Any]
) -> Side:
    """The side of the first of these roles that has responses."""
    problems = {problem.id: problem for problem in read_problems(benchmark)}
    present = {response.model for response in read_responses(results)}
    role = next((role for role in roles if role in present), None)
    if role is None:
        raise BadData(
            f"{name}: no responses of {' or '.join(roles)}; it has {', '.join(sorted(present)) or 'none'}"
        )

    def rows() -> Iterator[tuple[Problem, Response]]:
        for response in read_responses(results):
            if response.model == role:
                yield problems[response.problem_id], response

    return Side(name, rows, records.compared_settings(settings))


def _of_evaluation(name: str, role: str, copies: ExitStack) -> Side:
    place = copies.enter_context(local_copy(name))
    plan = read_plan(place) if place.is_dir() else None

    def rows() -> Iterator[tuple[Problem, Response]]:
        for one in saved_rows(place, also=_ALSO):
            problem = replace(one.asked.problem, problem=str(one.row.get("problem") or ""))
            details = {name: one.row[name] for name in _ALSO if one.row.get(name) is not None}
            for response, text in zip(one.responses, samples_of(one.row.get("text")), strict=True):
                label = response.model.partition("\0")[0]
                if not role or label == role:
                    yield problem, replace(response, text=str(text or ""), **details)

    def prompts() -> Iterator[tuple[str, str, str]]:
        for one in saved_rows(place, also=("prompt",)):
            if prompt := one.row.get("prompt"):
                for response in one.responses[:1]:
                    if not role or response.model.partition("\0")[0] == role:
                        yield one.asked.problem.id, response.mode, str(prompt)

    labels = {response.model.partition("\0")[0] for _, response in rows()}
    if len(labels) != 1:
        found = ", ".join(sorted(labels)) or "none"
        raise BadData(f"{name}: expected the responses of one model, found {found}: NAME:ROLE chooses one")
    (label,) = labels
    complete = not place.is_dir() or is_complete(place)
    return Side(f"evaluation {name}, {label}", rows, plan or {}, True, complete, prompts)
