"""mathloop: a math language model that improves itself, in rounds."""

__version__ = "0.1.0"
