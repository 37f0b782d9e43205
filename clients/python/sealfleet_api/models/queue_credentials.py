from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="QueueCredentials")


@_attrs_define
class QueueCredentials:
    """Temporary AWS credentials for the worker's own queue, and for nothing else.

    Attributes:
        access_key_id (str):
        expires_at (datetime.datetime): A date and time of RFC 3339.
        queue_url (str):
        region (str): The queue's AWS region.
        secret_access_key (str):
        session_token (str):
    """

    access_key_id: str
    expires_at: datetime.datetime
    queue_url: str
    region: str
    secret_access_key: str
    session_token: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        access_key_id = self.access_key_id

        expires_at = self.expires_at.isoformat()

        queue_url = self.queue_url

        region = self.region

        secret_access_key = self.secret_access_key

        session_token = self.session_token

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "access_key_id": access_key_id,
                "expires_at": expires_at,
                "queue_url": queue_url,
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

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        queue_url = d.pop("queue_url")

        region = d.pop("region")

        secret_access_key = d.pop("secret_access_key")

        session_token = d.pop("session_token")

        queue_credentials = cls(
            access_key_id=access_key_id,
            expires_at=expires_at,
            queue_url=queue_url,
            region=region,
            secret_access_key=secret_access_key,
            session_token=session_token,
        )

        queue_credentials.additional_properties = d
        return queue_credentials

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
