"""Opening a bucket: where it is, and who we are there, said in the ecosystem's usual way.

Everything comes from the environment as obstore reads it (`AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, `AWS_SKIP_SIGNATURE`, ...); profiles, SSO and roles from boto3, if it is there.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import S3Store

from actstore.errors import InvalidInputError, StorageError
from actstore.store.storage.objects import ObjectStorage
from actstore.store.storage.patience import Patience
from actstore.store.storage.refusals import CREDENTIALS

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import ClientConfig, RetryConfig

_RETRIES: RetryConfig = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
_PATIENCE = Patience()
_TIMEOUT = timedelta(minutes=5)
"""For a whole request: a shard of 256 MiB has to get through."""
_STALL = timedelta(seconds=30)
"""For an answer that goes on. Reads alone: it would run while the bytes of a write are sent."""
_OWN_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE")


def open_s3(url: str) -> ObjectStorage:
    """The storage behind `s3://bucket/prefix`. Asks the bucket nothing.

    Raises InvalidInputError for a URL without a bucket, StorageError where boto3 looks for
    credentials and finds none.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not bucket:
        raise InvalidInputError(f"{url} names no bucket. Give s3://BUCKET/NAME.zarr")
    provider = _provider(url)

    def client(options: ClientConfig) -> S3Store:
        return S3Store(
            bucket,
            prefix=prefix or None,
            client_options=options,
            retry_config=_RETRIES,
            credential_provider=provider,
        )

    options = _client_options()
    reads = client({**options, "read_timeout": _STALL})
    return ObjectStorage(client(options), url, reads=reads, patience=_PATIENCE)


def _client_options() -> ClientConfig:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    return {
        "allow_http": endpoint.startswith("http://"),
        "timeout": os.environ.get("AWS_TIMEOUT") or _TIMEOUT,
        "connect_timeout": os.environ.get("AWS_CONNECT_TIMEOUT") or timedelta(seconds=10),
    }


def _provider(url: str) -> Boto3CredentialProvider | None:
    """What gives credentials; None: obstore looks for them itself, where it runs."""
    if any(name in os.environ for name in _OWN_CREDENTIALS):
        return None
    try:
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ModuleNotFoundError:
        return None
    try:
        return Boto3CredentialProvider()
    except (ValueError, BotoCoreError) as error:  # ValueError: there are none anywhere
        why = f"{error}" if isinstance(error, BotoCoreError) else "there are no credentials"
        raise StorageError(f"{url} cannot be opened: {why}. {CREDENTIALS}") from error
