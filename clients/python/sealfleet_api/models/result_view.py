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


T = TypeVar("T", bound="ResultView")


@_attrs_define
class ResultView:
    """The result of a step.

    Attributes:
        bytes_ (int): Its size.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        place (OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset): Where the output of a step lies.
        result (Any | Unset): What the step has left as its result. Absent if it does not lie in the project's outputs.
    """

    bytes_: int
    fence: int
    place: OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset = UNSET
    result: Any | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.output_place_project import OutputPlaceProject
        from ..models.output_place_worker import OutputPlaceWorker

        bytes_ = self.bytes_

        fence = self.fence

        place: dict[str, Any] | Unset
        if isinstance(self.place, Unset):
            place = UNSET
        elif isinstance(self.place, OutputPlaceWorker) or isinstance(
            self.place, OutputPlaceProject
        ):
            place = self.place.to_dict()
        else:
            place = self.place.to_dict()

        result = self.result

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "bytes": bytes_,
                "fence": fence,
            }
        )
        if place is not UNSET:
            field_dict["place"] = place
        if result is not UNSET:
            field_dict["result"] = result

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.output_place_project import OutputPlaceProject
        from ..models.output_place_task import OutputPlaceTask
        from ..models.output_place_worker import OutputPlaceWorker

        d = dict(src_dict)
        bytes_ = d.pop("bytes")

        fence = d.pop("fence")

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

        result = d.pop("result", UNSET)

        result_view = cls(
            bytes_=bytes_,
            fence=fence,
            place=place,
            result=result,
        )

        result_view.additional_properties = d
        return result_view

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
