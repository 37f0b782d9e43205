from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.input_place_artifact import InputPlaceArtifact
    from ..models.input_place_file import InputPlaceFile
    from ..models.input_place_result import InputPlaceResult
    from ..models.input_place_stdin import InputPlaceStdin


T = TypeVar("T", bound="StepInput")


@_attrs_define
class StepInput:
    """Something to bring to a step.

    Attributes:
        bytes_ (int): Its size. Content of another size is not what is meant.
        place (InputPlaceArtifact | InputPlaceFile | InputPlaceResult | InputPlaceStdin): Where in a step's workspace
            something goes that is brought to it before its command starts.
        url (str): Where it is got by `GET`.
        sha256 (str | Unset): SHA-256 of content, in lower-case hexadecimal digits.
    """

    bytes_: int
    place: InputPlaceArtifact | InputPlaceFile | InputPlaceResult | InputPlaceStdin
    url: str
    sha256: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.input_place_file import InputPlaceFile
        from ..models.input_place_result import InputPlaceResult
        from ..models.input_place_stdin import InputPlaceStdin

        bytes_ = self.bytes_

        place: dict[str, Any]
        if (
            isinstance(self.place, InputPlaceFile)
            or isinstance(self.place, InputPlaceStdin)
            or isinstance(self.place, InputPlaceResult)
        ):
            place = self.place.to_dict()
        else:
            place = self.place.to_dict()

        url = self.url

        sha256 = self.sha256

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "bytes": bytes_,
                "place": place,
                "url": url,
            }
        )
        if sha256 is not UNSET:
            field_dict["sha256"] = sha256

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.input_place_artifact import InputPlaceArtifact
        from ..models.input_place_file import InputPlaceFile
        from ..models.input_place_result import InputPlaceResult
        from ..models.input_place_stdin import InputPlaceStdin

        d = dict(src_dict)
        bytes_ = d.pop("bytes")

        def _parse_place(
            data: object,
        ) -> InputPlaceArtifact | InputPlaceFile | InputPlaceResult | InputPlaceStdin:
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_input_place_type_0 = InputPlaceFile.from_dict(data)

                return componentsschemas_input_place_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_input_place_type_1 = InputPlaceStdin.from_dict(data)

                return componentsschemas_input_place_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_input_place_type_2 = InputPlaceResult.from_dict(data)

                return componentsschemas_input_place_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_input_place_type_3 = InputPlaceArtifact.from_dict(data)

            return componentsschemas_input_place_type_3

        place = _parse_place(d.pop("place"))

        url = d.pop("url")

        sha256 = d.pop("sha256", UNSET)

        step_input = cls(
            bytes_=bytes_,
            place=place,
            url=url,
            sha256=sha256,
        )

        step_input.additional_properties = d
        return step_input

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
