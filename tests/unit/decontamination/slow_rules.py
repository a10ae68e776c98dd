"""Slow and obvious versions of the rules: every text against every item."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from mathloop.decontamination.answer_conflicts import disagree, known_answer, share_no_number
from mathloop.decontamination.features import extract
from mathloop.decontamination.look_alikes import LATIN
from mathloop.decontamination.similarity import coincide, formulas_differ, likeness, unknown_likeness
from mathloop.decontamination.stock import is_stock
from mathloop.decontamination.words import STOP, STOP_CHARACTERS

FUNCTIONS = {"sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "lg", "exp", "lim", "max", "min", "gcd"}
FUNCTIONS |= {"lcm", "det", "mod"}
_GREEK = """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau
    upsilon phi chi psi omega
"""
GREEK = {chr(0x3B1 + place): name for place, name in enumerate(_GREEK.split())}
FILLERS = {"\u034f", "\u115f", "\u1160", "\u3164", "\uffa0"} | {chr(code) for code in range(0xFE00, 0xFE10)}
CYRILLIC = dict(zip("аеорсухіАЕОРСУХ", "aeopcyxiAEOPCYX", strict=True)) | {
    "ο": "o",
    "Ο": "O",
    "ı": "i",
    "ι": "i",
    "Ι": "I",
}
LIKE_LATIN = dict(zip("οαβγεηικνρστυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "oabyenikvpotuxwABEZHIKMNOPTYX", strict=True))
NAMES = {"sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "lg", "exp", "lim", "arcsin", "arccos"}
NAMES |= {"arctan", "sinh", "cosh", "tanh"}
OPERATORS = dict(zip("+-−–*×·•/÷^=<>!%", "+---****//^=<>!%", strict=True))
ENDS = set(".!?:;。！？：；\n")


def is_ideograph(letter: str) -> bool:
    code = ord(letter)
    spans = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
    return any(low <= code <= high for low, high in spans)


def kind(letter: str) -> str:
    if is_ideograph(letter):
        return "ideograph"
    if letter in GREEK:
        return "greek"
    if ord(letter) > 0xFFFF:
        return ""
    if letter.isdecimal():
        return "digit"
    return "letter" if letter.isalnum() else ""


def in_tuple(text: str, comma: int) -> bool:
    before, after = text[max(0, comma - 66) : comma], text[comma + 1 : comma + 66]
    opened = re.search(r"(?:[(\[]|\\\{)[\d.,+\-− ]{0,64}\Z", before)
    return bool(opened and re.match(r"[\d.,+\-− ]{0,63}(?:[)\]]|\\[r}])", after))


def latin(text: str) -> str:
    masked = False
    for word in re.findall("[A-Za-z" + "".join(LIKE_LATIN) + "]+", text):
        parts = [part for part in re.findall("[A-Za-z]+", word) if part.lower() not in NAMES]
        greek = "".join(letter for letter in word if letter in LIKE_LATIN)
        long = any(len(part) > 1 and not part.isupper() for part in parts)
        if parts:
            masked |= bool(greek) and (greek.isupper() or "ο" in greek or long)
        else:
            masked |= any(letter.isupper() for letter in greek)
    return "".join((LIKE_LATIN if masked else {}).get(one, CYRILLIC.get(one, one)) for one in text)


def compacted(text: str) -> str:
    return without_marks(normalized(text))


def normalized(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        shown = (letter for letter in text if unicodedata.category(letter) != "Cf" and letter not in FILLERS)
        text = unicodedata.normalize("NFKC", "".join(shown))
        text = latin(text).replace("’", "'").replace("ʼ", "'")
    text = re.sub(r"\[asy\].*?(\[/asy\]|\Z)", " ", text, flags=re.DOTALL)
    text = re.sub(r"(\\(?:frac|dfrac|tfrac|cfrac|binom|dbinom|tbinom))\s*(\d)(\d)", r"\1 \2 \3 ", text)
    return text.lower()


def without_marks(text: str) -> str:
    kept = []
    place = 0
    while place < len(text):
        before = kind(text[place - 1]) if place else ""
        for mark in (",", "{,}", ",\\!"):
            behind = text[place + len(mark) :]
            thousand = len(behind) > 2 and all(kind(digit) == "digit" for digit in behind[:3])
            if (
                not (mark == "," and in_tuple(text, place))
                and text.startswith(mark, place)
                and before == "digit"
                and thousand
                and kind(behind[3:4] or " ") != "digit"
            ):
                place += len(mark)
                break
        else:
            inside = before == "letter" and place + 1 < len(text) and kind(text[place + 1]) == "letter"
            if not (text[place] == "'" and inside):
                kept.append(text[place])
            place += 1
    return "".join(kept)


def tokens(text: str) -> list[tuple[str, int, int]]:
    """(token, start, end) in the compacted text."""
    plain = compacted(text)
    found, place = [], 0
    while place < len(plain):
        start, first = place, kind(plain[place])
        place += 1
        if not first:
            continue
        if first in ("digit", "letter"):
            while place < len(plain):
                point = (
                    plain[place] == "."
                    and first == "digit"
                    and kind(plain[place + 1 : place + 2] or " ") == "digit"
                )
                if kind(plain[place]) != first and not point:
                    break
                place += 1
        token = GREEK.get(plain[start], plain[start]) if first == "greek" else plain[start:place]
        if start and plain[start - 1] == "\\" and first == "letter":
            token = token.removeprefix("var") if token.removeprefix("var") in GREEK.values() else token
            if token not in FUNCTIONS and token not in GREEK.values():
                continue
        found.append((token, start, place))
    return found


def words(text: str) -> list[str]:
    return [token for token, _, _ in tokens(text)]


def lcs(one: list[str], other: list[str]) -> int:
    row = [0] * (len(other) + 1)
    for left in one:
        before = 0
        for place, right in enumerate(other, start=1):
            before, row[place] = row[place], before + 1 if left == right else max(row[place], row[place - 1])
    return row[-1]


def runs(found: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(found[start : start + size]) for start in range(len(found) - size + 1)}


def ngram_lcs(item: str, text: str, ngram: int, ratio: float) -> bool:
    one, other = words(item), words(text)
    shares = runs(one, ngram) & runs(other, ngram)
    return bool(shares) and lcs(one, other) > ratio * min(len(one), len(other))


def exact(item: str, text: str) -> bool:
    wanted, found = words(item), tokens(text)
    have = [token for token, _, _ in found]
    if is_stock(item):
        return have == wanted or (spaceless(item, text) and len(text.splitlines()) < 2)
    if spaceless(item, text):
        return True
    if len(wanted) < 2:
        return bool(wanted) and have == wanted
    return any(
        have[start : start + len(wanted)] == wanted
        and (len(wanted) >= 8 or wanted == have or is_sentence(item, text, start, start + len(wanted)))
        for start in range(len(have) - len(wanted) + 1)
    )


def spaceless(item: str, text: str) -> bool:
    have = words(text)
    suspect = len(have) <= 16 or any(kind(token[0]) == "letter" and len(token) >= 16 for token in have)
    if found := tokens(text):
        inside = compacted(text)[found[0][1] : found[-1][2]]
        wordy = "\\" in inside or any(
            kind(inside[start - found[0][1]]) == "letter" and end - start > 1 for _, start, end in found
        )
        suspect |= any(kind(letter) == "greek" for letter in inside)
        suspect |= len(inside) > 6.5 * len(have) or (" " not in inside and wordy)
    wanted, letters = squeezed(item), squeezed(text)
    if not suspect or sum(letter.isalnum() and not letter.isdecimal() for letter in wanted) < 4:
        return False
    if len(wanted) >= 32:
        return wanted in letters
    digits = re.findall(r"\d+", compacted(item))
    return any(
        squeezed(line) == wanted and (len(line.split()) == 1 or re.findall(r"\d+", compacted(line)) == digits)
        for line in (text, *text.splitlines())
    )


def squeezed(text: str) -> str:
    plain = without_marks("".join(normalized(text).split())).replace("ς", "σ").translate(LATIN)
    signs = {**dict.fromkeys("−–", "-"), **dict.fromkeys("×·•", "*"), "÷": "/"}
    kept = []
    for place, letter in enumerate(plain):
        letter = signs.get(letter, letter)
        between = plain[max(0, place - 1) : place].isdecimal() and plain[place + 1 : place + 2].isdecimal()
        if letter.isalnum() or letter in "+-*/^=<>" or (letter == "," and between):
            kept.append(letter)
    return "".join(kept)


def is_sentence(item: str, text: str, start: int, end: int) -> bool:
    # A text is between line ends.
    plain, found = compacted(text), tokens(text)
    edges = [(0, 0), *((first, last) for _, first, last in found), (len(plain), len(plain))]
    gaps = [plain[left[1] : right[0]] for left, right in pairwise(edges)]
    own, inside = compacted(item), tokens(item)
    own_gaps = [own[left[2] : right[1]] for left, right in pairwise(inside)]
    if operators("".join(gaps[start + 1 : end])) != operators("".join(own_gaps)):
        return False
    begins = start == 0 or bool(ENDS & set(gaps[start]))
    own_ending = "".join(own[inside[-1][2] :].split())
    ends = (
        end == len(found) or bool(ENDS & set(gaps[end])) or "".join(gaps[end].split()).startswith(own_ending)
    )
    return begins and ends


def operators(gaps: str) -> str:
    return "".join(OPERATORS[sign] for sign in gaps if sign in OPERATORS)


def structure(item: str, text: str, ratio: float, shared: int, content: float) -> bool:
    one, other = (
        [("#" if kind(token[0]) == "digit" else token) for token in words(each)] for each in (item, text)
    )
    weight = sum(
        0.5 if is_ideograph(token[0]) else 1.0
        for token in words(item)
        if is_ideograph(token[0])
        or (kind(token[0]) == "letter" and len(token) > 1 and token not in GREEK.values())
    )
    if is_stock(item) or weight < content or not runs(one, shared) & runs(other, shared):
        return False
    if lcs(one, other) <= ratio * max(len(one), len(other)):
        return False
    variables = (set("abcdefghijklmnopqrstuvwxyz") - {"a", "i"}) | set(GREEK.values())
    if not variables & {*one, *other}:
        return True
    plain = [[token for token in each if token not in variables | {"#", "a", "i"}] for each in (one, other)]
    if lcs(*plain) <= ratio * max(map(len, plain)):
        return False
    ours, theirs = (set(each) - STOP - STOP_CHARACTERS for each in plain)
    return 2 * len(ours & theirs) >= max(1, len(ours), len(theirs))


def rephrased(item: str, text: str, answers: tuple[str | None, str | None]) -> float:
    """Their likeness, without a search: 0 where their answers conflict."""
    wanted, own = extract(item), extract(text)
    if is_stock(item) or share_no_number(*answers) or disagree(*map(known_answer, answers, (item, text))):
        return 0.0
    known = None not in answers
    score = likeness(wanted, own)
    if not known and score <= unknown_likeness(0.6):
        return 0.0
    return 0.0 if formulas_differ(wanted, own) or coincide(wanted, own, known=known) else score
