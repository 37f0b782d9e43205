from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="SandboxHeartbeatAnswer")


@_attrs_define
class SandboxHeartbeatAnswer:
    """The answer to it.

    Attributes:
        denials_recorded (bool): The hosts are on record. If not, the next heartbeat must name them again. Default:
            False.
        revoked (list[str] | Unset): Environment variables of revoked secrets that the step's egress proxy delivers: it
            must deliver them no more.
    """

    denials_recorded: bool = False
    revoked: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        denials_recorded = self.denials_recorded

        revoked: list[str] | Unset = UNSET
        if not isinstance(self.revoked, Unset):
            revoked = self.revoked

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "denials_recorded": denials_recorded,
            }
        )
        if revoked is not UNSET:
            field_dict["revoked"] = revoked

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        denials_recorded = d.pop("denials_recorded")

        revoked = cast(list[str], d.pop("revoked", UNSET))

        sandbox_heartbeat_answer = cls(
            denials_recorded=denials_recorded,
            revoked=revoked,
        )

        sandbox_heartbeat_answer.additional_properties = d
        return sandbox_heartbeat_answer

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
