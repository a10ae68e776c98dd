"""The nano tokenizer: loaded beside its model, it must cut texts as it did when the model was trained."""

from __future__ import annotations

from pathlib import Path

from transformers import Qwen2Config, Qwen2ForCausalLM

from mathloop.corpus.config import CorpusConfig
from mathloop.corpus.write import write_documents
from mathloop.models.loading import load_policy
from mathloop.training.samples import encode
from mathloop.training.tokenizer import train_tokenizer


def test_a_loaded_tokenizer_cuts_texts_as_the_trained_one(tmp_path: Path) -> None:
    rows = list(write_documents(CorpusConfig(documents=400), 3))
    trained = train_tokenizer((f"{r['problem']}\n{r['solution']}" for r in rows), 1024)
    Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(trained),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
        )
    ).save_pretrained(tmp_path)
    trained.save_pretrained(tmp_path)
    _, loaded = load_policy(tmp_path)
    for row in rows:
        before = encode(trained, row["problem"], row["mode"], row["solution"])  # type: ignore[arg-type]
        assert encode(loaded, row["problem"], row["mode"], row["solution"]) == before  # type: ignore[arg-type]
        assert loaded.decode(before.tokens).count(str(row["problem"])) == 1
    assert "".join(trained.decode([t]) for t in trained.encode("小明有12个")) == "小明有12个"
    assert len(trained.encode("小明有12个")) == 6
