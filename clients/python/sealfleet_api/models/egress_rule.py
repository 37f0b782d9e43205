from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="EgressRule")


@_attrs_define
class EgressRule:
    """Allows one port of a host, or of all hosts below a name. Without `methods` and `paths`, the proxy lets all bytes
    through; with one of them, only HTTP, which it reads.

        Attributes:
            host (str): A DNS name, `*.NAME` for every name below it, or an IP address.
            methods (list[str] | Unset): The HTTP methods that it allows; all if absent. `GET` does not allow `HEAD`.
            paths (list[str] | Unset): The paths that it allows; all if absent.
            port (int | Unset): A TCP port.
    """

    host: str
    methods: list[str] | Unset = UNSET
    paths: list[str] | Unset = UNSET
    port: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        host = self.host

        methods: list[str] | Unset = UNSET
        if not isinstance(self.methods, Unset):
            methods = self.methods

        paths: list[str] | Unset = UNSET
        if not isinstance(self.paths, Unset):
            paths = self.paths

        port = self.port

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "host": host,
            }
        )
        if methods is not UNSET:
            field_dict["methods"] = methods
        if paths is not UNSET:
            field_dict["paths"] = paths
        if port is not UNSET:
            field_dict["port"] = port

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        host = d.pop("host")

        methods = cast(list[str], d.pop("methods", UNSET))

        paths = cast(list[str], d.pop("paths", UNSET))

        port = d.pop("port", UNSET)

        egress_rule = cls(
            host=host,
            methods=methods,
            paths=paths,
            port=port,
        )

        return egress_rule
