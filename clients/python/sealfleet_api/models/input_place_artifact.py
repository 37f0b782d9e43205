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

T = TypeVar("T", bound="InputPlaceArtifact")


@_attrs_define
class InputPlaceArtifact:
    """A file that a step left which it takes.

    Attributes:
        kind (Literal['artifact']):
        name (str):
        step_id (str): The id of a step, unique in its run.
    """

    kind: Literal["artifact"]
    name: str
    step_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        name = self.name

        step_id = self.step_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "name": name,
                "step_id": step_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["artifact"], d.pop("kind"))
        if kind != "artifact":
            raise ValueError(f"kind must match const 'artifact', got '{kind}'")

        name = d.pop("name")

        step_id = d.pop("step_id")

        input_place_artifact = cls(
            kind=kind,
            name=name,
            step_id=step_id,
        )

        input_place_artifact.additional_properties = d
        return input_place_artifact

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
