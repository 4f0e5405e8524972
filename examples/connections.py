"""Connections of the service: none is held for longer than its client does something.

    connected ──▶ request line, headers ──▶ its answer ──▶ read by the client ──▶ the next request
                  └─ the client's turn ─┘               └─────── the client's turn ──────┘

uvicorn has no time-out for headers, and its bound on connections turns away those that come last.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def fit_connections(wanted: int, spare: int = 100) -> int:
    """Lower a number of connections to the files that the process may open, less some to spare."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return wanted
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == resource.RLIM_INFINITY else max(1, min(wanted, limit - spare))


def make_protocol(max_seconds: float, max_connections: int) -> type[H11Protocol]:
    """Make a protocol for uvicorn that closes connections whose clients let it wait.

    Args:
        max_seconds: for a whole request line and all headers, and for reading an answer, or more
            of it. The time for a body is the service's to bound.
        max_connections: where there are more, the one that has waited longest is closed.
    """

    class TimedProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _unread = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._set_timer()
            if len(self.connections) > max_connections:
                waiting = [one for one in self.connections if getattr(one, "_timer", None)]
                longest = min(waiting, key=lambda one: one._timer.when())
                longest._stop_timer()
                longest.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_timer()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._set_timer()

        def on_response_complete(self) -> None:
            self._stop_timer()
            super().on_response_complete()
            self._set_timer()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._set_timer()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._set_timer()

        def _set_timer(self) -> None:
            """Let the timer run while it is the client's turn, and at no other time."""
            is_answering = self.cycle is not None and not self.cycle.response_complete
            if is_answering and not self.flow.write_paused:
                self._stop_timer()
            elif self._timer is None:
                self._unread = self.transport.get_write_buffer_size()
                self._timer = self.loop.call_later(max_seconds, self._time_out)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _time_out(self) -> None:
            self._timer, unread = None, self._unread
            if 0 < self.transport.get_write_buffer_size() < unread:  # it reads, but slowly
                self._set_timer()
            else:
                self.transport.abort()

    return TimedProtocol
