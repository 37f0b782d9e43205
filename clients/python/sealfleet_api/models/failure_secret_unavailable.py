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

from ..models.start_cause import StartCause
from ..types import UNSET, Unset

T = TypeVar("T", bound="FailureSecretUnavailable")


@_attrs_define
class FailureSecretUnavailable:
    """A secret could not be resolved.

    Attributes:
        detail (str): Which one and why; names only.
        kind (Literal['secret_unavailable']):
        cause (None | StartCause | Unset): What has to be mended, where the host says so.
    """

    detail: str
    kind: Literal["secret_unavailable"]
    cause: None | StartCause | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        detail = self.detail

        kind = self.kind

        cause: None | str | Unset
        if isinstance(self.cause, Unset):
            cause = UNSET
        elif isinstance(self.cause, StartCause):
            cause = self.cause.value
        else:
            cause = self.cause

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "detail": detail,
                "kind": kind,
            }
        )
        if cause is not UNSET:
            field_dict["cause"] = cause

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        detail = d.pop("detail")

        kind = cast(Literal["secret_unavailable"], d.pop("kind"))
        if kind != "secret_unavailable":
            raise ValueError(
                f"kind must match const 'secret_unavailable', got '{kind}'"
            )

        def _parse_cause(data: object) -> None | StartCause | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                cause_type_0 = StartCause(data)

                return cause_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | StartCause | Unset, data)

        cause = _parse_cause(d.pop("cause", UNSET))

        failure_secret_unavailable = cls(
            detail=detail,
            kind=kind,
            cause=cause,
        )

        failure_secret_unavailable.additional_properties = d
        return failure_secret_unavailable

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
