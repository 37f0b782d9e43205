from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Tally")


@_attrs_define
class Tally:
    """How many of each were stopped, or are there to stop.

    Attributes:
        enrolment_keys (int): Enrolment keys, revoked.
        keys (int): Keys of profiles, revoked hard.
        runs (int): Runs: cancelled, or aborted because they held one of the keys.
        tokens (int): API tokens, revoked. Only if that was asked for.
        workers (int): Workers, revoked, and hosted pools, drained.
    """

    enrolment_keys: int
    keys: int
    runs: int
    tokens: int
    workers: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        enrolment_keys = self.enrolment_keys

        keys = self.keys

        runs = self.runs

        tokens = self.tokens

        workers = self.workers

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "enrolment_keys": enrolment_keys,
                "keys": keys,
                "runs": runs,
                "tokens": tokens,
                "workers": workers,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        enrolment_keys = d.pop("enrolment_keys")

        keys = d.pop("keys")

        runs = d.pop("runs")

        tokens = d.pop("tokens")

        workers = d.pop("workers")

        tally = cls(
            enrolment_keys=enrolment_keys,
            keys=keys,
            runs=runs,
            tokens=tokens,
            workers=workers,
        )

        tally.additional_properties = d
        return tally

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
