"""The index of records: how many it takes in a second of CPU, and how long a look-up takes in a large one.

    python benchmarks/record_index.py [--records 1000000] [--denied 10] [--lookups 500]

The record file is made of lines as the proxy prints them, `--denied` in a hundred of denials, which are kept whole.
What is timed is what the index's process does; look-ups open the index anew each time, as `netfw why` does.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from netfw.proxy.exchange import new_exchange_id
from netfw.telemetry.record_follower import RecordFollower
from netfw.telemetry.record_index import RecordIndex
from netfw.telemetry.record_search import find_record

START = 1_800_000_000


def lines(count: int, denied: int, chosen: list[str]) -> Iterator[str]:
    """Records at 5,000 a second; some of their ids are put into `chosen`."""
    draw = random.Random(7)
    for number in range(count):
        exchange_id = new_exchange_id()
        is_denied = draw.randrange(100) < denied
        if number % (count // 500 or 1) == 0:
            chosen.append(exchange_id)
        host = f"host{draw.randrange(5000)}.example.com"
        yield json.dumps(
            {
                "event_timestamp": START + number // 5000, "proxy_name": "proxy",
                "final_action": "deny" if is_denied else "allow",
                "client_src_ip": f"10.0.{draw.randrange(16)}.{draw.randrange(250)}", "client_src_port": 40000,
                "dest_domain": f"{host}.", "url": {
                    "scheme": "https", "authority": host, "path": f"/v1/items/{number}", "query": "", "fragment": "",
                },
                "http_method": "GET", "dest_ip": "203.0.113.7", "dest_port": 443,
                "http_status_code": 403 if is_denied else 200,
                "all_matches": {"matches": [
                    {"rule_id": "base/web", "hook": hook, "action": "allow"} for hook in ("PreDNS", "PreREQUEST")
                ]},
                "final_rule_name": "web", "final_rule_group_name": "base", "request_size": 0, "response_size": 5120,
                "id": exchange_id, "kind": "exchange", "listener": "main", "started": START + number / 5000,
                "duration_ms": 12, "bytes_in": 300, "bytes_out": 5500, "generation": 7, "http_version": "1.1",
                "user_agent": "curl/7.88.1", "tls": {"intercepted": True, "sni": host, "client_version": "TLSv1.3"},
            },
            separators=(",", ":"),
        ) + "\n"  # fmt: skip


def main() -> None:
    """Make the file, fill the index, look up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--denied", type=int, default=10, help="in a hundred")
    parser.add_argument("--lookups", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        records, path = Path(directory, "records.jsonl"), Path(directory, "records.index")
        chosen: list[str] = []
        with open(records, "w") as file:
            file.writelines(lines(arguments.records, arguments.denied, chosen))
        index = RecordIndex(path, keep=7 * 86400.0, size=1 << 40)
        follower = RecordFollower(records, index)
        wall, cpu = time.perf_counter(), time.process_time()
        while follower.step():
            pass
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert index.records == arguments.records
        size = sum(one.stat().st_size for one in path.parent.iterdir() if one != records)
        print(f"{arguments.records} records of {records.stat().st_size / arguments.records:.0f} bytes:", end=" ")
        print(f"{arguments.records / cpu:.0f} a second of CPU, {arguments.records / wall:.0f} a second of wall clock")
        print(f"the index has {size / arguments.records:.0f} bytes a record")
        taken = []
        for number in range(arguments.lookups):
            exchange_id = chosen[number % len(chosen)] if number % 4 else new_exchange_id()
            began = time.perf_counter()
            found = find_record(records, path, exchange_id)
            taken.append((time.perf_counter() - began) * 1000)
            assert (found.record is not None) == bool(number % 4)
        taken.sort()
        print(
            f"look-up, one in four of an id that is not there: median {statistics.median(taken):.2f} ms,"
            f" 99% {taken[int(len(taken) * 0.99)]:.2f} ms, longest {taken[-1]:.2f} ms"
        )
        follower.close()
        index.close()


if __name__ == "__main__":
    main()
