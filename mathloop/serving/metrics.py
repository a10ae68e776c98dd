"""Prometheus metrics of the solver at /metrics, in addition to kserve's."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = Histogram(
    "mathloop_request_seconds",
    "Seconds from a question to its answer",
    ("strategy", "mode", "status"),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
"""`status` is ok, cancelled, or the HTTP status of the refusal."""
QUEUE = Gauge("mathloop_queue_length", "Questions that wait for their turn")
QUEUE_SECONDS = Histogram(
    "mathloop_queue_seconds",
    "Seconds that a question waited for its turn",
    buckets=(0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
TOKENS = Counter("mathloop_generated_tokens", "Tokens sampled")
CANDIDATES = Counter("mathloop_candidates", "Responses drawn")
SAVED = Counter("mathloop_saved", "Responses that were not drawn, since the vote was settled")
DEGRADED = Counter("mathloop_degraded", "Answers without the reward model that was to choose them")
TIMEOUTS = Counter("mathloop_sandbox_timeouts", "Programs of responses that ran out of time")
REFUSED = Counter("mathloop_refused", "Requests refused before they were questions", ("status",))
