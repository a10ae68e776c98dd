"""The rendered text around a problem: a chat turn with its mode's instruction, or few-shot text.

Chat: one user turn, or Qwen2.5-Math's own form with the instruction in the system turn, after solved examples
as earlier turns where they are set; TIR is zero-shot if the examples have no TIR solutions. Few-shot text is
for base models without a chat template (Paper §5): solved examples, then the problem, then an open answer.
"""

from __future__ import annotations

from typing import Any

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


def render_prompt(tokenizer: Any, problem: str, mode: Mode, prompt: PromptConfig = DEFAULT) -> str:
    """Returns the text that a response follows.

    Raises:
        BadConfig: there are not as many examples as shots, or none for this mode.
        BadModel: a chat prompt, and the tokenizer has no chat template, or one without a system turn.
    """
    if is_text(tokenizer, prompt):
        examples = load_examples(prompt.few_shot)
        shots = examples.shots(prompt.shots, mode)
        solved = [f"{examples.question} {text}\n{examples.answer} {solution}" for text, solution in shots]
        return "\n\n".join([*solved, f"{examples.question} {problem}\n{examples.answer}"])
    if not getattr(tokenizer, "chat_template", None):
        raise BadModel(
            "the tokenizer has no chat template: add chat_template.jinja to the model's folder, or give "
            "examples for a text prompt (prompt.few_shot and prompt.shots)"
        )
    in_system = _instruction_turn(tokenizer, prompt) == "system"
    turns = [{"role": "system", "content": INSTRUCTIONS[mode]}] if in_system else []

    def ask(text: str) -> dict[str, str]:
        return {"role": "user", "content": text if in_system else f"{text}\n{INSTRUCTIONS[mode]}"}

    solved_turns = load_examples(prompt.few_shot) if prompt.chat_shots else None
    if solved_turns is not None and (mode == "cot" or solved_turns.has_tir):
        for text, solution in solved_turns.shots(prompt.chat_shots, mode):
            turns += [ask(text), {"role": "assistant", "content": solution}]
    turns.append(ask(problem))
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # a template is a program, and some refuse a system turn
        if not in_system:
            raise
        reason = str(error).split("\n")[0]
        message = f"the chat template refuses a system turn ({reason}); set prompt.instruction to user"
        raise BadModel(message) from error


def encode_prompt(tokenizer: Any, problem: str, mode: Mode, prompt: PromptConfig = DEFAULT) -> list[int]:
    """Tokens of the rendered prompt. A text prompt begins as the tokenizer begins every text."""
    text = render_prompt(tokenizer, problem, mode, prompt)
    tokens: list[int] = tokenizer(text, add_special_tokens=is_text(tokenizer, prompt))["input_ids"]
    return tokens


def stops_of(tokenizer: Any, config: SamplingConfig) -> tuple[str, ...]:
    """What ends a response: the set stop texts and, after few-shot text, a next question that is made up."""
    if not is_text(tokenizer, config.prompt):
        return config.stop
    return (*config.stop, f"\n{load_examples(config.prompt.few_shot).question}")


def is_text(tokenizer: Any, prompt: PromptConfig) -> bool:
    """Whether the prompt is few-shot text; `auto` takes it where there are examples and no chat template."""
    if prompt.style == "auto":
        return bool(prompt.few_shot) and not getattr(tokenizer, "chat_template", None)
    return prompt.style == "text"


def _instruction_turn(tokenizer: Any, prompt: PromptConfig) -> str:
    if prompt.instruction:
        return prompt.instruction
    own = getattr(tokenizer, "init_kwargs", {}).get(OWN_SETTING, "user")
    if own not in ("user", "system"):
        raise BadModel(f"tokenizer_config.json: {OWN_SETTING} is {own!r}; expected user or system")
    return str(own)
