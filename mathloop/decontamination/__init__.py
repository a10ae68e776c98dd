"""Finds training data that touches a benchmark, and says why."""
