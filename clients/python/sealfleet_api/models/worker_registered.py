from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.worker_status import WorkerStatus

T = TypeVar("T", bound="WorkerRegistered")


@_attrs_define
class WorkerRegistered:
    """A registered worker. Only this answer shows `credential`.

    Attributes:
        credential (str): The credential to send as `Bearer`.
        status (WorkerStatus): The status of a worker's registration.

            - `pending`: Registered without an enrolment key; waits for an admin.

            - `approved`: May claim steps.

            - `rejected`: An admin rejected it.

            - `revoked`: May not do anything any more.
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
    """

    credential: str
    status: WorkerStatus
    worker_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        credential = self.credential

        status = self.status.value

        worker_id = self.worker_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "credential": credential,
                "status": status,
                "worker_id": worker_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        credential = d.pop("credential")

        status = WorkerStatus(d.pop("status"))

        worker_id = d.pop("worker_id")

        worker_registered = cls(
            credential=credential,
            status=status,
            worker_id=worker_id,
        )

        worker_registered.additional_properties = d
        return worker_registered

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
