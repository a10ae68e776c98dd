"""The solver: a problem in, the best of several answers out, by an OpenAI-compatible endpoint on KServe.

    request ─ questions ─▶ Question ─ solver (queue, deadline) ─▶ Engine.draw, Engine.rewards ─ voting ─▶
    Answer ─ wire ─▶ reply or server-sent events

An `Engine` draws responses and scores them: `local` on models in this process, `remote` by asking vLLM.
What a model may do on its way to an answer (tools, more samples where they disagree) belongs into an engine
or into the solver; the wire does not change for it. torch is imported by `local` alone, kserve by `server`.
"""
