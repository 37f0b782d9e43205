from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.sigv_4 import Sigv4


T = TypeVar("T", bound="DeliveryHowSigv4")


@_attrs_define
class DeliveryHowSigv4:
    """As the secret access key of its signature (Signature Version 4).

    Attributes:
        sigv4 (Sigv4): Which signatures a secret access key makes.
    """

    sigv4: Sigv4

    def to_dict(self) -> dict[str, Any]:
        sigv4 = self.sigv4.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "sigv4": sigv4,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.sigv_4 import Sigv4

        d = dict(src_dict)
        sigv4 = Sigv4.from_dict(d.pop("sigv4"))

        delivery_how_sigv_4 = cls(
            sigv4=sigv4,
        )

        return delivery_how_sigv_4
