"""A policy to train in a test: one token a character, so that a text has one reading as tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ANSWERS = tuple(f"\\boxed{{{digit}}}" for digit in range(5))


@pytest.fixture(autouse=True)
def _bfloat16_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains in bfloat16 on any CPU, also where it is only emulated: these models are tiny."""
    monkeypatch.setattr("mathloop.models.dtypes.fast_bfloat16", lambda device: True)


@pytest.fixture(scope="session")
def letters() -> Any:
    """A tokenizer of printable ASCII; the instructions and ANSWERS are one token each."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from mathloop.sampling.prompts import INSTRUCTIONS

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    characters = [*map(chr, range(33, 127)), "Ġ", "Ċ"]  # byte-level BPE's space and newline
    bpe = Tokenizer(models.BPE({token: i for i, token in enumerate([*special, *characters])}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(special)
    bpe.add_tokens([AddedToken(text, normalized=False) for text in (*INSTRUCTIONS.values(), *ANSWERS)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=special[2], pad_token=special[0])
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'][0] + ':' + message['content'] }}{% endfor %}\na:"
    )
    return tokenizer


@pytest.fixture(scope="session")
def save_policy(letters: Any) -> Callable[..., Path]:
    """Saves a Qwen2 of two layers, random weights, with the tokenizer `letters`."""

    def save(folder: Path, seed: int = 0, spread: float = 0.1, hidden: int = 32, **given: Any) -> Path:
        import torch
        from transformers import Qwen2Config, Qwen2ForCausalLM

        torch.manual_seed(seed)
        net = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=len(letters),
                hidden_size=hidden,
                intermediate_size=2 * hidden,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                initializer_range=spread,
                eos_token_id=letters.eos_token_id,
                pad_token_id=letters.pad_token_id,
                bos_token_id=None,
                **given,
            )
        )
        net.save_pretrained(folder)
        letters.save_pretrained(folder)
        return folder

    return save


def code(digit: int) -> str:
    return f"```python\nprint({digit})\n```\n```output\n{digit}\n```\n\\boxed{{{digit}}}"


@pytest.fixture(scope="session")
def trained(save_policy: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with eight problems, whose answers are a digit below five, and what was trained on them.

    `policy` answers one of ANSWERS at random, in TIR after a program that prints it. The reward model
    `opinion` scores every text otherwise, `silent` all alike.
    """
    import torch

    from mathloop.models.loading import new_reward_model
    from mathloop.records import Problem, Response, write_problems, write_responses
    from mathloop.training import sft
    from mathloop.training.config import OptimizerConfig, SFTConfig

    folder = tmp_path_factory.mktemp("trained")
    problems = [Problem(str(i), 6 * str(i) + "?", answer=str(i % 5)) for i in range(8)]
    save_policy(folder / "raw", hidden=64)
    write_problems(folder / "problems.jsonl", problems)
    prose = [Response(p.id, d, "cot", ANSWERS[d]) for p in problems for d in range(5)]
    programs = [Response(p.id, d, "tir", code(d)) for p in problems for d in (0, int(p.id) % 5)]
    write_responses(folder / "responses.jsonl", prose + programs)
    sft.run(
        problems=folder / "problems.jsonl",
        responses=[folder / "responses.jsonl"],
        policy=folder / "raw",
        model=folder / "policy",
        work=folder / "work",
        config=SFTConfig(epochs=60, batch_size=56, optimizer=OptimizerConfig(learning_rate=3e-3)),
        seed=0,
    )
    reward, tokenizer = new_reward_model(folder / "policy")
    with torch.no_grad():
        reward.head[-1].weight *= 20  # opinions that differ
    reward.save(folder / "opinion", tokenizer)
    torch.nn.init.zeros_(reward.head[-1].weight)
    torch.nn.init.zeros_(reward.head[-1].bias)
    reward.save(folder / "silent", tokenizer)
    return folder
