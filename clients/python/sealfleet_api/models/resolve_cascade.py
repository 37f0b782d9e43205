from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.overrides import Overrides


T = TypeVar("T", bound="ResolveCascade")


@_attrs_define
class ResolveCascade:
    """The run whose cascade to resolve.

    Attributes:
        workflow (str): The name of a workflow: the kind of work that a run does.
        overrides (Overrides | Unset): What a run changes for itself alone, above all profiles. It cannot name secrets:
            a reference outside of a profile would escape the rules of profiles.
        profile (None | str | Unset): The run's own profile.
        registered (bool | Unset): Whether it is a run of a registered workflow.
        tool (None | str | Unset): The tool of the step in question.
    """

    workflow: str
    overrides: Overrides | Unset = UNSET
    profile: None | str | Unset = UNSET
    registered: bool | Unset = UNSET
    tool: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        workflow = self.workflow

        overrides: dict[str, Any] | Unset = UNSET
        if not isinstance(self.overrides, Unset):
            overrides = self.overrides.to_dict()

        profile: None | str | Unset
        if isinstance(self.profile, Unset):
            profile = UNSET
        else:
            profile = self.profile

        registered = self.registered

        tool: None | str | Unset
        if isinstance(self.tool, Unset):
            tool = UNSET
        else:
            tool = self.tool

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "workflow": workflow,
            }
        )
        if overrides is not UNSET:
            field_dict["overrides"] = overrides
        if profile is not UNSET:
            field_dict["profile"] = profile
        if registered is not UNSET:
            field_dict["registered"] = registered
        if tool is not UNSET:
            field_dict["tool"] = tool

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.overrides import Overrides

        d = dict(src_dict)
        workflow = d.pop("workflow")

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

        registered = d.pop("registered", UNSET)

        def _parse_tool(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        tool = _parse_tool(d.pop("tool", UNSET))

        resolve_cascade = cls(
            workflow=workflow,
            overrides=overrides,
            profile=profile,
            registered=registered,
            tool=tool,
        )

        return resolve_cascade
