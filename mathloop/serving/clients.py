"""Whose request it is: the name of its key, or its address."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """A client; the queue is fair among them."""

    address: str
    key: str | None = None
    """Name of its key; None where the server asks for none."""

    @property
    def name(self) -> str:
        """Of keys and addresses apart."""
        return f"address {self.address}" if self.key is None else f"key {self.key}"


_CURRENT: ContextVar[Client] = ContextVar("client", default=Client(""))  # noqa: B039


def set_client(client: Client) -> None:
    """The current request is this client's."""
    _CURRENT.set(client)


def current_client() -> Client:
    """Whose request is answered."""
    return _CURRENT.get()
