from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.workflow_definition import WorkflowDefinition


T = TypeVar("T", bound="RegisterWorkflow")


@_attrs_define
class RegisterWorkflow:
    """A version of a workflow to register. Somebody else has to approve it.

    Attributes:
        definition (WorkflowDefinition): What a registered workflow does.
        name (str): The name of a workflow: the kind of work that a run does.
    """

    definition: WorkflowDefinition
    name: str

    def to_dict(self) -> dict[str, Any]:
        definition = self.definition.to_dict()

        name = self.name

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "definition": definition,
                "name": name,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.workflow_definition import WorkflowDefinition

        d = dict(src_dict)
        definition = WorkflowDefinition.from_dict(d.pop("definition"))

        name = d.pop("name")

        register_workflow = cls(
            definition=definition,
            name=name,
        )

        return register_workflow
