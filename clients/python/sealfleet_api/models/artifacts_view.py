from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.artifact_total import ArtifactTotal
    from ..models.artifact_view import ArtifactView
    from ..models.output_place_project import OutputPlaceProject
    from ..models.output_place_task import OutputPlaceTask
    from ..models.output_place_worker import OutputPlaceWorker


T = TypeVar("T", bound="ArtifactsView")


@_attrs_define
class ArtifactsView:
    """What a step has left behind.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        items (list[ArtifactView]): A part of the files, in order. Empty if they do not lie in the project's outputs.
        total (ArtifactTotal): How much a step has left.
        expires_at (datetime.datetime | Unset): A date and time of RFC 3339.
        left_out (int | Unset): Links, pipes and devices inside of its directories, which were left out. On the first
            page.
        missing (list[str] | Unset): What the step names and was not there. On the first page.
        next_cursor (str | Unset): Where to go on. Absent: this was all.
        place (OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset): Where the output of a step lies.
    """

    fence: int
    items: list[ArtifactView]
    total: ArtifactTotal
    expires_at: datetime.datetime | Unset = UNSET
    left_out: int | Unset = UNSET
    missing: list[str] | Unset = UNSET
    next_cursor: str | Unset = UNSET
    place: OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.output_place_project import OutputPlaceProject
        from ..models.output_place_worker import OutputPlaceWorker

        fence = self.fence

        items = []
        for items_item_data in self.items:
            items_item = items_item_data.to_dict()
            items.append(items_item)

        total = self.total.to_dict()

        expires_at: str | Unset = UNSET
        if not isinstance(self.expires_at, Unset):
            expires_at = self.expires_at.isoformat()

        left_out = self.left_out

        missing: list[str] | Unset = UNSET
        if not isinstance(self.missing, Unset):
            missing = self.missing

        next_cursor = self.next_cursor

        place: dict[str, Any] | Unset
        if isinstance(self.place, Unset):
            place = UNSET
        elif isinstance(self.place, OutputPlaceWorker) or isinstance(
            self.place, OutputPlaceProject
        ):
            place = self.place.to_dict()
        else:
            place = self.place.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "items": items,
                "total": total,
            }
        )
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at
        if left_out is not UNSET:
            field_dict["left_out"] = left_out
        if missing is not UNSET:
            field_dict["missing"] = missing
        if next_cursor is not UNSET:
            field_dict["next_cursor"] = next_cursor
        if place is not UNSET:
            field_dict["place"] = place

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.artifact_total import ArtifactTotal
        from ..models.artifact_view import ArtifactView
        from ..models.output_place_project import OutputPlaceProject
        from ..models.output_place_task import OutputPlaceTask
        from ..models.output_place_worker import OutputPlaceWorker

        d = dict(src_dict)
        fence = d.pop("fence")

        items = []
        _items = d.pop("items")
        for items_item_data in _items:
            items_item = ArtifactView.from_dict(items_item_data)

            items.append(items_item)

        total = ArtifactTotal.from_dict(d.pop("total"))

        _expires_at = d.pop("expires_at", UNSET)
        expires_at: datetime.datetime | Unset
        if isinstance(_expires_at, Unset):
            expires_at = UNSET
        else:
            expires_at = datetime.datetime.fromisoformat(_expires_at)

        left_out = d.pop("left_out", UNSET)

        missing = cast(list[str], d.pop("missing", UNSET))

        next_cursor = d.pop("next_cursor", UNSET)

        def _parse_place(
            data: object,
        ) -> OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_output_place_type_0 = OutputPlaceWorker.from_dict(
                    data
                )

                return componentsschemas_output_place_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_output_place_type_1 = OutputPlaceProject.from_dict(
                    data
                )

                return componentsschemas_output_place_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_output_place_type_2 = OutputPlaceTask.from_dict(data)

            return componentsschemas_output_place_type_2

        place = _parse_place(d.pop("place", UNSET))

        artifacts_view = cls(
            fence=fence,
            items=items,
            total=total,
            expires_at=expires_at,
            left_out=left_out,
            missing=missing,
            next_cursor=next_cursor,
            place=place,
        )

        artifacts_view.additional_properties = d
        return artifacts_view

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
