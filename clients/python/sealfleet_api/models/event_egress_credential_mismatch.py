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
    from ..models.egress_denial import EgressDenial


T = TypeVar("T", bound="EventEgressCredentialMismatch")


@_attrs_define
class EventEgressCredentialMismatch:
    """A step was kept from sending the placeholder of a secret to a host that the secret is not bound to.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        rows (list[EgressDenial]):
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['egress.credential_mismatch']):
    """

    fence: int
    rows: list[EgressDenial]
    step_id: str
    type_: Literal["egress.credential_mismatch"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        rows = []
        for rows_item_data in self.rows:
            rows_item = rows_item_data.to_dict()
            rows.append(rows_item)

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "rows": rows,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_denial import EgressDenial

        d = dict(src_dict)
        fence = d.pop("fence")

        rows = []
        _rows = d.pop("rows")
        for rows_item_data in _rows:
            rows_item = EgressDenial.from_dict(rows_item_data)

            rows.append(rows_item)

        step_id = d.pop("step_id")

        type_ = cast(Literal["egress.credential_mismatch"], d.pop("type"))
        if type_ != "egress.credential_mismatch":
            raise ValueError(
                f"type must match const 'egress.credential_mismatch', got '{type_}'"
            )

        event_egress_credential_mismatch = cls(
            fence=fence,
            rows=rows,
            step_id=step_id,
            type_=type_,
        )

        event_egress_credential_mismatch.additional_properties = d
        return event_egress_credential_mismatch

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
