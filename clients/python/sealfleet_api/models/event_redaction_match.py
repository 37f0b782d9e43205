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
    from ..models.redaction import Redaction


T = TypeVar("T", bound="EventRedactionMatch")


@_attrs_define
class EventRedactionMatch:
    """Values of secrets were taken out of a step's output.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        matches (list[Redaction]):
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['redaction.match']):
    """

    fence: int
    matches: list[Redaction]
    step_id: str
    type_: Literal["redaction.match"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        matches = []
        for matches_item_data in self.matches:
            matches_item = matches_item_data.to_dict()
            matches.append(matches_item)

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "matches": matches,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.redaction import Redaction

        d = dict(src_dict)
        fence = d.pop("fence")

        matches = []
        _matches = d.pop("matches")
        for matches_item_data in _matches:
            matches_item = Redaction.from_dict(matches_item_data)

            matches.append(matches_item)

        step_id = d.pop("step_id")

        type_ = cast(Literal["redaction.match"], d.pop("type"))
        if type_ != "redaction.match":
            raise ValueError(f"type must match const 'redaction.match', got '{type_}'")

        event_redaction_match = cls(
            fence=fence,
            matches=matches,
            step_id=step_id,
            type_=type_,
        )

        event_redaction_match.additional_properties = d
        return event_redaction_match

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
