from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.version_state import VersionState

if TYPE_CHECKING:
    from ..models.workflow_version_view_definition import WorkflowVersionViewDefinition


T = TypeVar("T", bound="WorkflowVersionView")


@_attrs_define
class WorkflowVersionView:
    """A version of a registered workflow.

    Attributes:
        definition (WorkflowVersionViewDefinition): What it does: a `WorkflowDefinition`.
        hash_ (str): SHA-256 of content, in lower-case hexadecimal digits.
        registered_at (datetime.datetime): A date and time of RFC 3339.
        registered_by (str): Who registered it, as `kind:id`.
        state (VersionState): Where a version of a workflow stands: `pending`, then `live` or `denied`, and from `live`
            on `superseded` or `retired`.

            - `pending`: Waits for approval.

            - `live`: Runs.

            - `denied`: Was not approved.

            - `cancelled`: A newer version was registered, the workflow retired, or its time was over, before anybody
            decided.

            - `superseded`: A newer version runs.

            - `retired`: Taken out of use.
        version (int): Counts from 1.
        workflow (str): The name of a workflow: the kind of work that a run does.
    """

    definition: WorkflowVersionViewDefinition
    hash_: str
    registered_at: datetime.datetime
    registered_by: str
    state: VersionState
    version: int
    workflow: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        definition = self.definition.to_dict()

        hash_ = self.hash_

        registered_at = self.registered_at.isoformat()

        registered_by = self.registered_by

        state = self.state.value

        version = self.version

        workflow = self.workflow

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "definition": definition,
                "hash": hash_,
                "registered_at": registered_at,
                "registered_by": registered_by,
                "state": state,
                "version": version,
                "workflow": workflow,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.workflow_version_view_definition import (
            WorkflowVersionViewDefinition,
        )

        d = dict(src_dict)
        definition = WorkflowVersionViewDefinition.from_dict(d.pop("definition"))

        hash_ = d.pop("hash")

        registered_at = datetime.datetime.fromisoformat(d.pop("registered_at"))

        registered_by = d.pop("registered_by")

        state = VersionState(d.pop("state"))

        version = d.pop("version")

        workflow = d.pop("workflow")

        workflow_version_view = cls(
            definition=definition,
            hash_=hash_,
            registered_at=registered_at,
            registered_by=registered_by,
            state=state,
            version=version,
            workflow=workflow,
        )

        workflow_version_view.additional_properties = d
        return workflow_version_view

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
