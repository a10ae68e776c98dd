"""Continuous batching: sequences of many questions are decoded together, and join and leave between steps.

Orca (Yu et al. 2022, OSDI) calls this iteration-level scheduling. A prompt is read once for all its samples,
and remembered for a while. A sequence is a function of its prompt, its seed and its number alone: it has its
own random numbers, so that neither the others in the batch nor the time of joining change what it draws (up
to rounding, which may decide between two tokens that are equally likely).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

import torch

from mathloop.models.memory import ran_out
from mathloop.sampling.decoding import extend
from mathloop.sampling.draws import Draw, Row, draw_next
from mathloop.sampling.prefixes import Prefixes
from mathloop.sampling.shared_cache import Prefix, SharedCache
from mathloop.sampling.shared_steps import Step, model_step

READ_TOKENS = 4_096
"""Tokens of prompts, padding included, that are read between two steps."""
MARGIN = 64
"""Columns that must be free for a sequence to join, so that it is not taken out again at once."""
JOIN_PART, JOIN_STEPS = 8, 4
"""Unread prompts wait for others, to be read together, until they are an eighth of the sequences that write,
or for so many steps. Answers of 24 to 72 tokens took a tenth less CPU so, with 200 and with 40 at once."""
FREE_PART = 4
"""Once a fourth of the places is free, the cache is rebuilt as soon as these have cost as much as a step:
copying it costs about that much, and others may join before."""


class ContinuousDecoder:
    """Decodes with one model. All calls but the tools' come from one thread."""

    def __init__(
        self,
        model: Any,
        end_tokens: frozenset[int],
        *,
        tokens_at_once: int,
        tools: Executor,
        step: Step | None = None,
    ) -> None:
        """`tokens_at_once` bounds the cache, in tokens; `tools` runs the interpreters.

        `step` is one for this model; None: the model itself.
        """
        self._step, self._ends, self._tools = step or model_step(model), end_tokens, tools
        self._most = tokens_at_once
        self._waiting: deque[Row] = deque()
        self._rows: list[Row | None] = []
        """By their place in the cache; None where a sequence has left."""
        self._cache = SharedCache()
        self._prefixes = Prefixes(model)
        self._postponed = 0
        """Steps for which those that wait have been waiting for others."""
        self._together = 0
        """Sequences of the last step."""
        self._unused = 0
        """Places of sequences that have left, added up over the latest steps while they are many."""
        self.on_tool: Callable[[], None] = lambda: None
        """Called, in another thread, when an interpreter has answered: a step may be possible again."""

    def add(self, draw: Draw) -> None:
        """Its sequences join as soon as there is room, after those that came before."""
        self._waiting.extend(Row(draw, number) for number in range(draw.samples))

    @property
    def idle(self) -> bool:
        """Whether nothing can be done before something is added or an interpreter answers."""
        return not self._waiting and all(row is None or self._blocked(row) for row in self._rows)

    @property
    def empty(self) -> bool:
        """Whether there is no sequence at all."""
        return not self._waiting and not any(self._rows)

    @torch.inference_mode()
    def step(self) -> bool:
        """Lets sequences leave and join, and draws the next token of each; False if none could go on."""
        self._drop_stopped()
        try:
            joined = self._join()
            return self._decode() or joined
        except Exception as error:
            if not ran_out(error) or not self._give_way():
                self.fail(error)
            return True

    def fail(self, error: Exception) -> None:
        """Ends all draws with this error."""
        draws = list(dict.fromkeys(row.draw for row in (*self._rows, *self._waiting) if row is not None))
        self._rows, self._cache = [], SharedCache()
        self._waiting.clear()
        for draw in draws:
            draw.settle(error)

    @staticmethod
    def _blocked(row: Row) -> bool:
        return row.waiting and row.output is None and not row.draw.over

    def _drop_stopped(self) -> None:
        """Also those whose interpreter has failed, with its error."""
        if any(row.draw.over for row in self._waiting):
            self._waiting = deque(row for row in self._waiting if not row.draw.over)
        self._rows = [None if row is None or row.draw.over else row for row in self._rows]

    def _give_way(self) -> bool:
        """After memory ran out: all begin again, in half of the space. False if only one was tried."""
        if self._together < 2:
            return False
        self._most = max(1, min(self._most, self._cache.columns * len(self._rows) or self._most) // 2)
        self._put_back([row for row in self._rows if row is not None])
        self._rows, self._cache = [], SharedCache()
        self._prefixes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _put_back(self, rows: Sequence[Row]) -> None:
        """These begin again, before those that wait: with the same numbers they draw the same tokens."""
        gone = set(map(id, rows))
        self._rows = [None if row is None or id(row) in gone else row for row in self._rows]
        self._waiting.extendleft(Row(row.draw, row.number) for row in reversed(rows))

    # Joining

    def _join(self) -> bool:
        """As many of those that wait as there is room for; the first token of each is drawn."""
        if self._postpones():
            self._postponed += 1
            return False
        self._postponed = 0
        joining: list[Row] = []
        live = sum(row is not None for row in self._rows)
        width = self._cache.end - self._cache.begin if live else 0
        fresh: dict[tuple[int, ...], None] = {}
        for row in self._waiting:
            prompt = row.draw.prompt
            width = max(width, len(prompt))
            rows = live + len(joining) + 1
            if rows > 1 and rows * (width + min(MARGIN, row.draw.max_tokens)) > self._most:
                break
            if prompt not in self._prefixes and prompt not in fresh:
                longest = max(map(len, (*fresh, prompt)))
                if fresh and longest * (len(fresh) + 1) > READ_TOKENS:
                    break
                fresh[prompt] = None
            joining.append(row)
        self._together = live + len(joining)
        if not joining:
            return False
        self._prefixes.read(list(fresh))
        prefixes = [self._prefixes.take(row.draw.prompt) for row in joining]
        logits = torch.stack([prefix.logits for prefix in prefixes])
        for _ in joining:
            self._waiting.popleft()
        try:
            self._extend(joining, logits)
            self._place([each for each in zip(joining, prefixes, strict=True) if self._continues(each[0])])
        except Exception:  # none may be lost: they begin again, or fail with the others
            self._put_back([row for row in joining if self._continues(row) and row not in self._rows])
            raise
        self._prefixes.forget()
        return True

    def _postpones(self) -> bool:
        """Whether those that wait are few, unread, and have not waited for long."""
        writing = sum(row is not None and not row.waiting for row in self._rows)
        few = 0 < JOIN_PART * len(self._waiting) < writing and self._postponed + 1 < JOIN_STEPS
        return few and not any(row.draw.prompt in self._prefixes for row in self._waiting)

    def _place(self, joining: Sequence[tuple[Row, Prefix]]) -> None:
        """Gives each a row of the cache, which is rebuilt if it is too small."""
        if not joining:
            return
        longest = max(prefix.length for _, prefix in joining)
        free = [place for place, row in enumerate(self._rows) if row is None]
        missing = len(joining) - len(free)
        if self._cache.room_for(longest) and (missing <= 0 or self._cache.grow(missing)):
            self._rows += [None] * max(0, missing)
        else:
            self._rebuild(len(joining), longest, [row for row, _ in joining])
        free = [place for place, row in enumerate(self._rows) if row is None]
        alike: dict[int, list[tuple[int, Prefix]]] = {}
        for place, (row, prefix) in zip(free, joining, strict=False):
            self._rows[place] = row
            alike.setdefault(prefix.length, []).append((place, prefix))
        for together in alike.values():
            self._cache.join([place for place, _ in together], [prefix for _, prefix in together])

    def _rebuild(self, more: int, prompt: int, joining: Sequence[Row]) -> None:
        assert self._prefixes.newest is not None
        keep = [place for place, row in enumerate(self._rows) if row is not None]
        rows = [row for row in self._rows if row is not None]
        spare = max((row.draw.max_tokens - len(row.sequence.tokens) for row in (*rows, *joining)), default=1)
        self._cache.rebuild(keep, more, prompt, self._prefixes.newest, spare)
        self._rows = [*rows, *([None] * more)]
        self._unused = 0

    # Decoding

    def _decode(self) -> bool:
        self._take_outputs()
        live = [place for place, row in enumerate(self._rows) if row is not None]
        writes = [place for place in live if not self._rows[place].waiting]  # type: ignore[union-attr]
        if not writes:
            return False
        unused = len(self._rows) - len(live)
        self._unused = self._unused + unused if FREE_PART * unused >= len(self._rows) else 0
        if self._unused > len(self._rows) or not self._cache.room_for(0):
            self._make_room()
            live = [place for place, row in enumerate(self._rows) if row is not None]
            writes = [place for place in live if not self._rows[place].waiting]  # type: ignore[union-attr]
            if not writes:
                return False
        self._cache.release(live)
        tokens, positions = [0] * len(self._rows), [0] * len(self._rows)
        chosen = [self._rows[place] for place in writes]
        rows = [row for row in chosen if row is not None]
        for place, row in zip(writes, rows, strict=True):
            tokens[place], positions[place] = row.sequence.tokens[-1], row.position
        all_write = len(writes) == len(self._rows)
        # Empty rows see their own token: one that saw nothing would leave NaN in the cache.
        seeing = [place for place, row in enumerate(self._rows) if row is None or not row.waiting]
        all_see = len(seeing) == len(self._rows)
        logits = self._cache.step(self._step, tokens, positions, None if all_see else seeing)
        self._extend(rows, logits if all_write else logits[torch.tensor(writes, device=logits.device)])
        for place, row in zip(writes, rows, strict=True):
            if not self._continues(row):
                self._rows[place] = None
        return True

    def _make_room(self) -> None:
        """Rebuilds the cache without the rows that have left; the youngest begin again if it is too large."""
        rows = [row for row in self._rows if row is not None]
        width = self._cache.end - self._cache.begin
        most = max(1, self._most // (width + min(MARGIN, self._cache.columns)))
        self._put_back(rows[most:])
        self._rebuild(0, 0, ())

    def _take_outputs(self) -> None:
        for row in self._rows:
            if row is not None and row.output is not None and row.draw.tool is not None:
                row.sequence.forced = row.draw.tool.encode(row.output)
                row.waiting, row.output = False, None

    def _extend(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Draws and appends the next token of each row."""
        tokens, logprobs = draw_next(rows, logits)
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            draw, sequence = row.draw, row.sequence
            try:
                move = extend(sequence, token, logprob, self._ends, draw.tool, draw.stop)
            except Exception as error:  # of this question's tokens alone: the others go on
                draw.settle(error)
                continue
            if draw.heard is not None:
                draw.heard(len(sequence.tokens) - 1, sequence.tokens[-1])
            if move == "ends" or len(sequence.tokens) >= draw.max_tokens:
                draw.finished[row.number] = sequence
                if all(draw.finished):
                    draw.settle([one for one in draw.finished if one is not None])
            elif move == "asks":
                sequence.tool_calls += 1
                row.waiting = True
                self._tools.submit(self._ask, row)

    @staticmethod
    def _continues(row: Row) -> bool:
        return row.draw.finished[row.number] is None and not row.draw.over

    def _ask(self, row: Row) -> None:
        """In a thread of its own: the interpreter's output, or the end of the draw."""
        draw = row.draw
        assert draw.tool is not None
        try:
            output = draw.tool.run([draw.tool.decode(row.sequence.tokens)])[0]
        except Exception as error:
            draw.settle(error)
            self.on_tool()
            return
        row.output = output
        self.on_tool()
