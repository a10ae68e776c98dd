"""A writer behind a URL: any server with OpenAI's chat completions, which is not trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from mathloop.errors import UserError
from mathloop.records import Mode
from mathloop.serving.endpoint import Endpoint, Retries, open_client
from mathloop.serving.refusals import Refused
from mathloop.serving.urls import check_url
from mathloop.writing.config import WritingConfig
from mathloop.writing.opening import endpoint_digest
from mathloop.writing.writers import Finish, Text, Writer

LONGEST_PAUSE = 60.0
LONGEST_ASKED = 600.0
"""Seconds; see `Retries`."""


class EndpointWriter(Writer):
    """Sends several requests at a time. Each text is yielded as it arrives, so that a kill loses none."""

    def __init__(self, config: WritingConfig) -> None:
        """Asks the server for its model, unless `config` names one.

        Raises:
            BadConfig: no URL, or a key that is none.
            UserError: the server does not answer, or not as such a server does.
        """
        root = check_url("writing.endpoint", config.endpoint)
        self._config = config
        self._runner = asyncio.Runner()
        self._client = open_client(config.request_seconds)
        tries = config.tries
        retries = Retries(tries, tries, LONGEST_PAUSE, LONGEST_ASKED, whole=True)
        model = config.endpoint_model
        self._endpoint = Endpoint("the writer", root, self._client, model=model or None, retries=retries)
        try:
            model = model or self._runner.run(self._endpoint.model())
        except Refused as refused:
            self.close()
            raise UserError(f"{refused.detail}; start it, or correct writing.endpoint") from None
        self.digest = endpoint_digest(root, model)

    def close(self) -> None:
        """Closes its connections; requests at work are given up."""
        self._runner.run(self._client.aclose())
        self._runner.close()

    def write(
        self, prompts: Sequence[str], temperature: float, seed: int, mode: Mode = "cot"
    ) -> Iterator[list[tuple[int, Text]]]:
        """Yields the texts as they arrive. `seed` is not sent: a server need not keep to it. The only mode is
        cot: `WritingConfig` refuses programs here.

        Raises UserError if the server still fails after all tries.
        """
        waiting = iter(enumerate(prompts))
        running: set[asyncio.Task[tuple[int, Text]]] = set()
        loop = self._runner.get_loop()
        try:
            while True:
                while len(running) < self._config.parallel and (one := next(waiting, None)) is not None:
                    running.add(loop.create_task(self._one(*one, temperature)))
                if not running:
                    return
                done, running = self._runner.run(asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))
                # What has arrived is kept, even beside a request that failed.
                if arrived := [task.result() for task in done if task.exception() is None]:
                    yield arrived
                for task in done:
                    if isinstance(error := task.exception(), Refused):
                        raise UserError(
                            f"{error.detail}, after {self._config.tries} tries; run the same again later: "
                            "what it has written is kept"
                        )
                    task.result()
        finally:
            for task in running:
                task.cancel()

    async def _one(self, number: int, prompt: str, temperature: float) -> tuple[int, Text]:
        sampling = self._config.sampling
        payload: dict[str, Any] = {
            "messages": [{"role": "user", "content": prompt}],
            "temperature": temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
        }
        try:
            answer = await self._endpoint.post("/v1/chat/completions", payload, whole=_text_of)
        except Refused as refused:
            if refused.status == 400:
                return number, Text("", "refused")
            raise
        return number, _text_of(answer)


def _text_of(answer: dict[str, Any]) -> Text:
    """The text of a completion. Raises ValueError for one without text or reason to end, or cut in two."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(choice, dict) or not isinstance(content, str):
        raise ValueError("no text")
    ended = choice.get("finish_reason")
    if ended is None:
        raise ValueError("half a text")
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else 0
    finish: Finish = "stop" if ended == "stop" else "length"
    return Text(content, finish, tokens if type(tokens) is int and 0 <= tokens < 2**40 else 0)
