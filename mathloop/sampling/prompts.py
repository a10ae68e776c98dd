"""The rendered text around a problem: one user turn with its mode's instruction (Qwen2.5-Math's own)."""

from __future__ import annotations

from typing import Any

from mathloop.records import Mode

INSTRUCTIONS: dict[Mode, str] = {
    "cot": "Please reason step by step, and put your final answer within \\boxed{}.",
    "tir": (
        "Please integrate natural language reasoning with programs to solve the problem above, "
        "and put your final answer within \\boxed{}."
    ),
}
TOOL_MARK = "```output"
"""After this text a model waits for the interpreter's output."""


def render_prompt(tokenizer: Any, problem: str, mode: Mode) -> str:
    """Returns the text that a response follows, by the tokenizer's own chat template."""
    turn = [{"role": "user", "content": f"{problem}\n{INSTRUCTIONS[mode]}"}]
    return str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))


def encode_prompt(tokenizer: Any, problem: str, mode: Mode) -> list[int]:
    """Tokens of the rendered prompt."""
    tokens: list[int] = tokenizer(render_prompt(tokenizer, problem, mode), add_special_tokens=False)[
        "input_ids"
    ]
    return tokens
