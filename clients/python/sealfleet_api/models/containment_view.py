from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.containment_state import ContainmentState
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.open_work import OpenWork
    from ..models.tally import Tally


T = TypeVar("T", bound="ContainmentView")


@_attrs_define
class ContainmentView:
    """A containment.

    Attributes:
        actor (str): Who asked for it, as `kind:id`.
        containment_id (str): The id of a containment: an incident in which all work of a project was stopped.
        reason (str): Why, in the words of the actor.
        rounds (int): How often it has looked for what came up meanwhile, this time included.
        started_at (datetime.datetime): A date and time of RFC 3339.
        state (ContainmentState):

            - `going_on`: It goes on until nothing is left.

            - `contained`: It has ended: its last round found nothing more to stop.

            - `incomplete`: It has ended, and something is left: new work kept coming, or something could not be
            stopped for an hour.
        stopped (Tally): How many of each were stopped, or are there to stop.
        tokens (bool): Whether API tokens are revoked, too.
        ended_at (datetime.datetime | Unset): A date and time of RFC 3339.
        left (OpenWork | Unset): What there is to stop now.
    """

    actor: str
    containment_id: str
    reason: str
    rounds: int
    started_at: datetime.datetime
    state: ContainmentState
    stopped: Tally
    tokens: bool
    ended_at: datetime.datetime | Unset = UNSET
    left: OpenWork | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        actor = self.actor

        containment_id = self.containment_id

        reason = self.reason

        rounds = self.rounds

        started_at = self.started_at.isoformat()

        state = self.state.value

        stopped = self.stopped.to_dict()

        tokens = self.tokens

        ended_at: str | Unset = UNSET
        if not isinstance(self.ended_at, Unset):
            ended_at = self.ended_at.isoformat()

        left: dict[str, Any] | Unset = UNSET
        if not isinstance(self.left, Unset):
            left = self.left.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "actor": actor,
                "containment_id": containment_id,
                "reason": reason,
                "rounds": rounds,
                "started_at": started_at,
                "state": state,
                "stopped": stopped,
                "tokens": tokens,
            }
        )
        if ended_at is not UNSET:
            field_dict["ended_at"] = ended_at
        if left is not UNSET:
            field_dict["left"] = left

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.open_work import OpenWork
        from ..models.tally import Tally

        d = dict(src_dict)
        actor = d.pop("actor")

        containment_id = d.pop("containment_id")

        reason = d.pop("reason")

        rounds = d.pop("rounds")

        started_at = datetime.datetime.fromisoformat(d.pop("started_at"))

        state = ContainmentState(d.pop("state"))

        stopped = Tally.from_dict(d.pop("stopped"))

        tokens = d.pop("tokens")

        _ended_at = d.pop("ended_at", UNSET)
        ended_at: datetime.datetime | Unset
        if isinstance(_ended_at, Unset):
            ended_at = UNSET
        else:
            ended_at = datetime.datetime.fromisoformat(_ended_at)

        _left = d.pop("left", UNSET)
        left: OpenWork | Unset
        if isinstance(_left, Unset):
            left = UNSET
        else:
            left = OpenWork.from_dict(_left)

        containment_view = cls(
            actor=actor,
            containment_id=containment_id,
            reason=reason,
            rounds=rounds,
            started_at=started_at,
            state=state,
            stopped=stopped,
            tokens=tokens,
            ended_at=ended_at,
            left=left,
        )

        containment_view.additional_properties = d
        return containment_view

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
