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
    from ..models.profile_use import ProfileUse
    from ..models.run_view_document import RunViewDocument
    from ..models.secret_ref import SecretRef
    from ..models.step_view import StepView


T = TypeVar("T", bound="RunView")


@_attrs_define
class RunView:
    """A run.

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
        steps (list[StepView]): Its steps, in order of their ids.
        workflow (str): The name of a workflow: the kind of work that a run does.
        document (RunViewDocument | Unset): The run as it was enqueued: an `EnqueueRun`. Only `GET /v1/runs/{run_id}`
            shows it, and not for a run of a registered workflow.
        ended_at (datetime.datetime | Unset): A date and time of RFC 3339.
        labels (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        profiles (list[ProfileUse] | Unset): The profiles of its cascade, lowest level first.
        secrets (list[SecretRef] | Unset): The secrets of that cascade by reference, as resolved at enqueue.
        workflow_version (int | Unset): The version of the registered workflow that it is of. Absent: its caller wrote
            its steps.
    """

    created_at: datetime.datetime
    run_id: str
    state: RunState
    steps: list[StepView]
    workflow: str
    document: RunViewDocument | Unset = UNSET
    ended_at: datetime.datetime | Unset = UNSET
    labels: Labels | Unset = UNSET
    profiles: list[ProfileUse] | Unset = UNSET
    secrets: list[SecretRef] | Unset = UNSET
    workflow_version: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        created_at = self.created_at.isoformat()

        run_id = self.run_id

        state = self.state.value

        steps = []
        for steps_item_data in self.steps:
            steps_item = steps_item_data.to_dict()
            steps.append(steps_item)

        workflow = self.workflow

        document: dict[str, Any] | Unset = UNSET
        if not isinstance(self.document, Unset):
            document = self.document.to_dict()

        ended_at: str | Unset = UNSET
        if not isinstance(self.ended_at, Unset):
            ended_at = self.ended_at.isoformat()

        labels: dict[str, Any] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels.to_dict()

        profiles: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.profiles, Unset):
            profiles = []
            for profiles_item_data in self.profiles:
                profiles_item = profiles_item_data.to_dict()
                profiles.append(profiles_item)

        secrets: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.secrets, Unset):
            secrets = []
            for secrets_item_data in self.secrets:
                secrets_item = secrets_item_data.to_dict()
                secrets.append(secrets_item)

        workflow_version = self.workflow_version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "created_at": created_at,
                "run_id": run_id,
                "state": state,
                "steps": steps,
                "workflow": workflow,
            }
        )
        if document is not UNSET:
            field_dict["document"] = document
        if ended_at is not UNSET:
            field_dict["ended_at"] = ended_at
        if labels is not UNSET:
            field_dict["labels"] = labels
        if profiles is not UNSET:
            field_dict["profiles"] = profiles
        if secrets is not UNSET:
            field_dict["secrets"] = secrets
        if workflow_version is not UNSET:
            field_dict["workflow_version"] = workflow_version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels
        from ..models.profile_use import ProfileUse
        from ..models.run_view_document import RunViewDocument
        from ..models.secret_ref import SecretRef
        from ..models.step_view import StepView

        d = dict(src_dict)
        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        run_id = d.pop("run_id")

        state = RunState(d.pop("state"))

        steps = []
        _steps = d.pop("steps")
        for steps_item_data in _steps:
            steps_item = StepView.from_dict(steps_item_data)

            steps.append(steps_item)

        workflow = d.pop("workflow")

        _document = d.pop("document", UNSET)
        document: RunViewDocument | Unset
        if isinstance(_document, Unset):
            document = UNSET
        else:
            document = RunViewDocument.from_dict(_document)

        _ended_at = d.pop("ended_at", UNSET)
        ended_at: datetime.datetime | Unset
        if isinstance(_ended_at, Unset):
            ended_at = UNSET
        else:
            ended_at = datetime.datetime.fromisoformat(_ended_at)

        _labels = d.pop("labels", UNSET)
        labels: Labels | Unset
        if isinstance(_labels, Unset):
            labels = UNSET
        else:
            labels = Labels.from_dict(_labels)

        _profiles = d.pop("profiles", UNSET)
        profiles: list[ProfileUse] | Unset = UNSET
        if _profiles is not UNSET:
            profiles = []
            for profiles_item_data in _profiles:
                profiles_item = ProfileUse.from_dict(profiles_item_data)

                profiles.append(profiles_item)

        _secrets = d.pop("secrets", UNSET)
        secrets: list[SecretRef] | Unset = UNSET
        if _secrets is not UNSET:
            secrets = []
            for secrets_item_data in _secrets:
                secrets_item = SecretRef.from_dict(secrets_item_data)

                secrets.append(secrets_item)

        workflow_version = d.pop("workflow_version", UNSET)

        run_view = cls(
            created_at=created_at,
            run_id=run_id,
            state=state,
            steps=steps,
            workflow=workflow,
            document=document,
            ended_at=ended_at,
            labels=labels,
            profiles=profiles,
            secrets=secrets,
            workflow_version=workflow_version,
        )

        run_view.additional_properties = d
        return run_view

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
