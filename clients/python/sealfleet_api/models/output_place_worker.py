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

T = TypeVar("T", bound="OutputPlaceWorker")


@_attrs_define
class OutputPlaceWorker:
    """On the host of a worker.

    Attributes:
        kind (Literal['worker']):
        place (str): `HOST:PATH`, as the worker says.
    """

    kind: Literal["worker"]
    place: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        place = self.place

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "place": place,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["worker"], d.pop("kind"))
        if kind != "worker":
            raise ValueError(f"kind must match const 'worker', got '{kind}'")

        place = d.pop("place")

        output_place_worker = cls(
            kind=kind,
            place=place,
        )

        output_place_worker.additional_properties = d
        return output_place_worker

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
