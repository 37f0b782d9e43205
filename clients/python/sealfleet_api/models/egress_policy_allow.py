from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.egress_rule import EgressRule


T = TypeVar("T", bound="EgressPolicyAllow")


@_attrs_define
class EgressPolicyAllow:
    """The hosts that a rule names.

    Attributes:
        allow (list[EgressRule]): Rules of which none is covered by another.
    """

    allow: list[EgressRule]

    def to_dict(self) -> dict[str, Any]:
        allow = []
        for allow_item_data in self.allow:
            allow_item = allow_item_data.to_dict()
            allow.append(allow_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "allow": allow,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_rule import EgressRule

        d = dict(src_dict)
        allow = []
        _allow = d.pop("allow")
        for allow_item_data in _allow:
            allow_item = EgressRule.from_dict(allow_item_data)

            allow.append(allow_item)

        egress_policy_allow = cls(
            allow=allow,
        )

        return egress_policy_allow
