"""Who a bucket is asked as: keys from the environment, else the identity that the platform gives a pod.

An identity is one of these, in the order in which the AWS SDKs take them:

- a role by a web identity token, as EKS's IRSA gives it: AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE;
- credentials of a local agent, as EKS Pod Identity and ECS give them: AWS_CONTAINER_CREDENTIALS_FULL_URI or
  …_RELATIVE_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE;
- the role of the machine, from EC2's instance metadata, unless AWS_EC2_METADATA_DISABLED is true.

minio's IamAwsProvider asks all three, and reads a token's file again each time that credentials run out. Its
messages can hold a token and are never repeated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import certifi
import urllib3
from minio.credentials import Credentials, IamAwsProvider, Provider, StaticProvider
from urllib3.exceptions import HTTPError

from mathloop.errors import StorageAway, StorageRefused

KEY_VARIABLE = "MATHLOOP_S3_ACCESS_KEY_ID"
SECRET_VARIABLE = "MATHLOOP_S3_SECRET_ACCESS_KEY"
WEB_IDENTITY_VARIABLE = "AWS_WEB_IDENTITY_TOKEN_FILE"
AGENT_VARIABLES = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
DOCS = "docs/cluster.md, Keys by role"
SET_UP = f"is it set up? ({DOCS})"
CONNECT_SECONDS = 1.0
READ_SECONDS = 5.0


@dataclass(frozen=True)
class KeyNames:
    """Names of the environment variables of a pair of keys."""

    key: str
    secret: str
    token: str


OWN = KeyNames(KEY_VARIABLE, SECRET_VARIABLE, "MATHLOOP_S3_SESSION_TOKEN")
AWS = KeyNames("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class Login:
    """Credentials, and what to check where the server refuses them."""

    provider: Provider | _Identity
    to_check: str


def login(pairs: Sequence[KeyNames]) -> Login:
    """The first of these pairs of variables that is set, else the identity; nothing is sent yet.

    Raises:
        StorageRefused: half of a pair is set, or neither keys nor an identity are possible here.
    """
    for names in pairs:
        if _text(names.key) or _text(names.secret):
            key, secret = (
                variable(name, "set both keys of an S3 user") for name in (names.key, names.secret)
            )
            keys = StaticProvider(key, secret, _text(names.token) or None)
            return Login(keys, f"{names.key}, {names.secret} and that user's permissions")
    no_keys = (
        f"no keys and no identity for an s3:// store; set {pairs[0].key} and {pairs[0].secret}, "
        f"or give the pod a role ({DOCS})"
    )
    if _text(WEB_IDENTITY_VARIABLE):
        source = f"the role AWS_ROLE_ARN by the token in {WEB_IDENTITY_VARIABLE}"
        identity = _Identity(source, no_keys, "AWS_ENDPOINT_URL_STS")
    elif agent := next((name for name in AGENT_VARIABLES if _text(name)), ""):
        source = f"the identity of {agent}"
        identity = _Identity(source, no_keys)
    elif _text("AWS_EC2_METADATA_DISABLED").lower() == "true":
        raise StorageRefused(no_keys)
    else:
        source = "this machine's role"
        identity = _Identity("", no_keys, "AWS_EC2_METADATA_SERVICE_ENDPOINT")
    return Login(identity, f"the permissions of {source}")


def variable(name: str, expected: str) -> str:
    """The value of an environment variable that a store needs; raises StorageRefused."""
    value = _text(name)
    if not value:
        raise StorageRefused(
            f"the environment variable {name} is not set, and an s3:// store needs it; {expected}"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise StorageRefused(
            f"{name} contains a character that no S3 key or URL has; set it again, without whitespace"
        )
    return value


class _Identity:
    """A provider of minio's: temporary credentials, asked for again shortly before they run out."""

    def __init__(self, source: str, no_keys: str, endpoint: str = "") -> None:
        """`endpoint` names the variable with another address than AWS's, in a private cloud or a test."""
        self._source, self._no_keys = source, no_keys
        http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=urllib3.Retry(
                total=2, connect=1, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)
            ),
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        self._inner = IamAwsProvider(
            custom_endpoint=_text(endpoint).rstrip("/") or None,
            http_client=http,
            region=_text("AWS_DEFAULT_REGION") or None,
        )

    def retrieve(self) -> Credentials:
        try:
            return self._inner.retrieve()
        # SyntaxError: an answer that is not XML; the others: one that lacks a field.
        except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
            status = re.search(r"HTTP status code ([0-9]{3})", str(error))
            reason = f"HTTP {status[1]}" if status else "its answer is not credentials"
            if "error in reading file" in str(error):
                reason = "its token's file cannot be read"
        except OSError as error:
            reason = "its token's file cannot be read" if error.filename else "the connection broke"
        except HTTPError:
            reason = "no answer"
            if self._source:
                raise StorageAway(f"no credentials for {self._source} (no answer); {SET_UP}") from None
        if not self._source:
            raise StorageRefused(f"{self._no_keys} (EC2's instance metadata: {reason})")
        raise StorageRefused(f"no credentials for {self._source} ({reason}); {SET_UP}")


def _text(name: str) -> str:
    return os.environ.get(name, "").strip()
