"""Compare the service with the pipeline offline: throughput with many clients, latency with one.

    python benchmarks/serving.py --model out/cg --data test.jsonl.gz --threads 1 --clients 1 16 100

Each client has a connection of its own and sends one text after the other. Both sides compute with
as many threads. CPU time is that of who answers, without the clients; latency is relative to the
median call of the pipeline with one text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timing import print_table, ratio

from irti_custom import MaskedSeqClassificationPipeline, read_records

SCRIPT = Path(__file__).parent.parent / "examples" / "serve.py"
AT_ONCE, SINGLE = "pipeline, all texts at once", "pipeline, a call per text"
_HEAD = b"%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


class Turn(NamedTuple):
    """What one turn took: on the clock, on the CPU of who answers, and per text."""

    wall: float
    cpu: float
    latencies: list[float]


class Client:
    """A connection that asks one thing after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, what: bytes, body: bytes = b"") -> bytes:
        """Return the body of the answer."""
        self.writer.write(_HEAD % (what, len(body)) + body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head)
        if found is None or not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode())
        return await self.reader.readexactly(int(found[1]))


async def connect(port: int) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port))


async def seconds_of_cpu(port: int) -> float:
    text = await (await connect(port)).ask(b"GET /metrics")
    return float(re.findall(rb"^process_cpu_seconds_total (\S+)$", text, re.MULTILINE)[0])


async def send_all(port: int, bodies: list[bytes], clients: int) -> Turn:
    async def send(queue: Iterator[bytes]) -> None:
        client = await connect(port)
        for body in queue:
            begun = time.perf_counter()
            await client.ask(b"POST /classify", body)
            latencies.append(time.perf_counter() - begun)
        client.writer.close()

    latencies: list[float] = []
    before, begun, queue = await seconds_of_cpu(port), time.perf_counter(), iter(bodies)
    await asyncio.gather(*(send(queue) for _ in range(clients)))
    wall = time.perf_counter() - begun
    return Turn(wall, await seconds_of_cpu(port) - before, latencies)


def serve(port: int, bodies: list[bytes], clients: int) -> Turn:
    return asyncio.run(send_all(port, bodies, clients))


def offline(pipe: MaskedSeqClassificationPipeline, inputs: list[dict], at_once: bool) -> Turn:
    latencies: list[float] = []
    begun, cpu = time.perf_counter(), time.process_time()
    for part in [inputs] if at_once else inputs:
        start = time.perf_counter()
        pipe(part)
        latencies.append(time.perf_counter() - start)
    return Turn(time.perf_counter() - begun, time.process_time() - cpu, latencies)


def start_service(args: argparse.Namespace, flags: list[str]) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, str(SCRIPT), "--model", args.model, "--port", "0", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"running on http://\S+:(\d+)", line):
            return process, int(found[1])
    raise SystemExit("The service did not start.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="a file of texts with spans")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 100])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runtime", default="", help="of an exported graph, as --precision")
    parser.add_argument("--precision", default="")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    graph = {name: getattr(args, name) for name in ("runtime", "precision") if getattr(args, name)}
    pipe = MaskedSeqClassificationPipeline.from_pretrained(args.model, device="cpu", **graph)
    inputs = [
        {"text": one["text"], "spans": [[span["start"], span["end"]] for span in one["spans"]]}
        for one in islice(read_records(args.data), args.rows)
    ]
    bodies = [json.dumps({"inputs": one}).encode() for one in inputs]
    flags = [
        part for name, value in {**graph, "device": "cpu"}.items() for part in (f"--{name}", value)
    ]
    process, port = start_service(args, [*flags, "--threads", str(args.threads)])
    calls: dict[str, Callable[[], Turn]] = {
        AT_ONCE: partial(offline, pipe, inputs, True),
        SINGLE: partial(offline, pipe, inputs, False),
    }
    for clients in args.clients:
        name = f"service, {clients} client{'s' * (clients > 1)}"
        calls[name] = partial(serve, port, bodies, clients)
    turns: dict[str, list[Turn]] = {name: [] for name in calls}
    try:
        for turn in range(args.repeats + 1):
            for name, call in calls.items():
                taken = call()
                if turn:  # the first one warms up
                    turns[name].append(taken)
    finally:
        process.terminate()
        process.wait()
    report(turns, f"Service: {len(inputs)} texts, {args.threads} thread(s)")


def times(turns: list[Turn], clock: str) -> np.ndarray:
    return np.array([getattr(turn, clock) for turn in turns])


def report(turns: dict[str, list[Turn]], title: str) -> None:
    at_once, single = (turns[name] for name in (AT_ONCE, SINGLE))
    call = np.median([latency for turn in single for latency in turn.latencies])
    rows = []
    for name, found in turns.items():
        speeds = [ratio(times(at_once, clock), times(found, clock)) for clock in ("wall", "cpu")]
        latencies = np.concatenate([turn.latencies for turn in found]) / call
        cells = [f"{value:.2f}" for value in np.quantile(latencies, [0.5, 0.95])]
        rows.append([name, *speeds, *(["", ""] if found is at_once else cells)])
    columns = ["", "× speed", "× speed by CPU time", "× latency, median", "95 %"]
    print_table(title, columns, rows)


if __name__ == "__main__":
    main()
