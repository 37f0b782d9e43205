from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Sigv4")


@_attrs_define
class Sigv4:
    """Which signatures a secret access key makes.

    Attributes:
        access_key_id (str): The access key id of the signature, or the variable that holds it: a plain one, or another
            secret that is delivered at egress.
    """

    access_key_id: str

    def to_dict(self) -> dict[str, Any]:
        access_key_id = self.access_key_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "access_key_id": access_key_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        access_key_id = d.pop("access_key_id")

        sigv_4 = cls(
            access_key_id=access_key_id,
        )

        return sigv_4
