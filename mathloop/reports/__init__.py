"""The report of a round, as one self-contained HTML page."""
