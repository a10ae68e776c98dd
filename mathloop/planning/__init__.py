"""What a round takes, before it runs: samples, tokens, memory, GPU-hours, storage.

settings ─ workload ─▶ samples and tokens per stage ─ timing ─▶ GPU-hours
    └───── fitting ──▶ memory per GPU, part by part ─ findings ─▶ what does not fit and what to change
"""

from mathloop.planning.plan import Plan, make_plan

__all__ = ["Plan", "make_plan"]
