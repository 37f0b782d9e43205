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

T = TypeVar("T", bound="AbortReasonDependencyFailed")


@_attrs_define
class AbortReasonDependencyFailed:
    """A step that it needs did not succeed.

    Attributes:
        kind (Literal['dependency_failed']):
        step_id (str): The id of a step, unique in its run.
    """

    kind: Literal["dependency_failed"]
    step_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        step_id = self.step_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "step_id": step_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["dependency_failed"], d.pop("kind"))
        if kind != "dependency_failed":
            raise ValueError(f"kind must match const 'dependency_failed', got '{kind}'")

        step_id = d.pop("step_id")

        abort_reason_dependency_failed = cls(
            kind=kind,
            step_id=step_id,
        )

        abort_reason_dependency_failed.additional_properties = d
        return abort_reason_dependency_failed

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
