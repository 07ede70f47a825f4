"""An S3-compatible store, by boto3: the only module that knows that library.

boto3 comes with the extra `broadsheet[s3]` and is imported where it is used. Requests are kept to
what every S3-compatible server knows: whole objects, one at a time, without checksums in trailers.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import SettingsError
from shared.settings import Settings
from shared.store import StoreAway, StoreFault, StoreRefused

#: Seconds to connect; and how often a request is made until the store counts as away.
CONNECT_TIMEOUT, ATTEMPTS = 5.0, 3
#: More threads of an API process than this never read at once.
CONNECTIONS = 16
#: Bytes of a body that are read at once.
PIECE = 256 * 1024
MISSING = "NoSuchKey"
#: Answers that tell of a setting, and which it is.
SETTINGS = {
    "NoSuchBucket": "there is no such bucket; check BROADSHEET_S3_BUCKET",
    "AccessDenied": "the key may not do that; it needs s3:GetObject, s3:PutObject and "
    "s3:DeleteObject there",
    "InvalidAccessKeyId": "check BROADSHEET_S3_ACCESS_KEY",
    "SignatureDoesNotMatch": "check BROADSHEET_S3_SECRET_KEY",
    "AuthorizationHeaderMalformed": "check BROADSHEET_S3_REGION",
    "PermanentRedirect": "check BROADSHEET_S3_REGION and BROADSHEET_S3_ENDPOINT",
    "RequestTimeTooSkewed": "the clocks of this machine and of the store do not agree",
    "ExpiredToken": "the credentials have expired",
    "InvalidBucketName": "check BROADSHEET_S3_BUCKET",
    # Answers to requests without a body have a status only.
    "403": "check BROADSHEET_S3_ACCESS_KEY, its secret and what it may do",
}
NO_BOTO3 = (
    "BROADSHEET_S3_BUCKET wants an S3-compatible store, for which a package is not installed. "
    "Install Broadsheet with the extra s3, or boto3 beside it: pip install boto3"
)


def check_installed(settings: Settings) -> None:
    """Raise `SettingsError` where the settings want S3 and boto3 is not there."""
    if settings.uses_s3 and importlib.util.find_spec("boto3") is None:
        raise SettingsError(NO_BOTO3)


class Bucket:
    """A bucket, or what begins with a prefix in it. Threads may share it; processes may not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = settings.s3_bucket
        self._prefix = settings.s3_prefix
        self._lock = threading.Lock()
        self._made: Any = None

    def write(self, key: str, content: bytes) -> None:
        """See `Store`. The store checks the body by its hash, which is part of the signature."""
        with self._translated(f"writing {key}"):
            self._client().put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def read(self, key: str, most: int) -> bytes | None:
        """See `Store`."""
        with self._translated(f"reading {key}"):
            answer = self._client().get_object(Bucket=self._bucket, Key=self._prefix + key)
            with answer["Body"] as body:
                return self._body(body, most)
        return None

    def _body(self, body: Any, most: int) -> bytes:
        """Read a body up to its end or `most` bytes, within as long as all attempts may take.

        The library's limit is for each wait: with a byte now and then there would be none.
        """
        limit = ATTEMPTS * self._settings.s3_timeout
        until = time.monotonic() + limit
        read = bytearray()
        # What has arrived: a piece of a given size is waited for, however long that takes.
        while len(read) < most and (piece := body.read1(min(PIECE, most - len(read)))):
            read += piece
            if time.monotonic() > until:
                raise StoreAway(
                    f"Bucket {self._bucket}: of an object {len(read):,} bytes came within "
                    f"{limit:g} s, and not its end; see BROADSHEET_S3_TIMEOUT."
                )
        return bytes(read)

    def delete(self, key: str) -> None:
        """See `Store`. One at a time: servers differ in what they want for many at once."""
        with self._translated(f"deleting {key}"):
            self._client().delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def keys(self) -> Iterator[str]:
        """See `Store`."""
        with self._translated("listing"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for item in page.get("Contents", ()):
                    yield item["Key"].removeprefix(self._prefix)

    def _client(self) -> Any:
        """Return the client, made at the first use: not before a pool forks."""
        with self._lock:
            if self._made is None:
                self._made = _client(self._settings)
            return self._made

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turn the library's errors into ours; the block ends early where there is no object."""
        check_installed(self._settings)
        from botocore.exceptions import (  # noqa: PLC0415 - an extra: see above
            BotoCoreError,
            ClientError,
            HTTPClientError,
            NoCredentialsError,
            PartialCredentialsError,
        )
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with it

        where = self._settings.s3_endpoint or "Amazon"
        what = f"Bucket {self._bucket} at {where}, {doing}"
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as exc:
            raise StoreRefused(
                f"{what}: there are no credentials; set BROADSHEET_S3_ACCESS_KEY and "
                "BROADSHEET_S3_SECRET_KEY, or give this machine a role."
            ) from exc
        except ClientError as exc:
            error = exc.response.get("Error", {})
            code, said = str(error.get("Code", "")), str(error.get("Message", ""))
            if code == MISSING:
                return
            if code in SETTINGS:
                raise StoreRefused(f"{what}: {SETTINGS[code]} ({code}).") from exc
            raise StoreFault(f"{what}: it answers {code} {said}".strip()) from exc
        except (BotoCoreError, HTTPClientError, HTTPError, OSError) as exc:
            raise StoreAway(f"{what}: {_first_line(exc)} ({StoreAway.__doc__})") from exc


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().partition("\n")[0] or type(exc).__name__)[:300]


def _client(settings: Settings) -> Any:
    import boto3  # noqa: PLC0415 - an extra: see above
    from botocore.config import Config  # noqa: PLC0415 - an extra: see above

    config = Config(
        connect_timeout=min(CONNECT_TIMEOUT, settings.s3_timeout),
        read_timeout=settings.s3_timeout,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=CONNECTIONS,
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": settings.s3_addressing,
            # Also over TLS: what arrives is what was sent.
            "payload_signing_enabled": True,
        },
    )
    session = boto3.session.Session(
        aws_access_key_id=settings.s3_access_key or None,
        aws_secret_access_key=settings.s3_secret_key or None,
        # Other servers mostly do not care, but it is part of the signature.
        region_name=settings.s3_region or ("us-east-1" if settings.s3_endpoint else None),
    )
    return session.client("s3", endpoint_url=settings.s3_endpoint or None, config=config)
