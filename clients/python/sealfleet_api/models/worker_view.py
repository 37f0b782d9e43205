from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode
from ..models.worker_status import WorkerStatus
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.labels import Labels
    from ..models.sandboxes import Sandboxes


T = TypeVar("T", bound="WorkerView")


@_attrs_define
class WorkerView:
    """A worker.

    Attributes:
        labels (Labels): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start with
            `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of itself.
        max_concurrent (int): How many steps it may hold at the same time.
        models (list[str]): Models that it can reach.
        modes (list[Mode]): Execution modes that it can run.
        name (str): A name for people.
        pool (str): The name of a pool, which is a queue of a project.
        registered_at (datetime.datetime): A date and time of RFC 3339.
        status (WorkerStatus): The status of a worker's registration.

            - `pending`: Registered without an enrolment key; waits for an admin.

            - `approved`: May claim steps.

            - `rejected`: An admin rejected it.

            - `revoked`: May not do anything any more.
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
        draining_since (datetime.datetime | Unset): A date and time of RFC 3339.
        sandboxes (Sandboxes | Unset): What a worker tells of its sandboxes.
    """

    labels: Labels
    max_concurrent: int
    models: list[str]
    modes: list[Mode]
    name: str
    pool: str
    registered_at: datetime.datetime
    status: WorkerStatus
    worker_id: str
    draining_since: datetime.datetime | Unset = UNSET
    sandboxes: Sandboxes | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        labels = self.labels.to_dict()

        max_concurrent = self.max_concurrent

        models = self.models

        modes = []
        for modes_item_data in self.modes:
            modes_item = modes_item_data.value
            modes.append(modes_item)

        name = self.name

        pool = self.pool

        registered_at = self.registered_at.isoformat()

        status = self.status.value

        worker_id = self.worker_id

        draining_since: str | Unset = UNSET
        if not isinstance(self.draining_since, Unset):
            draining_since = self.draining_since.isoformat()

        sandboxes: dict[str, Any] | Unset = UNSET
        if not isinstance(self.sandboxes, Unset):
            sandboxes = self.sandboxes.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "labels": labels,
                "max_concurrent": max_concurrent,
                "models": models,
                "modes": modes,
                "name": name,
                "pool": pool,
                "registered_at": registered_at,
                "status": status,
                "worker_id": worker_id,
            }
        )
        if draining_since is not UNSET:
            field_dict["draining_since"] = draining_since
        if sandboxes is not UNSET:
            field_dict["sandboxes"] = sandboxes

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels
        from ..models.sandboxes import Sandboxes

        d = dict(src_dict)
        labels = Labels.from_dict(d.pop("labels"))

        max_concurrent = d.pop("max_concurrent")

        models = cast(list[str], d.pop("models"))

        modes = []
        _modes = d.pop("modes")
        for modes_item_data in _modes:
            modes_item = Mode(modes_item_data)

            modes.append(modes_item)

        name = d.pop("name")

        pool = d.pop("pool")

        registered_at = datetime.datetime.fromisoformat(d.pop("registered_at"))

        status = WorkerStatus(d.pop("status"))

        worker_id = d.pop("worker_id")

        _draining_since = d.pop("draining_since", UNSET)
        draining_since: datetime.datetime | Unset
        if isinstance(_draining_since, Unset):
            draining_since = UNSET
        else:
            draining_since = datetime.datetime.fromisoformat(_draining_since)

        _sandboxes = d.pop("sandboxes", UNSET)
        sandboxes: Sandboxes | Unset
        if isinstance(_sandboxes, Unset):
            sandboxes = UNSET
        else:
            sandboxes = Sandboxes.from_dict(_sandboxes)

        worker_view = cls(
            labels=labels,
            max_concurrent=max_concurrent,
            models=models,
            modes=modes,
            name=name,
            pool=pool,
            registered_at=registered_at,
            status=status,
            worker_id=worker_id,
            draining_since=draining_since,
            sandboxes=sandboxes,
        )

        worker_view.additional_properties = d
        return worker_view

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
