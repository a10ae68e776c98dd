"""How a problem is put to a model: chat, few-shot text, multiple choice."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mathloop.answers import extract_answer
from mathloop.errors import BadConfig, BadModel
from mathloop.evaluation.benchmarks import benchmark_names, find_benchmark
from mathloop.models.saving import save_model
from mathloop.models.tokenizers import load_tokenizer
from mathloop.records import Problem
from mathloop.sampling.config import PromptConfig, SamplingConfig
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.examples import example_sets, load_examples
from mathloop.sampling.prompts import INSTRUCTIONS, OWN_SETTING, encode_prompt, render_prompt, stops_of
from mathloop.training.samples import encode
from tests.paths import SHARED_DATA
from tests.unit.sampling.scripted import ScriptedModel

HARNESS = SHARED_DATA / "fewshot/qwen25math_fewshot.json"
FEW_SHOT = PromptConfig(few_shot="gsm8k", shots=8, chat_shots=1)
ANSWERS = {
    "gsm8k": ["16", "42", "48", "6", "30", "40", "9", "43"],
    "math": ["5", "7", "\\frac{1}{4}", "\\sqrt{11}"],
    "multiple_choice": ["B", "B", "D", "A", "C"],
    "cmath": ["43", "53", "8", "28", "180", "36"],
    "gaokao_cloze": ["29", "1", "-2", "\\frac{2}{5}", "3"],
    "gaokao_qa": ["B", "A", "C", "D", "A"],
    "one_step": ["13", "5", "15"],
}


@pytest.fixture
def base(tokenizer: Any) -> Any:
    """A base model's tokenizer: no chat template."""
    other = deepcopy(tokenizer)
    other.chat_template = None
    return other


def test_the_shipped_sets_state_their_answers_and_those_of_benchmarks_have_the_papers_shots() -> None:
    assert set(example_sets()) == set(ANSWERS)
    for name, answers in ANSWERS.items():
        examples = load_examples(name)
        assert [extract_answer(e.solution, examples.language) for e in examples.examples] == answers
    for name in benchmark_names():
        benchmark = find_benchmark(name)
        shots = load_examples(benchmark.few_shot).shots(max(benchmark.shots, benchmark.chat_shots), "cot")
        assert len(shots) >= 4


@pytest.mark.skipif(not HARNESS.exists(), reason="the shared data folder is not beside this checkout")
def test_no_example_is_the_public_harnesss() -> None:
    known = {text.strip() for pairs in json.loads(HARNESS.read_bytes()).values() for text, _ in pairs}
    for name in example_sets():
        assert not known & {example.problem.strip() for example in load_examples(name).examples}
    theirs = load_examples(f"{HARNESS}#gsm8k")  # a user may read it by its path
    assert len(theirs.shots(8, "cot")) == 8


def test_a_base_model_gets_few_shot_text(base: Any) -> None:
    text = render_prompt(base, "3 + 4?", "cot", FEW_SHOT)
    assert text.count("Question:") == 9
    assert text.count("The answer is \\boxed{") == 8
    assert text.endswith("The answer is \\boxed{43}.\n\nQuestion: 3 + 4?\nAnswer:")
    assert text.startswith("Question: A bakery")
    assert encode_prompt(base, "3 + 4?", "cot", FEW_SHOT) == base(text)["input_ids"]
    chinese = render_prompt(base, "3加4？", "cot", PromptConfig(few_shot="cmath", shots=6))
    assert chinese.count("问题：") == 7
    assert chinese.endswith("\n\n问题： 3加4？\n解答：")


def test_a_response_to_few_shot_text_ends_before_the_next_question(base: Any) -> None:
    config = SamplingConfig(max_tokens=80, prompt=FEW_SHOT)
    assert stops_of(base, config) == ("\nQuestion:",)
    model = ScriptedModel(base, {}, "cot")
    written = " 3 + 4 = 7. The answer is \\boxed{7}.\n\nQuestion: and then?"
    prompt = encode_prompt(base, "3 + 4?", "cot", FEW_SHOT)
    model.scripts = [(prompt, base.encode(written))]
    (rollout,) = TransformersSampler(model, base, config).sample(
        [Problem("a", "3 + 4?", answer="7")], mode="cot", samples=1, temperature=0.0, seed=0
    )
    assert (rollout.response.answer, rollout.response.finish_reason) == ("7", "stop")
    assert rollout.response.text == " 3 + 4 = 7. The answer is \\boxed{7}.\n"


def test_a_model_with_a_chat_template_is_asked_in_a_chat(tokenizer: Any) -> None:
    text = render_prompt(tokenizer, "3 + 4?", "cot", FEW_SHOT)
    assert text.count("<|im_start|>user") == 2  # one example, and the problem
    assert text.count(INSTRUCTIONS["cot"]) == 2
    assert "<|im_start|>assistant\nThe bakery makes" in text
    assert stops_of(tokenizer, SamplingConfig(prompt=FEW_SHOT)) == ()
    assert "Question:" in render_prompt(
        tokenizer, "3 + 4?", "cot", PromptConfig(style="text", few_shot="gsm8k", shots=1)
    )
    zero_shot = render_prompt(tokenizer, "3 + 4?", "tir", FEW_SHOT)  # the examples have no TIR solutions
    assert zero_shot == render_prompt(tokenizer, "3 + 4?", "tir")


def test_multiple_choice_is_asked_with_five_examples(tokenizer: Any) -> None:
    prompt = find_benchmark("mmlu_stem").prompting()
    text = render_prompt(tokenizer, "Which?\nAnswer Choices: (A) 1 (B) 2", "cot", prompt)
    assert text.count("<|im_start|>assistant") == 6
    assert text.count("Answer Choices: (A)") == 6


@pytest.mark.parametrize("mode", ["cot", "tir"])
def test_the_instruction_may_be_in_the_system_turn(tokenizer: Any, mode: Any) -> None:
    expected = f"<|im_start|>system\n{INSTRUCTIONS[mode]}<|im_end|>\n<|im_start|>user\n3 + 4?<|im_end|>\n"
    text = render_prompt(tokenizer, "3 + 4?", mode, PromptConfig(instruction="system"))
    assert text == f"{expected}<|im_start|>assistant\n"


def test_a_models_own_setting_holds_in_every_stage_and_is_kept(
    tokenizer: Any, tiny_model: Any, tmp_path: Path
) -> None:
    save_model(tmp_path / "model", tiny_model(len(tokenizer)), tokenizer)
    file = tmp_path / "model/tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), OWN_SETTING: "system"}), encoding="utf-8")
    own = load_tokenizer(tmp_path / "model")
    asked = render_prompt(own, "3 + 4?", "cot")
    assert asked.startswith("<|im_start|>system\n")
    assert own.decode(encode(own, "3 + 4?", "cot", "7").tokens).startswith(asked)
    assert "system" not in render_prompt(own, "3 + 4?", "cot", PromptConfig(instruction="user"))
    save_model(tmp_path / "next", tiny_model(len(tokenizer)), own)
    assert render_prompt(load_tokenizer(tmp_path / "next"), "3 + 4?", "cot") == asked


def test_a_base_model_is_loaded_for_text_prompts_alone(base: Any, tiny_model: Any, tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny_model(len(base)), base)
    with pytest.raises(BadModel, match="no chat template"):
        load_sampler(tmp_path / "model", SamplingConfig())
    prompt = PromptConfig(few_shot="gsm8k", shots=1)
    with load_sampler(tmp_path / "model", SamplingConfig(max_tokens=4, prompt=prompt)) as sampler:
        problem = Problem("a", "3 + 4?", answer="7")
        assert len(sampler.sample([problem], mode="cot", samples=2, temperature=1.0, seed=0)) == 2


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "gsm9k",
            None,
            "no few-shot set 'gsm9k', did you mean 'gsm8k'; known: cmath, .*, or a .yaml",
        ),
        ("own.yaml", "examples: []", "own.yaml: examples: tuple should have at least 1 item"),
        (
            "own.yaml",
            "hello: 1",
            "own.yaml: expected `examples`, or a list of .* pairs .choose one with #NAME",
        ),
        ("own.json#b", '{"a": [["1", "2"]]}', "own.json#b: no list of this name in the file; found a"),
        ("own.json", '[["1", 2]]', r"own.json: example 1: expected \[problem, solution\], two texts"),
        ("own.yaml", "examples: [{problem: a, solved: b}]", "solved: no such field"),
    ],
)
def test_wrong_examples_are_one_line(tmp_path: Path, name: str, text: str | None, expected: str) -> None:
    file, _, part = name.partition("#")
    if text is not None:
        (tmp_path / file).write_text(text, encoding="utf-8")
        name = f"{tmp_path / file}#{part}" if part else str(tmp_path / file)
    with pytest.raises(BadConfig, match=expected) as error:
        load_examples(name)
    assert "\n" not in str(error.value)


def test_more_shots_than_examples_or_none_in_tir_are_one_line(base: Any) -> None:
    with pytest.raises(BadConfig, match="few-shot set math has 4 examples, and 5 shots are set"):
        render_prompt(base, "?", "cot", PromptConfig(few_shot="math", shots=5))
    with pytest.raises(BadConfig, match="few-shot set math has no TIR solutions"):
        render_prompt(base, "?", "tir", PromptConfig(few_shot="math", shots=4))
    with pytest.raises(ValidationError, match="need few_shot"):
        PromptConfig(shots=3)


def test_a_prompt_that_says_what_to_write_gets_no_instruction_and_a_plain_one_nothing_at_all(
    tokenizer: Any, base: Any
) -> None:
    asked = "Write a problem."
    alone = render_prompt(tokenizer, asked, "cot", PromptConfig(instruction="none"))
    assert alone == render_prompt(tokenizer, asked, "cot").replace(f"\n{INSTRUCTIONS['cot']}", "")
    sample = encode(tokenizer, asked, "cot", "How many?", asked=PromptConfig(instruction="none"))
    assert tokenizer.decode(sample.tokens) == f"{alone}How many?<|im_end|>"
    plain = PromptConfig(style="plain")
    assert render_prompt(base, asked, "cot", plain) == asked
    assert stops_of(base, SamplingConfig(prompt=plain, stop=("\n\n",))) == ("\n\n",)
    assert not plain.by_chat
