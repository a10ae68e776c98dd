"""Problem sources: files, the built-in generator, and evolution."""
