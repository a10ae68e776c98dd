"""Opens the writer that the settings name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mathloop.errors import BadConfig
from mathloop.files import content_digest
from mathloop.writing.config import WritingConfig
from mathloop.writing.writers import SamplerWriter, Writer


@contextmanager
def open_writer(config: WritingConfig, policy: Path | None) -> Iterator[Writer]:
    """The endpoint, the policy that `config` names, or the champion's.

    Raises:
        BadConfig: there is none, or the endpoint is not a URL.
        BadModel: the policy cannot be loaded or copied.
    """
    with ExitStack() as stack:
        if config.endpoint:
            # Only here: it needs httpx.
            from mathloop.writing.endpoint_writer import EndpointWriter

            yield stack.enter_context(EndpointWriter(config))
            return
        folder = policy
        if config.model:
            from mathloop.models.sources import obtained

            folder = stack.enter_context(obtained(config.model))
        if folder is None:
            raise BadConfig("no writer: set writing.model or writing.endpoint, or give a policy")
        from mathloop.sampling.engines import load_sampler

        sampler = load_sampler(folder, config.sampling)
        yield stack.enter_context(SamplerWriter(sampler, content_digest(folder)))


def endpoint_digest(root: str, model: str) -> str:
    """The digest of a model behind a URL, which cannot be seen: its address and its name."""
    return hashlib.sha256(f"{root}\0{model}".encode()).hexdigest()
