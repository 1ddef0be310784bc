"""Requests at a fixed rate through a proxy, and how long each took.

    python benchmarks/paced.py PROXY_PORT ORIGIN_PORT --rate 1000 --seconds 3 --trust FILE [--tls]

Asks `origin.test` for /1k over kept connections, each with a schedule of its own, and prints the times in milliseconds
as JSON. A time counts from when the request was due, so what waits behind a slow answer is slow as well.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import ssl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.replay import Asked, Client

AT_ONCE = 32
"""Connections."""


async def times(port: int, origin: int, trust: ssl.SSLContext, tls: bool, rate: float, seconds: float) -> list[float]:
    """Milliseconds, one for each request. Raises SystemExit where one fails."""
    asked = Asked("GET", tls, 0, 0, 0, target="/1k")
    clients = [Client(port, (origin, origin), trust) for _ in range(AT_ONCE)]
    for client in clients:  # connecting is not the question
        await client.ask(asked)
    taken = []
    begin = time.monotonic() + 0.05
    gc.freeze()

    async def go_on(client: Client, number: int) -> None:
        due = begin + number / rate
        while due < begin + seconds:
            await asyncio.sleep(max(0, due - time.monotonic()))
            await client.ask(asked)
            taken.append((time.monotonic() - due) * 1000)
            due += AT_ONCE / rate

    await asyncio.gather(*[go_on(client, number) for number, client in enumerate(clients)])
    if any(client.failed for client in clients):
        raise SystemExit(f"{sum(client.failed for client in clients)} requests failed")
    for client in clients:
        client.close()
    return taken


def main() -> None:
    """The command line above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("origin", type=int)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--trust", required=True, help="what signs the certificates, PEM")
    parser.add_argument("--tls", action="store_true", help="inside TLS")
    wanted = parser.parse_args()
    trust = ssl.create_default_context(cafile=wanted.trust)
    taken = asyncio.run(times(wanted.port, wanted.origin, trust, wanted.tls, wanted.rate, wanted.seconds))
    print(json.dumps([round(each, 3) for each in taken]))


if __name__ == "__main__":
    main()
