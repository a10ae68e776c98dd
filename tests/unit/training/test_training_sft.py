"""SFT: its loss, its step and what it refuses, against plain torch on padded batches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers.models.qwen2 import modeling_qwen2

from mathloop.errors import BadData, BadModel, TrainingDiverged
from mathloop.models.folders import EARLIER
from mathloop.models.loading import load_policy
from mathloop.models.packing import Sample
from mathloop.records import FinishReason, Problem, Response, read_rows, write_problems, write_responses
from mathloop.sampling.prompts import render_prompt
from mathloop.stages import StageReport
from mathloop.training import sft
from mathloop.training.config import EngineConfig, LoRAConfig, OptimizerConfig, SFTConfig
from mathloop.training.engine import Engine
from mathloop.training.likelihood import learn
from mathloop.training.logprobs import PackedPolicy

TIR = ["```python\nprint(3)\n```\n```output", "\n3\n```\n", "So \\boxed{3}."]
"""Written, read from the interpreter, written."""
RESPONSES = [
    Response("p", 0, "cot", "7"),
    Response("p", 1, "cot", "So the answer is \\boxed{3}."),
    Response("q", 0, "tir", "".join(TIR)),
    Response("q", 1, "cot", "Mia has 3 apples. Tom gives her 4 more. " * 2),
    Response("q", 2, "cot", "Tom 4."),
]
PROBLEMS = {"p": "3 + 4?", "q": "How many?"}


def fine_tune(
    folder: Path, policy: Path, responses: list[Response] = RESPONSES, name: str = "sft", **given: Any
) -> StageReport:
    """Runs the recipe on `responses`, saving to folder/name."""
    write_problems(folder / "problems.jsonl", [Problem(key, told) for key, told in PROBLEMS.items()])
    write_responses(folder / "responses.jsonl", responses)
    return sft.run(
        problems=folder / "problems.jsonl",
        responses=[folder / "responses.jsonl"],
        policy=policy,
        model=folder / name,
        work=folder / f"work-{name}",
        config=SFTConfig(batch_size=len(responses), **given),
        seed=0,
        dropped=folder / f"dropped-{name}",
    )


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_policy(folder)[0].named_parameters())


class HeldEngine(Engine):
    """Keeps a step's gradients instead of taking it."""

    def update(self, **values: Any) -> dict[str, float]:  # type: ignore[override]
        self.gradients = {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for name, p in self.module.named_parameters()
        }
        self.module.zero_grad(set_to_none=True)
        return values


@pytest.fixture(scope="module")
def held_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    net = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=23,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            initializer_range=0.2,
        )
    )
    config = SFTConfig(engine=EngineConfig(micro_batch_tokens=16))
    return HeldEngine(PackedPolicy(net), config, 10, tmp_path_factory.mktemp("held"), recipe="sft", seed=0)


rows = st.lists(st.tuples(st.integers(0, 22), st.sampled_from([0.0, 0.1, 1.0])), min_size=2, max_size=12)


@settings(max_examples=25)
@given(st.lists(rows, min_size=1, max_size=5).filter(lambda b: any(w for row in b for _, w in row[1:])))
def test_likelihood_and_gradient_equal_a_slow_loop(
    held_engine: HeldEngine, batch: list[list[tuple[int, float]]]
) -> None:
    """Pretraining's weights (0.1 on the problem), SFT's masks: the mean over the batch's learned tokens."""
    found = learn(held_engine, [Sample([t for t, _ in row], [w for _, w in row], 0) for row in batch])
    slow = type(held_engine.module.model)(held_engine.module.model.config).double()
    slow.load_state_dict(held_engine.module.model.state_dict())
    total, whole = torch.zeros((), dtype=torch.float64), 0.0
    for row in batch:
        logits = slow(input_ids=torch.tensor([[token for token, _ in row]])).logits[0]
        for t in range(1, len(row)):
            token, weight = row[t]
            total = total - weight * (logits[t - 1, token] - torch.log(torch.exp(logits[t - 1]).sum()))
            whole += weight
    (total / whole).backward()
    assert found["loss"] == pytest.approx((total / whole).item(), abs=1e-6, rel=1e-6)
    for name, parameter in slow.named_parameters():
        theirs = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        ours = held_engine.gradients[f"model.{name}"].double()
        assert torch.allclose(ours, theirs, atol=5e-6, rtol=1e-5), name  # float32: entries are up to 3.4


def padded_loss(net: Any, tokenizer: Any) -> torch.Tensor:
    """The mean over what the model wrote of RESPONSES, in one padded batch."""
    tokens, labels = [], []
    for r in RESPONSES:
        prompt = tokenizer.encode(render_prompt(tokenizer, PROBLEMS[r.problem_id], r.mode))
        parts = [(part, i != 1) for i, part in enumerate(TIR)] if r.mode == "tir" else [(r.text, True)]
        written = [(t, own) for part, own in parts for t in tokenizer.encode(part)]
        written.append((tokenizer.eos_token_id, True))
        tokens.append(torch.tensor(prompt + [t for t, _ in written]))
        labels.append(torch.tensor([-100] * len(prompt) + [t if own else -100 for t, own in written]))
    batch = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=0)
    seen = torch.nn.utils.rnn.pad_sequence([torch.ones_like(t) for t in tokens], batch_first=True)
    targets = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    logits = net(input_ids=batch, attention_mask=seen).logits
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def test_two_steps_are_adamw_on_the_padded_batch(
    save_policy: Callable[..., Path], letters: Any, tmp_path: Path
) -> None:
    policy = save_policy(tmp_path / "policy")
    optimizer = OptimizerConfig(learning_rate=1e-3, weight_decay=0.1, clip=0.5)
    report = fine_tune(tmp_path, policy, epochs=2, optimizer=optimizer)
    net, _ = load_policy(policy)
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in net.named_parameters()}
    for step in (1, 2):
        loss = padded_loss(net, letters)
        net.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters()))
        assert report.curves["loss"][step - 1][1] == pytest.approx(loss.item(), rel=1e-5)
        assert report.curves["gradient norm"][step - 1][1] == pytest.approx(norm, rel=1e-4)
        for name, p in net.named_parameters():
            first, second = moments[name]
            gradient = p.grad * min(1.0, 0.5 / norm)
            first.mul_(0.9).add_(0.1 * gradient)
            second.mul_(0.95).add_(0.05 * gradient.square())
            update = (first / (1 - 0.9**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-8)
            decay = 0.1 * p.data if p.ndim > 1 else 0.0
            p.data -= 1e-3 * (update + decay)
    before, after = weights_of(policy), weights_of(tmp_path / "sft")
    for name, p in net.named_parameters():
        assert torch.allclose(after[name], p, atol=2e-5), name
        assert (after[name] - before[name]).abs().max() > 1e-3, name


@pytest.mark.parametrize("budget", [16, 120, 8192])
def test_the_size_of_micro_batches_changes_nothing(
    save_policy: Callable[..., Path], tmp_path: Path, budget: int
) -> None:
    policy = save_policy(tmp_path / "policy")
    whole = fine_tune(tmp_path, policy, epochs=3)
    cut = fine_tune(tmp_path, policy, name="cut", epochs=3, engine=EngineConfig(micro_batch_tokens=budget))
    for name in ("loss", "gradient norm"):
        assert [v for _, v in cut.curves[name]] == pytest.approx([v for _, v in whole.curves[name]], rel=1e-4)
    one, many = weights_of(tmp_path / "sft"), weights_of(tmp_path / "cut")
    assert all(torch.allclose(many[name], weight, atol=1e-4) for name, weight in one.items())


@pytest.mark.parametrize(
    ("engine", "close"),
    [({"activation_checkpointing": True}, 1e-6), ({"dtype": "bfloat16"}, 2e-2)],
)
def test_an_engine_setting_changes_rounding_only(
    save_policy: Callable[..., Path], letters: Any, tmp_path: Path, engine: dict[str, Any], close: float
) -> None:
    policy = save_policy(tmp_path / "policy")
    report = fine_tune(tmp_path, policy, epochs=4, engine=EngineConfig(**engine))
    plain = fine_tune(tmp_path, policy, name="plain", epochs=4)
    for name in ("loss", "gradient norm"):
        assert [v for _, v in report.curves[name]] == pytest.approx(
            [v for _, v in plain.curves[name]], rel=close
        )
    assert all(w.dtype == torch.float32 for w in weights_of(tmp_path / "sft").values())


def test_the_chosen_attention_runs_and_gives_the_same_loss(
    save_policy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = save_policy(tmp_path / "policy")
    real, calls = modeling_qwen2.eager_attention_forward, []

    def count(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return real(*given, **named)

    monkeypatch.setattr(modeling_qwen2, "eager_attention_forward", count)
    packed = fine_tune(tmp_path, policy, name="packed", epochs=3)
    assert not calls
    eager = fine_tune(tmp_path, policy, epochs=3, engine=EngineConfig(attention="eager"))
    assert len(calls) == 3 * 2  # steps, layers
    for name in ("loss", "gradient norm"):
        expected = [v for _, v in packed.curves[name]]
        assert [v for _, v in eager.curves[name]] == pytest.approx(expected, rel=1e-4), name
    one, other = weights_of(tmp_path / "packed"), weights_of(tmp_path / "sft")
    assert all(torch.allclose(other[name], weight, atol=1e-4) for name, weight in one.items())


def test_it_overfits_32_samples(save_policy: Callable[..., Path], tmp_path: Path) -> None:
    write_problems(tmp_path / "problems.jsonl", [Problem(str(i), f"{i} + {i}?") for i in range(32)])
    responses = [Response(str(i), 0, "cot", f"It is \\boxed{{{i % 5}}}, {2 * i}.") for i in range(32)]
    write_responses(tmp_path / "responses.jsonl", responses)
    report = sft.run(
        problems=tmp_path / "problems.jsonl",
        responses=[tmp_path / "responses.jsonl"],
        policy=save_policy(tmp_path / "policy", hidden=64),
        model=tmp_path / "sft",
        work=tmp_path / "work",
        config=SFTConfig(
            epochs=70, batch_size=32, optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.0)
        ),
        seed=0,
    )
    assert report.curves["loss"][0][1] > 3
    assert report.values["loss"] < 0.01


def test_divergence_leaves_the_last_checkpoint_and_no_model(
    save_policy: Callable[..., Path], tmp_path: Path
) -> None:
    wild = OptimizerConfig(learning_rate=1e30, checkpoint_steps=1)
    with pytest.raises(TrainingDiverged, match="at step 1; lower the learning rate"):
        fine_tune(tmp_path, save_policy(tmp_path / "policy"), epochs=5, optimizer=wild)
    assert [path.name for path in (tmp_path / "work-sft" / "checkpoints").iterdir()] == ["step-00000001"]
    assert not (tmp_path / "sft").exists()


def test_every_response_too_long_is_one_line(save_policy: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"sft.max_tokens=8, the shortest has \d+ tokens: raise") as error:
        fine_tune(tmp_path, save_policy(tmp_path / "policy"), max_tokens=8)
    assert str(error.value).startswith(str(tmp_path / "responses.jsonl"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sft").exists()


def test_a_response_that_is_too_long_is_dropped_and_counted(
    save_policy: Callable[..., Path], tmp_path: Path
) -> None:
    strayed = [*RESPONSES, Response("unknown", 0, "cot", "1")]
    report = fine_tune(tmp_path, save_policy(tmp_path / "policy"), strayed, max_tokens=60)
    assert report.dropped == {"its problem was removed": 1, "longer than max_tokens": 1}
    assert (report.inputs, report.kept) == (6, 4)
    long, unknown = read_rows(tmp_path / "dropped-sft")
    assert (unknown["problem_id"], unknown["drop_reason"]) == ("unknown", "its problem was removed")
    assert (long["drop_reason"], long["problem"]) == ("longer than max_tokens", PROBLEMS[long["problem_id"]])
    assert long["encoded_tokens"] > 60


def test_a_response_that_was_cut_teaches_no_end_and_one_that_ended_teaches_one(
    save_policy: Callable[..., Path], letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Sample] = []

    def look(engine: Engine, batch: list[Sample]) -> dict[str, float]:
        seen.extend(batch)
        return learn(engine, batch)

    monkeypatch.setattr(sft, "learn", look)
    policy = save_policy(tmp_path / "policy")
    config = json.loads((policy / "generation_config.json").read_text())
    config["eos_token_id"] = letters.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    (policy / "generation_config.json").write_text(json.dumps(config))
    texts = {"stop": "3<|endoftext|>", "length": "4 and", "tool_limit": "5"}
    ends: list[FinishReason] = ["stop", "length", "tool_limit", "length"]
    responses = [Response("p", i, "cot", texts.get(end, ""), finish_reason=end) for i, end in enumerate(ends)]
    responses[3] = replace(responses[3], text="")  # cut before its first character
    report = fine_tune(tmp_path, policy, responses, epochs=1)
    assert report.dropped == {"nothing to learn from": 1}
    learned = {letters.decode([t for t, w in zip(s.tokens, s.weights, strict=True) if w]) for s in seen}
    assert learned == {"3<|im_end|>", "4 and", "5"}


@pytest.mark.parametrize("lora", [None, LoRAConfig(rank=2)])
def test_policies_are_saved_on_the_way(
    save_policy: Callable[..., Path], tmp_path: Path, lora: LoRAConfig | None
) -> None:
    policy = save_policy(tmp_path / "policy")
    given = {"epochs": 7, "lora": lora, "optimizer": OptimizerConfig(learning_rate=1e-2)}
    fine_tune(tmp_path, policy, name="plain", **given)
    fine_tune(tmp_path, policy, name="sft", earlier=2, **given)
    earlier = tmp_path / "sft" / EARLIER
    assert sorted(path.name for path in earlier.iterdir()) == ["2", "4"]
    last, plain = weights_of(tmp_path / "sft"), weights_of(tmp_path / "plain")
    assert all(torch.equal(last[name], weight) for name, weight in plain.items())
    start, second, fourth = map(weights_of, (policy, earlier / "2", earlier / "4"))
    ways = [
        sum(float((last[n] - w).detach().abs().sum()) for n, w in one.items())
        for one in (start, second, fourth)
    ]
    assert ways[0] > ways[1] > ways[2] > 0
    assert [path.name for path in (tmp_path / "work-sft").iterdir() if path.name == EARLIER] == []


def test_with_nothing_to_learn_the_policy_stays(save_policy: Callable[..., Path], tmp_path: Path) -> None:
    policy = save_policy(tmp_path / "policy")
    report = fine_tune(tmp_path, policy, [Response("unknown", 0, "cot", "1")])
    assert "the SFT model is the champion" in report.notes[0]
    before, after = weights_of(policy), weights_of(tmp_path / "sft")
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_a_tokenizer_without_chat_template_is_one_line(
    save_policy: Callable[..., Path], letters: Any, tmp_path: Path
) -> None:
    policy = save_policy(tmp_path / "policy")
    (policy / "chat_template.jinja").unlink()
    with pytest.raises(BadModel, match=r"no chat template; add chat_template\.jinja") as error:
        fine_tune(tmp_path, policy)
    assert "\n" not in str(error.value)
    assert str(policy) in str(error.value)
