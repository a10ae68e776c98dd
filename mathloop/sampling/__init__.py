"""Samples responses from a model: decoding, the tool loop, voting, and scoring by a reward model."""
