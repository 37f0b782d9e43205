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
    from ..models.bindings import Bindings


T = TypeVar("T", bound="EventCascadeBound")


@_attrs_define
class EventCascadeBound:
    """The profiles below each run's own were set.

    Attributes:
        bindings (Bindings): The profiles that a project binds below each run's own.
        type_ (Literal['cascade.bound']):
    """

    bindings: Bindings
    type_: Literal["cascade.bound"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        bindings = self.bindings.to_dict()

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "bindings": bindings,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.bindings import Bindings

        d = dict(src_dict)
        bindings = Bindings.from_dict(d.pop("bindings"))

        type_ = cast(Literal["cascade.bound"], d.pop("type"))
        if type_ != "cascade.bound":
            raise ValueError(f"type must match const 'cascade.bound', got '{type_}'")

        event_cascade_bound = cls(
            bindings=bindings,
            type_=type_,
        )

        event_cascade_bound.additional_properties = d
        return event_cascade_bound

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
