"""A model's tokenizer, checked when it is loaded: its faults would otherwise show with the first prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mathloop.errors import BadModel

_TURN = [{"role": "user", "content": "What is 1 + 2?"}]


def load_tokenizer(folder: Path) -> Any:
    """Loads a model's tokenizer. Raises BadModel as `check_tokenizer` does, or any error of transformers."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    check_tokenizer(folder, tokenizer)
    return tokenizer


def check_tokenizer(place: Path, tokenizer: Any) -> None:
    """Raises BadModel where the tokenizer of the model in `place` cannot render and encode a prompt."""
    if not getattr(tokenizer, "chat_template", None):
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
    if not tokens or set(tokens) == {tokenizer.unk_token_id}:
        raise BadModel(f"{place}: its tokenizer has no vocabulary; copy the tokenizer's files again")


def check_embeddings(place: Path, tokenizer: Any, rows: int) -> None:
    """Raises BadModel where a prompt's tokens go beyond the model's `rows` embeddings."""
    highest = max(*_encode(tokenizer), tokenizer.eos_token_id)
    if highest >= rows:
        raise BadModel(
            f"{place}: tokenizer and weights do not belong together (token {highest} in a prompt, {rows} "
            "embeddings); copy the tokenizer that the model was trained with"
        )


def _encode(tokenizer: Any) -> list[int]:
    text = tokenizer.apply_chat_template(_TURN, tokenize=False, add_generation_prompt=True)
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens
