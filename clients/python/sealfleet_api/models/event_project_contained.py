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

T = TypeVar("T", bound="EventProjectContained")


@_attrs_define
class EventProjectContained:
    """An admin has everything of the project stopped. What follows from it carries the same containment's id.

    Attributes:
        reason (str): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
        tokens (bool): Whether API tokens are revoked, too.
        type_ (Literal['project.contained']):
    """

    reason: str
    tokens: bool
    type_: Literal["project.contained"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        reason = self.reason

        tokens = self.tokens

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "reason": reason,
                "tokens": tokens,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        reason = d.pop("reason")

        tokens = d.pop("tokens")

        type_ = cast(Literal["project.contained"], d.pop("type"))
        if type_ != "project.contained":
            raise ValueError(
                f"type must match const 'project.contained', got '{type_}'"
            )

        event_project_contained = cls(
            reason=reason,
            tokens=tokens,
            type_=type_,
        )

        event_project_contained.additional_properties = d
        return event_project_contained

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
