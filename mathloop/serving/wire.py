"""OpenAI's objects and server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mathloop.records import Response
from mathloop.serving.answer import Answer
from mathloop.serving.choosing import explain
from mathloop.serving.config import MODEL
from mathloop.serving.progress import TEXT
from mathloop.serving.questions import default_strategy, strategies
from mathloop.serving.refusals import Refused
from mathloop.serving.solver import Solver
from mathloop.serving.token_logprobs import to_openai
from mathloop.voting import STRATEGIES, Group

FINISH = {"stop": "stop", "length": "length", "tool_limit": "length"}
DONE = b"data: [DONE]\n\n"
PING = b": working\n\n"
"""A comment, which clients ignore: it keeps gateways from closing a silent connection."""


def models_list(solver: Solver, created: int) -> dict[str, Any]:
    """The reply to GET /v1/models."""
    return {"object": "list", "data": [model_object(solver, created)]}


def model_object(solver: Solver, created: int) -> dict[str, Any]:
    """The one model with its abilities."""
    engine = solver.engine
    abilities = {
        "answers_with": engine.name,
        "strategies": strategies(engine.has_reward_model),
        "default_strategy": solver.config.strategy or default_strategy(engine.has_reward_model),
        "temperature": solver.config.temperature,
        "samples": solver.config.samples,
        "summaries": {name: STRATEGIES[name].summary for name in strategies(engine.has_reward_model)},
        "modes": list(engine.modes),
        "adaptive": solver.config.adaptive,
        "most_samples": solver.config.most_samples,
    }
    return {"id": MODEL, "object": "model", "created": created, "owned_by": "mathloop", "mathloop": abilities}


def completion(answer: Answer, model_name: str, reply_id: str, created: int) -> dict[str, Any]:
    """The reply to a chat completion: OpenAI's fields and `mathloop`."""
    return {
        "id": reply_id,
        "object": "chat.completion",
        "created": created,
        "model": MODEL,
        "choices": [_choice(index, response, answer) for index, response in enumerate(answer.responses)],
        "usage": usage(answer),
        "mathloop": extension(answer, model_name),
    }


def _choice(index: int, response: Response, answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": response.text, "refusal": None}
    finish = FINISH[response.finish_reason]
    logprobs = _logprobs(response, answer)
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}


def _logprobs(response: Response, answer: Answer) -> dict[str, Any] | None:
    logprobs = answer.generation.logprobs
    if logprobs is None:
        return None
    drawn = answer.generation.responses
    return to_openai(logprobs[next(at for at, one in enumerate(drawn) if one is response)])


def usage(answer: Answer) -> dict[str, int]:
    """Token counts: the prompt counts once, all responses count."""
    prompt, sampled = answer.generation.prompt_tokens, answer.generation.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled}


def extension(answer: Answer, model_name: str) -> dict[str, Any]:
    """The field `mathloop`, for values that OpenAI's API does not have."""
    question = answer.question
    return {
        "answer": answer.chosen.answer,
        "reason": explain(answer),
        "strategy": answer.strategy,
        "degraded": list(answer.degraded),
        "samples": question.samples,
        "drawn": len(answer.generation.responses),
        "mode": question.mode,
        "temperature": question.temperature,
        "seed": answer.generation.seed,
        "answers_with": model_name,
        "ignored": list(question.ignored),
        "candidates": [_candidate(candidate, answer) for candidate in answer.candidates],
        "seconds": {name: round(value, 3) for name, value in answer.seconds.items()},
    }


def _candidate(candidate: Group[Response], answer: Answer) -> dict[str, Any]:
    best = candidate.best
    numbers = {id(response): number for number, response in enumerate(answer.generation.responses)}
    own = sorted(numbers[id(response)] for response in candidate.responses)
    return {
        "answer": candidate.answer,
        "votes": candidate.votes,
        "weighted_votes": candidate.weight if candidate.rewards else None,
        "reward": best.reward,
        "samples": len(candidate.responses),
        "best": numbers[id(best)],
        "responses": own,
        "finish_reason": best.finish_reason,
        "text": best.text,
    }


class Stream:
    """The chunks of one streamed reply, in order: opening, content, closing, optional usage, DONE."""

    def __init__(self, reply_id: str, created: int) -> None:
        self._sent = ""
        """Pieces of the response that were sent while it was written."""
        self._frame = {"id": reply_id, "object": "chat.completion.chunk", "created": created, "model": MODEL}

    def opening(self, choices: int) -> Iterator[bytes]:
        """The role of each choice, sent before there is content."""
        for index in range(choices):
            yield self._chunk(index, {"role": "assistant", "content": ""}, None)

    def event(self, event: dict[str, Any]) -> bytes:
        """A piece of the one response, or progress, in a chunk that adds nothing to the content."""
        if event["stage"] == TEXT:
            self._sent += event["text"]
            return self._chunk(0, {"content": event["text"]}, None)
        return self._chunk(0, {}, None, mathloop={"progress": event})

    def answered(self, answer: Answer, model_name: str) -> Iterator[bytes]:
        """All other chunks; the closing one of the first choice has the field `mathloop`."""
        if not answer.responses[0].text.startswith(self._sent):
            # It began again for want of memory, and rounding decided otherwise.
            message = "the response was drawn anew; ask again"
            yield from self.refused(Refused(500, message, code="internal_error"))
            return
        for index, response in enumerate(answer.responses):
            for line in response.text[0 if index else len(self._sent) :].splitlines(keepends=True):
                yield self._chunk(index, {"content": line}, None)
            more = {} if index else {"mathloop": extension(answer, model_name)}
            logprobs = _logprobs(response, answer)
            yield self._chunk(index, {}, FINISH[response.finish_reason], logprobs, **more)
        if answer.question.stream_usage:
            yield event({**self._frame, "choices": [], "usage": usage(answer)})
        yield DONE

    def refused(self, refused: Refused) -> Iterator[bytes]:
        """The end of a stream whose question was refused."""
        yield event(refused.body())
        yield DONE

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        finish: str | None,
        logprobs: dict[str, Any] | None = None,
        **more: Any,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event({**self._frame, "choices": [choice], **more})


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {encode(value)}\n\n".encode()


def encode(value: Any) -> str:
    """JSON with unescaped text; lone surrogates are escaped, so that it is always valid UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
