from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="CreateUpload")


@_attrs_define
class CreateUpload:
    """Content to upload.

    Attributes:
        bytes_ (int): Its size.
        sha256 (str): SHA-256 of content, in lower-case hexadecimal digits.
    """

    bytes_: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        bytes_ = self.bytes_

        sha256 = self.sha256

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "bytes": bytes_,
                "sha256": sha256,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        bytes_ = d.pop("bytes")

        sha256 = d.pop("sha256")

        create_upload = cls(
            bytes_=bytes_,
            sha256=sha256,
        )

        return create_upload
