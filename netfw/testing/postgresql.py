"""A PostgreSQL server of its own for tests: the real one, in a temporary directory, behind a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

_LONGEST_WAIT = 120.0

SETTINGS = {
    "listen_addresses": "",
    # What the operating system has survives the death of the server; tests end no machine.
    "fsync": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}


def programs() -> Path | None:
    """Where initdb and postgres are, the newest; None: not installed. Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    beside = shutil.which("initdb")
    return Path(beside).resolve().parent if beside is not None else None


class PostgresServer:
    """Started by the constructor, with one database, `netfw`. It refuses to run as root: then it runs as `postgres`."""

    def __init__(self) -> None:
        where = programs()
        if where is None:
            raise FileNotFoundError("PostgreSQL is not installed")
        self._programs = where
        self._as: dict[str, Any] = {}
        # A short path: a socket's has at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.directory.chmod(0o755)
        self._data = self.directory / "data"
        self._run(
            "initdb", "-D", str(self._data), "-U", "netfw", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.statement("CREATE DATABASE netfw", database="postgres")

    @property
    def url(self) -> str:
        """For `Database.open`."""
        return self.url_of("netfw")

    def url_of(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://netfw@/{database}?host={quote(str(self.directory), safe='')}"

    def fresh_database(self, name: str) -> str:
        """An empty database of this name; return its address."""
        self.statement(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', database="postgres")
        self.statement(f'CREATE DATABASE "{name}"', database="postgres")
        return self.url_of(name)

    def statement(self, text: str, database: str = "netfw") -> list[tuple[Any, ...]]:
        """Run one statement outside of any transaction; return its rows."""
        import psycopg2

        connection = psycopg2.connect(dbname=database, user="netfw", host=str(self.directory))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if cursor.description is not None else []
        finally:
            connection.close()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        log = open(self.directory / "log", "ab")  # noqa: SIM115 - the process has it from here on
        with log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self.directory), *options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=self.directory,
                **self._as,
            )
        end = time.monotonic() + _LONGEST_WAIT
        while True:
            try:
                self.statement("SELECT 1", database="postgres")
                return
            except Exception as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    words = (self.directory / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{words}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, with all it has begun, as a power cut would."""
        process = self._process
        if process is None:
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None
        for left in ("postmaster.pid", "standby.signal"):
            (self._data / left).unlink(missing_ok=True)

    def stop(self) -> None:
        """End it, cutting connections."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._process = None

    def remove(self) -> None:
        """Stop it and forget everything."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        ended = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            **self._as,
        )
        if ended.returncode:
            raise RuntimeError(f"{program} failed: {ended.stderr}")
