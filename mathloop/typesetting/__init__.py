"""Responses as they are shown: prose with its formulas as MathML, code, and output of programs.

The report and the solver's page use this one renderer. Texts come from models and data files: nothing of them
becomes markup except through the trees that `typeset` returns, whose element names are in `ELEMENTS`.
"""

from mathloop.typesetting.blocks import Block, split_blocks
from mathloop.typesetting.formulas import typeset, typeset_answer
from mathloop.typesetting.mathml import ELEMENTS, Node, to_mathml

__all__ = ["ELEMENTS", "Block", "Node", "split_blocks", "to_mathml", "typeset", "typeset_answer"]
