#!/usr/bin/env bash
# A tokenizer.json says all about a tokenizer, how text is cut before the merges included. One would expect AutoTokenizer
# to give the tokens that the `tokenizers` library gives for the same file.
#
#   transformers 5.19.0, tokenizers 0.23.3
#   tokenizers, the file alone                                   ['12345']
#   AutoTokenizer, config.json with "model_type": "qwen2"        ['1', '2', '3', '4', '5']
#   the same with tokenizer_class PreTrainedTokenizerFast        ['1', '2', '3', '4', '5']
#   AutoTokenizer without config.json                            ['12345']
#
# Beside a config.json of a Qwen2 model the class Qwen2Tokenizer is used whatever tokenizer_config.json names, and it puts
# Qwen2's own pre-tokenizer, which cuts numbers into digits, in place of the file's. A model of Qwen2's architecture that
# was trained with its own tokenizer gets tokens that it never saw, without a warning: numbers first of all.
# PreTrainedTokenizerFast.from_pretrained, called by name, follows the file.
#
# Installs both packages into a temporary folder, makes a tokenizer, and fails if what it sees has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.19.0 tokenizers==0.23.3
cd "$folder"
HF_HOME=$folder HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

merges = [("1", "2"), ("3", "4"), ("12", "34"), ("1234", "5")]
names = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in merges]
tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
whole, digits = ["12345"], list("12345")

folder = Path("model")
folder.mkdir()
tokenizer.save(str(folder / "tokenizer.json"))
seen = {"tokenizers": tokenizer.encode("12345").tokens}
for model_type, named in (("qwen2", {}), ("qwen2", {"tokenizer_class": "PreTrainedTokenizerFast"}), (None, {"tokenizer_class": "PreTrainedTokenizerFast"})):
    (folder / "config.json").unlink(missing_ok=True)
    if model_type:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    seen[f"AutoTokenizer, {model_type}, {named}"] = AutoTokenizer.from_pretrained(folder).tokenize("12345")
(folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
seen["PreTrainedTokenizerFast"] = PreTrainedTokenizerFast.from_pretrained(folder).tokenize("12345")
for name, tokens in seen.items():
    print(name, tokens, sep="   ")
assert list(seen.values()) == [whole, digits, digits, whole, whole], "changed"
PYTHON
