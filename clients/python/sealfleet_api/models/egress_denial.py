from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.egress_denied import EgressDenied
from ..types import UNSET, Unset

T = TypeVar("T", bound="EgressDenial")


@_attrs_define
class EgressDenial:
    """How often a step was kept from one port of a host.

    Attributes:
        count (int):
        host (str): A DNS name or an IP address.
        port (int):
        reason (EgressDenied): Why an egress proxy did not let a step reach a host.

            - `no_rule`: The policy has no rule for it.

            - `address`: It has an address that no step may reach.

            - `no_method`: No rule for the host allows the method on this path.

            - `no_path`: No rule for the host allows the path.

            - `sni`: A program asked for a host that the policy allows, and then named another one in TLS.

            - `credential_mismatch`: A request held the placeholder of a secret that may not be sent there.

            - `credential_withdrawn`: A request needed a secret that has been revoked.
        key (str | Unset): The secret that the request was about, by the name of its variable.
    """

    count: int
    host: str
    port: int
    reason: EgressDenied
    key: str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        count = self.count

        host = self.host

        port = self.port

        reason = self.reason.value

        key = self.key

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "count": count,
                "host": host,
                "port": port,
                "reason": reason,
            }
        )
        if key is not UNSET:
            field_dict["key"] = key

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        count = d.pop("count")

        host = d.pop("host")

        port = d.pop("port")

        reason = EgressDenied(d.pop("reason"))

        key = d.pop("key", UNSET)

        egress_denial = cls(
            count=count,
            host=host,
            port=port,
            reason=reason,
            key=key,
        )

        return egress_denial
