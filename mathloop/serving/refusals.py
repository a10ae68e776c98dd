"""Refusals of requests: an HTTP status and OpenAI's error object with a one-line message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

KINDS = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}
"""OpenAI's error types by status; other mistakes of the client are "invalid_request_error"."""


UNAVAILABLE = "model_unavailable"
"""Code of refusals because the policy or the reward model does not answer."""


class Refused(Exception):
    """A refused request. The client sees the message, which reveals nothing of the server.

    `detail` is for the log and for the operator: addresses, statuses.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        detail: str | None = None,
        allow: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.detail = detail or message
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after = retry_after
        """Seconds after which the client may try again."""
        self.allow = allow
        """Methods of the path, where the request had another."""

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = KINDS.get(self.status, "invalid_request_error")
        return {
            "error": {"message": self.message, "type": kind, "param": self.param, "code": self.code},
        }

    def headers(self) -> dict[str, str]:
        """HTTP's, and one about retries for OpenAI's client, which otherwise repeats any 5xx."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        # A model that is unavailable was tried again already: retries would multiply.
        if self.status in (500, 504) or self.code == UNAVAILABLE:
            headers["x-should-retry"] = "false"
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.allow:
            headers["Allow"] = ", ".join(self.allow)
        return headers
