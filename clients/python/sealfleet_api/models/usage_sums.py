from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.usage import Usage


T = TypeVar("T", bound="UsageSums")


@_attrs_define
class UsageSums:
    """What attempts at steps have used together. An attempt is one claim of a step; it counts on the UTC day of its end,
    however it ended.

        Attributes:
            attempts (int):
            tokens (Usage): Tokens that a model was sent and has written.
            tokens_of_agents (Usage): Tokens that a model was sent and has written.
            tokens_of_proxies (Usage): Tokens that a model was sent and has written.
            wall_ms (int): Milliseconds from claims to ends.
            cost_usd (float | Unset): US dollars for all that has a price, by the prices at its end. Absent if nothing has.
            egress_received_bytes (int | Unset): Bytes that they received.
            egress_sent_bytes (int | Unset): Bytes that steps sent through their egress proxies.
            estimated_attempts (int | Unset): Hosted attempts that were ended from outside: their time is an estimate, from
                claim to end.
            gb_ms (int | Unset): Milliseconds of hosted sandboxes, times their gigabytes of 1,024 MiB.
            sandboxes_usd (float | Unset): The part of it for hosted sandboxes.
            tokens_usd (float | Unset): The part of it for tokens.
            unpriced (int | Unset): How often an attempt used a model whose price nobody knows: `cost_usd` lacks it.
            untold (int | Unset): Attempts of agents of which nobody has told what they used: `tokens` and `cost_usd` lack
                it.
            vcpu_ms (int | Unset): Milliseconds of hosted sandboxes, times their virtual CPUs. What workers run has none.
    """

    attempts: int
    tokens: Usage
    tokens_of_agents: Usage
    tokens_of_proxies: Usage
    wall_ms: int
    cost_usd: float | Unset = UNSET
    egress_received_bytes: int | Unset = UNSET
    egress_sent_bytes: int | Unset = UNSET
    estimated_attempts: int | Unset = UNSET
    gb_ms: int | Unset = UNSET
    sandboxes_usd: float | Unset = UNSET
    tokens_usd: float | Unset = UNSET
    unpriced: int | Unset = UNSET
    untold: int | Unset = UNSET
    vcpu_ms: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        attempts = self.attempts

        tokens = self.tokens.to_dict()

        tokens_of_agents = self.tokens_of_agents.to_dict()

        tokens_of_proxies = self.tokens_of_proxies.to_dict()

        wall_ms = self.wall_ms

        cost_usd = self.cost_usd

        egress_received_bytes = self.egress_received_bytes

        egress_sent_bytes = self.egress_sent_bytes

        estimated_attempts = self.estimated_attempts

        gb_ms = self.gb_ms

        sandboxes_usd = self.sandboxes_usd

        tokens_usd = self.tokens_usd

        unpriced = self.unpriced

        untold = self.untold

        vcpu_ms = self.vcpu_ms

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "attempts": attempts,
                "tokens": tokens,
                "tokens_of_agents": tokens_of_agents,
                "tokens_of_proxies": tokens_of_proxies,
                "wall_ms": wall_ms,
            }
        )
        if cost_usd is not UNSET:
            field_dict["cost_usd"] = cost_usd
        if egress_received_bytes is not UNSET:
            field_dict["egress_received_bytes"] = egress_received_bytes
        if egress_sent_bytes is not UNSET:
            field_dict["egress_sent_bytes"] = egress_sent_bytes
        if estimated_attempts is not UNSET:
            field_dict["estimated_attempts"] = estimated_attempts
        if gb_ms is not UNSET:
            field_dict["gb_ms"] = gb_ms
        if sandboxes_usd is not UNSET:
            field_dict["sandboxes_usd"] = sandboxes_usd
        if tokens_usd is not UNSET:
            field_dict["tokens_usd"] = tokens_usd
        if unpriced is not UNSET:
            field_dict["unpriced"] = unpriced
        if untold is not UNSET:
            field_dict["untold"] = untold
        if vcpu_ms is not UNSET:
            field_dict["vcpu_ms"] = vcpu_ms

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.usage import Usage

        d = dict(src_dict)
        attempts = d.pop("attempts")

        tokens = Usage.from_dict(d.pop("tokens"))

        tokens_of_agents = Usage.from_dict(d.pop("tokens_of_agents"))

        tokens_of_proxies = Usage.from_dict(d.pop("tokens_of_proxies"))

        wall_ms = d.pop("wall_ms")

        cost_usd = d.pop("cost_usd", UNSET)

        egress_received_bytes = d.pop("egress_received_bytes", UNSET)

        egress_sent_bytes = d.pop("egress_sent_bytes", UNSET)

        estimated_attempts = d.pop("estimated_attempts", UNSET)

        gb_ms = d.pop("gb_ms", UNSET)

        sandboxes_usd = d.pop("sandboxes_usd", UNSET)

        tokens_usd = d.pop("tokens_usd", UNSET)

        unpriced = d.pop("unpriced", UNSET)

        untold = d.pop("untold", UNSET)

        vcpu_ms = d.pop("vcpu_ms", UNSET)

        usage_sums = cls(
            attempts=attempts,
            tokens=tokens,
            tokens_of_agents=tokens_of_agents,
            tokens_of_proxies=tokens_of_proxies,
            wall_ms=wall_ms,
            cost_usd=cost_usd,
            egress_received_bytes=egress_received_bytes,
            egress_sent_bytes=egress_sent_bytes,
            estimated_attempts=estimated_attempts,
            gb_ms=gb_ms,
            sandboxes_usd=sandboxes_usd,
            tokens_usd=tokens_usd,
            unpriced=unpriced,
            untold=untold,
            vcpu_ms=vcpu_ms,
        )

        usage_sums.additional_properties = d
        return usage_sums

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
