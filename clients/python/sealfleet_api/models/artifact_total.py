from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="ArtifactTotal")


@_attrs_define
class ArtifactTotal:
    """How much a step has left.

    Attributes:
        bytes_ (int): Their bytes.
        files (int): Files, those that are withheld included.
    """

    bytes_: int
    files: int

    def to_dict(self) -> dict[str, Any]:
        bytes_ = self.bytes_

        files = self.files

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "bytes": bytes_,
                "files": files,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        bytes_ = d.pop("bytes")

        files = d.pop("files")

        artifact_total = cls(
            bytes_=bytes_,
            files=files,
        )

        return artifact_total
