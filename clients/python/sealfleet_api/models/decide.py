from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.verdict import Verdict
from ..types import UNSET, Unset

T = TypeVar("T", bound="Decide")


@_attrs_define
class Decide:
    """A decision on an approval.

    Attributes:
        decision (Verdict): What somebody says to a request.
        reason (None | str | Unset): Why, for whoever asked. Who denies must say it.
        review_token (None | str | Unset): What the approval showed. Who approves must send it; who denies need not.
    """

    decision: Verdict
    reason: None | str | Unset = UNSET
    review_token: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        decision = self.decision.value

        reason: None | str | Unset
        if isinstance(self.reason, Unset):
            reason = UNSET
        else:
            reason = self.reason

        review_token: None | str | Unset
        if isinstance(self.review_token, Unset):
            review_token = UNSET
        else:
            review_token = self.review_token

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "decision": decision,
            }
        )
        if reason is not UNSET:
            field_dict["reason"] = reason
        if review_token is not UNSET:
            field_dict["review_token"] = review_token

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        decision = Verdict(d.pop("decision"))

        def _parse_reason(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        reason = _parse_reason(d.pop("reason", UNSET))

        def _parse_review_token(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        review_token = _parse_review_token(d.pop("review_token", UNSET))

        decide = cls(
            decision=decision,
            reason=reason,
            review_token=review_token,
        )

        return decide
