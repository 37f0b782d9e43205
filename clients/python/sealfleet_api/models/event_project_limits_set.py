from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.limits import Limits


T = TypeVar("T", bound="EventProjectLimitsSet")


@_attrs_define
class EventProjectLimitsSet:
    """An operator set a project's request rate limit. `None` restores the deployment's default.

    Attributes:
        limits (Limits | None):
        project (str): The name of a project, which is a tenant. Never `system`.
        type_ (Literal['project.limits_set']):
    """

    limits: Limits | None
    project: str
    type_: Literal["project.limits_set"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.limits import Limits

        limits: dict[str, Any] | None
        if isinstance(self.limits, Limits):
            limits = self.limits.to_dict()
        else:
            limits = self.limits

        project = self.project

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "limits": limits,
                "project": project,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.limits import Limits

        d = dict(src_dict)

        def _parse_limits(data: object) -> Limits | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                limits_type_0 = Limits.from_dict(data)

                return limits_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Limits | None, data)

        limits = _parse_limits(d.pop("limits"))

        project = d.pop("project")

        type_ = cast(Literal["project.limits_set"], d.pop("type"))
        if type_ != "project.limits_set":
            raise ValueError(
                f"type must match const 'project.limits_set', got '{type_}'"
            )

        event_project_limits_set = cls(
            limits=limits,
            project=project,
            type_=type_,
        )

        event_project_limits_set.additional_properties = d
        return event_project_limits_set

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
