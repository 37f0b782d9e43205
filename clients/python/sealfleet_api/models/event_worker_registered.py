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
    from ..models.labels import Labels


T = TypeVar("T", bound="EventWorkerRegistered")


@_attrs_define
class EventWorkerRegistered:
    """A worker registered: approved by its enrolment key, or waiting for approval.

    Attributes:
        approved (bool):
        labels (Labels): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start with
            `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of itself.
        pool (str): The name of a pool, which is a queue of a project.
        type_ (Literal['worker.registered']):
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
    """

    approved: bool
    labels: Labels
    pool: str
    type_: Literal["worker.registered"]
    worker_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        approved = self.approved

        labels = self.labels.to_dict()

        pool = self.pool

        type_ = self.type_

        worker_id = self.worker_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "approved": approved,
                "labels": labels,
                "pool": pool,
                "type": type_,
                "worker_id": worker_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels

        d = dict(src_dict)
        approved = d.pop("approved")

        labels = Labels.from_dict(d.pop("labels"))

        pool = d.pop("pool")

        type_ = cast(Literal["worker.registered"], d.pop("type"))
        if type_ != "worker.registered":
            raise ValueError(
                f"type must match const 'worker.registered', got '{type_}'"
            )

        worker_id = d.pop("worker_id")

        event_worker_registered = cls(
            approved=approved,
            labels=labels,
            pool=pool,
            type_=type_,
            worker_id=worker_id,
        )

        event_worker_registered.additional_properties = d
        return event_worker_registered

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
