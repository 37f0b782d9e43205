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

from ..models.requeue_reason import RequeueReason

T = TypeVar("T", bound="EventStepRequeued")


@_attrs_define
class EventStepRequeued:
    """A step went back to its queue.

    Attributes:
        attempt (int):
        fence (int): The number of a claim. Only the newest claim of a step counts.
        reason (RequeueReason): Why a step went back to its queue.

            - `lease_expired`: Its lease ran out: its worker was lost.

            - `worker_revoked`: Its worker was revoked.

            - `sandbox_lost`: The machine under its sandbox was lost, or the engine that ran it.

            - `no_capacity`: The host had no capacity for it.

            - `throttled`: The host was called too fast.

            - `network_timeout`: Its sandbox got no network in time, or could not reach what its start needs.

            - `image_timeout`: Its image was not there in time.

            - `role_not_ready`: A role that its start needs cannot be used yet.

            - `host_failed`: The host failed to start it, and may not fail again.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['step.requeued']):
    """

    attempt: int
    fence: int
    reason: RequeueReason
    step_id: str
    type_: Literal["step.requeued"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        attempt = self.attempt

        fence = self.fence

        reason = self.reason.value

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "attempt": attempt,
                "fence": fence,
                "reason": reason,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        attempt = d.pop("attempt")

        fence = d.pop("fence")

        reason = RequeueReason(d.pop("reason"))

        step_id = d.pop("step_id")

        type_ = cast(Literal["step.requeued"], d.pop("type"))
        if type_ != "step.requeued":
            raise ValueError(f"type must match const 'step.requeued', got '{type_}'")

        event_step_requeued = cls(
            attempt=attempt,
            fence=fence,
            reason=reason,
            step_id=step_id,
            type_=type_,
        )

        event_step_requeued.additional_properties = d
        return event_step_requeued

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
