from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="FanOutView")


@_attrs_define
class FanOutView:
    """A fan-out: a hard revocation aborts the runs in flight that hold its keys.

    Attributes:
        fan_out_id (str): The id of a hard revocation's fan-out.
        revocations (list[str]): The revocations that started it.
        runs_aborted (int): How many runs were aborted.
        started_at (datetime.datetime): A date and time of RFC 3339.
        tasks_stopped (int): How many sandboxes their host was told to stop.
        tasks_unstopped (int): How many sandboxes their host could not be told to stop yet. `sweep` keeps trying.
        worker_sandboxes (int): How many sandboxes workers kill at their next heartbeat, or when their lease ends
            without one.
        finished_at (datetime.datetime | Unset): A date and time of RFC 3339.
        unstopped (list[str] | Unset): Aborted runs whose sandbox could not be stopped yet: 100 at most.
    """

    fan_out_id: str
    revocations: list[str]
    runs_aborted: int
    started_at: datetime.datetime
    tasks_stopped: int
    tasks_unstopped: int
    worker_sandboxes: int
    finished_at: datetime.datetime | Unset = UNSET
    unstopped: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fan_out_id = self.fan_out_id

        revocations = self.revocations

        runs_aborted = self.runs_aborted

        started_at = self.started_at.isoformat()

        tasks_stopped = self.tasks_stopped

        tasks_unstopped = self.tasks_unstopped

        worker_sandboxes = self.worker_sandboxes

        finished_at: str | Unset = UNSET
        if not isinstance(self.finished_at, Unset):
            finished_at = self.finished_at.isoformat()

        unstopped: list[str] | Unset = UNSET
        if not isinstance(self.unstopped, Unset):
            unstopped = self.unstopped

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fan_out_id": fan_out_id,
                "revocations": revocations,
                "runs_aborted": runs_aborted,
                "started_at": started_at,
                "tasks_stopped": tasks_stopped,
                "tasks_unstopped": tasks_unstopped,
                "worker_sandboxes": worker_sandboxes,
            }
        )
        if finished_at is not UNSET:
            field_dict["finished_at"] = finished_at
        if unstopped is not UNSET:
            field_dict["unstopped"] = unstopped

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fan_out_id = d.pop("fan_out_id")

        revocations = cast(list[str], d.pop("revocations"))

        runs_aborted = d.pop("runs_aborted")

        started_at = datetime.datetime.fromisoformat(d.pop("started_at"))

        tasks_stopped = d.pop("tasks_stopped")

        tasks_unstopped = d.pop("tasks_unstopped")

        worker_sandboxes = d.pop("worker_sandboxes")

        _finished_at = d.pop("finished_at", UNSET)
        finished_at: datetime.datetime | Unset
        if isinstance(_finished_at, Unset):
            finished_at = UNSET
        else:
            finished_at = datetime.datetime.fromisoformat(_finished_at)

        unstopped = cast(list[str], d.pop("unstopped", UNSET))

        fan_out_view = cls(
            fan_out_id=fan_out_id,
            revocations=revocations,
            runs_aborted=runs_aborted,
            started_at=started_at,
            tasks_stopped=tasks_stopped,
            tasks_unstopped=tasks_unstopped,
            worker_sandboxes=worker_sandboxes,
            finished_at=finished_at,
            unstopped=unstopped,
        )

        fan_out_view.additional_properties = d
        return fan_out_view

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
