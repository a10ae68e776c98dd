"""RL objectives: one file each, with its advantages, its token weights and its loss.

To add one, write its file and list it in OBJECTIVES; `grpo.objective` then accepts the name. This module does
not import torch, because settings are checked without it.
"""

OBJECTIVES = {
    "grpo": "mathloop.training.objectives.grpo:GRPO",
    "dr_grpo": "mathloop.training.objectives.dr_grpo:DR_GRPO",
    "gspo": "mathloop.training.objectives.gspo:GSPO",
    "dapo": "mathloop.training.objectives.dapo:DAPO",
}
"""`module:attribute` of each `Objective`, by the name that settings use."""
