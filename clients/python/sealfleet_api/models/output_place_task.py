from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="OutputPlaceTask")


@_attrs_define
class OutputPlaceTask:
    """In the project's outputs, as of `project`, and in CloudWatch Logs, in the log group of the project.

    Attributes:
        kind (Literal['task']):
        log_stream (str):
        task_id (str):
    """

    kind: Literal["task"]
    log_stream: str
    task_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        log_stream = self.log_stream

        task_id = self.task_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "log_stream": log_stream,
                "task_id": task_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["task"], d.pop("kind"))
        if kind != "task":
            raise ValueError(f"kind must match const 'task', got '{kind}'")

        log_stream = d.pop("log_stream")

        task_id = d.pop("task_id")

        output_place_task = cls(
            kind=kind,
            log_stream=log_stream,
            task_id=task_id,
        )

        output_place_task.additional_properties = d
        return output_place_task

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
