from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Governance")


@_attrs_define
class Governance:
    """How a project decides.

    Attributes:
        approvers (int): How many must approve a request: 1 or 2.
        logins_only (bool): Whether only callers who have logged in at an issuer decide: nobody knows who holds a token.
            Default: False.
        require_registered_workflows (bool): Whether its runs are those of registered workflows only.
    """

    approvers: int
    require_registered_workflows: bool
    logins_only: bool = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        approvers = self.approvers

        logins_only = self.logins_only

        require_registered_workflows = self.require_registered_workflows

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "approvers": approvers,
                "logins_only": logins_only,
                "require_registered_workflows": require_registered_workflows,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        approvers = d.pop("approvers")

        logins_only = d.pop("logins_only")

        require_registered_workflows = d.pop("require_registered_workflows")

        governance = cls(
            approvers=approvers,
            logins_only=logins_only,
            require_registered_workflows=require_registered_workflows,
        )

        governance.additional_properties = d
        return governance

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
