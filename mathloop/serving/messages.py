"""OpenAI's `messages`: the last one is the problem, and those before it are its context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mathloop.lines import is_blank
from mathloop.serving.fields import wrong
from mathloop.serving.refusals import Refused

ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """An earlier message: a system's, a user's or an assistant's (few-shot examples, or a conversation)."""

    role: str
    """system, user or assistant."""
    content: str


def read_messages(messages: Any) -> tuple[str, tuple[Message, ...]]:
    """The problem and the messages before it. Raises Refused."""
    if not isinstance(messages, list) or not messages:
        raise Refused(422, "messages: expected a list with the problem as its last message", param="messages")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            expected = f"an object with a role ({', '.join(ROLES)}) and content"
            raise wrong(f"messages[{number}]", expected, message)
    *before, last = messages
    where = f"messages[{len(before)}].content"
    if last["role"] != "user":
        raise Refused(422, "messages: the last one is the problem; its role must be user", param="messages")
    problem = _text(last.get("content"), where)
    if is_blank(problem):
        raise Refused(
            422, f"{where}: the problem is empty; write one", param="messages", code="empty_problem"
        )
    return problem.strip(), tuple(_earlier(before))


def _earlier(messages: list[dict[str, Any]]) -> list[Message]:
    turns: list[Message] = []
    for number, message in enumerate(messages):
        role = "system" if message["role"] == "developer" else str(message["role"])
        content = _text(message.get("content"), f"messages[{number}].content").strip()
        if role == "system" and any(turn.role != "system" for turn in turns):
            raise Refused(
                422, f"messages[{number}]: a {message['role']} message comes first", param="messages"
            )
        if content:
            turns.append(Message(role, content))
        elif role != "system":  # an empty system message says nothing
            raise Refused(422, f"messages[{number}].content: empty; remove the message", param="messages")
    return turns


def _text(content: Any, where: str) -> str:
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for part in parts:
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise wrong(
                where, "text, or a list of text parts", part if isinstance(content, list) else content
            )
    text = "\n".join(part["text"] for part in parts)
    if "\0" in text:
        raise Refused(422, f"{where}: holds a NUL character; remove it", param="messages")
    return text
