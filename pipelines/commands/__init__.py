"""The commands and their options. Heavy imports are inside functions, so that light commands start fast."""
