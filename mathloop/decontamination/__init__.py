"""Finds training data that is contaminated by a benchmark, and says why."""
