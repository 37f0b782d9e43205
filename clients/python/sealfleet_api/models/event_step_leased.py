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

from ..models.cli import Cli
from ..models.mode import Mode
from ..types import UNSET, Unset

T = TypeVar("T", bound="EventStepLeased")


@_attrs_define
class EventStepLeased:
    """A step was claimed.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        mode (Mode): How a step is executed. `full_jit` (a CLI agent with just-in-time credentials) is not accepted yet.

            - `bare`: 0: a plain process of the worker. Never sees a secret.

            - `sandboxed`: 1: a sandbox. Never sees a secret.

            - `identity`: 2: a sandbox that the profile's secrets are injected into.

            - `full`: 3: such a sandbox, with a CLI agent in it.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['step.leased']):
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
        agent (Cli | Unset): A CLI that Sealfleet can call.

            - `custom`: A program that reads the prompt from its standard input; `args` names it.
        model (str | Unset): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
    """

    fence: int
    mode: Mode
    step_id: str
    type_: Literal["step.leased"]
    worker_id: str
    agent: Cli | Unset = UNSET
    model: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        mode = self.mode.value

        step_id = self.step_id

        type_ = self.type_

        worker_id = self.worker_id

        agent: str | Unset = UNSET
        if not isinstance(self.agent, Unset):
            agent = self.agent.value

        model = self.model

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "mode": mode,
                "step_id": step_id,
                "type": type_,
                "worker_id": worker_id,
            }
        )
        if agent is not UNSET:
            field_dict["agent"] = agent
        if model is not UNSET:
            field_dict["model"] = model

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fence = d.pop("fence")

        mode = Mode(d.pop("mode"))

        step_id = d.pop("step_id")

        type_ = cast(Literal["step.leased"], d.pop("type"))
        if type_ != "step.leased":
            raise ValueError(f"type must match const 'step.leased', got '{type_}'")

        worker_id = d.pop("worker_id")

        _agent = d.pop("agent", UNSET)
        agent: Cli | Unset
        if isinstance(_agent, Unset):
            agent = UNSET
        else:
            agent = Cli(_agent)

        model = d.pop("model", UNSET)

        event_step_leased = cls(
            fence=fence,
            mode=mode,
            step_id=step_id,
            type_=type_,
            worker_id=worker_id,
            agent=agent,
            model=model,
        )

        event_step_leased.additional_properties = d
        return event_step_leased

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
