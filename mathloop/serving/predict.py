"""KServe's own protocols: V1 `:predict` and V2 `/infer`. Each of their instances is a question.

V1: `{"instances": ["What is 3 + 4?", {"problem": "…", "strategy": "maj"}]}`. V2: a BYTES tensor `problem` of
one dimension; `parameters` are the fields of a chat completion, for all of its problems.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from mathloop.lines import parse_object
from mathloop.serving.answer import Answer
from mathloop.serving.choosing import explain
from mathloop.serving.config import MODEL
from mathloop.serving.questions import Question
from mathloop.serving.refusals import Refused
from mathloop.serving.solver import Solver

MOST = 32
"""Problems of one request."""
PROBLEM = "problem"
CHAT_ONLY = ("messages", "stream", "stream_options", "n", "model", "logprobs", "top_logprobs")
"""Fields of a chat completion that an instance does not have."""

Read = Callable[[dict[str, Any]], Question]


def read_instances(body: bytes, read: Read) -> list[Question]:
    """The questions of a V1 request. Raises Refused."""
    instances = _object(body).get("instances")
    if not isinstance(instances, list) or not instances:
        raise Refused(422, "instances: expected a list of problems", param="instances")
    _check_count(instances)
    return [_question(f"instances[{at}]", one, {}, read) for at, one in enumerate(instances)]


def read_inputs(body: bytes, read: Read) -> tuple[list[Question], str | None]:
    """The questions of a V2 request, and its id. Raises Refused."""
    fields = _object(body)
    inputs, options, name = fields.get("inputs"), fields.get("parameters", {}), fields.get("id")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refused(422, f"inputs: expected one tensor, {PROBLEM}", param="inputs")
    tensor = inputs[0]
    data = tensor.get("data")
    if tensor.get("datatype") != "BYTES" or not isinstance(data, list):
        raise Refused(422, "inputs[0]: expected datatype BYTES, with the problems as data", param="inputs")
    if tensor.get("shape") not in ([len(data)], [len(data), 1]) or not data:
        raise Refused(
            422, f"inputs[0].shape: expected [{len(data)}], and one problem or more", param="inputs"
        )
    if not isinstance(options, dict):
        raise Refused(422, "parameters: expected an object", param="parameters")
    if not isinstance(name, str | None):
        raise Refused(422, "id: expected text", param="id")
    _check_count(data)
    options = {key: value for key, value in options.items() if key != "binary_data_output"}  # Triton's
    return [_question(f"inputs[0].data[{at}]", one, options, read) for at, one in enumerate(data)], name


async def answer_all(solver: Solver, questions: Sequence[Question]) -> list[Answer]:
    """The answers in order, one question after the other, within the deadline of one. Raises Refused.

    A full queue refuses the first question; a later one waits for a place, so that no answer is lost.
    """
    answers: list[Answer] = []
    try:
        async with asyncio.timeout(solver.config.deadline):
            while len(answers) < len(questions):
                try:
                    answers.append(await solver.ask(questions[len(answers)]))
                except Refused as refused:
                    if not answers or refused.status != 429 or refused.retry_after is None:
                        raise
                    await asyncio.sleep(refused.retry_after)
            return answers
    except TimeoutError:
        message = f"no answers within {solver.config.deadline:g} seconds; send fewer problems at once"
        raise Refused(504, message, code="deadline_exceeded") from None


def predictions(answers: Sequence[Answer]) -> dict[str, Any]:
    """The reply of V1."""
    return {"predictions": [_prediction(answer) for answer in answers]}


def outputs(answers: Sequence[Answer], name: str | None) -> dict[str, Any]:
    """The reply of V2: one tensor per field. A missing answer is an empty text."""
    rows = [_prediction(answer) for answer in answers]
    kinds = {"answer": "BYTES", "text": "BYTES", "votes": "INT64", "reason": "BYTES"}
    return {
        "model_name": MODEL,
        **({} if name is None else {"id": name}),
        "outputs": [
            {
                "name": field,
                "datatype": kind,
                "shape": [len(rows)],
                "data": ["" if row[field] is None else row[field] for row in rows],
            }
            for field, kind in kinds.items()
        ],
    }


def _prediction(answer: Answer) -> dict[str, Any]:
    return {
        "answer": answer.chosen.answer,
        "text": answer.chosen.best.text,
        "votes": answer.chosen.votes,
        "reason": explain(answer),
        "strategy": answer.strategy,
        "degraded": list(answer.degraded),
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except ValueError as error:
        raise Refused(400, f"the body is not a JSON object: {error}", code="invalid_json") from None


def _check_count(problems: Sequence[Any]) -> None:
    if len(problems) > MOST:
        raise Refused(422, f"expected at most {MOST} problems, found {len(problems)}", param="instances")


def _question(where: str, instance: Any, options: dict[str, Any], read: Read) -> Question:
    fields = {PROBLEM: instance} if isinstance(instance, str) else instance
    if not isinstance(fields, dict) or not isinstance(fields.get(PROBLEM), str):
        raise Refused(422, f"{where}: expected a problem, or an object with `{PROBLEM}`", param="instances")
    fields = {**options, **fields}
    if forbidden := next((key for key in CHAT_ONLY if key in fields), None):
        raise Refused(422, f"{where}: {forbidden} belongs to /v1/chat/completions", param=forbidden)
    problem = fields.pop(PROBLEM)
    try:
        return read({**fields, "messages": [{"role": "user", "content": problem}]})
    except Refused as refused:
        message = f"{where}: {refused.message}"
        raise Refused(refused.status, message, param=refused.param, code=refused.code) from None
