"""The solver: answers a problem with the best of several responses, behind an OpenAI-compatible endpoint.

    request ─ questions ─▶ Question ─ solver (queue, deadline) ─▶ Engine.draw, Engine.rewards ─ voting ─▶
    Answer ─ wire ─▶ reply or server-sent events

An `Engine` draws responses and scores them: `local` with models in this process, `remote` through vLLM.
New ways to find an answer (tools, more samples when they disagree) belong in an engine or in the solver; the
wire format does not change. Only `local` imports torch, only `server` imports kserve.
"""
