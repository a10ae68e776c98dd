"""One spelling for answers that differ only in how they were typeset."""

from __future__ import annotations

import re
import unicodedata

_TRANSLATED = str.maketrans(
    {
        "，": ",", "；": ";", "：": ":", "（": "(", "）": ")", "【": "[", "】": "]", "｛": "{", "｝": "}",
        "−": "-", "–": "-", "—": "-", "﹣": "-", "－": "-", "＋": "+", "＝": "=", "／": "/", "％": "%", "．": ".",
        "＜": "<", "＞": ">", "。": ".", "＄": "$", "￥": "¥", "～": "~", "\u3000": " ", "\u00a0": " ", "\u2009": " ",
        "\u202f": " ", "\u200b": None, "\u200c": None, "\u2060": None, "\ufeff": None, "´": "'", "’": "'", "′": "'",
    }
)  # fmt: skip
_SPACING = re.compile(
    r"\\[,;:!> ]|\\(?:quad|qquad|displaystyle|textstyle|limits|left|right|bigl?|bigr|Bigl?|Bigr|hspace\{[^{}]*\})(?![a-zA-Z])|~"
)
_BRACED_COMMA = re.compile(r"(?<=\d)\s*\{\s*,\s*\}\s*(?:\\!)?\s*(?=\d)")
_TIGHT_COMMA = re.compile(r"(?<=\d),\s*\\!\s*(?=\d)")
_SIMPLE_FRACTION = re.compile(r"\\[cdt]?frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))")
_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mbox|operatorname|bf|rm)\s*\{([^{}]*)\}"
)


def normalize(text: str) -> str:
    """The answer without typesetting: delimiters, spacing commands, full-width forms, a closing full stop."""
    text = text.translate(_TRANSLATED)
    if not text.isascii():
        text = "".join(
            unicodedata.normalize("NFKC", mark) if mark in "０１２３４５６７８９" else mark for mark in text
        )
    if "\\" in text or "{" in text:
        text = _BRACED_COMMA.sub(",", text)
        text = _TIGHT_COMMA.sub(",", text)
        text = text.replace("\\$", "").replace("\\%", "%")
        text = _SPACING.sub(" ", text)
    text = text.replace("$", "").replace("\\(", "").replace("\\)", "").replace("\\[", "").replace("\\]", "")
    return re.sub(r"\s+", " ", text).strip().rstrip(".\\").strip()
