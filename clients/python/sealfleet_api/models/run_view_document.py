from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.run_view_document_steps_item import RunViewDocumentStepsItem


T = TypeVar("T", bound="RunViewDocument")


@_attrs_define
class RunViewDocument:
    """The run as it was enqueued: an `EnqueueRun`. Only `GET /v1/runs/{run_id}` shows it, and not for a run of a
    registered workflow.

        Attributes:
            steps (list[RunViewDocumentStepsItem]):
            workflow (str):
    """

    steps: list[RunViewDocumentStepsItem]
    workflow: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        steps = []
        for steps_item_data in self.steps:
            steps_item = steps_item_data.to_dict()
            steps.append(steps_item)

        workflow = self.workflow

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "steps": steps,
                "workflow": workflow,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.run_view_document_steps_item import RunViewDocumentStepsItem

        d = dict(src_dict)
        steps = []
        _steps = d.pop("steps")
        for steps_item_data in _steps:
            steps_item = RunViewDocumentStepsItem.from_dict(steps_item_data)

            steps.append(steps_item)

        workflow = d.pop("workflow")

        run_view_document = cls(
            steps=steps,
            workflow=workflow,
        )

        run_view_document.additional_properties = d
        return run_view_document

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
