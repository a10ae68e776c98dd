"""Pretraining text. Here: the nano world's corpus; recall, MinHash and quality scoring join it later."""
