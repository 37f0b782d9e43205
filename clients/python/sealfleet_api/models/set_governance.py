from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="SetGovernance")


@_attrs_define
class SetGovernance:
    """How a project decides from now on.

    Attributes:
        approvers (int | Unset): How many must approve a request: 1 if absent. Default: 1.
        logins_only (bool | Unset): Whether only callers who have logged in at an issuer decide: not if absent. Default:
            False.
        require_registered_workflows (bool | Unset): Whether its runs are those of registered workflows only: not if
            absent. Default: False.
    """

    approvers: int | Unset = 1
    logins_only: bool | Unset = False
    require_registered_workflows: bool | Unset = False

    def to_dict(self) -> dict[str, Any]:
        approvers = self.approvers

        logins_only = self.logins_only

        require_registered_workflows = self.require_registered_workflows

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if approvers is not UNSET:
            field_dict["approvers"] = approvers
        if logins_only is not UNSET:
            field_dict["logins_only"] = logins_only
        if require_registered_workflows is not UNSET:
            field_dict["require_registered_workflows"] = require_registered_workflows

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        approvers = d.pop("approvers", UNSET)

        logins_only = d.pop("logins_only", UNSET)

        require_registered_workflows = d.pop("require_registered_workflows", UNSET)

        set_governance = cls(
            approvers=approvers,
            logins_only=logins_only,
            require_registered_workflows=require_registered_workflows,
        )

        return set_governance
