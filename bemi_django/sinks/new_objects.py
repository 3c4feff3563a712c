"""Write an object of S3 only where there is none, which pyarrow does not ask a store for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from bemi_django.exceptions import first_line

#: Options of an address that are known here.
_KNOWN = frozenset(("region", "scheme", "endpoint_override"))
#: Seconds that the store may take.
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 20.0
#: Answers of a store that has an object of this name, or is about to have one.
_THERE = (409, 412)
#: Answers that another attempt may change; 501 is one of a store that does not know the condition.
_PASSING = (403, 404, 429, 500, 502, 503, 504)
#: What OpenSSL says of a certificate whose issuer is not known.
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"


class NewObjects:
    """Writes objects of a store on the condition that they are not there.

    Args:
        address: An address of pyarrow, ``s3://[KEY:SECRET@]BUCKET/FOLDER[?region=...&endpoint_override=...]``.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Any = None

    def put(self, path: str, data: bytes) -> bool | None:
        """Write an object.

        Args:
            path: The bucket and the key.
            data: Its content.

        Returns:
            Whether it was written: False if the store has one of this name, None if it cannot be asked to
            write on a condition.

        Raises:
            OSError: It cannot be written now.
        """
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

        bucket, _, key = path.partition("/")
        try:
            self._client = self._client or self._connected()
            self._client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in _PASSING:
                raise OSError(first_line(error)) from error
            return False if status in _THERE else None
        except (NoCredentialsError, ParamValidationError):
            # pyarrow may have some; a version before 1.35 does not know the condition.
            return None
        except BotoCoreError as error:
            if _UNTRUSTED in str(error):
                # pyarrow trusts what the system does.
                return None
            raise OSError(first_line(error)) from error
        return True

    def _connected(self) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        parts = urlsplit(self._address)
        options = dict(parse_qsl(parts.query))
        endpoint = options.get("endpoint_override")
        # pyarrow takes one with a scheme of its own, too.
        if endpoint and "://" not in endpoint:
            endpoint = f"{options.get('scheme', 'https')}://{endpoint}"
        return Session().create_client(
            "s3",
            region_name=options.get("region"),
            endpoint_url=endpoint or None,
            aws_access_key_id=unquote(parts.username) if parts.username else None,
            aws_secret_access_key=unquote(parts.password) if parts.password else None,
            config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_ANSWER_SECONDS,
                retries={"mode": "standard"},
                s3={"addressing_style": "path" if endpoint else "auto"},
            ),
        )


def new_objects(address: str) -> NewObjects | None:
    """Return what writes to an address on a condition; None if there is nothing that can.

    Args:
        address: A directory, or an address that pyarrow knows.
    """
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or options.keys() - _KNOWN or find_spec("botocore") is None:
        return None
    return NewObjects(address)
