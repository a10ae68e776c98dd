"""The nano model's tokenizer: byte-level BPE with single digits, ChatML turns, as Qwen's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from mathloop.sampling.prompts import INSTRUCTIONS

END = "<|im_end|>"
_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Digits and Chinese characters one by one; fences, the box and a line's end may each be one token.
_PIECES = r"\d|[\u4e00-\u9fff]|\n?```[a-z]*| ?\\boxed\{| ?[A-Za-z]+|[.。]\n|\s| ?[^\s\w`\\]+|[^\s\w]"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Fits the BPE on `texts` and returns a transformers fast tokenizer.

    The two mode instructions are tokens of their own: prompts stay short for a model that is.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", END]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(INSTRUCTIONS),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    turns = ["user", "assistant"] * 100  # the template's own words
    bpe.train_from_iterator(itertools.chain(texts, turns), trainer)
    bpe.add_tokens([AddedToken(text, normalized=False) for text in INSTRUCTIONS.values()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = _TEMPLATE
    return tokenizer
