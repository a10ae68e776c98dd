"""Four recipes on one engine: pretrain, sft, reward_model, grpo."""
