"""Translation into Chinese (Paper §3.1.1: the Chinese problems). Numbers and gold answer stay."""

from mathloop.writing.operations.operation import Operation
from mathloop.writing.operations.reword import check

OPERATION = Operation("translate", "the same problem in Chinese", keeps_answer=True, writes="zh", check=check)
