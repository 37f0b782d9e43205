from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.enqueue_step import EnqueueStep
    from ..models.labels import Labels
    from ..models.overrides import Overrides


T = TypeVar("T", bound="EnqueueRun")


@_attrs_define
class EnqueueRun:
    """A run to enqueue.

    Attributes:
        steps (list[EnqueueStep]):
        workflow (str): The name of a workflow: the kind of work that a run does.
        labels (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        overrides (Overrides | Unset): What a run changes for itself alone, above all profiles. It cannot name secrets:
            a reference outside of a profile would escape the rules of profiles.
        profile (None | str | Unset): The run's own profile. It overrides those that the project binds.
    """

    steps: list[EnqueueStep]
    workflow: str
    labels: Labels | Unset = UNSET
    overrides: Overrides | Unset = UNSET
    profile: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        steps = []
        for steps_item_data in self.steps:
            steps_item = steps_item_data.to_dict()
            steps.append(steps_item)

        workflow = self.workflow

        labels: dict[str, Any] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels.to_dict()

        overrides: dict[str, Any] | Unset = UNSET
        if not isinstance(self.overrides, Unset):
            overrides = self.overrides.to_dict()

        profile: None | str | Unset
        if isinstance(self.profile, Unset):
            profile = UNSET
        else:
            profile = self.profile

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "steps": steps,
                "workflow": workflow,
            }
        )
        if labels is not UNSET:
            field_dict["labels"] = labels
        if overrides is not UNSET:
            field_dict["overrides"] = overrides
        if profile is not UNSET:
            field_dict["profile"] = profile

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.enqueue_step import EnqueueStep
        from ..models.labels import Labels
        from ..models.overrides import Overrides

        d = dict(src_dict)
        steps = []
        _steps = d.pop("steps")
        for steps_item_data in _steps:
            steps_item = EnqueueStep.from_dict(steps_item_data)

            steps.append(steps_item)

        workflow = d.pop("workflow")

        _labels = d.pop("labels", UNSET)
        labels: Labels | Unset
        if isinstance(_labels, Unset):
            labels = UNSET
        else:
            labels = Labels.from_dict(_labels)

        _overrides = d.pop("overrides", UNSET)
        overrides: Overrides | Unset
        if isinstance(_overrides, Unset):
            overrides = UNSET
        else:
            overrides = Overrides.from_dict(_overrides)

        def _parse_profile(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        profile = _parse_profile(d.pop("profile", UNSET))

        enqueue_run = cls(
            steps=steps,
            workflow=workflow,
            labels=labels,
            overrides=overrides,
            profile=profile,
        )

        return enqueue_run
