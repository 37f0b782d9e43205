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

T = TypeVar("T", bound="FailureAgentRateLimited")


@_attrs_define
class FailureAgentRateLimited:
    """The provider of its model accepts no more requests at present: run it later, or raise the limit of its key.

    Attributes:
        kind (Literal['agent_rate_limited']):
    """

    kind: Literal["agent_rate_limited"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["agent_rate_limited"], d.pop("kind"))
        if kind != "agent_rate_limited":
            raise ValueError(
                f"kind must match const 'agent_rate_limited', got '{kind}'"
            )

        failure_agent_rate_limited = cls(
            kind=kind,
        )

        failure_agent_rate_limited.additional_properties = d
        return failure_agent_rate_limited

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
