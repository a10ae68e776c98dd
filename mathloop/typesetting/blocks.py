"""The parts of a response: prose, code, and output of the code."""

from __future__ import annotations

import re
from typing import NamedTuple

# Possessive, and from the first of the backticks only: an opening line without an end is read once.
_FENCE = re.compile(r"(?<!`)`{3,}+[ \t]*+(\w*+)[^\n`]*+\n(.*?)(?:\n?```|\Z)", re.DOTALL)


class Block(NamedTuple):
    """A part of a response."""

    kind: str
    """prose, python, output, or code for any other language."""
    text: str


def split_blocks(text: str) -> list[Block]:
    """The blocks of a response, in order; prose that is blank is left out. Fences are as in Markdown."""
    blocks: list[Block] = []
    end = 0
    text = text.replace("\r\n", "\n")
    for match in _FENCE.finditer(text):
        blocks.append(Block("prose", text[end : match.start()].strip()))
        language = match[1].lower()
        blocks.append(Block(language if language in ("python", "output") else "code", match[2]))
        end = match.end()
    blocks.append(Block("prose", text[end:].strip()))
    return [block for block in blocks if block.text or block.kind != "prose"]
