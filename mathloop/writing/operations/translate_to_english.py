"""Translation into English, the paper's the other way round. Numbers and gold answer stay."""

from mathloop.writing.operations.operation import Operation
from mathloop.writing.operations.reword import check

OPERATION = Operation(
    "translate_to_english", "the same problem in English", keeps_answer=True, writes="en", check=check
)
