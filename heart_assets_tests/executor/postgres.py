"""A PostgreSQL server for tests: a new one in a temporary folder, on a free loopback port, gone at the end.

What belongs here: starting and ending it. What does not: Dagster.

PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`, in a folder of theirs.
"""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heart_assets.executor.lease import die_with_parent

USER, PASSWORD, DATABASE = "dagster", "only for tests: %/@", "toy"
START_SECONDS = 60.0
FOR_SPEED = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]


class NoPostgreSQL(Exception):
    """It cannot be started here; the message says why."""


@dataclass(frozen=True)
class Server:
    """Where a server listens."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """The variables that deploy/postgresql/dagster.yaml reads."""
        return {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_DB": DATABASE,
            "DAGSTER_PG_USER": USER,
            "DAGSTER_PG_PASSWORD": PASSWORD,
        }

    def connect(self, database: str = DATABASE) -> Any:
        """A connection of psycopg2, on which each statement is its own transaction."""
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database)
        connection.autocommit = True
        return connection


@contextmanager
def postgresql() -> Iterator[Server]:
    """Start a server with an empty database; end it when the block is left, or at the latest when this process ends.

    Raises:
        NoPostgreSQL: it is not installed, or must not be started by this user.
    """
    programs, account = find_programs(), find_account()
    temporary, me = Path(tempfile.gettempdir()).resolve(), os.getpid()
    if account and not all(folder.stat().st_mode & stat.S_IXOTH for folder in (temporary, *temporary.parents)):
        raise NoPostgreSQL(f"the user {account.pw_name} cannot reach the temporary folder")
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(free.getsockname()[1])
        folder = Path(name)
        password_file = folder / "password"
        password_file.write_text(PASSWORD)
        as_account: dict[str, Any] = {"cwd": folder}
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
            os.chown(password_file, account.pw_uid, account.pw_gid)
            as_account |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        create = [programs / "initdb", "--pgdata=data", f"--username={USER}", f"--pwfile={password_file}", "--auth=scram-sha-256"]
        create += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL, **as_account)
        free.close()
        settings = ["listen_addresses=127.0.0.1", f"port={server.port}", f"unix_socket_directories={folder}", *FOR_SPEED]
        command = [programs / "postgres", "-D", "data", *(word for setting in settings for word in ("-c", setting))]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: die_with_parent(signal.SIGQUIT, me),
                start_new_session=True,
                **as_account,
            )
        try:
            wait_until_it_answers(server, process, folder / "log")
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # "fast": connections are ended
            process.wait(START_SECONDS)


def wait_until_it_answers(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for the first connection, then create the database."""
    import psycopg2

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connection = server.connect("postgres")
            break
        except psycopg2.OperationalError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    connection.close()


def find_programs() -> Path:
    """The folder of the newest installed server's programs.

    Raises:
        NoPostgreSQL: there is none.
    """
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    for folder in [*versions, *([Path(on_path).resolve().parent] if on_path else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgreSQL("PostgreSQL is not installed (Debian: apt-get install postgresql)")


def find_account() -> pwd.struct_passwd | None:
    """The account that the server runs under; None for this process's own.

    Raises:
        NoPostgreSQL: this is root, and there is no other.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgreSQL("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
