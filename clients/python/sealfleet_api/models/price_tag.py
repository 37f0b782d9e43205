from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.price_tag_usd import PriceTagUsd


T = TypeVar("T", bound="PriceTag")


@_attrs_define
class PriceTag:
    """One price, as people read it.

    Attributes:
        date (str): When it was read there.
        source (str): Where the price stands.
        usd (PriceTagUsd): US dollars, by what they are for: of a million tokens, or of an hour of a virtual CPU and of
            a gigabyte.
    """

    date: str
    source: str
    usd: PriceTagUsd
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        date = self.date

        source = self.source

        usd = self.usd.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "date": date,
                "source": source,
                "usd": usd,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.price_tag_usd import PriceTagUsd

        d = dict(src_dict)
        date = d.pop("date")

        source = d.pop("source")

        usd = PriceTagUsd.from_dict(d.pop("usd"))

        price_tag = cls(
            date=date,
            source=source,
            usd=usd,
        )

        price_tag.additional_properties = d
        return price_tag

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
