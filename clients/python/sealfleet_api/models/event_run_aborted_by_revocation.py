from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="EventRunAbortedByRevocation")


@_attrs_define
class EventRunAbortedByRevocation:
    """A run in flight was aborted because of a revocation.

    Attributes:
        key (str): The environment variable that a sandbox sees.
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        revocation_id (str): A revocation's id.
        type_ (Literal['run.aborted_by_revocation']):
        fan_out_id (str | Unset): The id of a hard revocation's fan-out.
    """

    key: str
    profile: str
    revocation_id: str
    type_: Literal["run.aborted_by_revocation"]
    fan_out_id: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        key = self.key

        profile = self.profile

        revocation_id = self.revocation_id

        type_ = self.type_

        fan_out_id = self.fan_out_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "key": key,
                "profile": profile,
                "revocation_id": revocation_id,
                "type": type_,
            }
        )
        if fan_out_id is not UNSET:
            field_dict["fan_out_id"] = fan_out_id

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        key = d.pop("key")

        profile = d.pop("profile")

        revocation_id = d.pop("revocation_id")

        type_ = cast(Literal["run.aborted_by_revocation"], d.pop("type"))
        if type_ != "run.aborted_by_revocation":
            raise ValueError(
                f"type must match const 'run.aborted_by_revocation', got '{type_}'"
            )

        fan_out_id = d.pop("fan_out_id", UNSET)

        event_run_aborted_by_revocation = cls(
            key=key,
            profile=profile,
            revocation_id=revocation_id,
            type_=type_,
            fan_out_id=fan_out_id,
        )

        event_run_aborted_by_revocation.additional_properties = d
        return event_run_aborted_by_revocation

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
