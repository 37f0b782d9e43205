from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.price_tag import PriceTag
    from ..models.prices_view_models import PricesViewModels


T = TypeVar("T", bound="PricesView")


@_attrs_define
class PricesView:
    """The prices by which usage is charged from now on.

    Attributes:
        models (PricesViewModels): Of a million tokens, by `PROVIDER/MODEL`, or by the model alone as the deployment
            names it. A model that is not here has no price.
        sandboxes (PriceTag): One price, as people read it.
    """

    models: PricesViewModels
    sandboxes: PriceTag
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        models = self.models.to_dict()

        sandboxes = self.sandboxes.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "models": models,
                "sandboxes": sandboxes,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.price_tag import PriceTag
        from ..models.prices_view_models import PricesViewModels

        d = dict(src_dict)
        models = PricesViewModels.from_dict(d.pop("models"))

        sandboxes = PriceTag.from_dict(d.pop("sandboxes"))

        prices_view = cls(
            models=models,
            sandboxes=sandboxes,
        )

        prices_view.additional_properties = d
        return prices_view

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
