from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.approval_state import ApprovalState
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.decision import Decision


T = TypeVar("T", bound="Approval")


@_attrs_define
class Approval:
    """A request that somebody else decides on.

    Attributes:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.
        approvers (int): How many have to approve.
        request (str): SHA-256 of content, in lower-case hexadecimal digits.
        requested_at (datetime.datetime): A date and time of RFC 3339.
        requested_by (str): Who asked, as `kind:id`.
        state (ApprovalState): Where an approval stands.

            - `pending`: Waits for a decision.

            - `approved`: As many have approved as must.

            - `denied`: Somebody has denied.

            - `expired`: Nobody decided in time.

            - `cancelled`: What waited is not there any more.
        decide_by (datetime.datetime | Unset): A date and time of RFC 3339.
        decisions (list[Decision] | Unset): What has been said so far, oldest first.
        login (str | Unset): The login behind it, if who asked is a token that a login made.
        logins_only (bool | Unset): Whether only logins decide.
    """

    approval: str
    approvers: int
    request: str
    requested_at: datetime.datetime
    requested_by: str
    state: ApprovalState
    decide_by: datetime.datetime | Unset = UNSET
    decisions: list[Decision] | Unset = UNSET
    login: str | Unset = UNSET
    logins_only: bool | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        approval = self.approval

        approvers = self.approvers

        request = self.request

        requested_at = self.requested_at.isoformat()

        requested_by = self.requested_by

        state = self.state.value

        decide_by: str | Unset = UNSET
        if not isinstance(self.decide_by, Unset):
            decide_by = self.decide_by.isoformat()

        decisions: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.decisions, Unset):
            decisions = []
            for decisions_item_data in self.decisions:
                decisions_item = decisions_item_data.to_dict()
                decisions.append(decisions_item)

        login = self.login

        logins_only = self.logins_only

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "approval": approval,
                "approvers": approvers,
                "request": request,
                "requested_at": requested_at,
                "requested_by": requested_by,
                "state": state,
            }
        )
        if decide_by is not UNSET:
            field_dict["decide_by"] = decide_by
        if decisions is not UNSET:
            field_dict["decisions"] = decisions
        if login is not UNSET:
            field_dict["login"] = login
        if logins_only is not UNSET:
            field_dict["logins_only"] = logins_only

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.decision import Decision

        d = dict(src_dict)
        approval = d.pop("approval")

        approvers = d.pop("approvers")

        request = d.pop("request")

        requested_at = datetime.datetime.fromisoformat(d.pop("requested_at"))

        requested_by = d.pop("requested_by")

        state = ApprovalState(d.pop("state"))

        _decide_by = d.pop("decide_by", UNSET)
        decide_by: datetime.datetime | Unset
        if isinstance(_decide_by, Unset):
            decide_by = UNSET
        else:
            decide_by = datetime.datetime.fromisoformat(_decide_by)

        _decisions = d.pop("decisions", UNSET)
        decisions: list[Decision] | Unset = UNSET
        if _decisions is not UNSET:
            decisions = []
            for decisions_item_data in _decisions:
                decisions_item = Decision.from_dict(decisions_item_data)

                decisions.append(decisions_item)

        login = d.pop("login", UNSET)

        logins_only = d.pop("logins_only", UNSET)

        approval = cls(
            approval=approval,
            approvers=approvers,
            request=request,
            requested_at=requested_at,
            requested_by=requested_by,
            state=state,
            decide_by=decide_by,
            decisions=decisions,
            login=login,
            logins_only=logins_only,
        )

        approval.additional_properties = d
        return approval

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
