"""One stage's sampling shared by several pods, through a store: results are those of one pod.

Every pod runs the stage, on all of its inputs. What it samples is cut into shards, which the pods divide
among them without a word: all of them count alike. A pod draws its own shards and publishes them; in place of
the others' responses its stage sees empty ones. Whoever started the pods then runs the stage once more, with
the responses read from the shards in order. A stage whose prompts depend on earlier responses has pods that
wait for the others' shards instead.

A stage that samples alone keeps its shards too (`run_keeping`): it is one pod, whose store is a folder.

A shard begins where one pod would begin a batch, so that it is drawn as one pod draws it.
"""

from mathloop.sampling.sharing.keeping import run_keeping
from mathloop.sampling.sharing.pod import Pod
from mathloop.sampling.sharing.replay import Replay
from mathloop.sampling.sharing.shards import Shards

__all__ = ["Pod", "Replay", "Shards", "run_keeping"]
