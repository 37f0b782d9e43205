from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.bindings_workflows import BindingsWorkflows


T = TypeVar("T", bound="Bindings")


@_attrs_define
class Bindings:
    """The profiles that a project binds below each run's own.

    Attributes:
        project (None | str | Unset): The project's default profile.
        system (None | str | Unset): A profile of the system scope, at the lowest level.
        workflows (BindingsWorkflows | Unset): Profiles by workflow.
    """

    project: None | str | Unset = UNSET
    system: None | str | Unset = UNSET
    workflows: BindingsWorkflows | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        project: None | str | Unset
        if isinstance(self.project, Unset):
            project = UNSET
        else:
            project = self.project

        system: None | str | Unset
        if isinstance(self.system, Unset):
            system = UNSET
        else:
            system = self.system

        workflows: dict[str, Any] | Unset = UNSET
        if not isinstance(self.workflows, Unset):
            workflows = self.workflows.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if project is not UNSET:
            field_dict["project"] = project
        if system is not UNSET:
            field_dict["system"] = system
        if workflows is not UNSET:
            field_dict["workflows"] = workflows

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.bindings_workflows import BindingsWorkflows

        d = dict(src_dict)

        def _parse_project(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        project = _parse_project(d.pop("project", UNSET))

        def _parse_system(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        system = _parse_system(d.pop("system", UNSET))

        _workflows = d.pop("workflows", UNSET)
        workflows: BindingsWorkflows | Unset
        if isinstance(_workflows, Unset):
            workflows = UNSET
        else:
            workflows = BindingsWorkflows.from_dict(_workflows)

        bindings = cls(
            project=project,
            system=system,
            workflows=workflows,
        )

        return bindings
