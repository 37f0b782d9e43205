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

T = TypeVar("T", bound="EventReportRefused")


@_attrs_define
class EventReportRefused:
    """A start, heartbeat or report was refused because its lease is no longer held.

    Attributes:
        code (str): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
        count (int):
        fence (int): The number of a claim. Only the newest claim of a step counts.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['report.refused']):
    """

    code: str
    count: int
    fence: int
    step_id: str
    type_: Literal["report.refused"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        code = self.code

        count = self.count

        fence = self.fence

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "code": code,
                "count": count,
                "fence": fence,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        code = d.pop("code")

        count = d.pop("count")

        fence = d.pop("fence")

        step_id = d.pop("step_id")

        type_ = cast(Literal["report.refused"], d.pop("type"))
        if type_ != "report.refused":
            raise ValueError(f"type must match const 'report.refused', got '{type_}'")

        event_report_refused = cls(
            code=code,
            count=count,
            fence=fence,
            step_id=step_id,
            type_=type_,
        )

        event_report_refused.additional_properties = d
        return event_report_refused

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
