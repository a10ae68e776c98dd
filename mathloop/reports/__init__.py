"""One self-contained HTML page a round."""
