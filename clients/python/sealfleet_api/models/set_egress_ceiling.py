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

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.egress_policy_allow import EgressPolicyAllow


T = TypeVar("T", bound="SetEgressCeiling")


@_attrs_define
class SetEgressCeiling:
    """What the steps of a project may reach at most from now on.

    Attributes:
        ceiling (EgressPolicyAllow | Literal['none'] | Literal['open'] | None | Unset): Null: what its profiles allow,
            but for `open`.
    """

    ceiling: Literal["none", "open"] | EgressPolicyAllow | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.egress_policy_allow import EgressPolicyAllow

        ceiling: Literal["none", "open"] | dict[str, Any] | None | Unset
        if isinstance(self.ceiling, Unset):
            ceiling = UNSET
        elif isinstance(self.ceiling, EgressPolicyAllow):
            ceiling = self.ceiling.to_dict()
        else:
            ceiling = self.ceiling

        field_dict: dict[str, Any] = {}

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
        ) -> Literal["none", "open"] | EgressPolicyAllow | None | Unset:
            if data is None:
                return data
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
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_egress_policy_type_2 = EgressPolicyAllow.from_dict(
                    data
                )

                return componentsschemas_egress_policy_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(
                Literal["none", "open"] | EgressPolicyAllow | None | Unset, data
            )

        ceiling = _parse_ceiling(d.pop("ceiling", UNSET))

        set_egress_ceiling = cls(
            ceiling=ceiling,
        )

        return set_egress_ceiling
