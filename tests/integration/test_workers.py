"""Worker processes: they share the load, none is missed for long, and to clients and operators they are one proxy."""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, domain_rule, policy
from netfw.testing.wire_client import WireClient

PATIENCE = 90.0


def wait_until(holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Until it holds; what it said."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
    return result


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids(proxy: ProxyProcess) -> dict[int, int]:
    """Worker number to process id, of those that serve."""
    return {row["worker"]: row["pid"] for row in proxy.status()["workers"] if row["state"] == "serving"}


def all_serve_again(proxy: ProxyProcess, former: dict[int, int], *replaced: int) -> dict[int, int]:
    """Wait until every worker serves and these are other processes; their ids."""

    def again() -> dict[int, int]:
        now = pids(proxy)
        complete = now.keys() == former.keys() and all(now[number] != former[number] for number in replaced)
        return now if complete else {}

    found: dict[int, int] = wait_until(again)
    return found


def get(origin: HttpOrigin, path: str = "/echo/x", host: str = "127.0.0.1") -> bytes:
    """A request that keeps the connection."""
    return f"GET http://{host}:{origin.port}{path} HTTP/1.1\r\nHost: {host}:{origin.port}\r\n\r\n".encode()


def descriptors(pid: int) -> set[str]:
    """What the process's descriptors point to; they come and go while one looks."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(entry))
        except FileNotFoundError:
            continue
    return found


def worker_of(workers: dict[int, int], port: int, client: WireClient) -> int:
    """The worker that has this client's connection to the port; 0 when none has accepted it."""
    theirs = f"{client.sock.getsockname()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(f":{port:04X}") and columns[2].endswith(f":{theirs}"):
            for number, pid in workers.items():
                if f"socket:[{columns[9]}]" in descriptors(pid):
                    return number
    return 0


def clients_of_both(proxy: ProxyProcess, origin: HttpOrigin, count: int = 24) -> dict[int, list[WireClient]]:
    """Kept connections that have each had an answer, by their worker."""
    found: dict[int, list[WireClient]] = {1: [], 2: []}
    workers = pids(proxy)
    for _ in range(count):
        client = WireClient(proxy.port())
        client.send(get(origin))
        assert client.read_response().status == 200
        found[worker_of(workers, proxy.port(), client)].append(client)
    assert all(found.values()), "the kernel gave one of them nothing"
    return found


class Load:
    """Threads that ask without a pause, each request on a connection of its own or on a kept one."""

    def __init__(self, proxy: ProxyProcess, origin: HttpOrigin, threads: int = 3) -> None:
        self.done = 0
        self.wrong: list[str] = []
        self._proxy, self._origin = proxy, origin
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def _run(self, number: int) -> None:
        kept = 20 if number % 2 else 1
        while not self._over.is_set():
            try:
                with WireClient(self._proxy.port()) as client:
                    for _ in range(kept):
                        client.send(get(self._origin))
                        status = client.read_response().status
                        if status != 200:
                            self.wrong.append(str(status))
                        self.done += 1
            except (OSError, AssertionError) as error:
                self.wrong.append(repr(error))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def pair(make_proxy: Any) -> ProxyProcess:
    """A proxy with two workers that allows everything."""
    proxy: ProxyProcess = make_proxy(policy(), workers=2)
    return proxy


@pytest.mark.parametrize(("count", "least", "most"), [(1000, 400, 600), (64, 16, 48)])
def test_connections_are_spread_evenly(count: int, least: int, most: int, make_proxy: Any) -> None:
    """Each of two workers has within a fifth of half of a thousand, and within half of half of a few.

    The kernel throws dice: these bounds are four of its standard deviations away, and more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("the limit of open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    proxy = make_proxy(policy(), workers=2, limits={"connections_per_client": 5000})
    clients = []
    try:
        for _ in range(count):
            clients.append(WireClient(proxy.port()))
        wait_until(lambda: proxy.status()["connections"] == count)
        counts = [row["connections"] for row in proxy.status()["workers"]]
        assert sum(counts) == count
        assert all(least <= has <= most for has in counts), counts
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: proxy.status()["connections"] == 0)


def test_one_that_is_killed_takes_only_its_own_connections(pair: ProxyProcess, origin: HttpOrigin) -> None:
    """The other one's go on, and a replacement serves."""
    former = pids(pair)
    clients = clients_of_both(pair, origin)
    os.kill(former[1], signal.SIGKILL)
    for client in clients[1]:
        assert client.ends() in ("end", "reset")
    for client in clients[2]:
        client.send(get(origin))
        assert client.read_response().status == 200
    now = all_serve_again(pair, former, 1)
    assert now[2] == former[2]
    for client in [*clients[1], *clients[2]]:
        client.close()
    for client in [*clients_of_both(pair, origin)[1]]:
        client.close()
    assert [row["restarts"] for row in pair.status()["workers"]] == [1, 0]
    assert pair.status()["state"] == "ready"


class Witness:
    """Asks over kept connections, and notes of each that broke when it was opened and which process had it."""

    def __init__(self, proxy: ProxyProcess, origin: HttpOrigin) -> None:
        self.done = 0
        self.wrong: list[int] = []
        self.broken: list[tuple[float, float, int | None]] = []
        self.workers: dict[int, int] = {}
        self._proxy, self._origin = proxy, origin
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            opened, pid = time.monotonic(), None
            try:
                with WireClient(self._proxy.port(), timeout=PATIENCE) as client:
                    for _ in range(20):
                        client.send(get(self._origin))
                        status = client.read_response().status
                        if status != 200:
                            self.wrong.append(status)
                        self.done += 1
                        pid = pid or self._pid_of(client)
            except (OSError, AssertionError):
                self.broken.append((opened, time.monotonic(), pid))

    def _pid_of(self, client: WireClient) -> int | None:
        workers = dict(self.workers)
        try:
            return workers.get(worker_of(workers, self._proxy.port(), client))
        except FileNotFoundError:
            return None

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)


def living(proxy: ProxyProcess, killed: dict[int, float]) -> dict[int, int]:
    """Worker number to process id of those that serve; empty when the machine is too busy to say."""
    try:
        return {number: pid for number, pid in pids(proxy).items() if pid not in killed}
    except OSError:
        return {}


@pytest.mark.timeout(400)  # twenty starts of a process
@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.soak)])
def test_kills_under_load(kills: int, make_proxy: Any, origin: HttpOrigin) -> None:
    """No request fails but those of the process that is killed, and each has a replacement in the end."""
    proxy = make_proxy(policy(), workers=4)
    killed: dict[int, float] = {}
    with ExitStack() as stack:
        witnesses = [stack.enter_context(Witness(proxy, origin)) for _ in range(2)]
        for _ in range(kills):
            workers = wait_until(lambda: len(now := living(proxy, killed)) > 1 and now, 2 * PATIENCE)
            for witness in witnesses:
                witness.workers = workers
            seen = sum(witness.done for witness in witnesses)
            wait_until(lambda seen=seen: sum(witness.done for witness in witnesses) > seen + 10)
            victim = min(workers.values())
            killed[victim] = time.monotonic()
            os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(living(proxy, killed)) == 4, 2 * PATIENCE)
    assert len(killed) == kills
    assert not set(pids(proxy).values()) & set(killed)
    assert [status for witness in witnesses for status in witness.wrong] == []
    for opened, ended, pid in [one for witness in witnesses for one in witness.broken]:
        # Whose a connection was that broke before its first answer was looked up is not known.
        at_fault = [when for other, when in killed.items() if pid in (None, other) and opened <= when <= ended]
        assert at_fault, (opened, ended, pid, killed)
    assert proxy.status()["state"] == "ready"


def test_a_killed_workers_queue_waits_for_its_replacement(pair: ProxyProcess, origin: HttpOrigin) -> None:
    """Connections that it had not accepted are not reset: all of them are answered."""
    former = pids(pair)
    os.kill(former[1], signal.SIGSTOP)
    clients = [WireClient(pair.port(), timeout=PATIENCE) for _ in range(24)]
    for client in clients:
        client.send(get(origin))
    wait_until(lambda: len(pair.records()) > 0)
    waiting = [client for client in clients if worker_of(former, pair.port(), client) == 0]
    assert waiting
    os.kill(former[1], signal.SIGKILL)
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    all_serve_again(pair, former, 1)


def test_a_hung_worker_is_replaced(pair: ProxyProcess, origin: HttpOrigin) -> None:
    """It is killed when it has not answered for ten seconds, and who waited is answered by the next one."""
    former = pids(pair)
    os.kill(former[2], signal.SIGSTOP)
    clients = [WireClient(pair.port(), timeout=PATIENCE) for _ in range(24)]
    for client in clients:
        client.send(get(origin))
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    now = all_serve_again(pair, former, 2)
    assert now[1] == former[1]
    assert not alive(former[2])
    assert "does not answer any more" in pair.log


def reload(proxy: ProxyProcess) -> tuple[int, dict[str, Any]]:
    """POST /reload."""
    code, body = proxy.admin("/reload", "POST")
    return code, json.loads(body)


def denying(*domains: str) -> dict[str, Any]:
    """A policy that denies these."""
    return policy(groups={"g": {"PreDNS": [domain_rule("no", "DENY", *domains)]}} if domains else None)


def statuses(proxy: ProxyProcess, origin: HttpOrigin, host: str, count: int = 24) -> Counter[int]:
    """What so many new connections are answered."""
    found: Counter[int] = Counter()
    for _ in range(count):
        with WireClient(proxy.port()) as client:
            client.send(get(origin, host=host))
            found[client.read_response().status] += 1
    return found


def test_a_reload_under_load_fails_nobody_and_holds_everywhere_at_once(pair: ProxyProcess, origin: HttpOrigin) -> None:
    """When it is reported, every worker decides by it, and every record is a whole line."""
    with Load(pair, origin) as load:
        for generation in range(2, 7):
            domains = ("denied.test",) if generation % 2 == 0 else ()
            pair.write_policy(denying(*domains))
            code, result = reload(pair)
            assert (code, result) == (200, {"ok": True, "generation": generation, "problems": []})
            assert statuses(pair, origin, "denied.test", 16) == {403 if domains else 200: 16}
            assert [row["generation"] for row in pair.status()["workers"]] == [generation] * 2
    assert load.wrong == []
    asked = load.done + 5 * 16
    assert len(pair.wait_for_records(lambda record: True, asked)) == asked


def test_a_bad_policy_changes_nothing_anywhere(pair: ProxyProcess, origin: HttpOrigin) -> None:
    """The old one stays, by SIGHUP too."""
    pair.write_policy(denying("denied.test"))
    assert reload(pair)[0] == 200
    pair.policy_path.write_text("ProxyConfiguration: {}\n")
    code, result = reload(pair)
    assert (code, result["ok"], result["generation"]) == (409, False, 2)
    assert result["problems"]
    pair.reload()
    wait_until(lambda: pair.log.count("stays in force") == 2)
    assert statuses(pair, origin, "denied.test") == {403: 24}
    assert [row["generation"] for row in pair.status()["workers"]] == [2, 2]


def test_a_replacement_decides_by_the_policy_in_force(pair: ProxyProcess, origin: HttpOrigin) -> None:
    """Not by the one that the start was checked with, nor by one that was refused since."""
    former = pids(pair)
    pair.write_policy(denying("denied.test"))
    assert reload(pair)[0] == 200
    pair.policy_path.write_text("nothing: right\n")
    assert reload(pair)[0] == 409
    for pid in former.values():
        os.kill(pid, signal.SIGKILL)
    all_serve_again(pair, former, 1, 2)
    assert statuses(pair, origin, "denied.test") == {403: 24}


def test_records_are_reopened_by_all_of_them(pair: ProxyProcess, origin: HttpOrigin) -> None:
    """A rotated file gets nothing more."""
    clients = clients_of_both(pair, origin)
    pair.wait_for_records(lambda record: True, 24)
    rotated = pair.records_path.with_suffix(".1")
    pair.records_path.rename(rotated)
    size = rotated.stat().st_size
    assert reload(pair)[0] == 200
    for client in [*clients[1], *clients[2]]:
        client.send(get(origin))
        assert client.read_response().status == 200
        client.close()
    pair.wait_for_records(lambda record: True, 24)
    assert rotated.stat().st_size == size


def metric(proxy: ProxyProcess, name: str) -> float:
    """The sum over all labels."""
    code, body = proxy.admin("/metrics")
    assert code == 200
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", body.decode(), re.MULTILINE))


def test_metrics_and_status_are_sums_and_never_go_backwards(pair: ProxyProcess, origin: HttpOrigin) -> None:
    """Exact, and those of a worker that was killed stay in."""
    former = pids(pair)
    for kept in clients_of_both(pair, origin).values():
        for client in kept:
            client.send(get(origin))
            assert client.read_response().status == 200
            client.close()
    pair.wait_for_records(lambda record: True, 48)
    wait_until(lambda: pair.status()["connections"] == 0)
    assert metric(pair, "netfw_requests_total") == 48
    assert metric(pair, "netfw_request_duration_seconds_count") == 48
    assert metric(pair, "netfw_log_written_total") == 48
    assert metric(pair, "netfw_workers") == 2
    sent = metric(pair, "netfw_bytes_total")
    os.kill(former[1], signal.SIGKILL)
    all_serve_again(pair, former, 1)
    assert metric(pair, "netfw_requests_total") == 48
    assert metric(pair, "netfw_bytes_total") == sent
    assert pair.status()["records"]["written"] == 48
    assert sum(statuses(pair, origin, "127.0.0.1", 10).values()) == 10
    pair.wait_for_records(lambda record: True, 58)
    assert metric(pair, "netfw_requests_total") == 58
    assert metric(pair, "netfw_worker_restarts_total") == 1


def test_one_that_is_asked_to_end_finishes_what_it_has_and_is_replaced_at_once(
    make_proxy: Any, origin: HttpOrigin
) -> None:
    """By a signal to it alone: another one accepts while it drains."""
    proxy = make_proxy(policy(), workers=2, timeouts={"drain": "60s"})
    former = pids(proxy)
    clients = clients_of_both(proxy, origin)
    busy = clients[1][0]
    busy.send(get(origin, "/echo/x?gate=asked"))
    wait_until(lambda: origin.seen("/echo/x?gate=asked"))
    os.kill(former[1], signal.SIGTERM)
    all_serve_again(proxy, former, 1)
    assert alive(former[1])
    assert {row["state"] for row in proxy.status()["workers"]} == {"serving", "draining"}
    assert statuses(proxy, origin, "127.0.0.1") == {200: 24}
    origin.gate("asked").set()
    assert busy.read_response().status == 200
    wait_until(lambda: not alive(former[1]))
    # What it counted last is handed over in its last moment.
    wait_until(lambda: metric(proxy, "netfw_requests_total") == 24 + 24 + 1)


def test_all_are_replaced_on_request(make_proxy: Any, origin: HttpOrigin) -> None:
    """SIGUSR2: one after the other, and what is under way is finished."""
    proxy = make_proxy(policy(), workers=2, timeouts={"drain": "60s"})
    former = pids(proxy)
    busy = clients_of_both(proxy, origin)[2][0]
    busy.send(get(origin, "/echo/x?gate=replaced"))
    wait_until(lambda: origin.seen("/echo/x?gate=replaced"))
    os.kill(proxy.pid, signal.SIGUSR2)
    all_serve_again(proxy, former, 1, 2)
    assert statuses(proxy, origin, "127.0.0.1") == {200: 24}
    origin.gate("replaced").set()
    assert busy.read_response().status == 200
    wait_until(lambda: not any(alive(pid) for pid in former.values()))


def test_sigterm_drains_all_of_them(make_proxy: Any, origin: HttpOrigin) -> None:
    """What is under way is finished, nobody new comes in, and no process is left."""
    proxy = make_proxy(policy(), workers=2, timeouts={"drain": "60s"})
    workers = pids(proxy)
    clients = clients_of_both(proxy, origin)
    for number in (1, 2):
        clients[number][0].send(get(origin, f"/echo/x?gate=term{number}"))
        wait_until(lambda number=number: origin.seen(f"/echo/x?gate=term{number}"))
    proxy.process.send_signal(signal.SIGTERM)
    for number in (1, 2):
        assert clients[number][-1].ends() in ("end", "reset")
    with pytest.raises(OSError):
        WireClient(proxy.port())
    assert proxy.process.poll() is None
    for number in (1, 2):
        origin.gate(f"term{number}").set()
        assert clients[number][0].read_response().status == 200
    proxy.stop()
    assert not any(alive(pid) for pid in workers.values())
    assert len(proxy.records()) == 26


def test_a_second_sigterm_does_not_wait(make_proxy: Any, origin: HttpOrigin) -> None:
    """What is under way is cut, long before the time to drain is over."""
    proxy = make_proxy(policy(), workers=2, timeouts={"drain": "10m"})
    workers = pids(proxy)
    with WireClient(proxy.port()) as busy:
        busy.send(get(origin, "/echo/x?gate=never"))
        wait_until(lambda: origin.seen("/echo/x?gate=never"))
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining" in proxy.log)
        assert proxy.process.poll() is None
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(PATIENCE) in (0, -signal.SIGTERM)
        try:
            assert busy.read_to_end()[:12] in (b"", b"HTTP/1.1 503")
        except ConnectionError:
            pass  # the close behind the answer may overtake it
    origin.gate("never").set()
    assert not any(alive(pid) for pid in workers.values())


def test_no_worker_outlives_its_supervisor(proxy_maker: Any, origin: HttpOrigin) -> None:
    """Killed without a word: they stop listening, drain and end."""
    proxy = proxy_maker("killed", policy(), workers=2).start()
    workers = pids(proxy)
    clients = clients_of_both(proxy, origin)
    clients[1][0].send(get(origin, "/echo/x?gate=orphan"))
    wait_until(lambda: origin.seen("/echo/x?gate=orphan"))
    proxy.kill()
    origin.gate("orphan").set()
    assert clients[1][0].read_response().status == 200
    wait_until(lambda: not any(alive(pid) for pid in workers.values()))
    with pytest.raises(OSError):
        WireClient(proxy.port())
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", proxy.port()))


def test_no_worker_outlives_a_supervisor_that_dies_at_its_start(proxy_maker: Any) -> None:
    """Workers that have not served yet have nothing to drain."""
    proxy = proxy_maker("dies-early", policy(), workers=2)
    starting = threading.Thread(target=lambda: pytest.raises(RuntimeError, proxy.start))
    starting.start()
    found = wait_until(lambda: re.findall(r"starts, pid (\d+)", proxy.log))
    proxy.process.kill()
    starting.join(PATIENCE)
    wait_until(lambda: not any(alive(int(pid)) for pid in re.findall(r"starts, pid (\d+)", proxy.log)))
    assert found


def test_leaves_come_from_the_supervisor(make_proxy: Any, tls_origin: HttpOrigin, certificates: Any) -> None:
    """Both workers intercept, with keys of their own, and neither has the CA key's file open."""
    proxy = make_proxy(policy(), workers=2, intercept=True)
    keys: dict[int, set[bytes]] = {1: set(), 2: set()}
    workers = pids(proxy)
    for number in range(24):
        host = ("origin.test", "other.test")[number % 2]
        client = WireClient(proxy.port())
        assert client.connect(f"{host}:{tls_origin.port}").status == 200
        worker = worker_of(workers, proxy.port(), client)
        client.start_tls(certificates.intercept[0], host)
        client.send(f"GET /echo/leaf HTTP/1.1\r\nHost: {host}:{tls_origin.port}\r\n\r\n".encode())
        assert client.read_response().status == 200
        keys[worker].add(public_key(client.sock.getpeercert(True)))
        client.close()
    assert [len(found) for found in keys.values()] == [1, 1]
    assert not keys[1] & keys[2]
    key = str(certificates.intercept[1])
    for pid in workers.values():
        assert key not in descriptors(pid)


def public_key(certificate: bytes) -> bytes:
    """The key that a certificate (DER) is for."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def printing(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """A proxy with two workers whose records go to standard output."""
    proxy = proxy_maker("printing", policy(), workers=2)
    document = yaml.safe_load(proxy.config_path.read_text())
    document["log"] = {"stdout": True}
    proxy.config_path.write_text(yaml.safe_dump(document))
    with proxy:
        yield proxy


def test_records_on_standard_output_are_whole_lines(printing: ProxyProcess, origin: HttpOrigin) -> None:
    """Through the supervisor: two workers that write to one pipe would mix their lines."""
    with Load(printing, origin) as load:
        wait_until(lambda: load.done > 200)
    assert load.wrong == []

    def records() -> list[Any]:
        lines = printing.log_path.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    wait_until(lambda: len(records()) == load.done)
    assert printing.status()["records"]["written"] == load.done


def test_the_admin_surface_still_refuses_other_pages(pair: ProxyProcess) -> None:
    """What asks the workers first is no way round the rules for browsers."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(PATIENCE)
    connection.sock.connect(pair.config["admin"]["socket"])
    connection.request("GET", "/metrics", headers={"Origin": "http://elsewhere.example"})
    assert connection.getresponse().status == 403
    connection.close()
    assert pair.admin("/nowhere")[0] == 404
    assert pair.admin("/healthz")[0] == 200
