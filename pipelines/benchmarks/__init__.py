"""`mathloop benchmark NAME`: figures beside a peer's, measured in the same run. A module for each name."""
