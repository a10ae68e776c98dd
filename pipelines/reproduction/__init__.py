"""The paper's whole story at nano scale, as local runs: the model writes the next one's corpus."""
