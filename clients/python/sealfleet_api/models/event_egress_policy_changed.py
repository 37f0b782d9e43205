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

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.egress_policy_allow import EgressPolicyAllow


T = TypeVar("T", bound="EventEgressPolicyChanged")


@_attrs_define
class EventEgressPolicyChanged:
    """A new version of a profile has another egress policy.

    Attributes:
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        type_ (Literal['egress.policy_changed']):
        version (int):
        before (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
        egress (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
    """

    profile: str
    type_: Literal["egress.policy_changed"]
    version: int
    before: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    egress: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.egress_policy_allow import EgressPolicyAllow

        profile = self.profile

        type_ = self.type_

        version = self.version

        before: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.before, Unset):
            before = UNSET
        elif isinstance(self.before, EgressPolicyAllow):
            before = self.before.to_dict()
        else:
            before = self.before

        egress: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.egress, Unset):
            egress = UNSET
        elif isinstance(self.egress, EgressPolicyAllow):
            egress = self.egress.to_dict()
        else:
            egress = self.egress

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "profile": profile,
                "type": type_,
                "version": version,
            }
        )
        if before is not UNSET:
            field_dict["before"] = before
        if egress is not UNSET:
            field_dict["egress"] = egress

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_policy_allow import EgressPolicyAllow

        d = dict(src_dict)
        profile = d.pop("profile")

        type_ = cast(Literal["egress.policy_changed"], d.pop("type"))
        if type_ != "egress.policy_changed":
            raise ValueError(
                f"type must match const 'egress.policy_changed', got '{type_}'"
            )

        version = d.pop("version")

        def _parse_before(
            data: object,
        ) -> Literal["none", "open"] | EgressPolicyAllow | Unset:
            if isinstance(data, Unset):
                return data
            componentsschemas_egress_policy_type_0 = cast(Literal["none"], data)
            if componentsschemas_egress_policy_type_0 != "none":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_0 must match const 'none', got '{componentsschemas_egress_policy_type_0}'"
                )
            return componentsschemas_egress_policy_type_0
            componentsschemas_egress_policy_type_1 = cast(Literal["open"], data)
            if componentsschemas_egress_policy_type_1 != "open":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_1 must match const 'open', got '{componentsschemas_egress_policy_type_1}'"
                )
            return componentsschemas_egress_policy_type_1
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_egress_policy_type_2 = EgressPolicyAllow.from_dict(data)

            return componentsschemas_egress_policy_type_2

        before = _parse_before(d.pop("before", UNSET))

        def _parse_egress(
            data: object,
        ) -> Literal["none", "open"] | EgressPolicyAllow | Unset:
            if isinstance(data, Unset):
                return data
            componentsschemas_egress_policy_type_0 = cast(Literal["none"], data)
            if componentsschemas_egress_policy_type_0 != "none":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_0 must match const 'none', got '{componentsschemas_egress_policy_type_0}'"
                )
            return componentsschemas_egress_policy_type_0
            componentsschemas_egress_policy_type_1 = cast(Literal["open"], data)
            if componentsschemas_egress_policy_type_1 != "open":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_1 must match const 'open', got '{componentsschemas_egress_policy_type_1}'"
                )
            return componentsschemas_egress_policy_type_1
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_egress_policy_type_2 = EgressPolicyAllow.from_dict(data)

            return componentsschemas_egress_policy_type_2

        egress = _parse_egress(d.pop("egress", UNSET))

        event_egress_policy_changed = cls(
            profile=profile,
            type_=type_,
            version=version,
            before=before,
            egress=egress,
        )

        event_egress_policy_changed.additional_properties = d
        return event_egress_policy_changed

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
