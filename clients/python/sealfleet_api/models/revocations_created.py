from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.fan_out_view import FanOutView
    from ..models.revocation import Revocation


T = TypeVar("T", bound="RevocationsCreated")


@_attrs_define
class RevocationsCreated:
    """New revocations.

    Attributes:
        revocations (list[Revocation]): One for each key, in the request's order.
        fan_out (FanOutView | Unset): A fan-out: a hard revocation aborts the runs in flight that hold its keys.
    """

    revocations: list[Revocation]
    fan_out: FanOutView | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        revocations = []
        for revocations_item_data in self.revocations:
            revocations_item = revocations_item_data.to_dict()
            revocations.append(revocations_item)

        fan_out: dict[str, Any] | Unset = UNSET
        if not isinstance(self.fan_out, Unset):
            fan_out = self.fan_out.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "revocations": revocations,
            }
        )
        if fan_out is not UNSET:
            field_dict["fan_out"] = fan_out

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.fan_out_view import FanOutView
        from ..models.revocation import Revocation

        d = dict(src_dict)
        revocations = []
        _revocations = d.pop("revocations")
        for revocations_item_data in _revocations:
            revocations_item = Revocation.from_dict(revocations_item_data)

            revocations.append(revocations_item)

        _fan_out = d.pop("fan_out", UNSET)
        fan_out: FanOutView | Unset
        if isinstance(_fan_out, Unset):
            fan_out = UNSET
        else:
            fan_out = FanOutView.from_dict(_fan_out)

        revocations_created = cls(
            revocations=revocations,
            fan_out=fan_out,
        )

        revocations_created.additional_properties = d
        return revocations_created

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
