"""The connections of `serve.py`: uvicorn closes one that is idle after an answer, not one before.

connection or answer ──▶ head of a request, whole in time ──▶ body, as `service` bounds it
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedProtocol(H11Protocol):
    """Close connections on which the head of a request takes too long, and those beyond a limit."""

    head_seconds = 10.0
    max_connections = 1000
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for the head of a request."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.close()
        self.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what arrived; the time runs on until a head is whole."""
        super().data_received(data)
        self.watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self.watch()

    def watch(self) -> None:
        """Start the time where no request is being answered, else stop it."""
        idle = self.cycle is None or self.cycle.response_complete
        if self.timer and not idle:
            self.timer.cancel()
            self.timer = None
        elif idle and not self.timer:
            self.timer = self.loop.call_later(self.head_seconds, self.transport.close)
