"""The fast rules against slow and obvious ones, decision by decision, and examples of each rule."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mathloop.decontamination import hashing
from mathloop.decontamination.batches import Passage
from mathloop.decontamination.features import extract
from mathloop.decontamination.hashing import hash_token, mix
from mathloop.decontamination.index import Index
from mathloop.decontamination.items import Item
from mathloop.decontamination.matching import LONGEST, Match, find_matches
from mathloop.decontamination.normalization import tokens
from mathloop.decontamination.similarity import likeness
from mathloop.decontamination.sources import read_items
from mathloop.decontamination.spaceless import _grams, _keys
from mathloop.decontamination.stock import is_stock
from mathloop.decontamination.structure import CONTENT, SHARED
from mathloop.decontamination.tables import Vocabulary
from mathloop.decontamination.tokenization import LETTER, stem, stems, tokenize
from tests.paths import SHARED_DATA
from tests.unit.decontamination import slow_rules

NGRAM = 4
LETTERS = "ab sS'’ʼ12,.{}()[]\\!?\n-·αΣΑ小数２ｆ½éAао\u200b\u00ad\U0001d465\U00020001"
PIECES = ["the", "sum", "of", "12", "7", "x", "apples", "小", "明", "有", "\\frac12", "\\sin", "π", "1,000"]
PIECES += ["3.5", "+", "-", ".", "?", "\n", "(", "it's", "divided", "by", "How", "many"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)


def find(
    items: list[str], texts: list[str], rule: str, ngram: int = NGRAM, answer: str | None = None
) -> list[Match | None]:
    index = Index.build([Item("bench", item, answer) for item in items], ngram=ngram)
    rules = index.rules([rule], lcs_ratio=0.6, structure_ratio=0.65, likeness=0.6)
    return find_matches([[Passage(text, True, answer)] for text in texts], rules, index.items)


@settings(max_examples=300)
@given(st.lists(st.text(alphabet=LETTERS, max_size=24), min_size=1, max_size=4))
@example(
    [
        "1,000 10{,}000 3,\\!000 1,0000",
        "it's o'clock 'a'",
        "\\alpha\\varphi2 \\pi r",
        "[asy] draw 12; [/asy] 7",
    ]
)
@example(["[-500,500] (5,100) \\{1,200\\} \\left(5,100\\right) (1,000 men) f(1,000.5, -2,000)", "sum 1,000"])
@example(["αpple ΑΒC sinα πr", "\u200bsoft\u00adware", "sinα ΑΒC", "Аpple с" + "1,000" * 30])
@example(["İstanbul ΑΣ ΣΑ 1.2.3 .5 5.", "\\frac12 \\dfrac 3 4 \\sinx \\a"])
def test_a_batch_has_the_tokens_of_each_text(texts: list[str]) -> None:
    batch = tokenize(texts)
    for number, text in enumerate(texts):
        own = slice(batch.offsets[number], batch.offsets[number + 1])
        assert list(tokens(text)) == slow_rules.words(text)
        assert batch.hashes[own].tolist() == [hash_token(token) for token in tokens(text)]
        assert [batch.word(place) for place in range(own.start, own.stop)] == list(tokens(text))


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.lists(TEXTS, min_size=1, max_size=6))
@example(["What is 4 - 3?"], ["So what is 4 - 3? Yes.", "what is 4(3)?", "and what is 4 - 3 more"])
@example(["a heterotroph"], ["Well. A heterotroph eats.", "not a heterotroph."])
def test_every_decision_is_that_of_the_slow_rules(items: list[str], texts: list[str]) -> None:
    texts = [*texts, *(f"{item} {text}" for item, text in zip(items, texts, strict=False))]
    slow = {
        "ngram_lcs": lambda item, text: slow_rules.ngram_lcs(item, text, NGRAM, 0.6),
        "exact": slow_rules.exact,
        "structure": lambda item, text: slow_rules.structure(item, text, 0.65, SHARED, CONTENT),
    }
    for rule, decide in slow.items():
        for text, match in zip(texts, find(items, texts, rule), strict=True):
            right = [item for item in items if decide(item, text)]
            assert (match is not None) == bool(right), (rule, text)
            assert match is None or match.item.text in right


def test_a_number_that_changed_is_a_structure_and_another_question_is_none() -> None:
    item = "Udo sold 16 jars of paint at the depot and 3 more brushes than jars. What did Udo sell in all?"
    same = "Ella sold 11 jars of paint at the depot and 9 more brushes than jars. What did Ella sell in all?"
    other = "Udo sold 16 jars of paint at the depot. Each costs 3 coins, and he got a note. What is left?"
    matches = find([item], [same, other, "What is 5 + 6?"], "structure")
    assert matches[0] is not None
    assert "#" in matches[0].evidence
    assert matches[0].score > 0.65
    assert matches[1:] == [None, None]


@pytest.mark.parametrize(
    ("item", "text", "same"),
    [
        (
            "What is the positive solution to the equation $(3x)^{2}-4(3x)-12=0$?",
            "The solution to the equation $\\frac { 1 } { x - 1 } - \\frac { 3 } { 2 x + 3 } = 0$ is _____.",
            False,
        ),
        (
            "If $(2x + 3y)^2 = 4$ and $xy = -5$, what is the value of $4x^2 + 9y^2$?",
            "Given $x - 2 y = 5$, what is the value of $10 ( x - 2 y ) + x - 2 y + 60$?",
            False,
        ),
        (
            "If the median of the data set {x + 2, x + 3, x − 4, x − 1, x + 1} is 6, what is the value of x?",
            "The coefficient of $x ^ 2$ in the result of $( x + 1 ) ( 2 x ^ 2 + ax + 1 )$ is $- 1$. What is"
            " the value of $a$?",
            False,
        ),
        (
            "What is the slope of the line that passes through the points (5, 4) and (–2, 3)?",
            "Find the slope of the line through the points $(13,-2)$ and $(7,7)$.",
            True,
        ),
        (
            "What is the remainder when the polynomial $x^3 - 4x + 7$ is divided by the binomial $x - 2$?",
            "What is the remainder when the polynomial $x^5 - 3x + 1$ is divided by the binomial $x - 6$?",
            True,
        ),
    ],
)
def test_formulas_alone_are_no_structure(item: str, text: str, same: bool) -> None:
    assert [match is not None for match in find([item], [text], "structure")] == [same]


REPHRASED = [
    (
        "Find the remainder when $(3x + 4)^{207} + (x + 6)^{19}$ is divided by $x + 3.$",
        "What remainder is left if somebody divides the polynomial $(3t+4)^{207}+(t+6)^{19}$ by $t+3$?",
        "What is the degree of $(3x + 4)^{27} + (x + 6)^{91}$, and how many of its roots are real?",
    ),
    (
        "A rope of 54 meters is cut into pieces of 9 meters. How many cuts are needed?",
        "Somebody divides a fifty-four meter long rope into parts that are nine meters long. Count the cuts.",
        "A rope of 56 meters is cut into pieces of 7 meters. How many cuts are needed?",
    ),
    (
        "妈妈买来36个鸡蛋，第一周吃了14个，第二周吃了9个，还剩多少个鸡蛋？",
        "家里原有36个鸡蛋，头一周用掉14个，接着又用掉9个，请问现在剩下几个鸡蛋？",
        "农场里有25只鸡和36只鸭，卖掉14只鸭以后，鸭比鸡多几只？",
    ),
]


@pytest.mark.parametrize(("item", "reworded", "other"), REPHRASED)
def test_other_words_with_the_same_numbers_are_found_and_other_problems_stay(
    item: str, reworded: str, other: str
) -> None:
    found = find([item], [reworded, other], "rephrased")
    assert found[0] is not None
    assert "numbers" in found[0].evidence
    assert found[1] is None
    for rule in ("ngram_lcs", "exact"):
        assert find([item], [reworded], rule, ngram=13) == [None]


def test_answers_that_differ_rule_out_a_rephrasing() -> None:
    item, reworded, _ = REPHRASED[1]
    index = Index.build([Item("bench", item, "5")], ngram=13)
    rules = index.rules(["rephrased"], lcs_ratio=0.6, structure_ratio=0.65, likeness=0.6)
    rows = [[Passage(reworded, True, answer)] for answer in (None, "5.0", "6")]
    assert [match is not None for match in find_matches(rows, rules, index.items)] == [True, True, False]


@settings(max_examples=100)
@given(st.lists(st.text(alphabet="abeis ing\\é明2.", max_size=24), min_size=1, max_size=4))
@example(["plans \\alpha élan élans naïveté abcdefgé glass as bus internationalization"])
def test_a_batch_has_the_stems_of_its_words(texts: list[str]) -> None:
    batch = tokenize(texts)
    found = stems(batch).tolist()
    for place, kind in enumerate(batch.kinds.tolist()):
        word = batch.word(place)
        is_command = chr(batch.codes[batch.starts[place] - 1]) == "\\"
        expected = stem(word) if kind == LETTER and not is_command else word
        assert found[place] == hash_token(expected), word


def test_a_word_without_an_end_has_its_hash_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (1, 7, 8, 9, 127, 128, 129, 136, 1000, 250_000)
    words = ["abcdefghijk" * (size // 11) + "z" * (size % 11) for size in sizes]
    calls: list[int] = []
    real = hashing.eights
    monkeypatch.setattr(hashing, "eights", lambda *arguments: calls.append(1) or real(*arguments))
    assert tokenize(words).hashes.tolist() == list(map(hash_token, words))
    assert len(calls) < 40  # each takes as long for one word as for hundreds


def test_a_vocabulary_finds_its_keys_and_no_others() -> None:
    keys = mix(np.arange(1, 3001, dtype=np.uint64))
    vocabulary = Vocabulary.build(keys)
    assert vocabulary.find(keys).tolist() == list(range(1, 3001))
    assert not vocabulary.find(mix(np.arange(3001, 9001, dtype=np.uint64))).any()


TALES = [
    "A rope of {a} meters is cut into pieces of {b} meters. How many cuts are needed?",
    "Somebody divides a rope that is {a} meters long into parts of {b} meters each. Count the cuts.",
    "{a} apples and {b} pears lie in a basket; a third of the pears are bad. How many pears are good?",
    "In a basket are {b} pears and {a} apples. One third of all pears has gone bad. Count the good pears.",
    "Find the remainder when $x^{a} + {b}x$ is divided by $x - {c}$.",
    "What remainder does the polynomial $t^{a} + {b}t$ leave upon division by $t - {c}$?",
    "Let $f(x) = {b}x^{c} + {a}$. For which real $k$ is $f(k) = 0$?",
    "Solve ${b}y^{c} + {a} = 0$ for real $y$.",
    "盒子里有{a}颗糖，拿走{b}颗，还剩多少颗糖？",
    "从装着{a}颗糖的盒子里取走{b}颗，盒里剩下几颗糖？",
]


@pytest.mark.slow
@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_rephrased_items_are_those_of_a_comparison_with_every_item(rng: Random) -> None:
    sets = [{"a": rng.randint(11, 300), "b": rng.randint(3, 40), "c": rng.randint(2, 9)} for _ in range(4)]

    def told(tale: int, numbers: int) -> str:
        text = TALES[tale]
        for name, number in sets[numbers].items():
            text = text.replace(f"{{{name}}}", str(number))
        return text

    def drawn() -> tuple[int, int]:
        return rng.randrange(len(TALES)), rng.randrange(len(sets))

    kinds, wanted = [drawn() for _ in range(8)], [drawn() for _ in range(8)]
    answers = [[rng.choice([None, "5", "\\frac12"]) for _ in sets] for _ in TALES]
    items = [Item("bench", told(tale, own), answers[tale][own]) for tale, own in kinds]
    texts = [Passage(told(*kind), True, rng.choice([None, "5", "0.5"])) for kind in wanted]
    index = Index.build(items, ngram=13)
    rules = index.rules(["rephrased"], lcs_ratio=0.6, structure_ratio=0.65, likeness=0.6)
    matches = find_matches([[text] for text in texts], rules, index.items)
    for (tale, numbers), text, match in zip(wanted, texts, matches, strict=True):
        scores = [slow_rules.rephrased(item.text, text.text, (item.answer, text.answer)) for item in items]
        if match is not None:
            assert match.score > 0.6
            assert match.score in [
                score for item, score in zip(items, scores, strict=True) if item == match.item
            ]
            continue
        # The search may miss pairs that are similar by chance, but no rephrasing that would be accepted.
        for (other, its_numbers), score in zip(kinds, scores, strict=True):
            assert (tale // 2, numbers) != (other // 2, its_numbers) or score <= 0.6, text.text


def test_any_number_of_equal_items_counts_as_one() -> None:
    item, reworded, _ = REPHRASED[1]
    train = "A train travels 270 miles in 3 hours. At the same rate how far does it travel in 5 hours?"
    plane = "A plane travels 1200 miles in 4 hours. At the same rate how far does it travel in 7 hours?"
    for rule, question, text in (("rephrased", item, reworded), ("structure", train, plane)):
        assert find([question] * 60, [text], rule) != [None]
        assert Index.build([Item("bench", question)] * 60, ngram=13).source_items == 60
    answered = [Item("bench", item, answer) for answer in (None, "5", "5.0")]
    (known,) = Index.build(answered, ngram=13).items
    assert known.answer == "5"
    (unknown,) = Index.build([*answered, Item("bench", item, "7")], ngram=13).items
    assert unknown.answer is None


@pytest.mark.parametrize(
    ("item", "text", "following"),
    [
        (
            "A rope is cut into 20 pieces of equal length. How many cuts are needed?",
            "How many cuts are needed if the pieces of equal length into which a rope is cut number twenty",
            "Nine boys play chess.",
        ),
        (
            "果园里有25棵梨树，卖掉14棵，还有几棵梨树",
            "园子里有25株梨树，卖了14株，如今有几株梨树",
            "苹果很多",
        ),
    ],
)
def test_a_decision_does_not_depend_on_the_next_row(item: str, text: str, following: str) -> None:
    alone = find([item], [text], "rephrased")
    assert alone != [None]
    assert find([item], [text, following], "rephrased")[:1] == alone
    assert find([item, following], [text], "rephrased") == alone


def test_chinese_numerals_are_numbers() -> None:
    item = "果园里有25棵梨树和48棵苹果树，一共有多少棵树？"
    text = "园子中种着二十五株梨树，另有四十八株苹果树，合计几株？"
    assert find([item], [text], "rephrased", answer="73") != [None]
    # A numeral of any length raises no error.
    assert len(find([f"刺猬偷走几只蘑菇一{'万' * 1100}"], ["刺猬偷走几只，松鼠采集蘑菇"], "rephrased")) == 1


def test_a_score_does_not_depend_on_the_other_items() -> None:
    texts = [reworded for _, reworded, _ in REPHRASED]
    items = [item for item, _, _ in REPHRASED]
    alone = [find([item], [text], "rephrased")[0] for item, text in zip(items, texts, strict=True)]
    together = find(items, texts, "rephrased")
    assert [match and match.score for match in together] == [match and match.score for match in alone]


def test_a_text_of_any_length_is_searched_to_its_end() -> None:
    item = "A farmer has 17 sheep and buys 25 more at the market. How many sheep does he have in the end?"
    filler = "Nothing of that kind happens here today. " * (2 * LONGEST // 40)
    for text in (filler + item, item + filler, filler + item + filler):
        assert find([item], [text], "ngram_lcs") != [None]
    assert find([item], [filler], "ngram_lcs") == [None]


def test_rules_are_tried_in_their_order_and_each_can_be_left_out() -> None:
    item = "A farmer has 17 sheep and buys 25 more at the market. How many sheep does he have in the end?"
    index = Index.build([Item("bench", item)], ngram=13)
    row = [[Passage(item, True)]]
    for first, second in product(["ngram_lcs", "exact", "structure", "rephrased"], repeat=2):
        rules = index.rules([first, second], lcs_ratio=0.6, structure_ratio=0.65, likeness=0.6)
        (match,) = find_matches(row, rules, index.items)
        assert match is not None
        assert match.rule == first


DATA = SHARED_DATA / "benchmarks"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' files are not beside the checkout")
def test_copies_of_real_items_are_caught_in_any_formatting() -> None:
    items = list(read_items(sorted(DATA.glob("*/*.jsonl"))))
    index = Index.build(items, ngram=13)
    rules = index.rules(["ngram_lcs", "exact"], lcs_ratio=0.6, structure_ratio=0.65, likeness=0.6)
    full_width = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
    for item in items[::7]:
        if is_stock(item.text):
            continue
        plain = item.text if "\\" in item.text else item.text.translate(full_width)
        dressed = [item.text, "\n ".join(item.text.split(" ")), f"Solve this.\n{item.text}\nThink.", plain]
        matches = find_matches([[Passage(text, True)] for text in dressed], rules, index.items)
        assert None not in matches, item


@pytest.mark.parametrize(
    ("item", "is_item"),
    [
        ("Find x.", False),
        ("Solve the equation.", False),
        ("Which of the following is true?", False),
        ("求x的值。", False),
        ("What is Nmap?", True),
        ("Find x + 2y.", True),
        ("Find 27.", True),
        ("Solve $\\sqrt{x} = y$.", True),
    ],
)
def test_a_stock_sentence_is_no_item_by_itself(item: str, is_item: bool) -> None:
    text = f"The triangle has sides of 5, 12 and 13. {item} Show your work."
    for rule in ("exact", "structure", "rephrased"):
        found = find([item], [text, item], rule)
        assert (found[0] is not None) is (is_item and rule == "exact")
        assert rule != "exact" or found[1] is not None


def test_a_likeness_that_can_be_no_match_is_given_up_early_and_no_other() -> None:
    rng = Random(4)
    texts = [
        rng.choice(TALES).format(a=rng.choice((3, 54)), b=rng.choice((7, 9)), c=rng.choice((11, 54)))
        for _ in range(60)
    ]
    features = [extract(text) for text in texts]
    given_up = 0
    for one in features:
        for other in features:
            whole, early = likeness(one, other), likeness(one, other, 0.6)
            assert early == whole or (early == 0 and whole <= 0.6)
            given_up += early != whole
    assert 0 < given_up < len(texts) ** 2


def test_keys_of_texts_without_spaces_are_those_of_their_parts() -> None:
    text = "findthesumof12and7,30-4and5αβγ小明有多少个苹果"
    assert _grams(text).tolist() == [int(_keys([text[at : at + 32]])[0]) for at in range(len(text) - 31)]
    assert not len(_grams(text[:31]))
