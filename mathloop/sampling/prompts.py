"""The rendered text around a problem: a chat turn with its mode's instruction, or few-shot text.

Chat: one user turn, or Qwen2.5-Math's own form with the instruction in the system turn, after solved examples
as earlier turns where they are set; TIR is zero-shot if the examples have no TIR solutions. Few-shot text is
for base models without a chat template (Paper §5): solved examples, then the problem, then an open answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from mathloop.errors import BadModel
from mathloop.records import Mode
from mathloop.sampling.config import PromptConfig, SamplingConfig
from mathloop.sampling.examples import load_examples

INSTRUCTIONS: dict[Mode, str] = {
    "cot": "Please reason step by step, and put your final answer within \\boxed{}.",
    "tir": (
        "Please integrate natural language reasoning with programs to solve the problem above, "
        "and put your final answer within \\boxed{}."
    ),
}
TOOL_MARK = "```output"
"""After this text a model waits for the interpreter's output."""
OWN_SETTING = "mathloop_instruction"
"""Field of a model's tokenizer_config.json, user or system: the turn of the instruction, in every stage."""
DEFAULT = PromptConfig()
UNINSTRUCTED = PromptConfig(instruction="none")
"""For texts that say themselves what is to be written."""
_PRIVATE = "".join(map(chr, range(0xE000, 0xE400)))
"""Characters of Unicode's private use area, of which no text has all."""


class Turn(NamedTuple):
    """An earlier turn of a conversation."""

    role: str
    """system, which comes first, user or assistant."""
    content: str


def render_prompt(
    tokenizer: Any, problem: str, mode: Mode, prompt: PromptConfig = DEFAULT, earlier: Sequence[Turn] = ()
) -> str:
    """Returns the text that a response follows. Of `earlier` turns, the user's are put as the problem is.

    Raises:
        BadConfig: there are not as many examples as shots, or none for this mode.
        BadModel: a chat prompt, and the tokenizer has no chat template, or one without a system turn, or one
            that leaves out an earlier turn; a text prompt with earlier turns.
    """
    if is_text(tokenizer, prompt):
        if earlier:
            raise BadModel("a text prompt has no earlier turns; send the problem alone")
        if prompt.style == "plain":
            return problem
        examples = load_examples(prompt.few_shot)
        shots = examples.shots(prompt.shots, mode)
        solved = [f"{examples.question} {text}\n{examples.answer} {solution}" for text, solution in shots]
        return "\n\n".join([*solved, f"{examples.question} {problem}\n{examples.answer}"])
    if not getattr(tokenizer, "chat_template", None):
        raise BadModel(
            "the tokenizer has no chat template: add chat_template.jinja to the model's folder, or give "
            "examples for a text prompt (prompt.few_shot and prompt.shots)"
        )
    place = _instruction_turn(tokenizer, prompt)
    in_system = place == "system"
    system = [turn.content for turn in earlier if turn.role == "system"]
    system += [INSTRUCTIONS[mode]] if in_system else []
    turns = [{"role": "system", "content": "\n".join(system)}] if system else []

    def ask(text: str) -> dict[str, str]:
        return {"role": "user", "content": f"{text}\n{INSTRUCTIONS[mode]}" if place == "user" else text}

    solved_turns = load_examples(prompt.few_shot) if prompt.chat_shots else None
    if solved_turns is not None and (mode == "cot" or solved_turns.has_tir):
        for text, solution in solved_turns.shots(prompt.chat_shots, mode):
            turns += [ask(text), {"role": "assistant", "content": solution}]
    for role, content in earlier:
        turns += [ask(content) if role == "user" else {"role": role, "content": content}] * (role != "system")
    turns.append(ask(problem))
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # a template is a program, and some refuse a system turn
        if not system and not earlier:
            raise
        reason = str(error).split("\n")[0]
        what = "a system turn" if system else "these turns"
        remedy = "set prompt.instruction to user" if in_system else "leave them out"
        raise BadModel(f"the chat template refuses {what} ({reason}); {remedy}") from error
    for turn in earlier:  # some templates leave out what they do not know
        if turn.content.strip() not in text:
            raise BadModel(f"the chat template leaves out the {turn.role}'s turn; leave it out")
    return text


def encode_prompt(
    tokenizer: Any,
    problem: str,
    mode: Mode,
    prompt: PromptConfig = DEFAULT,
    earlier: Sequence[Turn] = (),
    after: str = "",
) -> list[int]:
    """Tokens of the rendered prompt, and of the response `after` it.

    A special token that is spelled out in the problem or in an earlier turn is text there: it ends no turn.
    A text prompt begins as the tokenizer begins every text.
    """
    begins = is_text(tokenizer, prompt)
    texts = [problem, *(turn.content for turn in earlier)]
    special = _special(tokenizer)
    if special is None or not any(map(special.search, texts)):
        whole = render_prompt(tokenizer, problem, mode, prompt, earlier) + after
        tokens: list[int] = tokenizer(whole, add_special_tokens=begins)["input_ids"]
        return tokens
    # A mark after the first character of each: the tokenizer sees what is before and after it apart.
    mark = next(c for c in _PRIVATE if not any(c in text for text in (*texts, after)))
    marked = [special.sub(lambda found: found[1] + mark, text) for text in texts]
    turns = [Turn(turn.role, text) for turn, text in zip(earlier, marked[1:], strict=True)]
    first, *rest = (render_prompt(tokenizer, marked[0], mode, prompt, turns) + after).split(mark)
    tokens = list(tokenizer(first, add_special_tokens=begins)["input_ids"])
    for part in rest:
        tokens += tokenizer(part, add_special_tokens=False)["input_ids"]
    return tokens


@lru_cache(maxsize=8)
def _special(tokenizer: Any) -> re.Pattern[str] | None:
    """Matches the first character of every special token in a text, also of those that overlap."""
    special = [one.content for one in getattr(tokenizer, "added_tokens_decoder", {}).values() if one.special]
    longer = [re.escape(text) for text in special if len(text) > 1]
    return re.compile(rf"(?=(?:{'|'.join(longer)}))(.)", re.DOTALL) if longer else None


def stops_of(tokenizer: Any, config: SamplingConfig) -> tuple[str, ...]:
    """What ends a response: the set stop texts and, after few-shot text, a next question that is made up."""
    if not is_text(tokenizer, config.prompt) or config.prompt.style == "plain":
        return config.stop
    return (*config.stop, f"\n{load_examples(config.prompt.few_shot).question}")


def is_text(tokenizer: Any, prompt: PromptConfig) -> bool:
    """Whether the prompt is text without turns: few-shot, which `auto` takes where there are examples and no
    chat template, or plain."""
    if prompt.style == "auto":
        return bool(prompt.few_shot) and not getattr(tokenizer, "chat_template", None)
    return prompt.style in ("text", "plain")


def _instruction_turn(tokenizer: Any, prompt: PromptConfig) -> str:
    if prompt.instruction:
        return prompt.instruction
    own = getattr(tokenizer, "init_kwargs", {}).get(OWN_SETTING, "user")
    if own not in ("user", "system"):
        raise BadModel(f"tokenizer_config.json: {OWN_SETTING} is {own!r}; expected user or system")
    return str(own)
