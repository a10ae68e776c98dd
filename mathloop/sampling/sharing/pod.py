"""A pod's samplers: they draw its own shards, and hold no place for those of the others but an empty one."""

from __future__ import annotations

import json
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mathloop.errors import MathloopError
from mathloop.files import write_file
from mathloop.records import Mode, Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import engine, load_engines
from mathloop.sampling.rewarding import Scorer, read_scorer
from mathloop.sampling.sampler import Rollout, Sampler
from mathloop.sampling.sharing.shards import Counts, NumberedSampler, Part, Shards, empty, rollout

POLL_SECONDS = 2.0
PATIENCE = 1800.0
"""Seconds after which a pod draws a shard itself for which it waits: its owner may be without a node."""


class Pod:
    """The source of samplers in pod `index`; `end` is called when the stage has ended."""

    def __init__(
        self,
        shards: Shards,
        index: int,
        *,
        say: Callable[[str], None] = print,
        poll_seconds: float = POLL_SECONDS,
        patience: float = PATIENCE,
    ) -> None:
        """`patience`: seconds after which it draws a shard itself for which it waits."""
        self.shards, self.index, self.say = shards, index, say
        self.poll_seconds, self.patience = poll_seconds, patience
        self.counts = Counts(shards)
        self.unfit: set[str] = set()
        self._began = time.monotonic()
        self.scoring: Scorer | None = None
        self._asked: tuple[Path, str] | None = None
        self._to_score: deque[_Drawn | float] = deque()

    def sampler(self, folder: Path, config: SamplingConfig) -> Sampler:
        """Loads the policy only if it has a shard to draw with it."""
        self.counts.samplers += 1
        return _PodSampler(self, self.counts.samplers, folder, config)

    def scorer(self, folder: Path, dtype: str) -> Scorer:
        """Scores this pod's own responses; the rewards are published with them."""
        self._asked = folder, dtype
        return self._score

    def end(self) -> None:
        """Publishes the marker that this pod's shards are drawn. Raises MathloopError if some are not."""
        if any(isinstance(one, _Drawn) for one in self._to_score):
            raise MathloopError("the stage ended before it had scored all responses")
        with tempfile.TemporaryDirectory(prefix="mathloop-") as folder:
            file = Path(folder, "end.json")
            write_file(file, json.dumps([time.monotonic() - self._began, sorted(self.unfit)]).encode())
            self.shards.store.publish(file, self.shards.end(self.index))

    def drawn(self, part: Part, samples: int) -> _Drawn:
        """A shard at work."""
        return _Drawn(self, part, len(part.problems) * samples, scored=self._asked is not None)

    def expect(self, responses: Sequence[Response], drawn: _Drawn | None) -> None:
        """The stage gets these responses next, to score them; None: they are not of this pod's drawing."""
        if self._asked is not None:
            self._to_score.extend(drawn or one.reward or 0.0 for one in responses)

    def _score(self, dialogues: Sequence[tuple[str, Mode, str]]) -> list[float]:
        drawn = [self._to_score.popleft() for _ in dialogues]
        known = [one for one in drawn if not isinstance(one, _Drawn)]
        if len(known) == len(drawn):
            return known
        own = drawn[0]
        assert isinstance(own, _Drawn)
        assert self._asked is not None
        if self.scoring is None:
            self.scoring = read_scorer(*self._asked)
        rewards = self.scoring(dialogues)
        own.add_rewards(rewards)
        return rewards


@dataclass
class _Drawn:
    """A shard at work: published once it has all responses, and their rewards where they are scored."""

    pod: Pod
    part: Part
    expected: int
    scored: bool
    responses: list[Response] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def add(self, responses: Sequence[Response]) -> None:
        self.responses += responses
        self._publish()

    def add_rewards(self, rewards: Sequence[float]) -> None:
        self.rewards += rewards
        self._publish()

    def _publish(self) -> None:
        if len(self.responses) < self.expected or (self.scored and len(self.rewards) < self.expected):
            return
        if self.scored:
            pairs = zip(self.responses, self.rewards, strict=True)
            self.responses = [replace(response, reward=reward) for response, reward in pairs]
        self.pod.shards.publish(self.part, self.responses)
        self.pod.say(f"shard {self.part.number + 1} is done")


class _PodSampler(NumberedSampler):
    def __init__(self, pod: Pod, number: int, folder: Path, config: SamplingConfig) -> None:
        super().__init__(number, config)
        self._pod, self._folder, self._first_config = pod, folder, config
        self._fitting: Any = None
        self._loaded: Sampler | None = None

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.close()

    def fits(self, problem: Problem, mode: Mode) -> bool:
        if self._fitting is None:
            from mathloop.sampling.fitting import Fitting

            context = engine(self.config.engine).context(self._folder, self._first_config)
            self._fitting = Fitting(self._folder, self._first_config, context)
        fits: bool = self._fitting.fits(problem, mode, self.config)
        if not fits:
            self._pod.unfit.add(self.key(problem, mode))
        return fits

    def stream(
        self,
        problems: Sequence[Problem],
        *,
        mode: Mode,
        samples: int,
        temperature: float,
        seed: int,
        first: int = 0,
    ) -> Iterator[list[Rollout]]:
        pod = self._pod
        for part, owner in pod.counts.cut(self.config, problems, mode, samples, [temperature, seed]):
            if self._mine(part, owner):
                drawn = pod.drawn(part, samples)
                for group in self._sampler().stream(
                    part.problems,
                    mode=mode,
                    samples=samples,
                    temperature=temperature,
                    seed=seed,
                    first=first + part.first,
                ):
                    responses = [one.response for one in group]
                    pod.expect(responses, drawn)
                    drawn.add(responses)
                    if pod.shards.waits or drawn.scored:
                        yield group
                    else:  # nobody needs its verdicts here
                        yield [
                            rollout(empty(one.problem_id, one.sample, mode, temperature)) for one in responses
                        ]
                continue
            if pod.shards.waits:
                read = pod.shards.read(part)
            else:
                asked = ((one, sample) for one in part.problems for sample in range(samples))
                read = [empty(one.id, sample, mode, temperature) for one, sample in asked]
            pod.expect(read, None)
            yield [rollout(replace(response, reward=None)) for response in read]

    def _mine(self, part: Part, owner: int) -> bool:
        """Whether this pod has to draw the shard. Where it needs all of them, it waits for the others'."""
        pod, waited = self._pod, 0.0
        if owner != pod.index and not pod.shards.waits:
            return False
        while not pod.shards.store.exists(pod.shards.artifact(part.number)):
            if owner == pod.index or (pod.shards.waits and waited >= pod.patience):
                return True
            time.sleep(pod.poll_seconds)
            waited += pod.poll_seconds
        return False

    def _sampler(self) -> Sampler:
        if self._loaded is None:
            self._loaded = load_engines(self._folder, self._first_config)
        self._loaded.config = self.config
        return self._loaded
