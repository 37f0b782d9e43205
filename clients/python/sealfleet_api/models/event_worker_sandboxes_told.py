from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.sandboxes import Sandboxes


T = TypeVar("T", bound="EventWorkerSandboxesTold")


@_attrs_define
class EventWorkerSandboxesTold:
    """A worker told other sandboxes of its own than before.

    Attributes:
        sandboxes (Sandboxes): What a worker tells of its sandboxes.
        type_ (Literal['worker.sandboxes_told']):
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
    """

    sandboxes: Sandboxes
    type_: Literal["worker.sandboxes_told"]
    worker_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        sandboxes = self.sandboxes.to_dict()

        type_ = self.type_

        worker_id = self.worker_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "sandboxes": sandboxes,
                "type": type_,
                "worker_id": worker_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.sandboxes import Sandboxes

        d = dict(src_dict)
        sandboxes = Sandboxes.from_dict(d.pop("sandboxes"))

        type_ = cast(Literal["worker.sandboxes_told"], d.pop("type"))
        if type_ != "worker.sandboxes_told":
            raise ValueError(
                f"type must match const 'worker.sandboxes_told', got '{type_}'"
            )

        worker_id = d.pop("worker_id")

        event_worker_sandboxes_told = cls(
            sandboxes=sandboxes,
            type_=type_,
            worker_id=worker_id,
        )

        event_worker_sandboxes_told.additional_properties = d
        return event_worker_sandboxes_told

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
