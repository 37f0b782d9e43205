from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.affected_run import AffectedRun


T = TypeVar("T", bound="RevocationPreview")


@_attrs_define
class RevocationPreview:
    """The runs that a hard revocation would abort now.

    Attributes:
        more (bool): Whether there are more runs than are listed.
        runs (list[AffectedRun]): Runs in flight that hold one of the keys.
    """

    more: bool
    runs: list[AffectedRun]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        more = self.more

        runs = []
        for runs_item_data in self.runs:
            runs_item = runs_item_data.to_dict()
            runs.append(runs_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "more": more,
                "runs": runs,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.affected_run import AffectedRun

        d = dict(src_dict)
        more = d.pop("more")

        runs = []
        _runs = d.pop("runs")
        for runs_item_data in _runs:
            runs_item = AffectedRun.from_dict(runs_item_data)

            runs.append(runs_item)

        revocation_preview = cls(
            more=more,
            runs=runs,
        )

        revocation_preview.additional_properties = d
        return revocation_preview

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
