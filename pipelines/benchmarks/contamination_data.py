"""Generated problems, variants of benchmark items, and open-r1's method of finding them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

SEED = 20260
_NAMES = ["Ada", "Ben", "Cleo", "Dan", "Elif", "Finn", "Gita", "Hugo", "Ines", "Jun", "Kofi", "Lena", "Milo"]
_THINGS = [
    "apples",
    "stamps",
    "bricks",
    "candles",
    "tickets",
    "marbles",
    "ribbons",
    "shells",
    "bottles",
    "lamps",
]
_PLACES = [
    "market",
    "harbor",
    "school",
    "library",
    "garden",
    "museum",
    "station",
    "bakery",
    "studio",
    "stable",
]
_OPENINGS = (
    "At the {place}, {name} sorts {a} {things} into {b} boxes of the same size.",
    "{name} walks to the {place} with {a} {things} and sells {b} of them before noon.",
    "The {place} orders {a} {things} from {name}, who can deliver {b} a day.",
    "After the storm {name} finds {a} {things} behind the {place} and repairs {b} of them.",
)
_MIDDLES = (
    "Later {other} brings {c} more, of which every {d}th is damaged and thrown away.",
    "{other} pays {c} cents for each and asks for a discount of {d} percent.",
    "For the next {d} days {other} adds {c} to the pile every morning.",
    "{other} keeps {c} for a friend and shares the others among {d} neighbors.",
)
_QUESTIONS = (
    "How many {things} does {name} have at the end?",
    "What is the total that {other} has to carry home?",
    "How many days pass until no {things} are left at the {place}?",
    "How much is that for each of the boxes?",
)
_SOLUTION = (
    "First take {a} and {b}: {a} - {b} = {e}. Then {other} changes it by {c}: {e} + {c} = {f}. With the {d}"
    " at the end we get {f} * {d} = {g}.\n#### {g}"
)


def generate_rows(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """(problem, solution) pairs; their numbers have up to five digits, so that duplicates are rare."""
    rng = random.Random(seed)
    for _ in range(count):
        a, b, c, d = rng.randint(100, 99999), rng.randint(3, 99), rng.randint(100, 99999), rng.randint(3, 9)
        parts = {"a": a, "b": b, "c": c, "d": d, "e": a - b, "f": a - b + c, "g": (a - b + c) * d}
        words = {"name": rng.choice(_NAMES), "other": rng.choice(_NAMES), "things": rng.choice(_THINGS)}
        words["place"] = rng.choice(_PLACES)
        sentences = (rng.choice(_OPENINGS), rng.choice(_MIDDLES), rng.choice(_QUESTIONS))
        yield " ".join(sentences).format(**parts, **words), _SOLUTION.format(**parts, **words)


_ITEMS = (
    "A field is {a} meters long, {b} meters wide; its fence has a post every {d} meters. Count the posts.",
    "Let $f(x) = {b}x^{d} + {a}x$. For which $k$ has $f(k) = {c}$ a solution between {d} and {b}?",
    "Two trains start {a} km apart and approach each other at {b} and {c} km an hour. When do they meet?",
    "What is the remainder when ${a}^{b} + {c}$ is divided by {d}?",
    "长方形菜地长{a}米，宽{b}米，每平方米收{d}千克白菜，除去{c}千克，还剩多少？",
)


def generate_items(count: int, seed: int) -> Iterator[str]:
    """Problems of other kinds: a benchmark that the generated training data does not contain."""
    rng = random.Random(seed)
    for _ in range(count):
        numbers = {"a": rng.randint(100, 99999), "b": rng.randint(3, 99), "c": rng.randint(100, 99999)}
        text = rng.choice(_ITEMS)
        for name, number in (numbers | {"d": rng.randint(3, 9)}).items():
            text = text.replace(f"{{{name}}}", str(number))
        yield text


def write_rows(path: Path, count: int, seed: int) -> None:
    """Writes generated rows as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for problem, solution in generate_rows(count, seed):
            text = solution.replace("\n", "\\n")
            file.write(f'{{"problem": "{problem}", "solution": "{text}"}}\n')


_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_BEFORE, _AFTER = "Here is a task for today.\n", "\nExplain every step. 请写出过程。"
_CYRILLIC = str.maketrans("aceopxyisABCEHKMOPTX", "асеорхуіѕАВСЕНКМОРТХ")
_GREEK = str.maketrans("oaivpntuABEZHIKMNOPTYX", "οαινρητυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")
COPIES: dict[str, Callable[[str], str]] = {
    "unchanged": lambda text: text,
    "no punctuation": lambda text: text.replace("?", "").replace("!", "").rstrip(".。？"),
    "other spacing": lambda text: "  " + "\n ".join(text.split(" ")) + "\t",
    "other case": lambda text: text.upper() if "\\" not in text else text.lower(),
    "LaTeX markup": lambda text: (
        f"\\textbf{{{text.replace('$', '$$').replace(chr(92) + 'frac', chr(92) + 'dfrac')}}}"
    ),
    "full width": lambda text: text.translate(_FULL_WIDTH) if "\\" not in text else text,
    "zero-width spaces": lambda text: "\u200b".join(text),
    "soft hyphens": lambda text: "\u00ad".join(text),
    "bidi marks": lambda text: "\u202a" + text.replace(" ", "\u200e ") + "\u202c",
    "Cyrillic letters": lambda text: text.translate(_CYRILLIC),
    "Greek letters": lambda text: text.translate(_GREEK) if "\\" not in text else text,
    "no spaces": lambda text: "".join(text.split()),
    "inside a text": lambda text: _BEFORE + text + _AFTER,
}
"""Variants of an item that must be detected as copies."""


def normalize_string(text: str) -> str:
    """As in open-r1: lower case, single spaces."""
    return " ".join(text.lower().strip().split())


def word_ngrams(text: str, size: int) -> list[str]:
    """As in open-r1: n-grams of words, each as one string."""
    words = text.split()
    return [" ".join(words[start : start + size]) for start in range(len(words) - size + 1)]


class OpenR1:
    """open-r1's method (scripts/decontaminate.py): a set of word n-grams per benchmark, a pass per set."""

    def __init__(self, benchmarks: Iterable[Sequence[str]], size: int) -> None:
        self._size = size
        self._lookups: list[dict[str, set[int]]] = []
        for items in benchmarks:
            lookup: defaultdict[str, set[int]] = defaultdict(set)
            for number, item in enumerate(items):
                for gram in word_ngrams(normalize_string(item), size):
                    lookup[gram].add(number)
            self._lookups.append(lookup)

    def count(self, texts: Sequence[str]) -> int:
        """Number of texts that share an n-gram with a benchmark."""
        matches: set[int] = set()
        for lookup in self._lookups:
            for number, text in enumerate(texts):
                grams = set(word_ngrams(normalize_string(text), self._size))
                if True in {gram in lookup for gram in grams}:
                    matches.add(number)
        return len(matches)
