"""`mathloop benchmark NAME`: measurements next to a peer library's from the same run. One module per name."""
