"""One rank of a trainer that samples with vLLM: for torch.distributed.run, with a model folder."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from mathloop.sampling.engines import load_sampler
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from tests.unit.sampling.test_sampling_vllm import CONFIG, check_equal, draw, make_model


def main() -> None:
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    with load_sampler(Path(sys.argv[1]), CONFIG) as sampler:
        net = make_model(sampler.tokenizer, seed=1 + rank)
        sampler.take_weights(net.state_dict().items())
        check_equal(draw(sampler), draw(TransformersSampler(net, sampler.tokenizer, CONFIG)))
    ranks = torch.ones(1)
    torch.distributed.all_reduce(ranks)  # the trainer goes on after its sampler has closed
    assert ranks.item() == 2
    torch.distributed.destroy_process_group()
    sys.stdout.write(f"rank {rank}\n")


if __name__ == "__main__":
    main()
