from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="SigningKey")


@_attrs_define
class SigningKey:
    """The public half of an RSA key (RFC 7518, section 6.3).

    Attributes:
        alg (str):
        e (str):
        kid (str):
        kty (str):
        n (str):
        use (str):
    """

    alg: str
    e: str
    kid: str
    kty: str
    n: str
    use: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        alg = self.alg

        e = self.e

        kid = self.kid

        kty = self.kty

        n = self.n

        use = self.use

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "alg": alg,
                "e": e,
                "kid": kid,
                "kty": kty,
                "n": n,
                "use": use,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        alg = d.pop("alg")

        e = d.pop("e")

        kid = d.pop("kid")

        kty = d.pop("kty")

        n = d.pop("n")

        use = d.pop("use")

        signing_key = cls(
            alg=alg,
            e=e,
            kid=kid,
            kty=kty,
            n=n,
            use=use,
        )

        signing_key.additional_properties = d
        return signing_key

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
