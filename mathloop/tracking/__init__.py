"""Scores and curves of a round in an experiment tracker, besides its report: MLflow, Weights & Biases."""
