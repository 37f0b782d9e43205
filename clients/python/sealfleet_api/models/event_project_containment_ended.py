from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="EventProjectContainmentEnded")


@_attrs_define
class EventProjectContainmentEnded:
    """A containment ended.

    Attributes:
        complete (bool):
        enrolment_keys (int): Enrolment keys, revoked.
        keys (int): Keys of profiles, revoked hard.
        rounds (int):
        runs (int): Runs: cancelled, or aborted because they held one of the keys.
        tokens (int): API tokens, revoked. Only if that was asked for.
        type_ (Literal['project.containment_ended']):
        workers (int): Workers, revoked, and hosted pools, drained.
    """

    complete: bool
    enrolment_keys: int
    keys: int
    rounds: int
    runs: int
    tokens: int
    type_: Literal["project.containment_ended"]
    workers: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        complete = self.complete

        enrolment_keys = self.enrolment_keys

        keys = self.keys

        rounds = self.rounds

        runs = self.runs

        tokens = self.tokens

        type_ = self.type_

        workers = self.workers

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "complete": complete,
                "enrolment_keys": enrolment_keys,
                "keys": keys,
                "rounds": rounds,
                "runs": runs,
                "tokens": tokens,
                "type": type_,
                "workers": workers,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        complete = d.pop("complete")

        enrolment_keys = d.pop("enrolment_keys")

        keys = d.pop("keys")

        rounds = d.pop("rounds")

        runs = d.pop("runs")

        tokens = d.pop("tokens")

        type_ = cast(Literal["project.containment_ended"], d.pop("type"))
        if type_ != "project.containment_ended":
            raise ValueError(
                f"type must match const 'project.containment_ended', got '{type_}'"
            )

        workers = d.pop("workers")

        event_project_containment_ended = cls(
            complete=complete,
            enrolment_keys=enrolment_keys,
            keys=keys,
            rounds=rounds,
            runs=runs,
            tokens=tokens,
            type_=type_,
            workers=workers,
        )

        event_project_containment_ended.additional_properties = d
        return event_project_containment_ended

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
