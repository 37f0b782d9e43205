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

T = TypeVar("T", bound="FailureCannotExecute")


@_attrs_define
class FailureCannotExecute:
    """The system refused to execute it.

    Attributes:
        detail (str): The system's words for it.
        errno (int): The system's error number, as Linux counts them.
        kind (Literal['cannot_execute']):
    """

    detail: str
    errno: int
    kind: Literal["cannot_execute"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        detail = self.detail

        errno = self.errno

        kind = self.kind

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "detail": detail,
                "errno": errno,
                "kind": kind,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        detail = d.pop("detail")

        errno = d.pop("errno")

        kind = cast(Literal["cannot_execute"], d.pop("kind"))
        if kind != "cannot_execute":
            raise ValueError(f"kind must match const 'cannot_execute', got '{kind}'")

        failure_cannot_execute = cls(
            detail=detail,
            errno=errno,
            kind=kind,
        )

        failure_cannot_execute.additional_properties = d
        return failure_cannot_execute

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
