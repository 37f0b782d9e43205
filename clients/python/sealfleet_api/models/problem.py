from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.code import Code
from ..types import UNSET, Unset

T = TypeVar("T", bound="Problem")


@_attrs_define
class Problem:
    """An error answer, `application/problem+json`: what happened, and what the caller can do.

    Attributes:
        code (Code): What kind of problem it is. Codes are stable: callers may decide by them.

            - `invalid_request`: The request is not valid.

            - `unauthenticated`: The request carries no valid credential.

            - `forbidden`: The caller may not do this.

            - `worker_pending`: The worker waits for approval.

            - `worker_draining`: The worker drains.

            - `worker_rejected`: The worker was rejected.

            - `worker_revoked`: The worker was revoked.

            - `not_holder`: The step is held by another worker.

            - `audience_denied`: The step's profiles do not name this audience.

            - `registered_required`: The project runs registered workflows only.

            - `registered_name`: A registered workflow has this name.

            - `login_required`: Only who has logged in at an issuer may do this; a token does not tell who holds it.

            - `own_approval`: Nobody decides on a request of their own.

            - `profile_denied`: The profile may not be used by this workflow.

            - `enrolment_refused`: The enrolment key does not cover this registration.

            - `secret_override`: A plain value would take a secret's place.

            - `secret_revoked`: A secret that is asked for is revoked.

            - `not_found`: There is nothing here.

            - `method_not_allowed`: The path does not take this method.

            - `conflict`: The request conflicts with the present state.

            - `already_exists`: The name is taken.

            - `project_closed`: The project is being deleted.

            - `project_in_use`: Runs in flight belong to the project.

            - `not_queued`: The step is not waiting to be claimed.

            - `step_mismatch`: The worker cannot run this step.

            - `at_capacity`: The worker holds as many steps as it may.

            - `stale_fence`: The lease is no longer held.

            - `start_refused`: The step may not start with what it would see.

            - `already_revoked`: A key is revoked already.

            - `not_active`: The revocation is not active.

            - `profile_in_use`: Runs in flight use the profile.

            - `not_live`: This version of the workflow does not run.

            - `stale_review`: Something has changed since it was reviewed.

            - `already_decided`: The approval is decided already.

            - `not_ready`: The step is not ready to be asked for.

            - `version_conflict`: Somebody has changed it meanwhile.

            - `body_too_large`: The request's body is too large.

            - `idempotency_mismatch`: The idempotency key was used with another request.

            - `precondition_required`: The request must name the version that it replaces.

            - `rate_limited`: Too many requests in a short time.

            - `internal`: Something failed inside.

            - `unavailable`: A part that is needed does not answer.
        detail (str): What happened here and what to do about it.
        status (int): The HTTP status.
        title (str): The same text for every problem of this code.
        type_ (str): `urn:sealfleet:problem:CODE`.
        field (str | Unset): The request's field that is wrong, as a path: `steps[0].pool`.
        retry_after (int | Unset): After how many seconds the same request may succeed; the `Retry-After` header says
            it, too.
    """

    code: Code
    detail: str
    status: int
    title: str
    type_: str
    field: str | Unset = UNSET
    retry_after: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        code = self.code.value

        detail = self.detail

        status = self.status

        title = self.title

        type_ = self.type_

        field = self.field

        retry_after = self.retry_after

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "code": code,
                "detail": detail,
                "status": status,
                "title": title,
                "type": type_,
            }
        )
        if field is not UNSET:
            field_dict["field"] = field
        if retry_after is not UNSET:
            field_dict["retry_after"] = retry_after

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        code = Code(d.pop("code"))

        detail = d.pop("detail")

        status = d.pop("status")

        title = d.pop("title")

        type_ = d.pop("type")

        field = d.pop("field", UNSET)

        retry_after = d.pop("retry_after", UNSET)

        problem = cls(
            code=code,
            detail=detail,
            status=status,
            title=title,
            type_=type_,
            field=field,
            retry_after=retry_after,
        )

        problem.additional_properties = d
        return problem

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
