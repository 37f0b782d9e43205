from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="PreviewContainment")


@_attrs_define
class PreviewContainment:
    """Which containment to preview.

    Attributes:
        tokens (bool | Unset): Whether API tokens would be revoked, too. Default: False.
    """

    tokens: bool | Unset = False

    def to_dict(self) -> dict[str, Any]:
        tokens = self.tokens

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if tokens is not UNSET:
            field_dict["tokens"] = tokens

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        tokens = d.pop("tokens", UNSET)

        preview_containment = cls(
            tokens=tokens,
        )

        return preview_containment
