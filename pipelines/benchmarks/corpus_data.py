"""A haystack with known labels: real pages, pages of problems, made pages full of numbers, near-copies."""

from __future__ import annotations

import html
import random
import re
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.corpus.recall import seed_texts
from mathloop.decontamination.minhash import SHINGLE
from mathloop.decontamination.normalization import tokens
from mathloop.errors import BadData
from mathloop.problems.nano import generate

SEED = 0
SEEDS = 500
"""Texts that recall begins with: all of one kind."""
COPIES = 0.02
"""Share of the rows that are near-copies of pages of problems."""
JACCARD = 0.8
LARGEST = 60_000
"""Bytes of a real page at most."""
_FORMULA = re.compile(r"(?<![\\$])\$([^$\n]{1,200})\$(?!\$)")
_WORDS = (
    "invoice order shipment customer returned the of a in for on and with price total discount season match"
    " team won lost scored player minutes server request latency error node restarted memory disk flight"
    " gate delayed recipe cup flour oven bake minutes weather wind rain forecast degrees station version"
    " release fixed bug password login account settings page privacy cookies contact news report revenue"
)
_NOISE = _WORDS.split()


class Page(NamedTuple):
    """A row of the haystack."""

    id: str
    """KIND/number; the kinds `math` and `copy` are mathematical. A copy has its original's number."""
    url: str
    html: str
    formulas: list[str]
    """LaTeX of the formulas that are written as MathML or in a script."""

    def row(self) -> dict[str, Any]:
        """The columns of the file of pages."""
        return self._asdict()


def is_math(name: str) -> bool:
    """Whether the page of this id is mathematical."""
    return name.startswith(("math/", "copy/"))


def read_kinds(data: Path | None) -> tuple[list[str], dict[str, list[str]]]:
    """Seeds, and texts of problems with their solutions by kind: the data set that they are from."""
    if data is None:
        problems = generate("train", 6000, SEED, chinese_share=0.3)
        texts = [f"{one.problem.problem}\nThe answer is {one.problem.answer}." for one in problems]
        return texts[:SEEDS], {"nano": texts[SEEDS:]}
    train = data / "train" / "gsm8k" / "train.jsonl"
    files = [train, *sorted((data / "benchmarks").glob("*/*.jsonl"))]
    files += sorted((data / "benchmarks_raw").glob("*/*.jsonl"))
    if not train.exists():
        raise BadData("no train/gsm8k/train.jsonl in this folder", path=data)
    kinds = {path.parent.name + ("_train" if path == train else ""): list(seed_texts(path)) for path in files}
    seeds, kinds["gsm8k_train"] = kinds["gsm8k_train"][:SEEDS], kinds["gsm8k_train"][SEEDS:]
    return seeds, kinds


def real_pages(folders: Sequence[Path]) -> list[Path]:
    """HTML files of at most `LARGEST` bytes, in a random order."""
    found = [
        path
        for folder in folders
        for path in sorted(folder.rglob("*.html"))
        if path.is_file() and path.stat().st_size <= LARGEST
    ]
    random.Random(SEED).shuffle(found)
    return found


def haystack(kinds: dict[str, list[str]], real: Sequence[Path], rows: int) -> Iterator[Page]:
    """Pages in a random order: problems, near-copies of some, at most 55 % real pages, the rest made ones."""
    rng = random.Random(SEED)
    problems = list(_problem_pages(kinds, rng))
    rng.shuffle(problems)
    problems = problems[: max(1, rows // 8)]
    copied = problems[: int(COPIES * rows)]
    real = real[: int(0.55 * rows)]
    made = rows - len(problems) - len(copied) - len(real)
    order = ["math"] * len(problems) + ["copy"] * len(copied) + ["real"] * len(real) + ["made"] * made
    rng.shuffle(order)
    copies = [_copy(page, text, rng) for page, text in copied]
    streams = {
        "math": (page for page, _ in problems),
        "copy": iter(copies),
        "real": map(_real, range(len(real)), real),
        "made": (_made(number, rng) for number in range(made)),
    }
    return (next(streams[kind]) for kind in order)


def _problem_pages(kinds: dict[str, list[str]], rng: random.Random) -> Iterator[tuple[Page, str]]:
    """Pages of two problems each, a few hosts per kind; formulas in one of three notations."""
    number = 0
    for kind, texts in kinds.items():
        for pair, notation in zip(zip(texts[::2], texts[1::2], strict=False), cycle(range(3)), strict=False):
            text = "\n".join(pair)
            url = f"https://{kind.replace('_', '-')}-{rng.randrange(3)}.org/{number}"
            yield _page(f"math/{number}", url, text, notation), text
            number += 1


def _page(name: str, url: str, text: str, notation: int) -> Page:
    from math_core import LatexToMathML

    converter = LatexToMathML()
    formulas: list[str] = []

    def written(match: re.Match[str]) -> str:
        latex = html.unescape(match[1])
        if notation == 0:
            return match[0]
        try:
            shown = (
                f'<script type="math/tex">{latex}</script>'
                if notation == 1
                else converter.convert_with_local_state(latex, displaystyle=False)
            )
        except Exception:  # not LaTeX that it knows: stays as it is
            return match[0]
        formulas.append(latex)
        return shown

    lines = [_FORMULA.sub(written, html.escape(line, quote=False)) for line in text.splitlines()]
    body = "".join(f"<p>{line}</p>\n" for line in lines)
    return Page(name, url, _in_frame(body), formulas)


def _in_frame(body: str) -> str:
    return (
        '<!DOCTYPE html><html lang="en"><head><title>Page</title><script>var page;</script></head><body>'
        '<nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>'
        f"<main><article>{body}</article></main><footer>Copyright. Privacy policy.</footer></body></html>"
    )


def _real(number: int, path: Path) -> Page:
    parts = path.parts
    host = "-".join(part for part in parts[-4:-1] if part.isascii()) or "host"
    return Page(f"real/{number}", f"https://{host}.dev/{path.name}", path.read_text("utf-8", "replace"), [])


def _made(number: int, rng: random.Random) -> Page:
    """Text full of numbers and no mathematics; one in ten is on a host of problems."""
    lines = []
    for _ in range(rng.randrange(4, 14)):
        words = rng.choices(_NOISE, k=rng.randrange(6, 16))
        for _ in range(rng.randrange(4)):
            words[rng.randrange(len(words))] = rng.choice(
                (
                    str(rng.randrange(5000)),
                    f"${rng.randrange(900)}.{rng.randrange(10, 99)}",
                    f"{rng.random():.2f}%",
                )
            )
        lines.append(f"<p>{' '.join(words)}.</p>")
    host = f"gsm8k-{rng.randrange(3)}.org" if rng.random() < 0.02 else f"site{rng.randrange(400)}.com"
    return Page(f"made/{number}", f"https://{host}/{number}", _in_frame("\n".join(lines)), [])


def _copy(page: Page, text: str, rng: random.Random) -> Page:
    """A copy with some of its words replaced, whose similarity is just above `JACCARD`."""
    pieces = re.split(r"(\s+)", text)
    words = [place for place, piece in enumerate(pieces) if piece.isalpha() and piece.isascii()]
    rng.shuffle(words)
    before = shingles(text)
    for place in words:
        old, pieces[place] = pieces[place], rng.choice(_NOISE)
        if similarity(before, shingles("".join(pieces))) < JACCARD:
            pieces[place] = old
            break
    name = page.id.replace("math/", "copy/")
    return _page(name, f"https://mirror{rng.randrange(20)}.net/{name}", "".join(pieces), 0)


def shingles(text: str) -> set[tuple[str, ...]]:
    """The runs of tokens of a text."""
    found = tokens(text)
    return {found[start : start + SHINGLE] for start in range(max(1, len(found) - SHINGLE + 1))}


def similarity(ours: set[tuple[str, ...]], theirs: set[tuple[str, ...]]) -> float:
    """Jaccard similarity."""
    return len(ours & theirs) / max(1, len(ours | theirs))
