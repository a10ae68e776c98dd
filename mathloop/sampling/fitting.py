"""Which problems a policy can read, by its tokenizer alone: no weights are loaded."""

from __future__ import annotations

from pathlib import Path

from mathloop.models.folders import check_folder
from mathloop.models.loading import one_line
from mathloop.models.tokenizers import load_tokenizer
from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.prompts import encode_prompt
from mathloop.sampling.sampler import leaves_room


class Fitting:
    """The tokenizer of the policy in a folder. Raises BadModel where it is none."""

    def __init__(self, folder: Path, config: SamplingConfig, context: int | None) -> None:
        """`context`: tokens that the engine can read; None if it has no limit."""
        self._context = context
        with one_line(folder):
            check_folder(folder, "policy")
            self._tokenizer = load_tokenizer(folder, chat=config.prompt.by_chat)

    def fits(self, problem: Problem, mode: Mode, config: SamplingConfig) -> bool:
        """Whether the problem's prompt leaves room for a response in the model's context."""
        prompt = encode_prompt(self._tokenizer, problem.problem, mode, config.prompt)
        return leaves_room(len(prompt), config.max_tokens, self._context)
