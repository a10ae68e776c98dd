"""Training data by sampling: CoT and TIR responses for SFT, labeled responses, and problems for GRPO."""
