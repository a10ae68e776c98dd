"""Answers that a response takes back after it gave them, or that it only gives as a temptation or mistake."""

from __future__ import annotations

import re

LONGEST_BEFORE = 120
"""Characters before an answer in which its introduction is sought."""
_LONGEST_AFTER = 400
_THINK = r"(?:think|say|guess|answer|believe|assume|expect|claim|suppose)"
_TEMPTING = re.compile(
    rf"\btempt(?:ing|ed|ation|s)?\b|\b(?:one|you|someone|anyone)\s+(?:might|may)\s+(?:\w+\s+)?{_THINK}\b"
    rf"|\b(?:some|many|most)(?:\s+\w+)?\s+(?:(?:might|may|could|would|will|often|usually)\s+)?{_THINK}\b"
    r"|\b(?:common|frequent|classic|popular|easy)\s+(?:\w+\s+)?(?:mistake|error|misconception|trap|pitfall|slip)s?\b"
    r"|\b(?:mistakenly|wrongly|incorrectly|erroneously|naively)\s+(?:get|think|say|answer|conclude|assume|believe|write|obtain"
    r"|claim|count|add|multiply)\b|\bna[iï]ve\b|\bcareless(?:ly)?\b|\btrap\s+answer\b|\binto\s+the\s+trap\b|\bat\s+first\s+(?:glance|sight)\b|\bbeware\b"
    r"|\b(?:do\s+not|don['’]t|never)\s+(?:\w+\s+)?(?:answer|write|say|conclude|choose|pick)\b"
    r"|\b(?:wrong|incorrect|false|mistaken|erroneous)\s+(?:final\s+)?(?:answer|value|result|choice|conclusion|solution)\b"
    r"|误(?:答|以为|认为|选|解|写|得|算|填)|易错|(?:常见|典型)的?(?:错误|误区)|错误地|(?:错误|不正确)(?:的)?(?:答案|结果|解法|做法)(?:是|为|[:：])"
    r"|乍一看|很多(?:人|同学|学生)(?:会|都)?(?:以为|认为|觉得)|切勿|千万(?:别|不要)",
    re.IGNORECASE,
)
"""Introductions of an answer that is not the right one."""
_HINTS = (
    "tempt", "might", "may", "some", "any", "most", "mistak", "error", "misconc", "trap", "pitfall",
    "slip", "wrong", "incorrect", "errone", "naiv", "naïv", "glance", "sight", "beware", "do not", "don't",
    "careless",
    "don’t", "never", "false", "误", "错", "乍", "很多", "切勿", "千万",
)  # fmt: skip
"""One of these is in every such introduction; a fast test."""
_TURNED = re.compile(
    r"\b(?:but|however|yet|instead|actually|in\s+fact|avoid(?:ing|ed)?|aside|so|thus|hence|therefore|correct(?!ion)|right|true|really"
    r"|fix(?:ed|ing)?)\b|但|然而|可是|其实|实际|正确|所以|因此|应该?[是为]|而(?!非)",
    re.IGNORECASE,
)
"""Words that end such an introduction."""
_CLAUSE = re.compile(r"[.!?;。！？；\n]\s*")


def mentions(text: str, words: tuple[str, ...]) -> bool:
    """Whether one of the words is in the text; some times faster than a pattern or `any`."""
    for word in words:  # noqa: SIM110
        if word in text:
            return True
    return False


def is_temptation(before: str) -> bool:
    """Whether the clause before an answer calls it a temptation or a mistake."""
    before = before[-LONGEST_BEFORE:]
    lower = before.lower()
    if not mentions(lower, _HINTS):
        return False
    clause = _CLAUSE.split(before)[-1]
    *_, introduced = [None, *_TEMPTING.finditer(clause)]
    return introduced is not None and _TURNED.search(clause, introduced.end()) is None


_PUNCTUATION = r"[\s$\\)\].,;:!。，；！*…—–-]*"
_BUT = re.compile(
    rf"{_PUNCTUATION}(?:(?:but|yet|however|although|though|wait|correction|hmm+|oops|actually|edit|just\s+kidding|no|sorry|hold\s+on|hang\s+on|scratch"
    r"|on\s+second\s+thought|let\s+me\s+(?:re|double)\W?\s?check|or\s+rather|I\s+(?:made|forgot|take|was|mis\w+))\b"
    r"|但|可是|然而|不过|等等|不对|哦不|更正|抱歉|其实|以上|上述|舍去|是?增根|检验|经检验)",
    re.IGNORECASE,
)
"""What a text begins with that takes an answer back."""
_DENIED = re.compile(
    rf"{_PUNCTUATION}(?:(?:and|which|that|this|it|he|she|they)\s+)*(?:(?:is|was|are)\s+|['’]s\s+)(?:an?\s+|the\s+)?(?:(?!not\b)\w+\s+)?"
    r"(?:wrong|incorrect|false|mistaken|extraneous|rejected|discarded|invalid|inadmissible|not\s+(?:right|correct|valid|allowed)|contradiction|too\s+(?:many|few|small|large|big|high|low))\b"
    rf"|{_PUNCTUATION}(?:which|that|this|it)\s+(?:double|over)\W?counts"
    rf"|{_PUNCTUATION}(?:(?:and|which|that|this|it)\s+)*(?:does\s*(?:not|n['’]t)\s+(?:satisfy|work|fit|hold)|fails\b)",
    re.IGNORECASE,
)
"""What denies an answer at once."""
_TAKEN_BACK = re.compile(
    r"\b(?:is|are|was|be|['’]s)\s+(?:(?!not\b)\w+\s+)?(?:a\s+misprint|wrong|incorrect|false|mistaken|not\s+(?:\w+\s+)?(?:right|correct|true))\b"
    r"|\bisn['’]t\s*(?:right|correct|true|[.!])|\bmistake\b|\bI\s+(?:forgot|misread|miscounted|miscalculated|overcounted|double.counted)\b"
    r"|\bscratch\s+that\b|\btake\s+(?:that|it)\s+back\b|\bno,?\s+wait\b|\bwait,?\s+no\b"
    r"|\b(?:the|this)\s+(?:problem|question)\s+(?:asks|wants)\b|\b(?:double|over)\W?count|\bcounts?\b[^.]{0,40}\btwice\b|\btoo\s+(?:many|few)\b"
    rf"|^{_PUNCTUATION}(?:no[.,!]|correction\b|actually,?\s+[-−\d\\$]|edit:\s+[-−\d\\$]|just\s+kidding\b)|\boops\b|\bor\s+rather\b|\bsorry\b|\bhmm+,?\s+no\b|有误|算错|弄错|看错|写错|错了|不对|更正|其实不",
    re.IGNORECASE,
)
_UNFIT = re.compile(
    r"\bno\s+(?:real\s+)?(?:solutions?|roots?|answers?)\b|\bdoes\s*(?:not|n['’]t)\s+(?:satisfy|work|hold|fit)|\bextraneous\b"
    r"|\b(?:is|are|was|be)\s+(?:\w+\s+)?(?:rejected|discarded|excluded|inadmissible|invalid|impossible|not\s+(?:valid|allowed|possible))\b"
    r"|\bisn['’]t\s*(?:valid|allowed|possible)|\bdenominators?\s+(?:is\s+|to\s+be\s+|be\s+|becomes?\s+|vanish|equal\s+to\s+)?(?:zero|0)\b"
    r"|无解|增根|舍去|不符合?题意|不合题意|不满足|不成立|无意义|分母为(?:零|0)",
    re.IGNORECASE,
)
"""What may also be said of another value."""
_CONFIRMED = re.compile(
    r"(?<!not )(?<!n['’]t )(?<!not quite )\b(?:correct|right|fine|consistent|valid|stands|holds"
    r"|confirm(?:s|ed)?|indeed|matches|verified|works|satisfies|yes)\b|(?<!不)(?:正确|成立|没错|没有错|符合|满足|无误|对的)",
    re.IGNORECASE,
)
_NO_SOLUTION = re.compile(
    r"\b(?:there\s+(?:is|are)|has|have)\s+no\s+(?:real\s+)?(?:solutions?|roots?)\b|(?:方程|不等式|题|故|所以)无解",
    re.IGNORECASE,
)
_REFERRED = re.compile(
    r"\b(?:if|unless|when|otherwise|others?|another|only|students?|people|many|some)\b|很多人|同学|学生|如果|若|否则|另|其他",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![A-Za-z\d.])[-−]?\d+(?:\.\d+)?")


def may_be_taken_back(after: str) -> bool:
    """Whether the text behind an answer begins like one that takes it back."""
    return bool(_BUT.match(after) or _DENIED.match(after))


def is_denied(after: str) -> bool:
    """Whether the text behind an answer denies it at once: "7, which is a contradiction"."""
    return _DENIED.match(after) is not None


def taken_back(after: str, answer: str = "") -> str | None:
    """What is left of an answer after the text behind it: None if it stands, "" or "no solution" if not."""
    after = after[:_LONGEST_AFTER]
    if _DENIED.match(after):
        return _left(after)
    if not _BUT.match(after):
        return None
    denials = [*_TAKEN_BACK.finditer(after), *_UNFIT.finditer(after)]
    denials = [denial for denial in denials if not _of_another(after, denial, answer)]
    if not denials or _CONFIRMED.search(after, max(denial.end() for denial in denials)):
        return None
    return _left(after)


def _left(after: str) -> str:
    return "no solution" if _NO_SOLUTION.search(after) else ""


def _of_another(after: str, denial: re.Match[str], answer: str) -> bool:
    """Whether a denial is conditional or about a value that is not the answer."""
    clause = _CLAUSE.split(after[: denial.start()])[-1]
    if _REFERRED.search(clause):
        return True
    numbers = _NUMBER.findall(clause) if denial.re is _UNFIT else []
    return bool(answer and numbers) and not any(number in answer for number in numbers)
