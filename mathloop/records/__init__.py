"""`Problem` and `Response`, and how data sets of them are read and written."""

from mathloop.records.schema import FinishReason, Language, Mode, Problem, Response

__all__ = ["FinishReason", "Language", "Mode", "Problem", "Response"]
