from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.stream import Stream
from ..types import UNSET, Unset

T = TypeVar("T", bound="Piece")


@_attrs_define
class Piece:
    """A piece of a command's output.

    Attributes:
        stream (Stream): Where a command wrote it.
        text (str): What was written. Bytes that are no UTF-8 are replaced by U+FFFD.
        missing_bytes (int | Unset): Bytes of output, of either stream, that are missing before this.
    """

    stream: Stream
    text: str
    missing_bytes: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        stream = self.stream.value

        text = self.text

        missing_bytes = self.missing_bytes

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "stream": stream,
                "text": text,
            }
        )
        if missing_bytes is not UNSET:
            field_dict["missing_bytes"] = missing_bytes

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        stream = Stream(d.pop("stream"))

        text = d.pop("text")

        missing_bytes = d.pop("missing_bytes", UNSET)

        piece = cls(
            stream=stream,
            text=text,
            missing_bytes=missing_bytes,
        )

        piece.additional_properties = d
        return piece

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
