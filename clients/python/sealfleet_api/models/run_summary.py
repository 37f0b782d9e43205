from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.run_state import RunState
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.labels import Labels


T = TypeVar("T", bound="RunSummary")


@_attrs_define
class RunSummary:
    """A run in a list.

    Attributes:
        created_at (datetime.datetime): A date and time of RFC 3339.
        run_id (str): A run's id.
        state (RunState): A run's state, derived from its steps.

            - `queued`: No step has been claimed.

            - `running`: Some step has been claimed, and not all have ended.

            - `succeeded`: All steps succeeded.

            - `failed`: A step failed.

            - `aborted`: A caller ended it.

            - `dead`: A step was given up.
        workflow (str): The name of a workflow: the kind of work that a run does.
        labels (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        workflow_version (int | Unset): The version of the registered workflow that it is of. Absent: its caller wrote
            its steps.
    """

    created_at: datetime.datetime
    run_id: str
    state: RunState
    workflow: str
    labels: Labels | Unset = UNSET
    workflow_version: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        created_at = self.created_at.isoformat()

        run_id = self.run_id

        state = self.state.value

        workflow = self.workflow

        labels: dict[str, Any] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels.to_dict()

        workflow_version = self.workflow_version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "created_at": created_at,
                "run_id": run_id,
                "state": state,
                "workflow": workflow,
            }
        )
        if labels is not UNSET:
            field_dict["labels"] = labels
        if workflow_version is not UNSET:
            field_dict["workflow_version"] = workflow_version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels

        d = dict(src_dict)
        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        run_id = d.pop("run_id")

        state = RunState(d.pop("state"))

        workflow = d.pop("workflow")

        _labels = d.pop("labels", UNSET)
        labels: Labels | Unset
        if isinstance(_labels, Unset):
            labels = UNSET
        else:
            labels = Labels.from_dict(_labels)

        workflow_version = d.pop("workflow_version", UNSET)

        run_summary = cls(
            created_at=created_at,
            run_id=run_id,
            state=state,
            workflow=workflow,
            labels=labels,
            workflow_version=workflow_version,
        )

        run_summary.additional_properties = d
        return run_summary

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
