from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.governance import Governance


T = TypeVar("T", bound="EventGovernanceSet")


@_attrs_define
class EventGovernanceSet:
    """An admin set what callers may run, and how many approve.

    Attributes:
        before (Governance): How a project decides.
        governance (Governance): How a project decides.
        type_ (Literal['governance.set']):
    """

    before: Governance
    governance: Governance
    type_: Literal["governance.set"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        before = self.before.to_dict()

        governance = self.governance.to_dict()

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "before": before,
                "governance": governance,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.governance import Governance

        d = dict(src_dict)
        before = Governance.from_dict(d.pop("before"))

        governance = Governance.from_dict(d.pop("governance"))

        type_ = cast(Literal["governance.set"], d.pop("type"))
        if type_ != "governance.set":
            raise ValueError(f"type must match const 'governance.set', got '{type_}'")

        event_governance_set = cls(
            before=before,
            governance=governance,
            type_=type_,
        )

        event_governance_set.additional_properties = d
        return event_governance_set

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
