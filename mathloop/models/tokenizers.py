"""A model's tokenizer, checked when it is loaded: its faults would otherwise show with the first prompt."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from mathloop.errors import BadModel

_OTHERS = (".model", ".tiktoken", "tekken.json")
"""Ends of the names of vocabularies that need packages of their own."""
_TEMPLATE = "chat_template.json"
"""Where models that also see once kept it; transformers reads it with their processor alone."""
_TURN = [{"role": "user", "content": "What is 1 + 2?"}]
_REPLY = "It is 3."
_PROBE = "12345 + 6.75 = x2; It's 1,000\t\u82f9\u679c  cafe\u0301\n\n  \\frac{1}{2}"
"""Text that pre-tokenizers split differently: numbers, spaces, signs, Chinese, an accent of its own."""


def load_tokenizer(folder: Path, *, chat: bool = True) -> Any:
    """Loads a model's tokenizer, which splits text as its tokenizer.json says.

    For some model types transformers puts a class of theirs in place of the one that the folder names, with a
    pre-tokenizer of its own: then numbers fall into other tokens than those that the model was trained on.

    Raises BadModel as `check_tokenizer` does or where tokenizer.json is not followed, or any error of
    transformers.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    own_files: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **own_files)
    except Exception as error:  # of a package that is not here, or of none
        others = sorted(path.name for path in folder.iterdir() if path.name.endswith(_OTHERS))
        if (folder / "tokenizer.json").exists() or not others:
            raise
        raise BadModel(
            f"{folder}: its tokenizer cannot be read from {others[0]} ({str(error).splitlines()[0][:200]}); "
            "add the tokenizer.json of a model with the same tokenizer"
        ) from error
    if not getattr(tokenizer, "chat_template", None) and (folder / _TEMPLATE).is_file():
        tokenizer.chat_template = _read_template(folder / _TEMPLATE)
    if not _follows_file(folder, tokenizer):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, **own_files)
        if not _follows_file(folder, tokenizer):
            raise BadModel(
                f"{folder}: its tokenizer does not split text as tokenizer.json says, because of "
                "tokenizer_config.json; save both again with the library that trained the model"
            )
    check_tokenizer(folder, tokenizer, chat=chat)
    return tokenizer


def check_tokenizer(place: Path, tokenizer: Any, *, chat: bool = True) -> None:
    """Raises BadModel where the tokenizer of the model in `place` cannot render and encode a prompt.

    Without `chat` it needs no chat template: its prompts are plain text.
    """
    if chat and not getattr(tokenizer, "chat_template", None):
        raise BadModel(f"{place}: its tokenizer has no chat template; add chat_template.jinja to the folder")
    if tokenizer.eos_token_id is None:
        raise BadModel(
            f"{place}: its tokenizer has no eos_token, to end a response; add one to tokenizer_config.json"
        )
    try:
        tokens = _encode(tokenizer)
    except Exception as error:  # a template is a program
        reason = str(error).split("\n")[0]
        raise BadModel(f"{place}: its chat template cannot render a prompt ({reason}); correct it") from error
    if chat and _TURN[0]["content"] not in _render(tokenizer):
        raise BadModel(
            f"{place}: its chat template leaves out a message that is plain text, as one does that "
            "takes lists of texts and images; correct chat_template.jinja"
        )
    if not tokens or set(tokens) == {tokenizer.unk_token_id}:
        raise BadModel(f"{place}: its tokenizer has no vocabulary; copy the tokenizer's files again")


def _follows_file(folder: Path, tokenizer: Any) -> bool:
    """Whether the tokenizer encodes a text as its tokenizer.json alone would, if it has one."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        return True
    own = Tokenizer.from_file(str(path))
    own.no_truncation()
    own.no_padding()
    expected: list[int] = own.encode(_PROBE, add_special_tokens=False).ids
    return bool(tokenizer(_PROBE, add_special_tokens=False)["input_ids"] == expected)


def check_embeddings(place: Path, tokenizer: Any, rows: int) -> None:
    """Raises BadModel where a prompt's tokens go beyond the model's `rows` embeddings."""
    highest = max(*_encode(tokenizer), tokenizer.eos_token_id)
    if highest >= rows:
        raise BadModel(
            f"{place}: tokenizer and weights do not belong together (token {highest} in a prompt, {rows} "
            "embeddings); copy the tokenizer that the model was trained with"
        )


def end_of_turn(tokenizer: Any) -> str:
    """The token with which the chat template closes a response; `eos_token` where it adds no special one.

    The two differ: Qwen2.5's base models have the eos_token <|endoftext|> and turns that end in <|im_end|>.
    """
    return _closing_token(tokenizer, tokenizer.chat_template, tokenizer.eos_token)


def end_tokens(tokenizer: Any, generation_config: Any = None) -> frozenset[int]:
    """All tokens that end a response: `eos_token`, the template's, and those of a model's generation config.

    `generation_config` has `eos_token_id`, a number or a list. Of these only special tokens count: a config
    that names none may carry the default of its class, which is an ordinary token of another tokenizer.
    """
    named: Any = getattr(generation_config, "eos_token_id", None)
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    listed: list[Any] = list(named) if isinstance(named, list | tuple) else [named]
    own = (int(tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer))), int(tokenizer.eos_token_id))
    return frozenset({*own, *(token for token in listed if token in special)})


@lru_cache(maxsize=8)
def _closing_token(tokenizer: Any, template: str | None, eos_token: str) -> str:
    """`end_of_turn`; rendered once for each tokenizer, since every sample asks."""
    if not template:
        return eos_token
    turns = [*_TURN, {"role": "assistant", "content": _REPLY}]
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    after = text.rpartition(_REPLY)[2].lstrip()
    specials = {added.content for added in tokenizer.added_tokens_decoder.values() if added.special}
    found = [token for token in specials if after.startswith(token)]
    return max(found, key=len, default=str(eos_token))


def _encode(tokenizer: Any) -> list[int]:
    tokens: list[int] = tokenizer(_render(tokenizer), add_special_tokens=False)["input_ids"]
    return tokens


def _render(tokenizer: Any) -> str:
    """The prompt of a turn; its text alone where there is no chat template."""
    if getattr(tokenizer, "chat_template", None):
        return str(tokenizer.apply_chat_template(_TURN, tokenize=False, add_generation_prompt=True))
    return _TURN[0]["content"]


def _read_template(path: Path) -> str | None:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: cannot be read ({error}); copy it again") from None
    template = values.get("chat_template") if isinstance(values, dict) else None
    return template if isinstance(template, str) else None
