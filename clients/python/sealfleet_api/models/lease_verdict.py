from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="LeaseVerdict")


@_attrs_define
class LeaseVerdict:
    """Whether one claim is still held.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        held (bool): If false: kill the sandbox, and report nothing. Kill it at once, unless `cancelled`.
        run_id (str): A run's id.
        step_id (str): The id of a step, unique in its run.
        cancelled (bool | Unset): Whether a caller ended the step: nobody else gets it, so its command may be asked to
            end before it is killed.
        denials_recorded (bool | Unset): Whether the hosts that the heartbeat tells of this step are on record. If not,
            tell them again.
        revoked (list[str] | Unset): Keys of the step that its egress proxy delivers and that are revoked: it is to send
            them nowhere any more, whether or not the step goes on.
    """

    fence: int
    held: bool
    run_id: str
    step_id: str
    cancelled: bool | Unset = UNSET
    denials_recorded: bool | Unset = UNSET
    revoked: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        held = self.held

        run_id = self.run_id

        step_id = self.step_id

        cancelled = self.cancelled

        denials_recorded = self.denials_recorded

        revoked: list[str] | Unset = UNSET
        if not isinstance(self.revoked, Unset):
            revoked = self.revoked

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "held": held,
                "run_id": run_id,
                "step_id": step_id,
            }
        )
        if cancelled is not UNSET:
            field_dict["cancelled"] = cancelled
        if denials_recorded is not UNSET:
            field_dict["denials_recorded"] = denials_recorded
        if revoked is not UNSET:
            field_dict["revoked"] = revoked

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fence = d.pop("fence")

        held = d.pop("held")

        run_id = d.pop("run_id")

        step_id = d.pop("step_id")

        cancelled = d.pop("cancelled", UNSET)

        denials_recorded = d.pop("denials_recorded", UNSET)

        revoked = cast(list[str], d.pop("revoked", UNSET))

        lease_verdict = cls(
            fence=fence,
            held=held,
            run_id=run_id,
            step_id=step_id,
            cancelled=cancelled,
            denials_recorded=denials_recorded,
            revoked=revoked,
        )

        lease_verdict.additional_properties = d
        return lease_verdict

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
