"""An endpoint as private links have them: passes connections on, and says in a PROXY header whose they were.

    python -m lab.endpoint PORT PROXY:PORT vpce-0123

The header is of version 2, with the client's address and, as AWS does it, the endpoint's id.
"""

from __future__ import annotations

import asyncio
import sys

from netfw.testing.proxy_headers import binary, endpoint


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def main(port: int, proxy: str, vpce: str) -> None:
    """Serve."""
    host, _, to = proxy.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner, outer = await asyncio.open_connection(host, int(to))
        except OSError:
            writer.transport.abort()
            return
        source, source_port = writer.get_extra_info("peername")[:2]
        outer.write(binary(source, source_port, extensions=endpoint(vpce)))
        await asyncio.gather(pump(reader, outer), pump(inner, writer))
        writer.close()
        outer.close()

    server = await asyncio.start_server(serve, "0.0.0.0", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
