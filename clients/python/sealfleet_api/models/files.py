from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.content_text import ContentText
    from ..models.content_upload import ContentUpload


T = TypeVar("T", bound="Files")


@_attrs_define
class Files:
    """Files by their path below the workspace, with `/` between names."""

    additional_properties: dict[str, ContentText | ContentUpload] = _attrs_field(
        init=False, factory=dict
    )

    def to_dict(self) -> dict[str, Any]:
        from ..models.content_text import ContentText

        field_dict: dict[str, Any] = {}
        for prop_name, prop in self.additional_properties.items():
            if isinstance(prop, ContentText):
                field_dict[prop_name] = prop.to_dict()
            else:
                field_dict[prop_name] = prop.to_dict()

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.content_text import ContentText
        from ..models.content_upload import ContentUpload

        d = dict(src_dict)
        files = cls()

        additional_properties = {}
        for prop_name, prop_dict in d.items():

            def _parse_additional_property(data: object) -> ContentText | ContentUpload:
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_content_type_0 = ContentText.from_dict(data)

                    return componentsschemas_content_type_0
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_content_type_1 = ContentUpload.from_dict(data)

                return componentsschemas_content_type_1

            additional_property = _parse_additional_property(prop_dict)

            additional_properties[prop_name] = additional_property

        files.additional_properties = additional_properties
        return files

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> ContentText | ContentUpload:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: ContentText | ContentUpload) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
