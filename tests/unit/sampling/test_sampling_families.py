"""Every family of models that is named as tested is drawn from, and trained, as its own layers compute."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mathloop.errors import BadModel
from mathloop.models.logits import TESTED, check_logits
from mathloop.models.packing import Sample, pack
from mathloop.sampling.continuous import ContinuousDecoder
from mathloop.sampling.decoding import Decoded, decode_batch
from mathloop.sampling.draws import Draw
from mathloop.sampling.own_cache import STATEFUL, shares_caches
from mathloop.sampling.shared_steps import PlainStep
from mathloop.sampling.token_steps import has_plain_layers
from mathloop.serving.config import SolverConfig
from mathloop.serving.local import LocalEngine
from mathloop.training.logprobs import model_logprobs

VOCABULARY = 120
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
WIDE: dict[str, Any] = {"head_dim": 8}
WINDOW: dict[str, Any] = {"sliding_window": 8}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT: dict[str, Any] = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "num_key_value_heads": 4,
    "moe_intermediate_size": 32, "first_k_dense_replace": 1,
}  # fmt: skip
GRANITE: dict[str, Any] = {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "attention_multiplier": 0.1}
SETTINGS: dict[str, dict[str, Any]] = {
    "cohere2": WINDOW,
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "ernie4_5": WIDE,
    "exaone4": WINDOW,
    "falcon_h1": {"lm_head_multiplier": 0.25},
    "gemma": WIDE,
    "gemma2": WIDE | WINDOW | {"query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0},
    "gemma3_text": WIDE | WINDOW | {"query_pre_attn_scalar": 8},
    "glm": WIDE,
    "glm4": WIDE,
    "gpt_oss": WIDE | WINDOW | {"num_local_experts": 4},
    "granite": GRANITE,
    "granitemoe": GRANITE | {"num_local_experts": 4},
    "helium": WIDE,
    "hunyuan_v1_dense": WIDE,
    "lfm2": {"full_attn_idxs": [1, 3]},
    "nanochat": {"final_logit_softcapping": 2.0},
    "olmo3": WINDOW,
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 32},
    "qwen3": WIDE,
    "qwen3_moe": EXPERTS | WIDE,
    "seed_oss": WIDE,
    "vaultgemma": WIDE | WINDOW | {"query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0},
}
NONE = frozenset({VOCABULARY})


@cache
def make(family: str) -> Any:
    """Random weights, large enough that a wrong mask or scale is far from rounding."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(family, **(SIZES | SETTINGS.get(family, {})))
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model.eval()


def texts(*lengths: int, after: list[int] | None = None) -> list[list[int]]:
    numbers = torch.Generator().manual_seed(1)
    return [
        (after or []) + torch.randint(3, VOCABULARY, (length,), generator=numbers).tolist()
        for length in lengths
    ]


PROMPTS = {"apart": texts(5, 13, 9), "alike": texts(3, 7, after=texts(40)[0])}


@torch.inference_mode()
def own_logprobs(model: Any, prompt: list[int], tokens: list[int]) -> list[float]:
    logits = model(input_ids=torch.tensor([prompt + tokens]), use_cache=False).logits[0]
    logprobs = logits[len(prompt) - 1 : -1].float().log_softmax(-1)
    return logprobs.gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()  # type: ignore[no-any-return]


def check(model: Any, prompts: list[list[int]], drawn: list[list[Decoded]]) -> None:
    for prompt, sequences in zip(prompts, drawn, strict=True):
        for one in sequences:
            assert one.logprobs == pytest.approx(own_logprobs(model, prompt, one.tokens), abs=1e-4)


@pytest.mark.parametrize("family", sorted(TESTED))
def test_training_has_the_models_own_logprobs(family: str) -> None:
    model = make(family)
    samples = [
        Sample(prompt + answer, [0.0] * len(prompt) + [1.0] * len(answer), len(prompt))
        for prompt in texts(11, 17)
        for answer in texts(9, 14, 5)
    ]
    found = model_logprobs(model, pack(samples, share_prompts=True)).tolist()
    own = [
        each
        for one in samples
        for each in own_logprobs(model, one.tokens[: one.prompt], one.tokens[one.prompt :])
    ]
    assert found == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("family", sorted(TESTED))
def test_batches_are_drawn_from_the_models_own_distribution(family: str, prompts: list[list[int]]) -> None:
    drawn = decode_batch(
        make(family),
        prompts,
        samples=2,
        max_tokens=12,
        temperature=1.0,
        top_p=1.0,
        end_tokens=NONE,
        generator=torch.Generator().manual_seed(0),
    )
    check(make(family), prompts, [drawn[2 * at :][:2] for at in range(len(prompts))])


@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("family", sorted(TESTED - STATEFUL))
def test_questions_share_steps_with_the_models_own_distribution(
    family: str, prompts: list[list[int]]
) -> None:
    model, drawn = make(family), {}
    step = PlainStep(model, 8) if has_plain_layers(model) else None
    with ThreadPoolExecutor(1) as tools:
        decoder = ContinuousDecoder(model, NONE, tokens_at_once=65_536, tools=tools, step=step)
        for at, prompt in enumerate(prompts):
            given: dict[str, Any] = {"max_tokens": 12, "temperature": 1.0, "top_p": 1.0, "seed": at}
            done = lambda outcome, at=at: drawn.__setitem__(at, outcome)  # noqa: E731
            decoder.add(Draw(tuple(prompt), samples=2, done=done, **given))
            for _ in range(3):  # they join at different times
                decoder.step()
        while not decoder.idle:
            decoder.step()
    check(model, prompts, [drawn[at] for at in range(len(prompts))])


def test_layers_with_a_state_are_not_served_in_this_process(tokenizer: Any) -> None:
    model = make("qwen3_next")
    with pytest.raises(BadModel, match=r"'qwen3_next' keep a state.*--policy-url"):
        LocalEngine("x", (model, tokenizer), None, SolverConfig())


@pytest.mark.parametrize(
    ("family", "shares"),
    [("stablelm", True), ("falcon", False), ("mpt", False), ("bloom", False), ("olmo_hybrid", False)],
)
def test_a_family_without_a_test_is_tried(monkeypatch: pytest.MonkeyPatch, family: str, shares: bool) -> None:
    monkeypatch.setattr("mathloop.models.logits.TESTED", frozenset())
    monkeypatch.setattr("mathloop.sampling.own_cache.TESTED", frozenset())
    model = make(family)
    check_logits("folder", model)
    assert shares_caches(model) is shares
    test_batches_are_drawn_from_the_models_own_distribution(family, PROMPTS["apart"])


def test_what_neither_cache_decodes_is_refused() -> None:
    with pytest.raises(BadModel, match=r"model_type 'mamba' does not decode here.*vLLM"):
        shares_caches(make("mamba"))


def test_unknown_logits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mathloop.models.logits.TESTED", frozenset())
    monkeypatch.setattr("mathloop.models.logits.OVER", {})
    with pytest.raises(BadModel, match="folder: model_type 'granite' computes its logits in a way"):
        check_logits("folder", make("granite"))
