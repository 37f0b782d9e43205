from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.worker_status import WorkerStatus
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.lease_verdict import LeaseVerdict


T = TypeVar("T", bound="HeartbeatAnswer")


@_attrs_define
class HeartbeatAnswer:
    """Which of those claims are still held.

    Attributes:
        leases (list[LeaseVerdict]): One for each claim of the request, in its order.
        status (WorkerStatus): The status of a worker's registration.

            - `pending`: Registered without an enrolment key; waits for an admin.

            - `approved`: May claim steps.

            - `rejected`: An admin rejected it.

            - `revoked`: May not do anything any more.
        draining (bool | Unset): Whether the worker drains: it ends what it holds, and is given nothing new.
    """

    leases: list[LeaseVerdict]
    status: WorkerStatus
    draining: bool | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        leases = []
        for leases_item_data in self.leases:
            leases_item = leases_item_data.to_dict()
            leases.append(leases_item)

        status = self.status.value

        draining = self.draining

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "leases": leases,
                "status": status,
            }
        )
        if draining is not UNSET:
            field_dict["draining"] = draining

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.lease_verdict import LeaseVerdict

        d = dict(src_dict)
        leases = []
        _leases = d.pop("leases")
        for leases_item_data in _leases:
            leases_item = LeaseVerdict.from_dict(leases_item_data)

            leases.append(leases_item)

        status = WorkerStatus(d.pop("status"))

        draining = d.pop("draining", UNSET)

        heartbeat_answer = cls(
            leases=leases,
            status=status,
            draining=draining,
        )

        heartbeat_answer.additional_properties = d
        return heartbeat_answer

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
