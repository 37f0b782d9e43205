from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.content_text import ContentText
    from ..models.content_upload import ContentUpload
    from ..models.files import Files


T = TypeVar("T", bound="Inputs")


@_attrs_define
class Inputs:
    """What a step gets to work with.

    Attributes:
        files (Files | Unset): Files by their path below the workspace, with `/` between names.
        stdin (ContentText | ContentUpload | Unset): What a file or the standard input holds.
    """

    files: Files | Unset = UNSET
    stdin: ContentText | ContentUpload | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.content_text import ContentText

        files: dict[str, Any] | Unset = UNSET
        if not isinstance(self.files, Unset):
            files = self.files.to_dict()

        stdin: dict[str, Any] | Unset
        if isinstance(self.stdin, Unset):
            stdin = UNSET
        elif isinstance(self.stdin, ContentText):
            stdin = self.stdin.to_dict()
        else:
            stdin = self.stdin.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if files is not UNSET:
            field_dict["files"] = files
        if stdin is not UNSET:
            field_dict["stdin"] = stdin

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.content_text import ContentText
        from ..models.content_upload import ContentUpload
        from ..models.files import Files

        d = dict(src_dict)
        _files = d.pop("files", UNSET)
        files: Files | Unset
        if isinstance(_files, Unset):
            files = UNSET
        else:
            files = Files.from_dict(_files)

        def _parse_stdin(data: object) -> ContentText | ContentUpload | Unset:
            if isinstance(data, Unset):
                return data
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

        stdin = _parse_stdin(d.pop("stdin", UNSET))

        inputs = cls(
            files=files,
            stdin=stdin,
        )

        inputs.additional_properties = d
        return inputs

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
