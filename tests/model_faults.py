"""Models that are small enough for a test, and the ways in which a model's folder can be broken."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

TEXTS = ["Mia has 3 apples. Tom gives her 4 more.", "So the answer is \\boxed{7}."]


def write_models(folder: Path, *, tied: bool = True) -> tuple[Path, Path]:
    """Writes a policy and a reward model on it; returns their folders, `policy` and `reward_model`."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from mathloop.models.loading import new_reward_model
    from mathloop.training.tokenizer import train_tokenizer

    policy, reward_model = folder / "policy", folder / "reward_model"
    tokenizer = train_tokenizer(TEXTS, 400)
    torch.manual_seed(0)
    net = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=256,
            tie_word_embeddings=tied,
        )
    )
    net.save_pretrained(policy)
    tokenizer.save_pretrained(policy)
    new_reward_model(policy)[0].save(reward_model, tokenizer)
    return policy, reward_model


class Trap:
    """What a pickle may hold: loading it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return _spring, (str(self.path),)


def _spring(path: str) -> None:
    Path(path).write_text("code of a pickle was run")


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(folder / "sprung")))


def _change_weights(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def break_folder(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return break_folder


def _halve(weights: dict[str, object]) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name] = weights[name][:12].copy()  # type: ignore[index]


def _shorten_embeddings(folder: Path) -> None:
    """As in a folder that has another model's tokenizer."""
    _change_weights(lambda w: w.update({_EMBEDDINGS: w[_EMBEDDINGS][:64].copy()}))(folder)  # type: ignore[index]
    _change_json("config.json", vocab_size=64)(folder)


_EMBEDDINGS = "model.embed_tokens.weight"


def _shard(folder: Path) -> None:
    """In two files and an index, of which one file is missing."""
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def shard(folder: Path) -> None:
    """Deals the weights to two files with an index, as large models come."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(sorted(weights))}
    for file in sorted(set(names.values())):
        part = {name: weights[name] for name in weights if names[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def _change_json(name: str, **values: object) -> Callable[[Path], None]:
    def break_folder(folder: Path) -> None:
        whole = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**whole, **values}))

    return break_folder


def _leave_out(*names: str) -> Callable[[Path], None]:
    def break_folder(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return break_folder


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _adapters(folder: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, "there is no such folder"),
    "no config": (_leave_out("config.json"), "no config.json"),
    "config is not JSON": (_write("config.json", "{"), "config.json is not JSON"),
    "config is nested too deep": (_write("config.json", "[" * 5000), "config.json is not JSON"),
    "config is a list": (_write("config.json", "[]"), "config.json is not a JSON object"),
    "config without a type": (_write("config.json", "{}"), "names no model_type"),
    "unknown type": (_change_json("config.json", model_type="nothing"), "does not know model_type"),
    "width is a word": (_change_json("config.json", hidden_size="wide"), "cannot be loaded as a model"),
    "code of its own": (
        _change_json("config.json", model_type="x", auto_map={"AutoConfig": "x.C"}),
        "no code of a model's own is run",
    ),
    "tokenizer with code of its own": (
        _change_json("tokenizer_config.json", auto_map={"AutoTokenizer": ["x.T", None]}),
        "never run",
    ),
    "adapters alone": (_adapters, "merge them into their base model"),
    "truncated weights": (_truncate, "model.safetensors: truncated or damaged"),
    "empty weights": (_write("model.safetensors", ""), "truncated or damaged"),
    "LFS pointer": (
        _write("model.safetensors", "version https://git-lfs.github.com"),
        "git lfs pull",
    ),
    "no weights": (_leave_out("model.safetensors"), "no weights (model.safetensors)"),
    "pickled weights": (_pickle, "only pickled weights (pytorch_model.bin)"),
    "other weights": (
        _change_json("config.json", transformers_weights="x.bin"),
        "remove that field",
    ),
    "a tensor is missing": (
        _change_weights(lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight")),
        "layers.1.mlp.up_proj.weight, which config.json asks for",
    ),
    "a layer is missing": (_change_json("config.json", num_hidden_layers=3, layer_types=None), "and 11 more"),
    "a tensor of another shape": (_change_weights(_halve), "is [12, 16] in the weights, and [24, 16]"),
    "a shard is missing": (_shard, "no model-00002-of-00002.safetensors in this folder"),
    "no tokenizer": (
        _leave_out("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        "no tokenizer in this folder",
    ),
    "tokenizer without its vocabulary": (_leave_out("tokenizer.json"), "no tokenizer in this folder"),
    "tokenizer is not JSON": (_write("tokenizer.json", "{"), "cannot be loaded as a model"),
    "tokenizer of another model": (_shorten_embeddings, "do not belong together"),
    "no chat template": (_leave_out("chat_template.jinja"), "no chat template; add chat_template.jinja"),
    "chat template is broken": (_write("chat_template.jinja", "{% for m in x %}"), "cannot render a prompt"),
}
"""Name → (what breaks a whole folder, a part of the refusal)."""
