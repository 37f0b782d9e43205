from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.usage_sums import UsageSums


T = TypeVar("T", bound="UsageRow")


@_attrs_define
class UsageRow:
    """What steps of a project have used, by what was asked for.

    Attributes:
        project (str): The name of a project, which is a tenant. Never `system`.
        used (UsageSums): What attempts at steps have used together. An attempt is one claim of a step; it counts on the
            UTC day of its end, however it ended.
        day (str | Unset): The UTC day, `YYYY-MM-DD`, if it was asked for.
        model (str | Unset): `PROVIDER/MODEL`, if it was asked for. Absent for work without a model.
        profile (str | Unset): The profile of the highest level of the runs' cascades, if it was asked for. Absent for
            runs without one.
        workflow (str | Unset): The name of a workflow: the kind of work that a run does.
    """

    project: str
    used: UsageSums
    day: str | Unset = UNSET
    model: str | Unset = UNSET
    profile: str | Unset = UNSET
    workflow: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        project = self.project

        used = self.used.to_dict()

        day = self.day

        model = self.model

        profile = self.profile

        workflow = self.workflow

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "project": project,
                "used": used,
            }
        )
        if day is not UNSET:
            field_dict["day"] = day
        if model is not UNSET:
            field_dict["model"] = model
        if profile is not UNSET:
            field_dict["profile"] = profile
        if workflow is not UNSET:
            field_dict["workflow"] = workflow

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.usage_sums import UsageSums

        d = dict(src_dict)
        project = d.pop("project")

        used = UsageSums.from_dict(d.pop("used"))

        day = d.pop("day", UNSET)

        model = d.pop("model", UNSET)

        profile = d.pop("profile", UNSET)

        workflow = d.pop("workflow", UNSET)

        usage_row = cls(
            project=project,
            used=used,
            day=day,
            model=model,
            profile=profile,
            workflow=workflow,
        )

        usage_row.additional_properties = d
        return usage_row

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
