"""Writes a problem without a parent: what the model has learned that problems are."""

from mathloop.writing.operations.operation import Operation

OPERATION = Operation("write_new", "a new problem, from no other", fields=())
