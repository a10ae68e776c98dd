"""Training data by sampling: CoT and TIR responses for SFT, ranked responses, and problems for GRPO."""
