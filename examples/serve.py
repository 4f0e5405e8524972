"""Serve a model over HTTP: inputs in, the pipeline's answers out, in shared batches.

    python examples/serve.py --model out/finetune --port 8000
    curl 127.0.0.1:8000/classify -d '{"inputs": {"text": "Ann is here", "spans": [[0, 3]]}}'

`/docs` is a page to try it on, `/openapi.json` has the schema, `/health` answers once the model is
loaded, and `/metrics` is for Prometheus. Needs the extra `serve`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import uvicorn
from connections import fit_connections, make_protocol
from service import make_app, observe_batch
from transformers import HfArgumentParser

from irti_custom import MaskedSeqClassificationPipeline
from irti_custom.serving.batching import BatchingQueue, BatchLimits


@dataclass
class ScriptArguments:
    model: str  # folder or Hub id of a model with its processor
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = ""
    threads: int = 0  # default: as many as PyTorch would use
    runtime: str = ""  # of an exported graph, as are `precision` and `streams`
    precision: str = ""
    streams: int = 0
    max_body_bytes: int = 2**20
    max_body_seconds: float = 30.0  # for a request to arrive
    max_open_requests: int = 1000  # that are being read or answered
    max_idle_seconds: int = 10  # for a request's headers to arrive, or an answer to be read
    max_connections: int = 2000  # at most as many as the process may have open, less 100


def load(args: ScriptArguments) -> MaskedSeqClassificationPipeline:
    if args.threads:
        torch.set_num_threads(args.threads)
    names = ("device", "runtime", "precision", "streams")
    given = {name: getattr(args, name) for name in names if getattr(args, name)}
    return MaskedSeqClassificationPipeline.from_pretrained(args.model, **given)


def main() -> None:
    parser = HfArgumentParser((ScriptArguments, BatchLimits))
    try:
        args, limits = parser.parse_args_into_dataclasses()
        pipe = load(args)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise SystemExit(f"This cannot be served: {error}") from error
    queue = BatchingQueue(pipe, limits, workers=args.streams or 1, on_batch=observe_batch)
    app = make_app(queue, args.max_body_bytes, args.max_body_seconds, args.max_open_requests)
    protocol = make_protocol(args.max_idle_seconds, fit_connections(args.max_connections))
    uvicorn.run(
        app,
        host=args.host,
        port=args.port,
        http=protocol,
        ws="none",
        timeout_keep_alive=args.max_idle_seconds,
        access_log=False,
    )


if __name__ == "__main__":
    main()
