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

T = TypeVar("T", bound="EventWorkerDrained")


@_attrs_define
class EventWorkerDrained:
    """An admin wants a worker to take no new steps.

    Attributes:
        type_ (Literal['worker.drained']):
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
    """

    type_: Literal["worker.drained"]
    worker_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        worker_id = self.worker_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "type": type_,
                "worker_id": worker_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        type_ = cast(Literal["worker.drained"], d.pop("type"))
        if type_ != "worker.drained":
            raise ValueError(f"type must match const 'worker.drained', got '{type_}'")

        worker_id = d.pop("worker_id")

        event_worker_drained = cls(
            type_=type_,
            worker_id=worker_id,
        )

        event_worker_drained.additional_properties = d
        return event_worker_drained

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
