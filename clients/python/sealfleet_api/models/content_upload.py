from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="ContentUpload")


@_attrs_define
class ContentUpload:
    """What was uploaded. Never put a secret there.

    Attributes:
        upload (str): An upload's id.
    """

    upload: str

    def to_dict(self) -> dict[str, Any]:
        upload = self.upload

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "upload": upload,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        upload = d.pop("upload")

        content_upload = cls(
            upload=upload,
        )

        return content_upload
