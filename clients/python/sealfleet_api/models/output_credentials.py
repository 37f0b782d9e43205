from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="OutputCredentials")


@_attrs_define
class OutputCredentials:
    """Temporary AWS credentials to write what one claim puts out, and for nothing else. An object is written once: a
    request that does not say `If-None-Match: *` is refused.

        Attributes:
            access_key_id (str):
            bucket (str):
            endpoint (str): The address of S3.
            expires_at (datetime.datetime): A date and time of RFC 3339.
            prefix (str): What keys must begin with.
            region (str): The bucket's AWS region.
            secret_access_key (str):
            session_token (str):
    """

    access_key_id: str
    bucket: str
    endpoint: str
    expires_at: datetime.datetime
    prefix: str
    region: str
    secret_access_key: str
    session_token: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        access_key_id = self.access_key_id

        bucket = self.bucket

        endpoint = self.endpoint

        expires_at = self.expires_at.isoformat()

        prefix = self.prefix

        region = self.region

        secret_access_key = self.secret_access_key

        session_token = self.session_token

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "access_key_id": access_key_id,
                "bucket": bucket,
                "endpoint": endpoint,
                "expires_at": expires_at,
                "prefix": prefix,
                "region": region,
                "secret_access_key": secret_access_key,
                "session_token": session_token,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        access_key_id = d.pop("access_key_id")

        bucket = d.pop("bucket")

        endpoint = d.pop("endpoint")

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        prefix = d.pop("prefix")

        region = d.pop("region")

        secret_access_key = d.pop("secret_access_key")

        session_token = d.pop("session_token")

        output_credentials = cls(
            access_key_id=access_key_id,
            bucket=bucket,
            endpoint=endpoint,
            expires_at=expires_at,
            prefix=prefix,
            region=region,
            secret_access_key=secret_access_key,
            session_token=session_token,
        )

        output_credentials.additional_properties = d
        return output_credentials

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
