from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="EgressBinding")


@_attrs_define
class EgressBinding:
    """Where the value of a secret may be sent by a proxy that holds it for a step.

    Attributes:
        host (str): A DNS name, `*.NAME` for every name below it, or an IP address.
        path (str | Unset): A path, or `/v1/*` for every path that begins with `/v1/`.
        port (int | Unset): A TCP port.
    """

    host: str
    path: str | Unset = UNSET
    port: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        host = self.host

        path = self.path

        port = self.port

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "host": host,
            }
        )
        if path is not UNSET:
            field_dict["path"] = path
        if port is not UNSET:
            field_dict["port"] = port

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        host = d.pop("host")

        path = d.pop("path", UNSET)

        port = d.pop("port", UNSET)

        egress_binding = cls(
            host=host,
            path=path,
            port=port,
        )

        return egress_binding
