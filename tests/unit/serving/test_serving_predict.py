"""KServe's V1 and V2 protocols: the answers of the chat API, and refusals as KServe has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from mathloop.serving.config import SolverConfig
from mathloop.serving.guard import INFER, PREDICT
from mathloop.serving.predict import MOST, answer_all
from mathloop.serving.questions import Question
from mathloop.serving.queueing import Place
from mathloop.serving.refusals import Refused
from mathloop.serving.solver import Solver
from tests.unit.serving.standins import ScriptedEngine
from tests.unit.serving.test_serving_routes import Served, wait_until


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served(ScriptedEngine(["7", "8", "7", None], [1.0, 3.0, 2.0, 9.0]), SolverConfig(deadline=20))
    yield one
    one.close()


def tensor(*problems: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "problem", "datatype": "BYTES", "shape": [len(problems)], "data": problems, **fields}


def test_v1_predicts_texts_and_objects(served: Served) -> None:
    instances = ["3 + 4?", {"problem": "3 + 5?", "strategy": "rm", "samples": 4}]
    reply = served.client.post(PREDICT, json={"instances": instances})
    assert reply.status_code == 200, reply.text
    first, second = reply.json()["predictions"]
    assert (first["answer"], first["strategy"], first["text"]) == ("7", "weighted", "so \\boxed{7}")
    assert (second["answer"], second["votes"]) == ("8", 1)
    assert [(one.problem, one.samples) for one in served.engine.questions] == [("3 + 4?", 8), ("3 + 5?", 4)]


def test_v2_infers_with_parameters_and_id(served: Served) -> None:
    body = {
        "id": "a",
        "inputs": [tensor("3 + 4?", "3 + 5?")],
        "parameters": {"strategy": "maj", "samples": 4},
    }
    reply = served.client.post(INFER, json=body).json()
    assert (reply["model_name"], reply["id"]) == ("mathloop", "a")
    by_name = {one["name"]: one for one in reply["outputs"]}
    assert by_name["answer"] == {"name": "answer", "datatype": "BYTES", "shape": [2], "data": ["7", "7"]}
    assert by_name["votes"]["data"] == [2, 2]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (PREDICT, {}, 422, "instances: expected a list"),
        (PREDICT, {"instances": []}, 422, "instances: expected a list"),
        (PREDICT, {"instances": ["x"] * (MOST + 1)}, 422, f"at most {MOST}"),
        (PREDICT, {"instances": [3]}, 422, "instances[0]: expected a problem"),
        (PREDICT, {"instances": ["x", " "]}, 422, "instances[1]"),
        (PREDICT, {"instances": [{"problem": "x", "stream": True}]}, 422, "stream belongs to"),
        (PREDICT, {"instances": [{"problem": "x", "sample": 3}]}, 400, "did you mean samples"),
        (PREDICT, [], 400, "not a JSON object"),
        (INFER, {"inputs": []}, 422, "expected one tensor"),
        (INFER, {"inputs": [tensor("x", datatype="FP32")]}, 422, "BYTES"),
        (INFER, {"inputs": [tensor("x", shape=[2])]}, 422, "shape: expected [1]"),
        (INFER, {"inputs": [tensor("x")], "parameters": []}, 422, "parameters: expected"),
        (INFER, {"inputs": [tensor("x")], "id": 3}, 422, "id: expected"),
        (INFER, {"inputs": [tensor(["x"])]}, 422, "inputs[0].data[0]"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    served: Served, path: str, body: Any, status: int, said: str
) -> None:
    reply = served.client.post(path, json=body)
    assert reply.status_code == status
    assert said in reply.json()["error"]
    assert served.engine.drawn == 0


def test_an_engine_that_fails_is_no_answer(served: Served) -> None:
    served.engine.failure = Refused(503, "the policy is unavailable", code="model_unavailable", retry_after=5)
    reply = served.client.post(PREDICT, json={"instances": ["x"]})
    assert (reply.status_code, reply.json()) == (503, {"error": "the policy is unavailable"})
    assert reply.headers["retry-after"] == "5"


def test_a_client_that_hangs_up_ends_the_work(served: Served) -> None:
    served.hold()
    with pytest.raises(Exception, match="timed out"):
        served.client.post(INFER, json={"inputs": [tensor("x", "y")]}, timeout=0.3)
    wait_until(lambda: served.engine.stopped == 1)


@pytest.mark.parametrize("full_at", [0, 2])
def test_a_queue_that_is_full_in_between_costs_no_answer(full_at: int) -> None:
    async def run() -> list[str | None]:
        solver = Solver(ScriptedEngine(["7"]), SolverConfig(deadline=20))
        await solver.prepare()
        enter, tries = solver._queue.enter, count()

        def full_once(client: str, weight: float) -> Place:
            if next(tries) == full_at:
                raise Refused(429, "the queue is full", code="queue_full", retry_after=0)
            return enter(client, weight)

        solver._queue.enter = full_once  # type: ignore[method-assign]
        questions = [Question(f"{n} + 4?", "maj", 1, "cot", 1.0, 1.0, 7, 64) for n in range(3)]
        answers = await answer_all(solver, questions)
        assert [answer.question for answer in answers] == questions
        return [answer.chosen.answer for answer in answers]

    if full_at:
        assert asyncio.run(run()) == ["7", "7", "7"]
    else:
        with pytest.raises(Refused, match="the queue is full"):
            asyncio.run(run())
