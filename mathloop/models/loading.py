"""The one loader: a policy or a reward model from its folder, or one line that says what is wrong with it.

transformers fills a tensor that it does not find with random numbers, makes a tokenizer without a vocabulary
where a folder has none, and reads a reward model as a policy; here each of these is a BadModel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mathloop.errors import BadModel, MathloopError
from mathloop.models.folders import AGAIN, HEAD, Kind, Weights, check_folder
from mathloop.models.linear import speed_up
from mathloop.models.logits import check_logits
from mathloop.models.quantized import full_shapes, full_weights
from mathloop.models.reward_model import RewardModel
from mathloop.models.text_part import BODY, OWN_FILES, LanguageModel, backbone, language_model, read_config
from mathloop.models.tokenizers import check_embeddings, load_tokenizer


def load_policy(folder: Path, dtype: torch.dtype = torch.float32, *, chat: bool = True) -> tuple[Any, Any]:
    """Loads (model, tokenizer) of a policy, onto the GPU where there is one.

    Raises BadModel, one line, whatever is wrong with the folder; a reward model is refused as one. Without
    `chat`, a base model's tokenizer needs no chat template.
    """
    with one_line(folder):
        weights = check_folder(folder, "policy")
        found = language_model(folder, read_config(folder))
        tokenizer = load_tokenizer(folder, chat=chat)
        model = _load(found, folder, weights, dtype)
        model._weight_conversions = None  # it is saved as its own class is, not as these weights came
        if model.base_model is model and hasattr(model, BODY):  # Llama 4, whose class names another attribute
            model.base_model_prefix = BODY
        _tell_untied(model)
        _check_embeddings(folder, tokenizer, model)
        model = model.to(_device())
        check_logits(folder, model)
        return model, tokenizer


def outline_policy(folder: Path) -> Any:
    """A policy's layers without their weights, on the meta device, as its config describes them.

    Raises BadModel, one line, where the folder is not a policy's.
    """
    with one_line(folder):
        check_folder(folder, "policy")
        found = language_model(folder, read_config(folder))
        with torch.device("meta"):
            return found.kind(found.config)


def context_length(folder: Path) -> int | None:
    """Tokens that the policy in `folder` can read, as its config says; None if it has no limit.

    Raises BadModel, one line, where the folder is not a policy's.
    """
    with one_line(folder):
        check_folder(folder, "policy")
        return getattr(read_config(folder).get_text_config(), "max_position_embeddings", None)


def load_reward_model(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[RewardModel, Any]:
    """Loads (reward model, tokenizer), onto the GPU where there is one; the head is in float32.

    Raises BadModel, one line, whatever is wrong with the folder; a policy is refused as one.
    """
    with one_line(folder):
        weights = check_folder(folder, "reward model")
        found = backbone(read_config(folder))
        tokenizer = load_tokenizer(folder)
        body = _load(found, folder, weights, dtype)
        _check_embeddings(folder, tokenizer, body)
        model = RewardModel(body, body.config.hidden_size)
        _check_head(folder, model, weights)
        model.head.load_state_dict(_read_head(weights))
        speed_up(model)
        return model.to(_device()).eval(), tokenizer


def new_reward_model(policy: Path) -> tuple[RewardModel, Any]:
    """(backbone of `policy` with a head of random weights, tokenizer). Raises BadModel as `load_policy`."""
    net, tokenizer = load_policy(policy)
    model = RewardModel(net.base_model, net.config.hidden_size)
    return model.to(net.device), tokenizer


def check_model(folder: Path, kind: Kind, *, chat: bool = True) -> None:
    """Raises BadModel where loading the folder as this kind would; reads no weights, only their shapes."""
    with one_line(folder):
        weights = check_folder(folder, kind)
        config = read_config(folder)
        found = backbone(config) if kind == "reward model" else language_model(folder, config)
        tokenizer = load_tokenizer(folder, chat=chat)
        outline = _outline(found, folder, weights)
        _check_embeddings(folder, tokenizer, outline)
        if kind == "reward model":
            _check_head(folder, RewardModel(outline, outline.config.hidden_size), weights)


@contextmanager
def one_line(place: Path, remedy: str = AGAIN) -> Iterator[None]:
    """Turns whatever goes wrong inside, while the model in `place` is loaded, into BadModel."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # a stage's log holds one progress bar, its own
    logging.set_verbosity_error()  # its warnings are raised here, as errors
    try:
        yield
    except MathloopError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise BadModel(f"{place}: needs more memory than is free; choose a smaller model") from error
    except Exception as error:  # libraries do not document what a damaged file makes them raise
        reason = next(iter(str(error).split("\n")), "").strip()[:300] or type(error).__name__
        raise BadModel(f"{place}: cannot be loaded as a model ({reason}); {remedy}") from error


def _check_used(folder: Path, config: Any, info: dict[str, Any]) -> None:
    """Raises BadModel where a model that asks for code of its own has weights that transformers' has not."""
    left = sorted(name for name in info["unexpected_keys"] if not name.startswith((HEAD, "lm_head.")))
    if left and getattr(config, "auto_map", None):
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise BadModel(
            f"{folder}: config.json asks for code of its own (auto_map), which is never run, and in "
            f"transformers' {config.model_type!r} there is no place for {left[0]}{more}; choose a model that "
            "transformers has"
        )


def check_complete(place: Path, info: dict[str, Any]) -> None:
    """Raises BadModel where transformers' loading info lists tensors that are missing or of another shape."""
    if info["mismatched_keys"]:
        name, found, expected = min(info["mismatched_keys"])
        raise BadModel(
            f"{place}: config.json and weights disagree: {name} is {list(found)} in the weights, and "
            f"{list(expected)} by config.json; {AGAIN}"
        )
    missing = sorted(info["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadModel(f"{place}: the weights lack {missing[0]}{more}, which config.json asks for; {AGAIN}")


def _load(found: LanguageModel, folder: Path, weights: Weights, dtype: torch.dtype) -> Any:
    from transformers import GenerationConfig

    quantization = found.quantization
    model, info = found.kind.from_pretrained(
        folder if quantization is None else None,
        config=found.config,
        key_mapping=found.renamed(weights.shapes),
        state_dict=None if quantization is None else full_weights(weights, quantization, dtype),
        dtype=dtype,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # `check_complete` says which
        output_loading_info=True,
        **OWN_FILES,
    )
    check_complete(folder, info)
    _check_used(folder, found.config, info)
    if quantization is not None and (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model


def _outline(found: LanguageModel, folder: Path, weights: Weights) -> Any:
    """The model with zeros for weights, all of a tensor's in one number's place: it takes no memory."""
    zero = torch.zeros(())
    shapes = weights.shapes if found.quantization is None else full_shapes(weights.shapes)
    model, info = found.kind.from_pretrained(
        None,
        config=found.config,
        key_mapping=found.renamed(weights.shapes),
        state_dict={name: zero.expand(shape) for name, shape in shapes.items()},
        dtype=zero.dtype,  # another one would be a copy, of all numbers
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    check_complete(folder, info)
    _check_used(folder, found.config, info)
    return model


def _tell_untied(model: Any) -> None:
    """Has the config say that a head has its own weights, which other libraries would not read otherwise."""
    head = model.get_output_embeddings()
    if head is not None and head.weight is not model.get_input_embeddings().weight:
        model.config.tie_word_embeddings = False


def _check_head(folder: Path, model: RewardModel, weights: Weights) -> None:
    for name, weight in model.head.state_dict().items():
        found, expected = weights.shapes.get(HEAD + name), list(weight.shape)
        if found != expected:
            raise BadModel(
                f"{folder}: the reward head does not fit the backbone: {HEAD}{name} is {found or 'missing'}, "
                f"expected {expected}; give a reward model that mathloop trained"
            )


def _check_embeddings(folder: Path, tokenizer: Any, model: Any) -> None:
    check_embeddings(folder, tokenizer, len(model.get_input_embeddings().weight))


def _read_head(weights: Weights) -> dict[str, Tensor]:
    head: dict[str, Tensor] = {}
    for path in weights.files:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(HEAD)]  # noqa: SIM118  (no dictionary)
            head |= {name.removeprefix(HEAD): file.get_tensor(name) for name in names}
    return head


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
