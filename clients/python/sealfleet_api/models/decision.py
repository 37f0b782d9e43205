from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.verdict import Verdict
from ..types import UNSET, Unset

T = TypeVar("T", bound="Decision")


@_attrs_define
class Decision:
    """What somebody has said.

    Attributes:
        at (datetime.datetime): A date and time of RFC 3339.
        by (str): Who, as `kind:id`.
        verdict (Verdict): What somebody says to a request.
        login (str | Unset): The login behind it, if `by` is a token that a login made.
        reason (str | Unset): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
    """

    at: datetime.datetime
    by: str
    verdict: Verdict
    login: str | Unset = UNSET
    reason: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        at = self.at.isoformat()

        by = self.by

        verdict = self.verdict.value

        login = self.login

        reason = self.reason

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "at": at,
                "by": by,
                "verdict": verdict,
            }
        )
        if login is not UNSET:
            field_dict["login"] = login
        if reason is not UNSET:
            field_dict["reason"] = reason

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        at = datetime.datetime.fromisoformat(d.pop("at"))

        by = d.pop("by")

        verdict = Verdict(d.pop("verdict"))

        login = d.pop("login", UNSET)

        reason = d.pop("reason", UNSET)

        decision = cls(
            at=at,
            by=by,
            verdict=verdict,
            login=login,
            reason=reason,
        )

        decision.additional_properties = d
        return decision

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
