"""Packed rows against each sample alone: same states, same gradients, for every family and in every mode."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from mathloop.models import attention, cpu_attention
from mathloop.models.attention import FAMILIES, hidden_states, supports_packing
from mathloop.models.linear import speed_up
from mathloop.models.packing import Sample, pack

VOCABULARY = 40
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def make_model(family: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **(SIZES | settings)))
    return model.train()


def make_samples(seed: int = 0, groups: Sequence[int] = (4, 1, 3)) -> list[Sample]:
    """Groups that share a prompt, of uneven lengths, in mixed order."""
    chance = random.Random(seed)

    def draw(least: int, most: int) -> list[int]:
        return [chance.randrange(VOCABULARY) for _ in range(chance.randint(least, most))]

    samples = []
    for size in groups:
        prompt = draw(1, 20)
        responses = [draw(1, 40) for _ in range(size)]
        samples += [Sample(prompt + r, [0.0] * len(prompt) + [1.0] * len(r), len(prompt)) for r in responses]
    chance.shuffle(samples)
    return samples


def states_alone(model: Any, samples: Sequence[Sample]) -> Tensor:
    """[tokens of all samples, hidden], sample by sample, none of them beside another."""
    rows = [torch.tensor([sample.tokens]) for sample in samples]
    return torch.cat([model.base_model(input_ids=row, use_cache=False)[0][0] for row in rows])


def states_packed(model: Any, samples: Sequence[Sample], share: bool) -> Tensor:
    """The same from a pack."""
    packed = pack(samples, share_prompts=share)
    where = [at for spans in packed.layout.spans for span in spans for at in range(*span)]
    return hidden_states(model, packed)[where]


def gradients(model: Any, states: Tensor) -> dict[str, Tensor]:
    """Gradients of a fixed, arbitrary function of the states."""
    model.zero_grad()
    chance = torch.Generator().manual_seed(1)
    (states * torch.randn(states.shape, generator=chance)).sum().backward()
    return {name: p.grad.clone() for name, p in model.base_model.named_parameters() if p.grad is not None}


def assert_alike(ours: dict[str, Tensor], theirs: dict[str, Tensor], error: float) -> None:
    """Each gradient within `error` of the largest of them: some are zero but for rounding."""
    assert ours.keys() == theirs.keys()
    most = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in ours.items():
        assert float((gradient - theirs[name]).abs().max()) < error * most, name


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("fast", [False, True], ids=["plain layers", "fast layers"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_packed_and_unpacked_give_the_same_gradients(family: str, share: bool, fast: bool) -> None:
    model, samples = make_model(family), make_samples()
    assert supports_packing(model, pack(samples))
    alone = states_alone(model, samples)
    theirs = gradients(model, alone)
    if fast:
        speed_up(model)
    packed = states_packed(model, samples, share)
    assert torch.allclose(packed, alone, atol=1e-5)
    ours = gradients(model, packed)
    assert len(theirs) == len(list(model.base_model.parameters()))
    assert_alike(ours, theirs, 2e-6)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("mistral", {"sliding_window": 8}),  # shorter than most samples
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "resid_pdrop": 0.0}),
        ("bloom", {"n_layer": 2, "n_head": 4}),  # positions are biases of attention
        ("gemma2", {"sliding_window": 8, "head_dim": 8, "query_pre_attn_scalar": 8}),
    ],
)
def test_other_models_run_padded_with_the_same_gradients(
    family: str, settings: dict[str, Any], share: bool
) -> None:
    model, samples = make_model(family, **settings).eval(), make_samples()
    assert not supports_packing(model, pack(samples))
    alone, packed = states_alone(model, samples), states_packed(model, samples, share)
    assert torch.allclose(packed, alone, atol=1e-5)
    assert_alike(gradients(model, packed), gradients(model, alone), 2e-6)


def test_a_window_wider_than_all_samples_does_not_matter() -> None:
    model, samples = make_model("mistral", sliding_window=64), make_samples()
    assert supports_packing(model, pack(samples))
    assert torch.allclose(states_packed(model, samples, True), states_alone(model, samples), atol=1e-5)


def test_attention_with_dropout_is_left_to_transformers() -> None:
    assert not supports_packing(make_model("qwen2", attention_dropout=0.1), pack(make_samples()))


@pytest.mark.parametrize("share", [False, True])
def test_no_token_sees_another_sample(share: bool) -> None:
    model, samples = make_model("qwen2"), make_samples()
    changed = [*samples]
    changed[2] = Sample([(t + 1) % VOCABULARY for t in samples[2].tokens], samples[2].weights, 0)
    edges = [sum(len(s.tokens) for s in samples[:i]) for i in (2, 3)]
    before, after = (states_packed(model, some, share) for some in (samples, changed))
    same = (before - after).abs().amax(1) < 1e-5
    assert bool(same[: edges[0]].all())
    assert bool(same[edges[1] :].all())
    assert not bool(same[edges[0] : edges[1]].any())


def test_layers_run_on_real_tokens_alone() -> None:
    model, samples = make_model("qwen2"), make_samples()
    seen = []
    model.model.layers[1].mlp.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[:-1]))
    for share in (False, True):
        states_packed(model, samples, share)
    whole = sum(len(s.tokens) for s in samples)
    prompts = {tuple(s.tokens[: s.prompt]): s.prompt for s in samples}
    once = whole - sum(s.prompt for s in samples) + sum(prompts.values())
    assert [shape.numel() for shape in seen] == [whole, once]


def test_activation_checkpointing_changes_nothing() -> None:
    model, samples = make_model("qwen2"), make_samples()
    plain = gradients(model, states_packed(model, samples, True))
    model.gradient_checkpointing_enable()
    again = gradients(model, states_packed(model, samples, True))
    assert_alike(again, plain, 1e-7)


def test_autocast_is_as_near_to_float32_as_without_packing() -> None:
    model, samples = make_model("qwen2"), make_samples()
    exact = states_alone(model, samples)
    wanted = gradients(model, exact)
    with torch.autocast("cpu", torch.bfloat16):
        alone, packed = states_alone(model, samples), states_packed(model, samples, True)
    assert (packed - exact).norm().item() < 1.2 * (alone - exact).norm().item()
    assert_alike(gradients(model, packed), wanted, 0.02)


def test_a_model_that_ran_packed_runs_and_saves_as_before(tmp_path: Path) -> None:
    model, samples = make_model("qwen2").eval(), make_samples()
    tokens = torch.randint(0, VOCABULARY, (3, 9))
    mask = torch.tensor([[1] * 9, [0] * 4 + [1] * 5, [0] * 7 + [1] * 2])  # as a sampler pads
    with torch.no_grad():
        before = model(input_ids=tokens, attention_mask=mask).logits
        states_packed(model, samples, True)
        after = model(input_ids=tokens, attention_mask=mask).logits
        grown = model.generate(input_ids=tokens, attention_mask=mask, max_new_tokens=3, do_sample=False)
    assert torch.equal(before[mask.bool()], after[mask.bool()])
    assert torch.equal(grown[:, 9], before[:, -1].argmax(-1))
    model.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text(encoding="utf-8")


def draw(samples: Sequence[Sample], key_heads: int, dtype: torch.dtype) -> tuple[Any, list[Tensor]]:
    """A layout with shared prompts, and queries, keys and values for it."""
    packed = pack(samples, share_prompts=True)
    chance = torch.Generator().manual_seed(2)
    shapes = [(len(packed.tokens), heads, 8) for heads in (4, key_heads, key_heads)]
    return packed, [torch.randn(s, generator=chance, dtype=dtype) for s in shapes]


def attend_slowly(packed: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention sample by sample: shared prompts are written as often as they are used."""
    out = torch.zeros_like(query)
    for spans in packed.layout.spans:
        where = torch.tensor([at for span in spans for at in range(*span)], device=query.device)
        q, k, v = (x[where].transpose(0, 1) for x in (query, key, value))
        k, v = (x.repeat_interleave(len(q) // len(k), 0) for x in (k, v))
        seen = torch.ones(len(where), len(where), dtype=torch.bool, device=query.device).tril()
        scores = (q @ k.mT * 8**-0.5).masked_fill(~seen, -torch.inf)
        # What users of a prompt have in common counts once.
        fresh = query.new_ones(len(where), 1, 1)
        if len(spans) > 1:
            fresh[: spans[0][1] - spans[0][0]] /= sum(s[0] == spans[0] for s in packed.layout.spans)
        out = out.index_add(0, where, (scores.softmax(-1) @ v).transpose(0, 1) * fresh)
    return out


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("heads", [0, 1 << 20], ids=["in buckets", "alone"])
def test_attention_is_exact(monkeypatch: pytest.MonkeyPatch, key_heads: int, seed: int, heads: int) -> None:
    monkeypatch.setattr(cpu_attention, "_ALONE", 16)
    packed, inputs = draw(make_samples(seed), key_heads, torch.float64)
    for x in inputs:
        x.requires_grad_()
    slow = attend_slowly(packed, *inputs)
    fast = cpu_attention.CPUPlan.of(packed.layout, heads).attend(*inputs, 8**-0.5)
    assert torch.allclose(fast, slow, rtol=0.0, atol=1e-12)
    above = torch.randn_like(slow)
    ours, theirs = (torch.autograd.grad(out, inputs, above) for out in (fast, slow))
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, reference, rtol=0.0, atol=1e-11)


def varlen_on_cpu(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_edges: Tensor,
    key_edges: Tensor,
    *longest: int,
    **more: Any,
) -> Tensor:
    """Flash attention's contract: causal within each segment, aligned at the ends of queries and keys."""
    assert more["window_size"] == (-1, 0)
    assert longest == (int(query_edges.diff().max()), int(key_edges.diff().max()))
    parts = []
    for (a, b), (c, d) in zip(query_edges.unfold(0, 2, 1), key_edges.unfold(0, 2, 1), strict=True):
        q, k, v = query[a:b].transpose(0, 1), key[c:d].transpose(0, 1), value[c:d].transpose(0, 1)
        seen = torch.ones(len(q[0]), len(k[0]), dtype=torch.bool).tril(len(k[0]) - len(q[0]))
        parts.append(
            torch.nn.functional.scaled_dot_product_attention(
                q, k, v, attn_mask=seen, scale=more["scale"], enable_gqa=more["enable_gqa"]
            ).transpose(0, 1)
        )
    return torch.cat(parts)


@pytest.mark.parametrize("key_heads", [2, 4])
def test_the_plan_for_a_gpu_says_the_same(monkeypatch: pytest.MonkeyPatch, key_heads: int) -> None:
    monkeypatch.setattr(attention, "varlen_attn", varlen_on_cpu)
    packed, inputs = draw(make_samples(), key_heads, torch.float64)
    plan = attention._GPUPlan.of(packed.layout, torch.device("cpu"))
    assert torch.allclose(plan.attend(*inputs, 8**-0.5), attend_slowly(packed, *inputs), atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("share", [False, True])
def test_packed_and_unpacked_agree_on_a_gpu(share: bool) -> None:
    model, samples = make_model("qwen2"), make_samples()
    alone = gradients(model, states_alone(model, samples))
    model.cuda()
    packed = pack(samples, "cuda", share_prompts=share)
    with torch.autocast("cuda", torch.bfloat16):
        assert supports_packing(model, packed)
        states = hidden_states(model, packed)
    where = [at for spans in packed.layout.spans for span in spans for at in range(*span)]
    ours = {name: g.cpu() for name, g in gradients(model, states[where].float().cpu()).items()}
    assert_alike(ours, alone, 0.02)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("heads", [0, 1 << 20], ids=["in buckets", "alone"])
def test_attention_in_bfloat16_is_that_of_float32_to_its_rounding(
    heads: int, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_attention, "_ALONE", 16)
    monkeypatch.setattr(cpu_attention, "fast_bfloat16", lambda device: fast)
    layout = pack(make_samples(), share_prompts=True).layout
    total = sum(layout.lengths)
    torch.manual_seed(0)
    given = [torch.randn(total, heads, 8).bfloat16() for heads in (4, 2, 2)]
    above = torch.randn(total, 4, 8).bfloat16()
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        rows = [row.to(dtype).requires_grad_() for row in given]
        out = cpu_attention.CPUPlan.of(layout, heads).attend(*rows, 0.3)
        out.backward(above.to(dtype))
        assert out.dtype == dtype
        found.append([out, *(row.grad for row in rows)])
    for exact, rounded in zip(*found, strict=True):
        assert exact is not None
        assert rounded is not None
        assert rounded.dtype == torch.bfloat16
        error = (rounded.detach().float() - exact.detach()).abs().max()
        assert error < 0.01 * exact.detach().abs().max()


def test_layers_on_a_packed_row_leave_no_trace_elsewhere() -> None:
    """Decoding, and rows that are not packed, run transformers' own attention after `speed_up`."""
    model, tokens = make_model("qwen2").eval(), torch.arange(12)[None] % VOCABULARY
    expected = model(input_ids=tokens).logits
    speed_up(model)
    assert torch.allclose(model(input_ids=tokens).logits, expected, atol=1e-6)
    states_packed(model, make_samples(), True)
    assert torch.allclose(model(input_ids=tokens).logits, expected, atol=1e-6)


def test_packed_rows_in_bfloat16_differ_by_their_rounding_only() -> None:
    model, samples = make_model("qwen2"), make_samples()
    speed_up(model)
    exact = gradients(model, states_packed(model, samples, True))
    with torch.autocast("cpu", torch.bfloat16):
        states = states_packed(model, samples, True)
    assert_alike(gradients(model, states.float()), exact, 0.03)
