from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.upload_created_headers import UploadCreatedHeaders


T = TypeVar("T", bound="UploadCreated")


@_attrs_define
class UploadCreated:
    """Where to put the content. Nothing is stored until it is there.

    Attributes:
        expires_at (datetime.datetime): A date and time of RFC 3339.
        headers (UploadCreatedHeaders): Headers that the request must have, as they stand here. The signature covers
            them: content of another size or with another SHA-256 is refused.
        kept_until (datetime.datetime): A date and time of RFC 3339.
        upload_id (str): An upload's id.
        url (str): Send the content there by `PUT`, once.
    """

    expires_at: datetime.datetime
    headers: UploadCreatedHeaders
    kept_until: datetime.datetime
    upload_id: str
    url: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        expires_at = self.expires_at.isoformat()

        headers = self.headers.to_dict()

        kept_until = self.kept_until.isoformat()

        upload_id = self.upload_id

        url = self.url

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "expires_at": expires_at,
                "headers": headers,
                "kept_until": kept_until,
                "upload_id": upload_id,
                "url": url,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.upload_created_headers import UploadCreatedHeaders

        d = dict(src_dict)
        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        headers = UploadCreatedHeaders.from_dict(d.pop("headers"))

        kept_until = datetime.datetime.fromisoformat(d.pop("kept_until"))

        upload_id = d.pop("upload_id")

        url = d.pop("url")

        upload_created = cls(
            expires_at=expires_at,
            headers=headers,
            kept_until=kept_until,
            upload_id=upload_id,
            url=url,
        )

        upload_created.additional_properties = d
        return upload_created

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
