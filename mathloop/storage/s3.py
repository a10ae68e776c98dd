"""Objects in an S3 bucket, through the `minio` SDK; works with any server that has conditional writes.

The endpoint and the credentials come from the environment (keys.py), and errors never repeat them: a
library's error message can contain a signed URL, so ours are built from error codes and exception types.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError, MaxRetryError

from mathloop.errors import StorageAway, StorageRefused
from mathloop.storage.keys import AWS, OWN, KeyNames, login, variable
from mathloop.storage.objects import CHUNK, Absent, Readable, Taken

ENDPOINT_VARIABLE = "MATHLOOP_S3_ENDPOINT"
REGION_VARIABLE = "MATHLOOP_S3_REGION"
CA_VARIABLE = "MATHLOOP_S3_CA"
"""A PEM file of trusted certificate authorities; if not set, SSL_CERT_FILE, else certifi's."""
REGION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")

CONNECT_SECONDS = 3.0
READ_SECONDS = 30.0
PART = 16 << 20
"""Bytes of one part of a multipart upload; at most four are in memory."""
CREATE_TRIES = 3
"""Attempts of a conditional write while the server does not answer or answers 409 or 5xx."""
CREATE_READ_SECONDS = 8.0
"""Short, since the write is small and is a round's first request; SeaweedFS has been seen to keep concurrent
writers waiting for 3 seconds."""
DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}
FULL = {"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"}


@dataclass(frozen=True)
class Variables:
    """Names of the environment variables for a server's endpoint and keys; the first pair set is used."""

    endpoint: str = ENDPOINT_VARIABLE
    keys: tuple[KeyNames, ...] = (OWN, AWS)


class S3Objects:
    """A bucket, or the part of it below a prefix."""

    def __init__(self, bucket: str, prefix: str, variables: Variables = Variables()) -> None:
        self._variables = variables
        endpoint = _endpoint(variables)
        self.bucket, self.prefix = bucket, f"{prefix}/" if prefix else ""
        self.endpoint = f"{endpoint.scheme}://{endpoint.netloc}"
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=urllib3.Retry(
                total=3,
                connect=1,
                read=1,
                backoff_factor=0.2,
                status_forcelist=(500, 502, 503, 504),
                raise_on_status=False,
            ),
            ca_certs=_authorities(),
            maxsize=16,
        )
        region = os.environ.get(REGION_VARIABLE, "").strip() or "us-east-1"
        if not REGION.fullmatch(region):
            raise StorageRefused(f"{REGION_VARIABLE} is not a region; expected one like us-east-1")
        self._login = login(variables.keys)
        try:
            self._client = Minio(
                endpoint.netloc,
                credentials=self._login.provider,
                secure=endpoint.scheme == "https",
                region=region,
                http_client=self._http,
            )
        except ValueError:
            raise StorageRefused(_no_endpoint(variables)) from None

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def put(self, key: str, source: Readable, size: int, sha256: str) -> None:
        part = PART if size < PART * 10_000 else 0
        with self._answered():
            self._client.put_object(
                self.bucket, self.prefix + key, source, size, part_size=part, metadata={"sha256": sha256}
            )

    def create(self, key: str, data: bytes) -> None:
        # The SDK cannot send If-None-Match on a put; a presigned request can.
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=CREATE_READ_SECONDS)
        unclear = False
        for attempt in range(CREATE_TRIES):
            last = attempt == CREATE_TRIES - 1
            with self._answered():
                url = self._client.get_presigned_url(
                    "PUT", self.bucket, self.prefix + key, expires=timedelta(minutes=5)
                )
                try:
                    answer = self._http.request(
                        "PUT", url, body=data, headers={"If-None-Match": "*"}, retries=False, timeout=timeout
                    )
                except HTTPError:
                    if last:
                        raise
                    answer = None
            if answer is not None:
                if answer.status in (200, 201, 204):
                    return
                if answer.status == 412:
                    if unclear and b"".join(self.read(key)) == data:
                        return
                    raise Taken(f"{self.url}/{key} already exists")
                if last or (answer.status != 409 and answer.status < 500):
                    raise self._refusal(_error_code(answer.data), answer.status)
            # A write without a clear answer may have happened all the same.
            unclear = unclear or answer is None or answer.status >= 500
            time.sleep(0.2 * 2**attempt)

    def holds(self, key: str, size: int, sha256: str) -> bool:
        try:
            with self._answered():
                found = self._client.stat_object(self.bucket, self.prefix + key)
        except Absent:
            return False
        return bool(found.size == size and found.metadata.get("x-amz-meta-sha256") == sha256)

    def read(self, key: str) -> Iterator[bytes]:
        with self._answered():
            answer = self._client.get_object(self.bucket, self.prefix + key)
            try:
                yield from answer.stream(CHUNK)
            finally:
                answer.close()
                answer.release_conn()

    def keys(self, prefix: str) -> Iterator[str]:
        with self._answered():
            for found in self._client.list_objects(self.bucket, self.prefix + prefix, recursive=True):
                yield found.object_name.removeprefix(self.prefix)

    def remove(self, key: str) -> None:
        with self._answered():
            self._client.remove_object(self.bucket, self.prefix + key)

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Turns errors of the SDK and the network into Absent or one line without secrets."""
        try:
            yield
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise Absent(error.object_name or "") from None
            raise self._refusal(error.code, error.response.status) from None
        except MaxRetryError as error:
            raise self._unreachable(error.reason or error) from None
        except (HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        except MinioException:
            raise self._refusal(None, None) from None
        except ValueError as error:
            raise StorageRefused(f"{self.url}: {error}") from None

    def _refusal(self, code: str | None, status: int | None) -> StorageRefused:
        if code == "NoSuchBucket":
            remedy = "there is no such bucket; create it or correct the store's URL"
        elif code in DENIED or status == 403:
            remedy = f"access denied; check {self._login.to_check}"
        elif code in FULL or status == 507:
            remedy = "the server has no space left; free some or add storage"
        elif code is None and (status or 0) < 500:
            remedy = f"the answer is not from an S3 server; is {self._variables.endpoint} right?"
        else:
            remedy = "the server failed or refused; see its log"
        answer = ", ".join([code or "no code", *([f"HTTP {status}"] if status else [])])
        away = (status or 0) >= 500 and status != 507 and code not in FULL
        return (StorageAway if away else StorageRefused)(
            f"{self.url} at {self.endpoint}: {remedy} ({answer})"
        )

    def _unreachable(self, error: Exception) -> StorageRefused:
        untrusted = f"TLS failed: it speaks http, or {CA_VARIABLE} does not cover its certificate"
        reasons = {
            urllib3.exceptions.NameResolutionError: "unknown host name",
            urllib3.exceptions.NewConnectionError: "connection refused",
            urllib3.exceptions.ConnectTimeoutError: f"no connection within {CONNECT_SECONDS:g} s",
            urllib3.exceptions.ReadTimeoutError: "it accepted the request but did not answer in time",
            urllib3.exceptions.SSLError: untrusted,
            ssl.SSLError: untrusted,
        }
        reason = next(
            (words for kind, words in reasons.items() if isinstance(error, kind)), "the connection broke"
        )
        remedy = f"is the server running, and is {self._variables.endpoint} right?"
        away = reason != untrusted
        return (StorageAway if away else StorageRefused)(
            f"{self.url}: no S3 server at {self.endpoint} ({reason}); {remedy}"
        )


def _endpoint(variables: Variables) -> SplitResult:
    text = variable(variables.endpoint, "expected http://host:port")
    try:
        endpoint = urlsplit(text)
        usable = endpoint.port != 0 and endpoint.hostname and endpoint.path in ("", "/")
    except ValueError:
        raise StorageRefused(_no_endpoint(variables)) from None
    if endpoint.username or endpoint.password:
        remedy = f"move them to {variables.keys[0].key} and {variables.keys[0].secret}"
        raise StorageRefused(f"{variables.endpoint} contains credentials; {remedy}")
    if endpoint.scheme not in ("http", "https") or not usable:
        raise StorageRefused(_no_endpoint(variables))
    return endpoint


def _no_endpoint(variables: Variables) -> str:
    return f"{variables.endpoint} is not an endpoint; expected http://host:port"


def _authorities() -> str:
    path = os.environ.get(CA_VARIABLE, "").strip()
    if path and not Path(path).is_file():
        expected = "give a PEM file of certificate authorities"
        raise StorageRefused(f"{CA_VARIABLE} names {path}, which is not a file; {expected}")
    return path or os.environ.get("SSL_CERT_FILE") or certifi.where()


def _error_code(body: bytes) -> str | None:
    found = re.search(rb"<Code>([A-Za-z]{1,60})</Code>", body)
    return found[1].decode() if found else None
