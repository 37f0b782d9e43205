from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.output_place_project import OutputPlaceProject
    from ..models.output_place_task import OutputPlaceTask
    from ..models.output_place_worker import OutputPlaceWorker
    from ..models.piece import Piece


T = TypeVar("T", bound="OutputPage")


@_attrs_define
class OutputPage:
    """A part of a step's output.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        goes_on (bool): Whether the step goes on, so that more may be written.
        items (list[Piece]): Pieces in the order in which they were written. Empty where there is nothing more yet.
        next_cursor (str | Unset): Where to go on, also for what is yet to be written. Absent: the step has ended, and
            this was all.
        place (OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset): Where the output of a step lies.
    """

    fence: int
    goes_on: bool
    items: list[Piece]
    next_cursor: str | Unset = UNSET
    place: OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.output_place_project import OutputPlaceProject
        from ..models.output_place_worker import OutputPlaceWorker

        fence = self.fence

        goes_on = self.goes_on

        items = []
        for items_item_data in self.items:
            items_item = items_item_data.to_dict()
            items.append(items_item)

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
                "goes_on": goes_on,
                "items": items,
            }
        )
        if next_cursor is not UNSET:
            field_dict["next_cursor"] = next_cursor
        if place is not UNSET:
            field_dict["place"] = place

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.output_place_project import OutputPlaceProject
        from ..models.output_place_task import OutputPlaceTask
        from ..models.output_place_worker import OutputPlaceWorker
        from ..models.piece import Piece

        d = dict(src_dict)
        fence = d.pop("fence")

        goes_on = d.pop("goes_on")

        items = []
        _items = d.pop("items")
        for items_item_data in _items:
            items_item = Piece.from_dict(items_item_data)

            items.append(items_item)

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

        output_page = cls(
            fence=fence,
            goes_on=goes_on,
            items=items,
            next_cursor=next_cursor,
            place=place,
        )

        output_page.additional_properties = d
        return output_page

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
