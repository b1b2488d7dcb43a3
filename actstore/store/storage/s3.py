"""Opening a bucket: where it is, and who we are there, said in the ecosystem's usual way.

Everything comes from the environment as obstore reads it (`AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, `AWS_SKIP_SIGNATURE`, ...); profiles, SSO and roles from boto3, if it is there.
"""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from obstore.store import S3Store

from actstore.errors import InvalidInputError
from actstore.store.storage.objects import ObjectStorage
from actstore.store.storage.patience import Patience

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import ClientConfig, RetryConfig

_RETRIES: RetryConfig = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
_PATIENCE = Patience()
_TIMEOUT = timedelta(minutes=5)
"""For a whole request: a shard of 256 MiB has to get through."""
_OWN_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE")


def open_s3(url: str) -> ObjectStorage:
    """The storage behind `s3://bucket/prefix`. Asks the bucket nothing."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not bucket:
        raise InvalidInputError(f"{url} names no bucket. Give s3://BUCKET/NAME.zarr")
    provider = None if any(name in os.environ for name in _OWN_CREDENTIALS) else _boto3_provider()
    store = S3Store(
        bucket,
        prefix=prefix or None,
        client_options=_client_options(),
        retry_config=_RETRIES,
        credential_provider=provider,
    )
    return ObjectStorage(store, url, patience=_PATIENCE)


def _client_options() -> ClientConfig:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    return {
        "allow_http": endpoint.startswith("http://"),
        "timeout": os.environ.get("AWS_TIMEOUT") or _TIMEOUT,
        "connect_timeout": os.environ.get("AWS_CONNECT_TIMEOUT") or timedelta(seconds=10),
    }


def _boto3_provider() -> Boto3CredentialProvider | None:
    """What boto3 finds: a profile, SSO, a role; None where it finds nothing or is not there."""
    if find_spec("boto3") is None:
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except ValueError:  # it found none
        return None
