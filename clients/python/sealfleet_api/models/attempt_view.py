from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.attempt_view_end_type_1 import AttemptViewEndType1
from ..models.requeue_reason import RequeueReason
from ..types import UNSET, Unset

T = TypeVar("T", bound="AttemptView")


@_attrs_define
class AttemptView:
    """A claim of a step: one attempt to run it.

    Attributes:
        claimed_at (datetime.datetime): A date and time of RFC 3339.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
        end (AttemptViewEndType1 | None | Unset): `succeeded`, `failed`, `aborted`, `dead` or `lost`.
        ended_at (datetime.datetime | Unset): A date and time of RFC 3339.
        lost (RequeueReason | Unset): Why a step went back to its queue.

            - `lease_expired`: Its lease ran out: its worker was lost.

            - `worker_revoked`: Its worker was revoked.

            - `sandbox_lost`: The machine under its sandbox was lost, or the engine that ran it.

            - `no_capacity`: The host had no capacity for it.

            - `throttled`: The host was called too fast.

            - `network_timeout`: Its sandbox got no network in time, or could not reach what its start needs.

            - `image_timeout`: Its image was not there in time.

            - `role_not_ready`: A role that its start needs cannot be used yet.

            - `host_failed`: The host failed to start it, and may not fail again.
        started_at (datetime.datetime | Unset): A date and time of RFC 3339.
    """

    claimed_at: datetime.datetime
    fence: int
    worker_id: str
    end: AttemptViewEndType1 | None | Unset = UNSET
    ended_at: datetime.datetime | Unset = UNSET
    lost: RequeueReason | Unset = UNSET
    started_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        claimed_at = self.claimed_at.isoformat()

        fence = self.fence

        worker_id = self.worker_id

        end: None | str | Unset
        if isinstance(self.end, Unset):
            end = UNSET
        elif isinstance(self.end, AttemptViewEndType1):
            end = self.end.value
        else:
            end = self.end

        ended_at: str | Unset = UNSET
        if not isinstance(self.ended_at, Unset):
            ended_at = self.ended_at.isoformat()

        lost: str | Unset = UNSET
        if not isinstance(self.lost, Unset):
            lost = self.lost.value

        started_at: str | Unset = UNSET
        if not isinstance(self.started_at, Unset):
            started_at = self.started_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "claimed_at": claimed_at,
                "fence": fence,
                "worker_id": worker_id,
            }
        )
        if end is not UNSET:
            field_dict["end"] = end
        if ended_at is not UNSET:
            field_dict["ended_at"] = ended_at
        if lost is not UNSET:
            field_dict["lost"] = lost
        if started_at is not UNSET:
            field_dict["started_at"] = started_at

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        claimed_at = datetime.datetime.fromisoformat(d.pop("claimed_at"))

        fence = d.pop("fence")

        worker_id = d.pop("worker_id")

        def _parse_end(data: object) -> AttemptViewEndType1 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                end_type_1 = AttemptViewEndType1(data)

                return end_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(AttemptViewEndType1 | None | Unset, data)

        end = _parse_end(d.pop("end", UNSET))

        _ended_at = d.pop("ended_at", UNSET)
        ended_at: datetime.datetime | Unset
        if isinstance(_ended_at, Unset):
            ended_at = UNSET
        else:
            ended_at = datetime.datetime.fromisoformat(_ended_at)

        _lost = d.pop("lost", UNSET)
        lost: RequeueReason | Unset
        if isinstance(_lost, Unset):
            lost = UNSET
        else:
            lost = RequeueReason(_lost)

        _started_at = d.pop("started_at", UNSET)
        started_at: datetime.datetime | Unset
        if isinstance(_started_at, Unset):
            started_at = UNSET
        else:
            started_at = datetime.datetime.fromisoformat(_started_at)

        attempt_view = cls(
            claimed_at=claimed_at,
            fence=fence,
            worker_id=worker_id,
            end=end,
            ended_at=ended_at,
            lost=lost,
            started_at=started_at,
        )

        attempt_view.additional_properties = d
        return attempt_view

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
