"""Continuous batching: whoever else is decoded, a sequence is what it is alone."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from mathloop.sampling import continuous, draws
from mathloop.sampling.continuous import ContinuousDecoder
from mathloop.sampling.decoding import Decoded, Tool, decode_batch
from mathloop.sampling.draws import Draw
from mathloop.sampling.operators import decoding_operators
from mathloop.sampling.reading import SHARED_TOKENS
from mathloop.sampling.shared_cache import SharedCache
from mathloop.sampling.shared_steps import PlainStep, Step
from tests.unit.sampling.test_sampling_token_steps import make_model

VOCABULARY = 61
ENDS = frozenset(range(0, VOCABULARY, 9))
PROMPTS = [(5, 9, 2), (7,), (11, 3, 8, 50, 4, 4, 19, 33, 6), (1, 2), (40, 41, 42, 43, 44), (60, 1, 60, 1)]
NONE = frozenset({VOCABULARY})
TOOLS = ThreadPoolExecutor(2)


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen2Config(vocab_size=VOCABULARY, num_key_value_heads=2, initializer_range=0.3, **sizes)
    return Qwen2ForCausalLM(config).eval()


class Asked:
    """Draws and their outcomes."""

    def __init__(
        self,
        model: Any,
        tokens_at_once: int = 65_536,
        ends: frozenset[int] = ENDS,
        step: Step | None = None,
    ) -> None:
        self.model = model
        self.decoder = ContinuousDecoder(model, ends, tokens_at_once=tokens_at_once, tools=TOOLS, step=step)
        self.outcomes: list[list[Decoded] | Exception | None] = []

    def add(self, prompt: tuple[int, ...], **given: Any) -> Draw:
        place = len(self.outcomes)
        self.outcomes.append(None)

        def done(outcome: list[Decoded] | Exception) -> None:
            self.outcomes[place] = outcome

        settings = {"samples": 1, "max_tokens": 24, "temperature": 0.0, "top_p": 1.0, "seed": 0}
        draw = Draw(prompt, done=done, **settings | given)  # type: ignore[arg-type]
        self.decoder.add(draw)
        return draw

    def run(self, steps: int = 1_000) -> None:
        with decoding_operators(self.model, 8):
            for _ in range(steps):
                if self.decoder.idle:
                    return
                self.decoder.step()

    def tokens(self) -> list[list[list[int]]]:
        assert all(isinstance(one, list) for one in self.outcomes)
        return [[sequence.tokens for sequence in one] for one in self.outcomes]  # type: ignore[union-attr]


def alone(model: Any, prompt: tuple[int, ...], ends: frozenset[int] = ENDS, **given: Any) -> list[list[int]]:
    asked = Asked(model, ends=ends)
    asked.add(prompt, **given)
    asked.run()
    return asked.tokens()[0]


def test_greedy_is_what_a_batch_of_its_own_gives(model: Any) -> None:
    asked = Asked(model)
    for number, prompt in enumerate(PROMPTS * 2):  # join at different steps
        asked.add(prompt, max_tokens=10 + number)
        asked.run(number % 4)
    asked.run()
    for number, (prompt, found) in enumerate(zip(PROMPTS * 2, asked.tokens(), strict=True)):
        (expected,) = decode_batch(
            model,
            [prompt],
            samples=1,
            max_tokens=10 + number,
            temperature=0,
            top_p=1,
            end_tokens=ENDS,
            generator=torch.Generator(),
        )
        assert found == [expected.tokens]
    assert asked.decoder.empty


@pytest.mark.parametrize("family", ["qwen2", "llama", "mistral"])
def test_steps_through_plain_layers_give_the_models_own_tokens_and_logprobs(family: str) -> None:
    model = make_model(family)
    found, expected = Asked(model, step=PlainStep(model, 4), ends=NONE), Asked(model, ends=NONE)
    for asked in (found, expected):
        for number in range(12):
            prompt = tuple((number * at + 3) % 40 for at in range(2 + number % 5))
            given = {"temperature": 1.0, "samples": 3} if number % 3 == 0 else {}
            asked.add(prompt, max_tokens=4 + 3 * number, **given)
            asked.run(number % 4)
        asked.run()
    assert found.tokens() == expected.tokens()
    for ours, theirs in zip(found.outcomes, expected.outcomes, strict=True):
        for one, two in zip(ours or (), theirs or (), strict=True):  # type: ignore[arg-type]
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)


@pytest.mark.parametrize("plain", [True, False])
def test_a_place_that_was_empty_for_long_leaves_nothing_to_a_longer_prompt(plain: bool) -> None:
    """An empty row that saw nothing wrote NaN, which a longer prompt of another row brought into sight."""
    model = make_model("llama", attention_bias=True)
    asked = Asked(model, step=PlainStep(model, 8) if plain else None, ends=NONE)
    hung_up = [asked.add((5, 9, 2, 7, 1), max_tokens=100) for _ in range(9)]
    asked.add((5, 9, 2, 7, 1), max_tokens=3)
    asked.run(12)
    for pause, prompt, count in ((5, (8,), 9), (3, (8,), 9), (3, (8,), 1)):
        if count > 1:
            for draw in hung_up:
                draw.settle([])
        added = [asked.add(prompt, max_tokens=40 if count > 1 else 30) for _ in range(count)]
        hung_up = added if count > 1 else hung_up
        asked.run(pause)
    last = len(asked.outcomes) - 1
    hung_up[0].settle([])
    asked.add(tuple((3 * at + at * at) % 40 for at in range(22)), max_tokens=10)
    asked.run()
    (found,) = asked.outcomes[last] or ()  # type: ignore[misc]
    assert [found.tokens] == alone(model, (8,), ends=NONE, max_tokens=30)
    assert not any(map(math.isnan, found.logprobs))


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_samples_depend_on_their_seed_and_number_alone(model: Any, top_p: float) -> None:
    given = {"samples": 5, "temperature": 1.3, "top_p": top_p, "seed": 7}
    expected = alone(model, PROMPTS[0], **given)
    assert len(set(map(tuple, expected))) > 3
    asked = Asked(model)
    asked.add(PROMPTS[2], samples=3, temperature=0.7)
    asked.run(3)
    asked.add(PROMPTS[0], **given)
    asked.add(PROMPTS[1])
    asked.run(2)
    asked.add(PROMPTS[0], **{**given, "samples": 2, "first": 3})
    asked.run()
    assert asked.tokens()[1] == expected
    assert asked.tokens()[3] == expected[3:]
    assert alone(model, PROMPTS[0], **{**given, "seed": 8}) != expected


def test_the_prompt_of_a_question_is_read_once(model: Any) -> None:
    lengths = []
    hook = model.register_forward_pre_hook(
        lambda module, positional, named: lengths.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    asked = Asked(model, ends=NONE)
    asked.add(PROMPTS[2], samples=6, temperature=1.0)
    asked.add(PROMPTS[2], samples=2, temperature=1.0, first=6)
    asked.run(1)
    hook.remove()
    assert lengths == [(1, 9), (8, 1)]


def test_what_prompts_begin_with_is_read_once_and_remembered(model: Any) -> None:
    """Few-shot examples: by one batch for all of its prompts, and by later ones not at all."""
    examples = tuple((7 * i) % VOCABULARY for i in range(SHARED_TOKENS + 1))
    others = tuple((5 * i + 1) % VOCABULARY for i in range(SHARED_TOKENS + 1))
    batches = [[examples + one for one in PROMPTS[:3]], [examples + one for one in PROMPTS[3:]]]
    batches += [[others + PROMPTS[0]], [examples]]
    read: list[tuple[int, ...]] = []

    def note(_: Any, __: Any, given: Any) -> None:
        if "logits_to_keep" in given:  # not a step
            read.append(tuple(given["input_ids"].shape))

    asked = Asked(model)
    for batch in batches:
        hook = model.register_forward_pre_hook(note, with_kwargs=True)
        for prompt in batch:
            asked.add(prompt, temperature=1.0, samples=2)
        asked.run()
        hook.remove()
    assert read == [(1, 33), (3, 9), (3, 5), (1, 36), (1, 1)]
    prompts = [prompt for batch in batches for prompt in batch]
    assert asked.tokens() == [alone(model, prompt, temperature=1.0, samples=2) for prompt in prompts]


def test_beside_many_others_prompts_wait_a_few_steps_to_be_read_together(model: Any) -> None:
    asked = Asked(model, ends=NONE)
    for number in range(20):
        asked.add((number, 1), max_tokens=40)
    asked.run(2)
    read: list[tuple[int, ...]] = []

    def note(_: Any, __: Any, given: Any) -> None:
        if "logits_to_keep" in given:  # not a step
            read.append(tuple(given["input_ids"].shape))

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    asked.add(PROMPTS[0])  # alone: for four steps, at most
    asked.run(3)
    assert not read
    asked.run(1)
    assert read == [(1, 3)]
    asked.add(PROMPTS[1])  # three together are enough
    asked.run(1)
    asked.add(PROMPTS[2])
    asked.run(1)
    asked.add(PROMPTS[3])
    asked.run(1)
    assert read[1:] == [(3, 9)]
    asked.add(PROMPTS[2], temperature=1.0)  # nothing to read
    asked.run(1)
    assert len(asked.decoder._waiting) == 0
    asked.run()
    hook.remove()
    assert len(read) == 2
    for place in range(4):
        assert asked.tokens()[20 + place] == alone(model, PROMPTS[place], NONE)


def test_the_cache_is_not_rebuilt_for_each_that_leaves_or_joins(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuilt = []
    real = SharedCache.rebuild
    monkeypatch.setattr(SharedCache, "rebuild", lambda *given: (rebuilt.append(given), real(*given)))
    asked = Asked(model, ends=NONE)
    for number in range(8):
        asked.add((number, 1), max_tokens=40 if number % 2 else 5)
    asked.run(2)
    asked.add(PROMPTS[2], max_tokens=30)  # a ninth place, and one to spare
    asked.run(2)  # and four leave
    assert len(rebuilt) == 2
    asked.add(PROMPTS[1], max_tokens=4)
    asked.add(PROMPTS[3], max_tokens=30)
    asked.run(2)
    for number in range(3):
        asked.add((number, 2), max_tokens=20)
    asked.run(4)
    assert len(rebuilt) == 2
    asked.run()
    assert len(rebuilt) <= 6  # as they leave
    expected = [((n, 1), 40 if n % 2 else 5) for n in range(8)]
    expected += [(PROMPTS[2], 30), (PROMPTS[1], 4), (PROMPTS[3], 30), *(((n, 2), 20) for n in range(3))]
    assert asked.tokens() == [alone(model, prompt, NONE, max_tokens=most) for prompt, most in expected]


def test_more_than_fit_are_drawn_later_and_are_the_same(model: Any) -> None:
    given = {"samples": 9, "temperature": 1.0, "seed": 5, "max_tokens": 40}
    expected = alone(model, PROMPTS[2], **given)
    largest = []
    hook = model.register_forward_pre_hook(
        lambda module, positional, named: largest.append(len(named["input_ids"])), with_kwargs=True
    )
    tight = Asked(model, tokens_at_once=150)
    tight.add(PROMPTS[2], **given)
    tight.add(PROMPTS[0])
    tight.run()
    hook.remove()
    assert max(largest) == 3  # 49 columns each
    assert tight.tokens()[0] == expected


def test_sequences_that_have_to_give_way_begin_again_and_are_the_same(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuous, "MARGIN", 1)
    monkeypatch.setattr("mathloop.sampling.shared_cache.SPARE", 4)
    given = {"samples": 6, "temperature": 1.0, "seed": 5, "max_tokens": 60}
    expected = alone(model, PROMPTS[1], NONE, **given)
    tight = Asked(model, 200, NONE)
    tight.add(PROMPTS[1], **given)
    put_back = []
    real = tight.decoder._put_back
    monkeypatch.setattr(tight.decoder, "_put_back", lambda rows: (put_back.extend(rows), real(rows)))
    tight.run()
    assert put_back
    assert tight.tokens()[0] == expected


def test_after_memory_ran_out_fewer_are_drawn_at_once(model: Any) -> None:
    given = {"samples": 6, "temperature": 1.0, "seed": 5}
    expected = alone(model, PROMPTS[0], **given)

    def too_many(module: Any, positional: Any, named: Any) -> None:
        if len(named["input_ids"]) > most:
            raise torch.OutOfMemoryError

    for most in (2, 0):
        hook = model.register_forward_pre_hook(too_many, with_kwargs=True)
        asked = Asked(model)
        asked.add(PROMPTS[0], **given)
        asked.run()
        hook.remove()
        if most:
            assert asked.tokens()[0] == expected
        else:
            assert isinstance(asked.outcomes[0], torch.OutOfMemoryError)
            assert asked.decoder.empty


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_a_first_token_that_cannot_be_drawn_loses_no_question(
    model: Any, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"samples": 2, "temperature": 1.0, "seed": 5}
    expected = alone(model, PROMPTS[0], **given)
    draw, faults = draws.draw_rows, [error("no")]

    def faulty(*arguments: Any) -> Any:
        if faults:
            raise faults.pop()
        return draw(*arguments)

    monkeypatch.setattr(draws, "draw_rows", faulty)
    asked = Asked(model)
    asked.add(PROMPTS[0], **given)
    asked.run()
    if error is RuntimeError:
        assert isinstance(asked.outcomes[0], RuntimeError)
        assert asked.decoder.empty
    else:
        assert asked.tokens()[0] == expected


def test_a_question_that_nobody_waits_for_leaves_before_the_next_step(model: Any) -> None:
    gone = threading.Event()
    asked = Asked(model, ends=NONE)
    asked.add(PROMPTS[0], samples=4, temperature=1.0, stopped=gone.is_set)
    asked.add(PROMPTS[2])
    asked.add(PROMPTS[3], samples=2, stopped=gone.is_set)
    asked.run(2)
    gone.set()
    asked.run()
    assert [outcome is None for outcome in asked.outcomes] == [True, False, True]
    assert asked.decoder.empty


def test_tokens_that_cannot_be_read_fail_their_own_question_once(model: Any) -> None:
    """Halfway through a step: those extended before it have their outcome already, and none gets two."""

    class Unreadable:
        def find(self, tokens: list[int], sampled: list[bool]) -> str:
            if len(tokens) < 3:
                return ""
            raise ValueError("no such token")

    asked = Asked(model, ends=NONE)
    outcomes: list[tuple[str, Any]] = []

    def add(name: str, prompt: tuple[int, ...], most: int, samples: int = 1, stop: Any = None) -> None:
        def done(outcome: Any) -> None:
            outcomes.append((name, outcome))

        asked.decoder.add(Draw(prompt, samples, most, 1.0, 1.0, 0, done, stop=stop))

    add("ends in the same step", PROMPTS[0], 3)
    add("fails", PROMPTS[1], 6, samples=2, stop=Unreadable())
    add("goes on", PROMPTS[2], 6)
    asked.run()
    assert [(name, isinstance(one, ValueError)) for name, one in outcomes] == [
        ("ends in the same step", False),
        ("fails", True),
        ("goes on", False),
    ]
    assert asked.decoder.empty


def test_an_interpreter_holds_only_the_sequence_that_asked(model: Any) -> None:
    first = alone(model, PROMPTS[2])[0][0]
    may_answer = threading.Event()

    def answer(texts: list[str]) -> list[str]:
        may_answer.wait(30)
        return ["output"]

    tool = Tool(
        mark="!",
        may_end=frozenset({first}),
        decode=lambda tokens: "!" if tokens[-1] == first else "",
        encode=lambda text: [50, 51, 52],
        run=answer,
        limit=1,
    )
    asked = Asked(model)
    answered = threading.Event()
    asked.decoder.on_tool = answered.set
    asked.add(PROMPTS[2], tool=tool)
    asked.add(PROMPTS[4])
    asked.run()  # until only the interpreter can go on
    assert asked.outcomes[0] is None
    (other,) = asked.outcomes[1]  # type: ignore[misc]
    assert [other.tokens] == alone(model, PROMPTS[4])
    asked.decoder._most = 1  # there is no room
    asked.add(PROMPTS[0])
    assert not asked.decoder.idle
    assert not asked.decoder.step()  # so that nobody tries again at once
    asked.decoder._most = 65_536
    may_answer.set()
    assert answered.wait(30)
    asked.run()
    (found,) = asked.outcomes[0]  # type: ignore[misc]
    assert found.tokens[:4] == [first, 50, 51, 52]
    assert found.sampled[:5] == [True, False, False, False, True]
    with torch.no_grad():
        ids = torch.tensor([[*PROMPTS[2], *found.tokens[:4]]])
        assert found.tokens[4] == int(model(input_ids=ids).logits[0, -1].argmax())
