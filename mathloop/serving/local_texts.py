"""Questions as tokens, and tokens as responses: what a local model reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mathloop.errors import BadModel
from mathloop.models.packing import Sample
from mathloop.records import Problem, Response
from mathloop.sampling.decoding import Decoded, as_rollout
from mathloop.sampling.prompts import Turn, encode_prompt
from mathloop.sampling.scoring import dialogue_tokens, share_prefix
from mathloop.serving.messages import Message
from mathloop.serving.questions import Question
from mathloop.serving.refusals import Refused


class LocalTexts:
    """The texts of a policy and of its reward model, if there is one."""

    def __init__(self, model: Any, tokenizer: Any, scorer: Any | None) -> None:
        """`scorer` is the reward model's tokenizer."""
        self._tokenizer, self._scorer = tokenizer, scorer
        self._context = _context(model, tokenizer)

    def encode(self, question: Question) -> list[int]:
        """Tokens of the prompt. Raises Refused if the model takes no such messages."""
        try:
            return encode_prompt(
                self._tokenizer, question.problem, question.mode, earlier=_turns(question.earlier)
            )
        except BadModel as error:
            if not question.earlier:
                raise
            raise Refused(400, f"messages: {error}", param="messages", code="unsupported_value") from None

    def limit(self, question: Question, prompt: int) -> int:
        """Most tokens of a response after a prompt of so many. Raises Refused."""
        return question.fitting(prompt, self._context)

    def responses(
        self, question: Question, prompt: list[int], decoded: Sequence[Decoded], begin: int
    ) -> list[Response]:
        """What was decoded after the prompt, numbered from `begin` on."""
        problem = Problem("question", question.problem, language=question.language)
        numbered = enumerate(decoded, begin)
        return [
            as_rollout(
                self._tokenizer, problem, prompt, one, number, question.mode, question.temperature
            ).response
            for number, one in numbered
        ]

    def dialogues(self, question: Question, responses: Sequence[Response]) -> list[Sample]:
        """Of responses, as the reward model reads them, with a common prompt."""
        assert self._scorer is not None
        turns = _turns(question.earlier)
        rows = [
            dialogue_tokens(
                self._scorer, question.problem, question.mode, response.text, self._context, turns
            )
            for response in responses
        ]
        return share_prefix(rows)


def _turns(earlier: Sequence[Message]) -> list[Turn]:
    return [Turn(message.role, message.content) for message in earlier]


def _context(model: Any, tokenizer: Any) -> int:
    """Context length of the model, in tokens; a tokenizer without a bound has 10^30."""
    bound = getattr(model.config, "max_position_embeddings", None) or 4096
    return int(min(bound, getattr(tokenizer, "model_max_length", bound)))
