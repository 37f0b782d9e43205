from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="EnqueueStepCommandItemType1")


@_attrs_define
class EnqueueStepCommandItemType1:
    """
    Attributes:
        file (str):
    """

    file: str

    def to_dict(self) -> dict[str, Any]:
        file = self.file

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "file": file,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        file = d.pop("file")

        enqueue_step_command_item_type_1 = cls(
            file=file,
        )

        return enqueue_step_command_item_type_1
