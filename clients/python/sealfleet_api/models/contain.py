from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Contain")


@_attrs_define
class Contain:
    """Stops everything that the project does, and could begin.

    Attributes:
        reason (str): Why, for people.
        tokens (bool | Unset): Whether to revoke all API tokens of the project, too, but the caller's own. Default:
            False.
    """

    reason: str
    tokens: bool | Unset = False

    def to_dict(self) -> dict[str, Any]:
        reason = self.reason

        tokens = self.tokens

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "reason": reason,
            }
        )
        if tokens is not UNSET:
            field_dict["tokens"] = tokens

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        reason = d.pop("reason")

        tokens = d.pop("tokens", UNSET)

        contain = cls(
            reason=reason,
            tokens=tokens,
        )

        return contain
