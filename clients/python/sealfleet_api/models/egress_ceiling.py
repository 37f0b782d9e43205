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


T = TypeVar("T", bound="EgressCeiling")


@_attrs_define
class EgressCeiling:
    """What the steps of a project may reach at most.

    Attributes:
        ceiling (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
    """

    ceiling: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.egress_policy_allow import EgressPolicyAllow

        ceiling: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.ceiling, Unset):
            ceiling = UNSET
        elif isinstance(self.ceiling, EgressPolicyAllow):
            ceiling = self.ceiling.to_dict()
        else:
            ceiling = self.ceiling

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if ceiling is not UNSET:
            field_dict["ceiling"] = ceiling

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_policy_allow import EgressPolicyAllow

        d = dict(src_dict)

        def _parse_ceiling(
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

        ceiling = _parse_ceiling(d.pop("ceiling", UNSET))

        egress_ceiling = cls(
            ceiling=ceiling,
        )

        egress_ceiling.additional_properties = d
        return egress_ceiling

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
