"""The shards of a stage's sampling, and how pods and replay count them alike."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.errors import Corrupt, MathloopError, StorageRefused
from mathloop.files import write_file
from mathloop.records import Mode, Problem, Response, read_responses, write_responses
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sampler import Rollout, Sampler
from mathloop.storage import Store

_RESPONSES, _CALL = "responses.parquet", "call.json"
"""Files of a shard."""


class End(NamedTuple):
    """What a pod says when it has drawn its shards."""

    seconds: float
    """Since its stage began."""
    unfit: frozenset[str]
    """Keys of the problems that do not fit their model's context; pods of one stage ask for the same ones."""


@dataclass(frozen=True)
class Shards:
    """Where the shards of a stage are, and how many responses each of them has."""

    store: Store
    name: str
    """Artifacts `<name>/shards/<number>`, and `<name>/pods/<number>` of each pod that has drawn its own."""
    responses: int
    """As few more or less as one pod's batches need."""
    pods: int
    waits: bool = False
    """The stage's prompts depend on earlier responses, so that pods wait for each other's shards: each call
    of `stream` is divided among all of them."""

    def artifact(self, number: int) -> str:
        """The artifact of a shard, from 0; it is the marker that the shard is done."""
        return f"{self.name}/shards/{number}"

    def end(self, pod: int) -> str:
        """The marker of a pod that has drawn all of its shards; it holds the problems that do not fit."""
        return f"{self.name}/pods/{pod}"

    def complete(self) -> bool:
        """Whether every pod has drawn its shards."""
        return all(self.store.exists(self.end(pod)) for pod in range(self.pods))

    def ends(self) -> list[End]:
        """What the pods have said, once all of them are done."""
        found = []
        with tempfile.TemporaryDirectory(prefix="mathloop-") as folder:
            for pod in range(self.pods):
                file = Path(folder, f"{pod}.json")
                self.store.fetch(self.end(pod), file)
                seconds, unfit = json.loads(file.read_bytes())
                found.append(End(seconds, frozenset(unfit)))
        return found

    def read(self, part: Part) -> list[Response]:
        """The responses of a shard, with their rewards. Raises Corrupt, and removes it, if it is another."""
        with tempfile.TemporaryDirectory(prefix="mathloop-") as folder:
            shard = Path(folder, "shard")
            try:
                self.store.fetch(self.artifact(part.number), shard)
                if json.loads((shard / _CALL).read_bytes()) != part.call:
                    raise Corrupt(f"{self.store.url}: {self.artifact(part.number)!r} is of other problems")
                return list(read_responses(shard / _RESPONSES))
            except Corrupt as error:  # two pods of one index may have published at the same moment
                for pod in range(self.pods):
                    self.store.remove(self.end(pod))
                self.store.remove(self.artifact(part.number))
                raise Corrupt(
                    f"{error} (shard {part.number + 1} was removed; retry the step, which draws it alone "
                    "again)"
                ) from None

    def publish(self, part: Part, responses: list[Response]) -> None:
        """Publishes a shard, unless somebody else has meanwhile."""
        with tempfile.TemporaryDirectory(prefix="mathloop-") as folder:
            shard = Path(folder, "shard")
            shard.mkdir()
            write_responses(shard / _RESPONSES, responses)
            write_file(shard / _CALL, json.dumps(part.call).encode())
            try:
                self.store.publish(shard, self.artifact(part.number))
            except StorageRefused:
                # The pod that this one replaces was only cut off, and has published the shard meanwhile.
                if not self.store.exists(self.artifact(part.number)):
                    raise


class Part(NamedTuple):
    """A shard of one call of `stream`."""

    number: int
    problems: Sequence[Problem]
    first: int
    call: str
    """Digest of what is drawn, by which a reader knows that it is what it would draw."""


@dataclass
class Counts:
    """What pods and replay count alike: samplers, shards, and the responses that each pod has to draw."""

    shards: Shards
    samplers: int = 0
    parts: int = 0
    loads: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.loads = [0] * self.shards.pods

    def cut(
        self, config: SamplingConfig, problems: Sequence[Problem], mode: Mode, samples: int, how: Any
    ) -> Iterator[tuple[Part, int]]:
        """Yields each shard with the pod that draws it: the one that has least to draw so far."""
        batch = max(1, config.batch_size // samples)
        most = self.shards.responses // samples
        if self.shards.waits:
            most = min(most, -(-len(problems) // self.shards.pods) + batch - 1)
        size = max(1, most // batch) * batch
        for first in range(0, len(problems), size):
            some = problems[first : first + size]
            asked = [asdict(one) for one in some]
            call = json.dumps([first, asked, mode, samples, how, config.model_dump(mode="json")])
            pod = self.loads.index(min(self.loads))
            self.loads[pod] += len(some) * samples
            number, self.parts = self.parts, self.parts + 1  # whoever reads this may stop at the last one
            yield Part(number, some, first, hashlib.sha256(call.encode()).hexdigest()), pod


class NumberedSampler(Sampler):
    """A sampler of a stage that is shared; the first has number 1."""

    def __init__(self, number: int, config: SamplingConfig) -> None:
        self.number, self.config = number, config

    def key(self, problem: Problem, mode: Mode) -> str:
        """Of the prompt. Ids do not do: those of a writer's prompts are not theirs alone."""
        prompt = json.dumps([self.number, mode, problem.problem, self.config.model_dump(mode="json")])
        return hashlib.sha256(prompt.encode()).hexdigest()

    def close(self) -> None:
        """Holds nothing."""

    def take_weights(self, weights: Iterable[Any]) -> None:
        """Raises MathloopError: pods only draw."""
        raise MathloopError("sampling pods take no weights")

    def sleep(self) -> None:
        """Nothing to leave."""

    def wake(self) -> None:
        """Nothing to take."""


def empty(problem_id: str, sample: int, mode: Mode, temperature: float) -> Response:
    """In place of a response that this pod's stage need not see."""
    return Response(problem_id, sample, mode, "", finish_reason="length", temperature=temperature)


def rollout(response: Response) -> Rollout:
    return Rollout(response, [], [], [], [])
