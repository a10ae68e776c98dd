"""Policies and reward models: checked, loaded, saved and imported.

A model is a folder in Hugging Face's layout: config.json, safetensors, a tokenizer with a chat template. Code
and pickles from outside are never run. `sources` and `folders` need no torch; the others do.
"""
