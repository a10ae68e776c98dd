"""The nano model's tokenizer: byte-level BPE with single digits, ChatML turns, like Qwen's."""

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
# Qwen2's own pre-tokenization, with single digits. transformers silently sets it for any tokenizer that it
# loads with a Qwen2 model: with another one, the loaded model would get tokens that it was not trained on.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Fits the BPE on `texts` and returns a transformers fast tokenizer.

    The two mode instructions are single tokens, which keeps prompts short for a small model.
    """
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    pieces = [
        pre_tokenizers.Split(Regex(_PIECES), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    # Chinese is learned character by character: in so small a corpus whole sentences would become tokens.
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[\u4e00-\u9fff]"), "isolated"), *pieces]
    )
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", END]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(INSTRUCTIONS),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    turns = ["user", "assistant"] * 100  # the words of the template
    bpe.train_from_iterator(itertools.chain(texts, turns), trainer)
    bpe.pre_tokenizer = pre_tokenizers.Sequence(pieces)
    bpe.add_tokens([AddedToken(text, normalized=False) for text in INSTRUCTIONS.values()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = _TEMPLATE
    return tokenizer
