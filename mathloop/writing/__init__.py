"""What a model writes: problems, by operations on other problems. One shape for all of it:

    template ─ planning ─▶ prompts ─ writer, cache ─▶ texts ─ parsing, operation, checks ─▶ problems
                                                        └─▶ dropped, each with the reason

A writer is the champion, another policy, or any OpenAI-compatible endpoint. A new operation is a file and a
line in `operations`, a new template a YAML file. Votes on the written problems are drawn by the same writer.
"""
