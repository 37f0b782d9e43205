from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.enqueue_step import EnqueueStep
    from ..models.overrides import Overrides
    from ..models.workflow_definition_parameters import WorkflowDefinitionParameters


T = TypeVar("T", bound="WorkflowDefinition")


@_attrs_define
class WorkflowDefinition:
    """What a registered workflow does.

    Attributes:
        steps (list[EnqueueStep]):
        description (None | str | Unset): What it is for, for people.
        overrides (Overrides | Unset): What a run changes for itself alone, above all profiles. It cannot name secrets:
            a reference outside of a profile would escape the rules of profiles.
        parameters (WorkflowDefinitionParameters | Unset): What whoever runs it gives, by name.
        profile (None | str | Unset): The profile of its runs. It overrides those that the project binds.
    """

    steps: list[EnqueueStep]
    description: None | str | Unset = UNSET
    overrides: Overrides | Unset = UNSET
    parameters: WorkflowDefinitionParameters | Unset = UNSET
    profile: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        steps = []
        for steps_item_data in self.steps:
            steps_item = steps_item_data.to_dict()
            steps.append(steps_item)

        description: None | str | Unset
        if isinstance(self.description, Unset):
            description = UNSET
        else:
            description = self.description

        overrides: dict[str, Any] | Unset = UNSET
        if not isinstance(self.overrides, Unset):
            overrides = self.overrides.to_dict()

        parameters: dict[str, Any] | Unset = UNSET
        if not isinstance(self.parameters, Unset):
            parameters = self.parameters.to_dict()

        profile: None | str | Unset
        if isinstance(self.profile, Unset):
            profile = UNSET
        else:
            profile = self.profile

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "steps": steps,
            }
        )
        if description is not UNSET:
            field_dict["description"] = description
        if overrides is not UNSET:
            field_dict["overrides"] = overrides
        if parameters is not UNSET:
            field_dict["parameters"] = parameters
        if profile is not UNSET:
            field_dict["profile"] = profile

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.enqueue_step import EnqueueStep
        from ..models.overrides import Overrides
        from ..models.workflow_definition_parameters import WorkflowDefinitionParameters

        d = dict(src_dict)
        steps = []
        _steps = d.pop("steps")
        for steps_item_data in _steps:
            steps_item = EnqueueStep.from_dict(steps_item_data)

            steps.append(steps_item)

        def _parse_description(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        description = _parse_description(d.pop("description", UNSET))

        _overrides = d.pop("overrides", UNSET)
        overrides: Overrides | Unset
        if isinstance(_overrides, Unset):
            overrides = UNSET
        else:
            overrides = Overrides.from_dict(_overrides)

        _parameters = d.pop("parameters", UNSET)
        parameters: WorkflowDefinitionParameters | Unset
        if isinstance(_parameters, Unset):
            parameters = UNSET
        else:
            parameters = WorkflowDefinitionParameters.from_dict(_parameters)

        def _parse_profile(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        profile = _parse_profile(d.pop("profile", UNSET))

        workflow_definition = cls(
            steps=steps,
            description=description,
            overrides=overrides,
            parameters=parameters,
            profile=profile,
        )

        return workflow_definition
