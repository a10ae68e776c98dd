"""A writer with a cache: texts in the order of their prompts, whatever was written before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mathloop.records import Mode
from mathloop.writing.cache import Cache, key_of
from mathloop.writing.config import WritingConfig
from mathloop.writing.writers import Text, Writer, seed_of


class Drafts:
    """Asks the writer only for what the cache does not have."""

    def __init__(
        self, writer: Writer, cache: Cache, config: WritingConfig, seed: int, on_text: Callable[[Text], None]
    ) -> None:
        """`on_text` is called with every text, new or not."""
        self._writer, self._cache, self._config, self._seed = writer, cache, config, seed
        self._on_text = on_text
        self._parameters: dict[str, Any] = {"temperature": config.temperature, "seed": seed} | {
            name: value
            for name, value in config.sampling.model_dump(mode="json").items()
            if name in ("max_tokens", "top_p", "prompt", "stop", "dtype")
        }
        limits = config.sampling.model_dump(mode="json", include={"tool_calls", "tool_seconds", "tool_chars"})
        self._tools: dict[str, Any] = {"mode": "tir", **limits}
        self.written = 0
        """Texts that the cache did not have."""

    def texts(self, prompts: Sequence[str], samples: Sequence[int], mode: Mode = "cot") -> list[Text]:
        """One text per prompt; equal prompts have the same one, unless their numbers in `samples` differ.

        A refused prompt is not kept: another limit or another model may take it.
        """
        parameters = self._parameters if mode == "cot" else self._parameters | self._tools
        keys = [
            key_of(self._writer.digest, prompt, parameters, sample)
            for prompt, sample in zip(prompts, samples, strict=True)
        ]
        found = self._cache.find(keys)
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in found}
        asked = list(missing)
        seed = seed_of(asked, self._seed)
        prompts = list(missing.values())
        for batch in self._writer.write(prompts, self._config.temperature, seed, mode) if asked else ():
            new = {asked[number]: text for number, text in batch}
            self._cache.add((key, text) for key, text in new.items() if text.finish_reason != "refused")
            found |= new
            self.written += len(new)
        texts = [found[key] for key in keys]
        for text in texts:
            self._on_text(text)
        return texts
