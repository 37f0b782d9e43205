from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.approval_state import ApprovalState
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.approval_view_step import ApprovalViewStep
    from ..models.decision import Decision
    from ..models.run_view import RunView
    from ..models.worker_view import WorkerView
    from ..models.workflow_version_view import WorkflowVersionView


T = TypeVar("T", bound="ApprovalView")


@_attrs_define
class ApprovalView:
    """An approval, and all that a decision on it is about.

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
        review_token (str | Unset): SHA-256 of content, in lower-case hexadecimal digits.
        run (RunView | Unset): A run.
        step (ApprovalViewStep | Unset): The step that is decided on, as it was enqueued: an `EnqueueStep`.
        worker (WorkerView | Unset): A worker.
        workflow_version (WorkflowVersionView | Unset): A version of a registered workflow.
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
    review_token: str | Unset = UNSET
    run: RunView | Unset = UNSET
    step: ApprovalViewStep | Unset = UNSET
    worker: WorkerView | Unset = UNSET
    workflow_version: WorkflowVersionView | Unset = UNSET
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

        review_token = self.review_token

        run: dict[str, Any] | Unset = UNSET
        if not isinstance(self.run, Unset):
            run = self.run.to_dict()

        step: dict[str, Any] | Unset = UNSET
        if not isinstance(self.step, Unset):
            step = self.step.to_dict()

        worker: dict[str, Any] | Unset = UNSET
        if not isinstance(self.worker, Unset):
            worker = self.worker.to_dict()

        workflow_version: dict[str, Any] | Unset = UNSET
        if not isinstance(self.workflow_version, Unset):
            workflow_version = self.workflow_version.to_dict()

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
        if review_token is not UNSET:
            field_dict["review_token"] = review_token
        if run is not UNSET:
            field_dict["run"] = run
        if step is not UNSET:
            field_dict["step"] = step
        if worker is not UNSET:
            field_dict["worker"] = worker
        if workflow_version is not UNSET:
            field_dict["workflow_version"] = workflow_version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.approval_view_step import ApprovalViewStep
        from ..models.decision import Decision
        from ..models.run_view import RunView
        from ..models.worker_view import WorkerView
        from ..models.workflow_version_view import WorkflowVersionView

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

        review_token = d.pop("review_token", UNSET)

        _run = d.pop("run", UNSET)
        run: RunView | Unset
        if isinstance(_run, Unset):
            run = UNSET
        else:
            run = RunView.from_dict(_run)

        _step = d.pop("step", UNSET)
        step: ApprovalViewStep | Unset
        if isinstance(_step, Unset):
            step = UNSET
        else:
            step = ApprovalViewStep.from_dict(_step)

        _worker = d.pop("worker", UNSET)
        worker: WorkerView | Unset
        if isinstance(_worker, Unset):
            worker = UNSET
        else:
            worker = WorkerView.from_dict(_worker)

        _workflow_version = d.pop("workflow_version", UNSET)
        workflow_version: WorkflowVersionView | Unset
        if isinstance(_workflow_version, Unset):
            workflow_version = UNSET
        else:
            workflow_version = WorkflowVersionView.from_dict(_workflow_version)

        approval_view = cls(
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
            review_token=review_token,
            run=run,
            step=step,
            worker=worker,
            workflow_version=workflow_version,
        )

        approval_view.additional_properties = d
        return approval_view

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
