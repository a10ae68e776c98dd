"""The solver as a KServe model server, with KServe's health, model and metrics routes and OpenAI's routes."""

from __future__ import annotations

import asyncio
import gc
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
from mathloop.serving import tracing
from mathloop.serving.config import MODEL
from mathloop.serving.keys import Keys
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
"""Without a line per probe; questions and answers are never logged."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port in use is noticed before a model is loaded. Port 0 is any free port.

    Raises BadConfig if the address cannot be used.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise BadConfig(
            f"--host {host} is not an address of this machine; use 127.0.0.1 to accept local connections only"
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
    solver: Solver,
    bound: socket.socket,
    *,
    keys: Keys | None,
    wait: float,
    on_ready: Callable[[], None],
    page: bool = True,
) -> None:
    """Serves until SIGTERM or SIGINT, then finishes running requests and returns.

    Args:
        bound: socket from `bind`; closed at the end.
        wait: seconds that the engine may take to become ready; until then only probes are answered.
        on_ready: called once the engine can answer.
        page: whether there is a page at `/`.

    Raises:
        UserError: the engine did not become ready in time.
    """
    kserve = _import_kserve()
    import uvicorn

    from mathloop.serving.guard import Guard
    from mathloop.serving.page import add_page
    from mathloop.serving.request_ids import RequestIds
    from mathloop.serving.routes import add_routes

    logging.config.dictConfig(LOGGING)
    tracing.start()
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # in kserve's routes

    class SolverModel(kserve.Model):  # type: ignore[misc, name-defined]
        """Tells KServe's routes whether the solver is ready."""

        async def healthy(self) -> bool:
            return solver.ready

    class Server(uvicorn.Server):
        """Prepares the engine while serving, so that probes are answered from the start."""

        failure: BaseException | None = None
        _watching: asyncio.Task[None] | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self._preparing = asyncio.create_task(_prepare(solver, wait))
            self._preparing.add_done_callback(self._prepared)

        def _prepared(self, task: asyncio.Task[None]) -> None:
            self.failure = None if task.cancelled() else task.exception()
            if self.failure is not None:
                self.should_exit = True
            elif not task.cancelled():
                # What is there now stays: the collector need not look through all models and modules again.
                gc.collect()
                gc.freeze()
                on_ready()
                self._watching = asyncio.create_task(solver.watch())

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            self._preparing.cancel()
            if self._watching is not None:
                self._watching.cancel()
            await super().shutdown(sockets)
            await solver.close()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # uvicorn's version raises the signal again after draining: the exit code would not be 0

    model_server = kserve.ModelServer(http_port=bound.getsockname()[1], enable_grpc=False)
    model = SolverModel(MODEL)
    model.ready = True
    model_server.register_model(model)
    app = kserve.model_server.app
    add_routes(app, solver)
    if page:
        add_page(app)
    kserve.protocol.rest.server.RESTServer(
        "kserve.model_server:app", model_server.dataplane, model_server.model_repository_extension, 0
    ).create_application()
    # kserve times each request for a log that is off here.
    app.user_middleware = [one for one in app.user_middleware if "Timing" not in one.cls.__name__]
    app.add_middleware(Guard, keys=keys, body_bytes=solver.config.body_bytes)
    app.add_middleware(RequestIds)
    # ModelServer.start would bind 0.0.0.0; this server uses the given socket.
    grace = int(solver.config.deadline) + 1
    server = Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=grace
        )
    )
    handlers = {
        number: signal.signal(number, server.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        server.run(sockets=[bound])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        bound.close()
        gc.unfreeze()
    if isinstance(server.failure, Refused):
        raise UserError(f"{server.failure.detail}; start it, or set --wait SECONDS to wait for it")
    if server.failure is not None:
        raise server.failure


async def _prepare(solver: Solver, wait: float) -> None:
    """Raises Refused if the engine cannot answer after `wait` seconds."""
    end = time.monotonic() + wait
    while True:
        try:
            return await solver.prepare()
        except Refused:
            if time.monotonic() + POLL_SECONDS > end:
                raise
        await asyncio.sleep(POLL_SECONDS)


def _import_kserve() -> Any:
    """kserve parses sys.argv when it is imported, so it must not see mathloop's."""
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
