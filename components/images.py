"""The container images that components run in on a cluster; the local runner ignores them."""

CONTROL_IMAGE = "mathloop/control:0.1.0"
"""Light work: stores, problem sets, statistics, reports. No torch."""
SAMPLER_IMAGE = "mathloop/sampler:0.1.0"
"""Sampling: torch, transformers, vLLM."""
TRAINER_IMAGE = "mathloop/trainer:0.1.0"
"""Training: torch, DeepSpeed."""
