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

T = TypeVar("T", bound="OutputPlaceProject")


@_attrs_define
class OutputPlaceProject:
    """In the project's outputs. `GET .../steps/{step_id}/output` reads it.

    Attributes:
        kind (Literal['project']):
        place (str | Unset): Where its worker has it, too: `HOST:PATH`, as the worker says.
    """

    kind: Literal["project"]
    place: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        place = self.place

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
            }
        )
        if place is not UNSET:
            field_dict["place"] = place

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["project"], d.pop("kind"))
        if kind != "project":
            raise ValueError(f"kind must match const 'project', got '{kind}'")

        place = d.pop("place", UNSET)

        output_place_project = cls(
            kind=kind,
            place=place,
        )

        output_place_project.additional_properties = d
        return output_place_project

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
