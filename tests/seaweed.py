"""An S3-compatible server on loopback: SeaweedFS, which comes as a wheel."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local import processes
from deploy.local.services import free_port, listens

#: It has one bucket, and somebody who may only read it.
BUCKET = "documents"
OWNER, READER = ("owner", "owner-secret"), ("reader", "reader-secret")


@dataclass(frozen=True)
class Seaweed:
    """A running server."""

    url: str
    process: processes.Process

    def environ(self, who: tuple[str, str] = OWNER) -> dict[str, str]:
        """The settings with which Broadsheet writes to it."""
        return {
            "BROADSHEET_STORE": "s3",
            "BROADSHEET_S3_BUCKET": BUCKET,
            "BROADSHEET_S3_ENDPOINT": self.url,
            "BROADSHEET_S3_ACCESS_KEY": who[0],
            "BROADSHEET_S3_SECRET_KEY": who[1],
        }


@contextmanager
def seaweed(folder: Path) -> Iterator[Seaweed]:
    """Run a server with its data in `folder`; it tells nobody outside of this machine of itself."""
    process, url = start(folder)
    try:
        yield Seaweed(url, process)
    finally:
        processes.stop([process])


def start(folder: Path, port: int | None = None) -> tuple[processes.Process, str]:
    """Start one; return it with its address when it answers and has its bucket."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": may}
        for (name, secret), may in (
            (OWNER, ["Admin", "Read", "Write", "List"]),
            (READER, [f"Read:{BUCKET}", f"List:{BUCKET}"]),
        )
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    ports = (
        f"-{part}={free_port()}"
        for part in (
            *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
            *("filer.port", "filer.port.grpc", "s3.port.grpc"),
        )
    )
    process = processes.start(
        "seaweed",
        [
            _program(),
            *("-logtostderr=true", "server", f"-dir={data}", "-ip=127.0.0.1"),
            *("-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
            *("-volume.max=20", "-filer", "-s3", f"-s3.port={port}", *ports),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 's3.json'}"),
            *("-s3.autoCreateBucket=false", "-s3.allowEmptyFolder=false"),
        ],
        log=folder / "seaweed.log",
        environ=os.environ,
        # It takes ten seconds to say goodbye, and what it holds is thrown away.
        farewell=signal.SIGKILL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        process.wait_until(lambda: listens(port))
        process.wait_until(lambda: _has_bucket(url))
    except BaseException:
        processes.stop([process])
        raise
    return process, url


def _program() -> str:
    """Return the path of the wheel's program, or of one that is installed."""
    found = shutil.which("weed", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}")
    assert found, "The tests of the S3 store need SeaweedFS: install it, so that `weed` is found."
    return found


def _has_bucket(url: str) -> bool:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.session.Session(*OWNER, region_name="us-east-1").client("s3", endpoint_url=url)
    try:
        client.create_bucket(Bucket=BUCKET)
        # A volume server has come to the master, too.
        client.put_object(Bucket=BUCKET, Key="first", Body=b"1")
        client.delete_object(Bucket=BUCKET, Key="first")
    except client.exceptions.BucketAlreadyOwnedByYou:
        return True
    except (BotoCoreError, ClientError):
        return False
    return True
