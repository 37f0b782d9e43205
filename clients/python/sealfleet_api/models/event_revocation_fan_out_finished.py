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

T = TypeVar("T", bound="EventRevocationFanOutFinished")


@_attrs_define
class EventRevocationFanOutFinished:
    """Every run in flight that held a key of a hard revocation was aborted.

    Attributes:
        fan_out_id (str): The id of a hard revocation's fan-out.
        revocations (list[str]):
        runs_aborted (int): How many runs were aborted.
        tasks_stopped (int): How many sandboxes their host was told to stop.
        tasks_unstopped (int): How many sandboxes their host could not be told to stop yet. `sweep` keeps trying.
        type_ (Literal['revocation.fan_out_finished']):
        worker_sandboxes (int): How many sandboxes workers kill at their next heartbeat, or when their lease ends
            without one.
    """

    fan_out_id: str
    revocations: list[str]
    runs_aborted: int
    tasks_stopped: int
    tasks_unstopped: int
    type_: Literal["revocation.fan_out_finished"]
    worker_sandboxes: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fan_out_id = self.fan_out_id

        revocations = self.revocations

        runs_aborted = self.runs_aborted

        tasks_stopped = self.tasks_stopped

        tasks_unstopped = self.tasks_unstopped

        type_ = self.type_

        worker_sandboxes = self.worker_sandboxes

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fan_out_id": fan_out_id,
                "revocations": revocations,
                "runs_aborted": runs_aborted,
                "tasks_stopped": tasks_stopped,
                "tasks_unstopped": tasks_unstopped,
                "type": type_,
                "worker_sandboxes": worker_sandboxes,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fan_out_id = d.pop("fan_out_id")

        revocations = cast(list[str], d.pop("revocations"))

        runs_aborted = d.pop("runs_aborted")

        tasks_stopped = d.pop("tasks_stopped")

        tasks_unstopped = d.pop("tasks_unstopped")

        type_ = cast(Literal["revocation.fan_out_finished"], d.pop("type"))
        if type_ != "revocation.fan_out_finished":
            raise ValueError(
                f"type must match const 'revocation.fan_out_finished', got '{type_}'"
            )

        worker_sandboxes = d.pop("worker_sandboxes")

        event_revocation_fan_out_finished = cls(
            fan_out_id=fan_out_id,
            revocations=revocations,
            runs_aborted=runs_aborted,
            tasks_stopped=tasks_stopped,
            tasks_unstopped=tasks_unstopped,
            type_=type_,
            worker_sandboxes=worker_sandboxes,
        )

        event_revocation_fan_out_finished.additional_properties = d
        return event_revocation_fan_out_finished

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
