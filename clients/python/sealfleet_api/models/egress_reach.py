from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="EgressReach")


@_attrs_define
class EgressReach:
    """How often a step reached one port of a host, and how much went over those connections.

    Attributes:
        connections (int):
        host (str): A DNS name or an IP address.
        port (int):
        received (int): Bytes from the host to the step.
        sent (int): Bytes from the step to the host.
    """

    connections: int
    host: str
    port: int
    received: int
    sent: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        connections = self.connections

        host = self.host

        port = self.port

        received = self.received

        sent = self.sent

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "connections": connections,
                "host": host,
                "port": port,
                "received": received,
                "sent": sent,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        connections = d.pop("connections")

        host = d.pop("host")

        port = d.pop("port")

        received = d.pop("received")

        sent = d.pop("sent")

        egress_reach = cls(
            connections=connections,
            host=host,
            port=port,
            received=received,
            sent=sent,
        )

        egress_reach.additional_properties = d
        return egress_reach

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
