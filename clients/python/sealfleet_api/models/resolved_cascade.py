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
    from ..models.profile_use import ProfileUse
    from ..models.resolved_cascade_removed import ResolvedCascadeRemoved
    from ..models.resolved_key import ResolvedKey
    from ..models.workload_identity import WorkloadIdentity


T = TypeVar("T", bound="ResolvedCascade")


@_attrs_define
class ResolvedCascade:
    """The outcome of a cascade, by name.

    Attributes:
        keys (list[ResolvedKey]): The keys, in order of their names.
        profiles (list[ProfileUse]): The profiles, lowest level first.
        removed (ResolvedCascadeRemoved): Keys that a tombstone removed, and who set that tombstone.
        egress (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
        egress_ceiling (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
        identity (WorkloadIdentity | Unset): What a profile says of the tokens that steps may ask for.
    """

    keys: list[ResolvedKey]
    profiles: list[ProfileUse]
    removed: ResolvedCascadeRemoved
    egress: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    egress_ceiling: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    identity: WorkloadIdentity | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.egress_policy_allow import EgressPolicyAllow

        keys = []
        for keys_item_data in self.keys:
            keys_item = keys_item_data.to_dict()
            keys.append(keys_item)

        profiles = []
        for profiles_item_data in self.profiles:
            profiles_item = profiles_item_data.to_dict()
            profiles.append(profiles_item)

        removed = self.removed.to_dict()

        egress: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.egress, Unset):
            egress = UNSET
        elif isinstance(self.egress, EgressPolicyAllow):
            egress = self.egress.to_dict()
        else:
            egress = self.egress

        egress_ceiling: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.egress_ceiling, Unset):
            egress_ceiling = UNSET
        elif isinstance(self.egress_ceiling, EgressPolicyAllow):
            egress_ceiling = self.egress_ceiling.to_dict()
        else:
            egress_ceiling = self.egress_ceiling

        identity: dict[str, Any] | Unset = UNSET
        if not isinstance(self.identity, Unset):
            identity = self.identity.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "keys": keys,
                "profiles": profiles,
                "removed": removed,
            }
        )
        if egress is not UNSET:
            field_dict["egress"] = egress
        if egress_ceiling is not UNSET:
            field_dict["egress_ceiling"] = egress_ceiling
        if identity is not UNSET:
            field_dict["identity"] = identity

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_policy_allow import EgressPolicyAllow
        from ..models.profile_use import ProfileUse
        from ..models.resolved_cascade_removed import ResolvedCascadeRemoved
        from ..models.resolved_key import ResolvedKey
        from ..models.workload_identity import WorkloadIdentity

        d = dict(src_dict)
        keys = []
        _keys = d.pop("keys")
        for keys_item_data in _keys:
            keys_item = ResolvedKey.from_dict(keys_item_data)

            keys.append(keys_item)

        profiles = []
        _profiles = d.pop("profiles")
        for profiles_item_data in _profiles:
            profiles_item = ProfileUse.from_dict(profiles_item_data)

            profiles.append(profiles_item)

        removed = ResolvedCascadeRemoved.from_dict(d.pop("removed"))

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

        def _parse_egress_ceiling(
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

        egress_ceiling = _parse_egress_ceiling(d.pop("egress_ceiling", UNSET))

        _identity = d.pop("identity", UNSET)
        identity: WorkloadIdentity | Unset
        if isinstance(_identity, Unset):
            identity = UNSET
        else:
            identity = WorkloadIdentity.from_dict(_identity)

        resolved_cascade = cls(
            keys=keys,
            profiles=profiles,
            removed=removed,
            egress=egress,
            egress_ceiling=egress_ceiling,
            identity=identity,
        )

        resolved_cascade.additional_properties = d
        return resolved_cascade

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
