"""The solver as a KServe model server: KServe's health, model and metrics routes, OpenAI's beside them."""

from __future__ import annotations

import asyncio
import logging.config
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mathloop.errors import BadConfig, UserError
from mathloop.serving.config import MODEL
from mathloop.serving.refusals import Refused
from mathloop.serving.solver import Solver

POLL_SECONDS = 2.0
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "kserve": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "kserve.trace": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "mathloop.serving": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
"""Without a line for every probe; what was asked and answered is never logged."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a taken port is known before a model is loaded. 0 is any free port.

    Raises BadConfig where the address cannot be had.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise BadConfig(
            f"--host {host}: no address of this machine; 127.0.0.1 is this machine alone"
        ) from None
    bound = socket.socket(family, kind, number)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(256)
    except OSError as error:
        bound.close()
        reason = (error.strerror or str(error)).lower()
        raise BadConfig(f"port {port} of {host}: {reason}; choose another --port or --host") from None
    return bound


def serve(
    solver: Solver, bound: socket.socket, *, key: str | None, wait: float, told: Callable[[], None]
) -> None:
    """Serves until SIGTERM or SIGINT, then answers what it has begun and returns.

    Args:
        bound: from `bind`; closed in the end.
        wait: seconds that the engine may take until it can answer; meanwhile only the probes are answered.
        told: called once, when it can.

    Raises:
        UserError: the engine could not answer in time; its reason.
    """
    kserve = _import_kserve()
    import uvicorn

    from mathloop.serving.guard import Guard
    from mathloop.serving.routes import solver_routes

    logging.config.dictConfig(LOGGING)
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # of kserve's own routes

    class SolverModel(kserve.Model):  # type: ignore[misc, name-defined]
        """What KServe's routes know of the solver: whether it is ready."""

        async def healthy(self) -> bool:
            return solver.ready

    class Server(uvicorn.Server):
        """Prepares the engine beside serving, so that probes are answered from the start."""

        failure: BaseException | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self._preparing = asyncio.create_task(_prepare(solver, wait))
            self._preparing.add_done_callback(self._prepared)

        def _prepared(self, task: asyncio.Task[None]) -> None:
            self.failure = None if task.cancelled() else task.exception()
            if self.failure is not None:
                self.should_exit = True
            elif not task.cancelled():
                told()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            self._preparing.cancel()
            await super().shutdown(sockets)
            await solver.engine.close()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # uvicorn's own raises a signal again once it has drained: we would not end with 0

    model_server = kserve.ModelServer(http_port=bound.getsockname()[1], enable_grpc=False)
    model = SolverModel(MODEL)
    model.ready = True
    model_server.register_model(model)
    app = kserve.model_server.app
    app.include_router(solver_routes(solver))
    kserve.protocol.rest.server.RESTServer(
        "kserve.model_server:app", model_server.dataplane, model_server.model_repository_extension, 0
    ).create_application()
    app.add_middleware(Guard, key=key, body_bytes=solver.config.body_bytes)
    # ModelServer.start would bind 0.0.0.0; a server of our own takes the socket.
    grace = int(solver.config.deadline) + 1
    server = Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=grace
        )
    )
    usual = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[bound])
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        bound.close()
    if isinstance(server.failure, Refused):
        raise UserError(f"{server.failure.detail}; start it, or give --wait SECONDS to wait for it")
    if server.failure is not None:
        raise server.failure


async def _prepare(solver: Solver, wait: float) -> None:
    """Raises Refused where the engine still cannot answer after `wait` seconds."""
    end = time.monotonic() + wait
    while True:
        try:
            return await solver.prepare()
        except Refused:
            if time.monotonic() + POLL_SECONDS > end:
                raise
        await asyncio.sleep(POLL_SECONDS)


def _import_kserve() -> Any:
    """kserve reads the command line as it is imported; ours is not meant for it."""
    own, sys.argv = sys.argv, sys.argv[:1]
    try:
        import kserve
        import kserve.model_server
        import kserve.protocol.rest.server
    except ImportError as error:
        missing = f"serving needs packages that are not installed ({error.name})"
        raise UserError(f"{missing}; pip install 'mathloop[serve]'") from None
    finally:
        sys.argv = own
    return kserve
