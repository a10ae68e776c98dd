"""Final answers: extracting them from a response, and deciding whether two of them are equal.

`verify` is the reward of reinforcement learning, so it prefers a false "not equal" to a false "equal",
and no input can make it hang: what plain arithmetic cannot decide goes to a worker process with a deadline.

    response ─ extraction ─▶ answer ─ normalization ─▶ text ─ notation, tokens, parser, reading ─▶ tree
    tree, tree ─ simplification, equivalence (names, ranges, units) ─▶ pairs of expressions
    expressions: compared by exact values, else refuted by floats, else proved by the prover's worker
"""

from mathloop.answers.extraction import extract_answer
from mathloop.answers.verification import Verdict, verify, verify_response

__all__ = ["Verdict", "extract_answer", "verify", "verify_response"]
