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

from ..models.pool_view_pull_backend import PoolViewPullBackend
from ..types import UNSET, Unset

T = TypeVar("T", bound="PoolViewPull")


@_attrs_define
class PoolViewPull:
    """Workers in the customer's network claim from this pool.

    Attributes:
        kind (Literal['pull']):
        backend (PoolViewPullBackend | Unset): The sandbox backend that runs its steps; they go to workers that have it.
            Absent: what each worker has.
    """

    kind: Literal["pull"]
    backend: PoolViewPullBackend | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        backend: str | Unset = UNSET
        if not isinstance(self.backend, Unset):
            backend = self.backend.value

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
            }
        )
        if backend is not UNSET:
            field_dict["backend"] = backend

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["pull"], d.pop("kind"))
        if kind != "pull":
            raise ValueError(f"kind must match const 'pull', got '{kind}'")

        _backend = d.pop("backend", UNSET)
        backend: PoolViewPullBackend | Unset
        if isinstance(_backend, Unset):
            backend = UNSET
        else:
            backend = PoolViewPullBackend(_backend)

        pool_view_pull = cls(
            kind=kind,
            backend=backend,
        )

        pool_view_pull.additional_properties = d
        return pool_view_pull

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
