"""The table of operations. A new one is its file and one line here."""

from mathloop.writing.operations import (
    add_condition,
    change_numbers,
    combine_concepts,
    fractions,
    need_computing,
    raise_complexity,
    reword,
    translate,
    translate_to_english,
    write_new,
)
from mathloop.writing.operations.operation import Operation

OPERATIONS: dict[str, Operation] = {
    module.OPERATION.name: module.OPERATION
    for module in (
        write_new,
        change_numbers,
        fractions,
        combine_concepts,
        add_condition,
        raise_complexity,
        need_computing,
        reword,
        translate,
        translate_to_english,
    )
}
"""By name, as templates name them. `problems.evolve` changes numbers without a model, by rules."""

__all__ = ["OPERATIONS", "Operation"]
