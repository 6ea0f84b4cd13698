"""A real S3 server for the tests: Ceph's gateway where its packages are, else moto's; it ends when the session does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import botocore.session
import psutil
import pytest
from ports import HOST, free_port
from process_trees import end_tree
from waiting import until

_CEPH = Path(__file__).resolve().parents[1] / "../shared/servers/ceph-rgw.sh"
_CEPH_PROGRAMS = ("ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "radosgw-admin", "ceph")
# The ports that the script has, each of which becomes a free one: several sessions may test at the same time.
_CEPH_PORTS = (8000, 13300, 16789)


@dataclass(frozen=True)
class S3Server:
    """A running server; ``gateway`` is the process that answers."""

    kind: str
    endpoint: str
    gateway: int
    access_key: str
    secret_key: str

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """What a program needs to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def pause(self) -> None:
        """Let it hold every connection and answer none."""
        os.kill(self.gateway, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        os.kill(self.gateway, signal.SIGCONT)


@dataclass(frozen=True)
class Bucket:
    """A bucket of one test, with a plain client that shares no code with what is tested."""

    name: str
    server: S3Server
    client: Any

    @property
    def url(self) -> str:
        """Its URL."""
        return f"s3://{self.name}"

    def needs_ceph(self, why: str) -> None:
        """Skip where the server is moto, which is kinder than a real one."""
        if self.server.kind != "ceph":
            pytest.skip(f"moto is no server that {why}")

    def put(self, key: str, data: bytes | str) -> None:
        """Write an object."""
        self.client.put_object(
            Bucket=self.name, Key=key, Body=data.encode() if isinstance(data, str) else data
        )

    def put_tree(self, folder: Path, prefix: str) -> None:
        """Write all files of a folder below ``prefix``."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def get(self, key: str) -> bytes:
        """Read an object."""
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def keys(self, prefix: str = "") -> list[str]:
        """All keys."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def uploads(self) -> list[str]:
        """Keys of uploads that were begun and not ended."""
        return [one["Key"] for one in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The server of this session, started when a test first asks for it."""
    if not _CEPH.is_file() or not all(map(shutil.which, _CEPH_PROGRAMS)):
        if find_spec("moto") is None:
            pytest.skip("neither Ceph's packages nor moto are installed")
        yield from _started(_moto_command, "moto")
        return
    yield from _started(_ceph_command, "ceph")


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, and the environment with which voxline finds it."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "VOXLINE_S3_"))]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    client = botocore.session.Session().create_client("s3", endpoint_url=s3_server.endpoint)
    bucket = Bucket(f"t-{uuid.uuid4().hex}", s3_server, client)
    client.create_bucket(Bucket=bucket.name)
    return bucket


def _started(command: Any, kind: str) -> Iterator[S3Server]:
    folder = Path(tempfile.mkdtemp(prefix="s3-"))  # short: Ceph's sockets lie in it
    port = free_port()
    endpoint = f"http://{HOST}:{port}"
    log = folder / "log.txt"
    # The supervisor ends all that the server starts, daemons too, also when this session is killed.
    supervisor = ["-m", "training_jobs.supervisor", "--log", str(log), "--quiet", "--grace", "1", "--"]
    process = subprocess.Popen(
        [sys.executable, *supervisor, *command(folder, port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def is_up() -> bool:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        return _answers(endpoint)

    try:
        until(is_up, f"{kind} at {endpoint}", within_s=240.0)
        gateway = folder / "d/rgw.pid"
        number = int(gateway.read_text()) if gateway.is_file() else _server_below(process.pid)
        yield S3Server(kind, endpoint, number, "demo", "demosecret")
    finally:
        end_tree(process)
        shutil.rmtree(folder, ignore_errors=True)


def _ceph_command(folder: Path, port: int) -> list[str]:
    text = _CEPH.read_text(encoding="utf-8")
    for old, new in zip(_CEPH_PORTS, (port, free_port(), free_port()), strict=True):
        assert f":{old}" in text, f"{_CEPH} has no port {old}"
        text = text.replace(f":{old}", f":{new}")
    script = folder / "ceph-rgw.sh"
    script.write_text(text, encoding="utf-8")
    # Sourced, so that the shell then waits for the gateway, which the script leaves in the background.
    return ["bash", "-c", 'source "$0" "$1"; wait', str(script), str(folder)]


def _moto_command(_folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]


def _server_below(supervisor: int) -> int:
    return int(psutil.Process(supervisor).children()[0].pid)


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=2.0):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
