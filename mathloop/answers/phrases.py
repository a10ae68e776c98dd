"""The answer that an English phrase or sentence states: all of it, unless its other words are understood."""

from __future__ import annotations

import re

from mathloop.answers.masking import FORMULA, NUMBER, PROSE, formulas, masked
from mathloop.answers.nouns import droppable
from mathloop.answers.statements import adjective
from mathloop.answers.understood import GLUED, expression_at_end, is_read
from mathloop.answers.units import scale
from mathloop.answers.words import read_words

LONGEST_WORDS = 80
"""Characters of an answer in words."""
LONGEST_BEFORE = 300
"""Characters before a verb that may change what it says."""
_FILLER = re.compile(
    r"(?:that|simply|just|exactly|precisely|only|equals?(?:\s+to)?|equal\s+to|given\s+by|approximately"
    r"|about|roughly|around"
    r"|therefore|thus|hence|then|also|now|indeed|clearly|obviously|a\s+total\s+of|the\s+number"
    r"|the\s+value|the\s+letter"
    r"|option|choice|indeed|=|:)(?:\s*[:,])?\s+|(?:located\s+)?at\s+(?:the\s+point\s+)?(?=\$?\\?\(?\s*(?:\\left)?\()|[=:]\s*|as\s+follows\s*:?\s*",
    re.IGNORECASE,
)
_MINUS = re.compile(r"(?:negative|minus)\s+(?=[\d\\$(]|[a-z]\b)", re.IGNORECASE)
_REASON = re.compile(
    r"\s*[,;:(–—-]*\s*(?:\b(?:since|because|which|where|given\s+that|considering|due\s+to|instead\s+of"
    r"|rather\s+than"
    r"|as\s+opposed\s+to|so\s+that|i\.e|meaning|whereas)\b|,\s*(?:not|as|for\s+(?:I|we|the|it|this|that"
    r"|each|there)|with|so|after"
    r"|and\s+(?:the|so|that|this|it|we|he|she|they|then|therefore)|but\s+(?:the|this|that|it))\b"
    r"|\(\s*not\s+(?=[-\d\\$])|,\s*but\s+not\b"
    r"|\bas\s+(?:\d|it|we|the|there|required|desired|expected|shown|stated|a\b)|\bfor\s+I\b)",
    re.IGNORECASE,
)
_CONCLUDED = re.compile(r"[,;]\s*(?:so|thus|therefore|hence)\b[\s,:]*", re.IGNORECASE)
_CHOICE = re.compile(r"\(?([A-K])\)?(?![a-zA-Z\d'’])")
_COPULA = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|gives?|becomes?|yields?)|\b(?:it"
    r"|that)['’]s)\b(?:\s+(?:equal\s+to|exactly|just|only|thus|then|therefore|also))?[\s:]*"
    r"|=\s*|\bequal\s+to\s+|(?<=[a-zA-Z]{3})\s?:\s",
    re.IGNORECASE,
)
_AFTER_NOUN = re.compile(
    r"(?:in|at|on|for|from|during|with|by|after|before|every|each|per|an?|that|to|of|left|remaining"
    r"|remains?|altogether|total"
    r"|overall|today|now|old|long|high|tall|wide|deep|away|ago|apart|are\s+(?:left|needed|there|required"
    r"|possible)|is\s+(?:left|needed)"
    r"|were\s+(?:left|sold|needed)|remained)\b(?!\s+(?:the\s+power|the\s+\w+\s+power|[b-z]\b))",
    re.IGNORECASE,
)
_WITHOUT_NOUN = re.compile(
    r"(?:in\s+(?:total|all)|altogether|total|overall|left|remaining|each|every|apiece"
    r"|(?:of|for|in|at|on|by|from|after|with|to)\s+(?:the|this|that|his|her|their|its|all|each"
    r"|every)\b(?!\s+(?:case|power|event|\w+\s+power|nth|n-th|(?:\w+th|second|third)$))"
    r"|(?:is|are|was)\s+(?:the|our|my|an?)\s+(?:\w+\s+)?(?:answers?|solutions?|results?|totals?|values?"
    r"|sum|range|domain|minimum|maximum)"
    r"|as\s+(?:required|desired|needed)|rounded|to\s+the\s+nearest|years?\s+old|years?\s+of\s+age"
    r"|per\s+\w{3,}"
    r"|an?\s+(?:day|week|month|year|hour|minute|piece))\b",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"\b(?:remainder|R|(?:twice|half|double|triple)\s+(?:the|that|this|these|those)|twice|thrice|half|double|triple|than|least|most|not|over|under|except|below|above|between"
    r"|times|by|power"
    r"|root|plus|nearly|almost|without|or|out|until|before|every|per|versus|vs|through|mod|modulo|base|choose"
    r"|divided|multiplied|squared|index|step|part|question|problem|figure|case|equation|page|method"
    r"|option|table"
    r"|example|line|row|of\s+(?:the\s+)?\w+|from|beyond|within|up\s+to|multiple\s+of|odd|even|cubed?"
    r"|cannot|never|no|unless"
    r"|divides|as|(?:coprime|closest|tends?|congruent|proportional|opposite|next|prime)\s+(?:to|number)|approach(?:es)?"
    r"|starts?\s+with|ends?\s+(?:in|with)|answers?\s+(?:has|have|contains?)|exceeds?|exceeding|if|when|n['’]t)[\s$(]*$|\bof[\s$(]*$",
    re.IGNORECASE,
)
_OF_WHOLE = re.compile(
    r"\b(?:total|sum|area|length|perimeter|circumference|volume|costs?|price|value|probability|radius"
    r"|diameter|speed|rate"
    r"|profit|amount|maximum|minimum|average|mean|distance|weight|height|age|result|answer|grand\s+total"
    r"|measure|income|salary"
    r"|score|number|ratio|angle|slope|remainder|quotient|product|difference|balance|loss|gain|savings"
    r"|discount)\s+of[\s$(]*$",
    re.IGNORECASE,
)
_BY_PERCENT = re.compile(r"\bby\s*$", re.IGNORECASE)
_MINUS_BEFORE = re.compile(r"\b(?:negative|minus)\s*$", re.IGNORECASE)
_SUM_BEFORE = re.compile(r"(?:\d|\$)\s+minus\s*$", re.IGNORECASE)


def stated(phrase: str) -> str | None:
    """The answer of a phrase after "the answer is": the value that it begins with, or all of it.

    A value alone only if the words after it change nothing: 5 of "5 apples in total", but not of "5 less than
    12", which is returned as a whole. None for a long sentence without a value.
    """
    phrase = _without_fillers(phrase)
    sign = _MINUS.match(phrase)
    rest = phrase[sign.end() :] if sign else phrase
    if sign and (value := stated(rest)) and value[0] not in "-−":
        return f"-{value}" if value[0] != "$" else f"$-{value[1:]}"
    if not sign and (letter := _choice(phrase)):
        return letter
    value, tail = _split(phrase)
    if not value:
        return _in_words(phrase)
    if not tail or _reason_at(phrase, value):
        return _WITH_UNIT.sub(_with_unit, value)
    if (spelled := _SPELLED.fullmatch(phrase)) and read_words(spelled[2]) == int(spelled[1]):
        return spelled[1]
    whole = _without_reason(phrase)
    if is_read(whole):
        return whole
    return value if _is_harmless(tail) else whole


_COMPOSED = re.compile(
    r"(?:(?<![\w.])\d+[a-zA-Z]|(?<!\w)[a-zA-Z](?:²|³|\^\{?\d{1,3}\}?|\s?[-+*/]\s?\d{1,9}))\s*$"
)
"""The left side of 2k = 6, which is no name of the value."""
_ADDED = re.compile(r"\b(\w+)\s+(?:plus|minus)\s+\w+\s*$", re.IGNORECASE)
_YES_NO = re.compile(r"(yes|no)\s*[,.;:–—-]\s", re.IGNORECASE)


def in_sentence(sentence: str) -> str | None:
    """The value that a sentence ends with or says that something is; None if it is not clear."""
    if answer := _YES_NO.match(sentence):
        return answer[1]
    sentence = _without_fillers(_CONCLUDED.split(sentence)[-1])
    hidden = masked(sentence)
    if not PROSE.search(hidden) or is_read(sentence):
        return sentence
    for copula in reversed(list(_COPULA.finditer(hidden))[-6:]):
        start = max(0, copula.start() - LONGEST_BEFORE)
        if _COMPOSED.search(sentence, start, copula.start()):
            return None
        added = _ADDED.search(sentence, start, copula.start())
        if added and not added[1].isdigit() and read_words(added[1].lower()) is None:
            return None
        if _BEFORE.search(sentence, start, copula.start()):
            continue
        rest = _without_fillers(sentence[copula.end() :])
        if not (_split(rest)[0] or _MINUS.match(rest) or is_read(rest)):
            continue
        value = stated(rest)
        return value if value and (_is_whole(value, rest) or is_read(value)) else None
    return last_value(sentence) or adjective(sentence)


def last_value(sentence: str) -> str | None:
    """The last formula or number of a sentence, if the words before and after it do not change it."""
    found = formulas(sentence)
    if found and not NUMBER.search(masked(sentence), found[-1].end()):
        match = found[-1]
    else:
        numbers = list(NUMBER.finditer(sentence, found[-1].end() if found else 0))
        if not numbers:
            return None
        match = numbers[-1]
    before, tail = sentence[max(0, match.start() - 60) : match.start()], sentence[match.end() :]
    value = match.group()
    if match.re is NUMBER and GLUED.search(before):
        return expression_at_end(sentence)
    if _MINUS_BEFORE.search(before):
        if _SUM_BEFORE.search(before):
            return None
        value = f"-{value}"
    elif _BEFORE.search(before) and not _OF_WHOLE.search(before) and not _is_change(value, before):
        return None
    tail = tail.strip(" \t.!,;:*\"'")
    compound = _COMPOUND.search(before)
    if compound and all(word == "and" or scale(word) for word in _LETTERS.findall(compound.group())):
        whole = f"{compound.group()}{value} {tail}"
        return whole if is_read(whole) else None
    if _PREPOSED.search(before) and NUMBER.search(masked(sentence[: match.start()])):
        return None  # "$12 after 3 weeks"
    if not tail or _REASON.match(tail):
        return value
    with_unit = f"{value} {tail}"
    if scale(tail) and is_read(with_unit):
        return with_unit
    return value if _is_harmless(tail) else None


_WITH_UNIT = re.compile(r"([$€£]?\d[\d.,]{0,30})\s?(mm|cm|dm|km|m)([²³])")


_ARTICLE = re.compile(r"(?<=\d)\s?\$?\s+an?\s*$")


def _with_unit(match: re.Match[str]) -> str:
    unit = "meters" if match[2] == "m" else match[2]
    return rf"{match[1]} \text{{{unit}}}{match[3]}"


_LETTERS = re.compile(r"[A-Za-z]+")
_COMPOUND = re.compile(r"(?:\d[\d.,]{0,20}\s+[A-Za-z]{1,12}(?:\s+and\s+|,\s+(?:and\s+)?|\s+)){1,3}$")
_PREPOSED = re.compile(r"\b(?:after|in|for|during|within|at|on|every|over|from|by)\s*$", re.IGNORECASE)


def _is_change(value: str, before: str) -> bool:
    """Whether it is the percentage by which something grows."""
    return value.endswith(("%", "％")) and _BY_PERCENT.search(before) is not None


_SPELLED = re.compile(r"(\d{1,20})\s?\(([a-z][a-z -]{1,60})\)", re.IGNORECASE)


def _is_whole(value: str, rest: str) -> bool:
    return len(_split(value)[1]) == 0 or value != _without_reason(rest)


def _without_fillers(phrase: str) -> str:
    phrase = phrase.strip(' \t"“”*`')
    for _ in range(4):
        match = _FILLER.match(phrase)
        if match is None:
            break
        phrase = phrase[match.end() :]
    return phrase


def _choice(phrase: str) -> str | None:
    """The letter of "B, since …" or "B because …"; None for letters with more than a reason after them."""
    match = _CHOICE.match(phrase)
    if match is None:
        return None
    return match.group(1) if _REASON.match(phrase, match.end()) else None


def _split(phrase: str) -> tuple[str, str]:
    """What a phrase begins with that is no prose, and the prose after it."""
    if PROSE.match(phrase):
        return "", phrase
    word = PROSE.search(masked(phrase))
    if word is None:
        return _ARTICLE.sub("", phrase.strip(" \t")), ""
    value, tail = phrase[: word.start()], phrase[word.start() :]
    value = _ARTICLE.sub("", value)
    clean = re.sub(r"(?:[\s,;:(–—-]|\b(?:and|or|an?)\b)+$", "", value)
    if not any(mark.isalnum() or mark in "$\\√π∞∅" for mark in clean):
        return "", phrase
    if len(value) - len(clean) > 1 and re.search(r"\b(?:and|or|an?)\b", value[len(clean) :]):
        return clean, value[len(clean) :].strip() + " " + tail
    return clean, tail


def _reason_at(phrase: str, value: str) -> bool:
    return _REASON.match(phrase, phrase.find(value) + len(value)) is not None


def _without_reason(phrase: str) -> str:
    hidden = masked(phrase)
    match = _REASON.search(hidden)
    return phrase[: match.start()].rstrip() if match and match.start() else phrase


def _is_harmless(tail: str) -> bool:
    """Whether the words after a value say what it counts, and where or when, and nothing of the value."""
    tail = tail.strip(" \t.,;:!*()\"'$€£")
    if tail.lower() in ("", "a", "an", "the"):
        return True
    tail = FORMULA.split(tail)[0] if FORMULA.match(tail) is None else tail
    reason = _REASON.search(tail)
    if reason:
        tail = tail[: reason.start()].strip(" ,;")
    if any(mark.isdigit() for mark in tail):
        return False
    words = tail.split()
    for count in range(min(5, len(words)), 0, -1):
        noun, rest = " ".join(words[:count]).strip(",;:"), " ".join(words[count:])
        if (droppable(noun) or scale(noun)) and (not rest or _AFTER_NOUN.match(rest)):
            return True
    return _WITHOUT_NOUN.match(tail) is not None


def _in_words(phrase: str) -> str | None:
    """The answer of a phrase that begins with words: after its last verb, else the words themselves."""
    if answer := _YES_NO.match(phrase):
        return answer[1]
    cut = _without_reason(phrase)
    if not any(mark.isdigit() or mark in "$\\=" for mark in cut):
        copula = [*_COPULA.finditer(cut)]
        if copula and len(cut) > 30:
            cut = cut[copula[-1].end() :] or cut
        return cut if len(cut) <= LONGEST_WORDS else None
    value = in_sentence(cut)
    return value or (cut if len(cut) <= LONGEST_WORDS else None)
