"""The engine of vLLM: continuous batching, and weights handed over by a trainer in the same process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mathloop.errors import BadConfig, BadData
from mathloop.models.folders import check_folder
from mathloop.models.loading import context_length, one_line
from mathloop.models.tokenizers import check_embeddings, end_tokens, load_tokenizer
from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.decoding import as_rollout
from mathloop.sampling.engines.vllm_loop import VllmLoop
from mathloop.sampling.interpreter import Interpreter
from mathloop.sampling.prompts import encode_prompt, stops_of
from mathloop.sampling.sampler import Rollout, Sampler, leaves_room

PROMPT_TOKENS = 4096
"""Room for a prompt beside the longest response, as far as the model's context reaches."""
CPU_CACHE = 1 << 30
"""Bytes of keys and values on a CPU. On a GPU they get the rest of the engine's share."""
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # tensors are handed over within this process
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # a trainer uses the same threads
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_LOGGING_LEVEL": "ERROR",  # a stage's log holds its own lines only
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


class VllmSampler(Sampler):
    """Samples with vLLM in this process; Python blocks run in the sandbox."""

    def __init__(
        self,
        llm: Any,
        tokenizer: Any,
        config: SamplingConfig,
        *,
        in_trainer: bool,
        generation_config: Any = None,
    ) -> None:
        self.llm, self.tokenizer, self.config = llm, tokenizer, config
        self._in_trainer = in_trainer
        self._ends = end_tokens(tokenizer, generation_config)
        self._interpreter = Interpreter(tokenizer)
        self._asleep = False

    @classmethod
    def load(cls, folder: Path, config: SamplingConfig) -> VllmSampler:
        """Loads a policy's folder.

        Raises:
            BadModel: the folder is not a policy's, or vLLM does not run it.
            BadConfig: vLLM is not installed.
        """
        check_folder(folder, "policy")
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import vllm  # noqa: F401
        except ImportError as error:
            raise BadConfig(
                f"engine: vllm cannot be imported ({error}); install it with `pip install 'mathloop[vllm]'`, "
                "or set engine to transformers"
            ) from error
        ranks = _trainer_ranks()
        with one_line(folder, "choose another model, or set engine to transformers"):
            llm, tokenizer = _load(folder, config, ranks)
            generation = _generation_config(folder)
        return cls(llm, tokenizer, config, in_trainer=ranks > 0, generation_config=generation)

    @classmethod
    def context(cls, folder: Path, config: SamplingConfig) -> int:
        """Tokens that the engine can read: no more than responses of `config` need. Raises BadModel."""
        return min(context_length(folder) or sys.maxsize, config.max_tokens + PROMPT_TOKENS)

    @classmethod
    def beside_trainer(cls, folder: Path, net: Any, tokenizer: Any, config: SamplingConfig) -> VllmSampler:
        """Loads the folder, as `load` does; `net` gets to it by `take_weights`."""
        return cls.load(folder, config)

    def close(self) -> None:
        """Stops the engine and the sandbox, and frees what they hold."""
        self._interpreter.close()
        if self.llm is None:
            return
        client = self.llm.llm_engine.engine_core
        if self._in_trainer:
            # vLLM's own shutdown would also destroy the trainer's process group.
            client._finalizer.detach()
            client.engine_core.model_executor.shutdown()
        else:
            client.shutdown()
        self.llm = None

    def fits(self, problem: Problem, mode: Mode) -> bool:
        """Whether the problem's prompt leaves room for a response in the engine's context."""
        prompt = encode_prompt(self.tokenizer, problem.problem, mode, self.config.prompt)
        context: int = self.llm.llm_engine.model_config.max_model_len
        return leaves_room(len(prompt), self.config.max_tokens, context)

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Copies all weights, named as in the model's folder, from memory; wakes up first."""
        self.wake()
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        self.llm.reset_prefix_cache()

    def sleep(self) -> None:
        """Leaves a GPU's memory to others until weights or problems come; a CPU's memory it keeps."""
        if torch.cuda.is_available() and not self._asleep:
            self.llm.sleep(level=1)
            self._asleep = True

    def wake(self) -> None:
        """Takes a GPU's memory again; without effect on one that is awake."""
        if self._asleep:
            torch.cuda.empty_cache()  # wake_up maps memory itself and gets none that PyTorch has in reserve
            self.llm.wake_up()
            self._asleep = False

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
        """Yields each problem's rollouts when they are done, in the order of `problems`.

        `first`: index of the first one among problems that several engines share. With top_p under 1,
        log-probabilities are those inside the nucleus. Raises BadData when a prompt fills the engine's
        context.
        """
        self.wake()
        engine = self.llm.llm_engine
        context = engine.model_config.max_model_len
        prompts = [encode_prompt(self.tokenizer, p.problem, mode, self.config.prompt) for p in problems]
        for problem, prompt in zip(problems, prompts, strict=True):
            if len(prompt) >= context:
                raise BadData(
                    f"problem {problem.id} takes {len(prompt)} tokens, the engine's context has {context}; "
                    "leave it out, or choose a model with a longer context"
                )
        loop = VllmLoop(
            engine,
            prompts,
            samples=samples,
            temperature=temperature,
            end_tokens=self._ends,
            config=self.config,
            stop=stops_of(self.tokenizer, self.config),
            seed=seed,
            first=first * samples,
            tool=self._interpreter.tool(self.config) if mode == "tir" else None,
        )
        for group in loop.groups():
            problem, prompt = problems[group[0].prompt], prompts[group[0].prompt]
            yield [
                as_rollout(self.tokenizer, problem, prompt, decoded, index, mode, temperature)
                for index, decoded in enumerate(group)
            ]


def _trainer_ranks() -> int:
    """Processes of the trainer that this one belongs to; 0 without one."""
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 0


def _generation_config(folder: Path) -> Any:
    """The folder's generation config; its model config where it has none, as transformers reads it."""
    from transformers import AutoConfig, GenerationConfig

    if (folder / "generation_config.json").exists():
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _load(folder: Path, config: SamplingConfig, ranks: int) -> tuple[Any, Any]:
    """(LLM, tokenizer); no code of the folder's own is run, and no pickle read."""
    from transformers import AutoConfig
    from vllm import LLM

    tokenizer = load_tokenizer(folder, chat=config.prompt.by_chat)
    known = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    context = VllmSampler.context(folder, config)
    platform: dict[str, Any] = {
        "gpu_memory_utilization": config.gpu_memory,
        "enable_sleep_mode": True,
    }
    if not torch.cuda.is_available():
        platform = {
            "kv_cache_memory_bytes": CPU_CACHE,
            "enforce_eager": True,  # compiling takes minutes
            "enable_chunked_prefill": False,  # on a CPU, seeds do not work with prompts in parts
            "max_num_batched_tokens": max(context, 8192),
        }
    if config.tensor_parallel > 1:
        platform |= {"tensor_parallel_size": config.tensor_parallel, "distributed_executor_backend": "mp"}
    if ranks > 1:
        platform["distributed_executor_backend"] = "external_launcher"  # every rank has an engine of its own
    llm = LLM(
        str(folder),
        dtype=config.dtype,
        load_format="safetensors",
        generation_config="vllm",  # its end tokens are given with each request, the rest is ours
        logprobs_mode="processed_logprobs",  # of the distribution that is sampled
        max_model_len=context,
        max_num_seqs=config.batch_size,
        **platform,
    )
    check_embeddings(folder, tokenizer, known.get_text_config().vocab_size)
    return llm, tokenizer
