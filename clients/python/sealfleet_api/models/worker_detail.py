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
    from ..models.held_step import HeldStep
    from ..models.labels import Labels
    from ..models.sandboxes import Sandboxes


T = TypeVar("T", bound="WorkerDetail")


@_attrs_define
class WorkerDetail:
    """A worker with the steps that it holds.

    Attributes:
        held (int): How many steps it holds now.
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
        steps (list[HeldStep]): The steps that it holds now.
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
        draining_since (datetime.datetime | Unset): A date and time of RFC 3339.
        last_seen_at (datetime.datetime | Unset): A date and time of RFC 3339.
        sandboxes (Sandboxes | Unset): What a worker tells of its sandboxes.
        version (str | Unset): The version of its program, as the worker says.
    """

    held: int
    labels: Labels
    max_concurrent: int
    models: list[str]
    modes: list[Mode]
    name: str
    pool: str
    registered_at: datetime.datetime
    status: WorkerStatus
    steps: list[HeldStep]
    worker_id: str
    draining_since: datetime.datetime | Unset = UNSET
    last_seen_at: datetime.datetime | Unset = UNSET
    sandboxes: Sandboxes | Unset = UNSET
    version: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        held = self.held

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

        steps = []
        for steps_item_data in self.steps:
            steps_item = steps_item_data.to_dict()
            steps.append(steps_item)

        worker_id = self.worker_id

        draining_since: str | Unset = UNSET
        if not isinstance(self.draining_since, Unset):
            draining_since = self.draining_since.isoformat()

        last_seen_at: str | Unset = UNSET
        if not isinstance(self.last_seen_at, Unset):
            last_seen_at = self.last_seen_at.isoformat()

        sandboxes: dict[str, Any] | Unset = UNSET
        if not isinstance(self.sandboxes, Unset):
            sandboxes = self.sandboxes.to_dict()

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "held": held,
                "labels": labels,
                "max_concurrent": max_concurrent,
                "models": models,
                "modes": modes,
                "name": name,
                "pool": pool,
                "registered_at": registered_at,
                "status": status,
                "steps": steps,
                "worker_id": worker_id,
            }
        )
        if draining_since is not UNSET:
            field_dict["draining_since"] = draining_since
        if last_seen_at is not UNSET:
            field_dict["last_seen_at"] = last_seen_at
        if sandboxes is not UNSET:
            field_dict["sandboxes"] = sandboxes
        if version is not UNSET:
            field_dict["version"] = version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.held_step import HeldStep
        from ..models.labels import Labels
        from ..models.sandboxes import Sandboxes

        d = dict(src_dict)
        held = d.pop("held")

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

        steps = []
        _steps = d.pop("steps")
        for steps_item_data in _steps:
            steps_item = HeldStep.from_dict(steps_item_data)

            steps.append(steps_item)

        worker_id = d.pop("worker_id")

        _draining_since = d.pop("draining_since", UNSET)
        draining_since: datetime.datetime | Unset
        if isinstance(_draining_since, Unset):
            draining_since = UNSET
        else:
            draining_since = datetime.datetime.fromisoformat(_draining_since)

        _last_seen_at = d.pop("last_seen_at", UNSET)
        last_seen_at: datetime.datetime | Unset
        if isinstance(_last_seen_at, Unset):
            last_seen_at = UNSET
        else:
            last_seen_at = datetime.datetime.fromisoformat(_last_seen_at)

        _sandboxes = d.pop("sandboxes", UNSET)
        sandboxes: Sandboxes | Unset
        if isinstance(_sandboxes, Unset):
            sandboxes = UNSET
        else:
            sandboxes = Sandboxes.from_dict(_sandboxes)

        version = d.pop("version", UNSET)

        worker_detail = cls(
            held=held,
            labels=labels,
            max_concurrent=max_concurrent,
            models=models,
            modes=modes,
            name=name,
            pool=pool,
            registered_at=registered_at,
            status=status,
            steps=steps,
            worker_id=worker_id,
            draining_since=draining_since,
            last_seen_at=last_seen_at,
            sandboxes=sandboxes,
            version=version,
        )

        worker_detail.additional_properties = d
        return worker_detail

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
