"""Pretraining text: so far the nano world's corpus."""
