"""Database servers with data folders of their own, which can be stopped as by a crash and started again."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path


class Server(ABC):
    """A server on a free port of this machine."""

    url: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Cut everybody off, as a crash would."""


class PostgreSQL(Server):
    """Debian's PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        self._bin = found[-1].parent if found else Path(shutil.which("initdb") or "initdb").parent
        self._user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "assembler", "--no-sync")
        self.url = f"postgresql://assembler@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *words: str) -> None:
        _run([str(self._bin / program), *words], self.folder, self._user)


class MariaDB(Server):
    """Debian's MariaDB, which speaks MySQL's protocol."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._options = [f"--user={getpass.getuser()}", f"--datadir={folder / 'data'}"]
        _run(["mariadb-install-db", *self._options, "--auth-root-authentication-method=normal"], folder)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"mysql://assembler@127.0.0.1:{self.port}/studies"

    def start(self) -> None:
        first, socket_file = self._process is None, self.folder / "s.sock"
        server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        words = [server, *self._options, f"--socket={socket_file}", f"--port={self.port}", "--bind-address=127.0.0.1"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)
        end = time.monotonic() + 60
        client = ["mariadb", f"--socket={socket_file}", "--user=root"]
        while subprocess.run([*client, "-e", "select 1"], capture_output=True, check=False).returncode:
            assert time.monotonic() < end and self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)
        if first:
            us = "assembler@'127.0.0.1'"
            said = f"create database studies; create user {us}; grant all on studies.* to {us}"
            _run([*client, "-e", said], self.folder)

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def _run(command: list[str], folder: Path, user: str | None = None) -> None:
    done = subprocess.run(
        command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
