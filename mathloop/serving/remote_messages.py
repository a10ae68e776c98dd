"""A question as the messages that a vLLM server renders, as `render_prompt` renders them here."""

from __future__ import annotations

import re

from mathloop.records import Mode
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.serving.questions import Question

_SPECIAL = re.compile(
    r"<[|\uff5c][^<>\s]{1,60}[|\uff5c]>|</?s>|<(?:bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>|\[/?INST\]"
)
"""Special tokens of the families of chat models (Qwen, Llama, DeepSeek, Gemma, Mistral)."""


def user_turn(problem: str, mode: Mode) -> dict[str, str]:
    """The message that `render_prompt` renders locally."""
    return {"role": "user", "content": f"{as_text(problem)}\n{INSTRUCTIONS[mode]}"}


def dialogue_of(question: Question) -> list[dict[str, str]]:
    """All messages of a question, as `render_prompt` renders them locally."""
    system = "\n".join(one.content for one in question.earlier if one.role == "system")
    turns = [{"role": "system", "content": as_text(system)}] if system else []
    for one in question.earlier:
        if one.role == "user":
            turns.append(user_turn(one.content, question.mode))
        elif one.role == "assistant":
            turns.append({"role": "assistant", "content": as_text(one.content)})
    return [*turns, user_turn(question.problem, question.mode)]


def as_text(text: str) -> str:
    """The text with a zero-width space in everything that looks like a special token.

    vLLM reads special tokens in messages as such: they would end a turn, and begin one of another role.
    """
    return _SPECIAL.sub(lambda found: f"{found[0][0]}\u200b{found[0][1:]}", text)
