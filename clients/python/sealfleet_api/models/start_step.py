from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.outputs_kept import OutputsKept
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.start_step_resolved import StartStepResolved
    from ..models.start_step_store_request_ids import StartStepStoreRequestIds


T = TypeVar("T", bound="StartStep")


@_attrs_define
class StartStep:
    """A step whose sandbox has resolved its secrets and is about to run the command.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        run_id (str): A run's id.
        sandbox (str): The worker's own name for its sandbox.
        step_id (str): The id of a step, unique in its run.
        output (str | Unset): Where the worker keeps the step's output, as `HOST:PATH`.
        outputs (OutputsKept | Unset): Where a worker puts what comes out of a step.

            - `local`: On its host alone.

            - `project`: On its host, and in the project's outputs.
        resolved (StartStepResolved | Unset): The version of each secret that the sandbox resolved, by environment
            variable.
        store_request_ids (StartStepStoreRequestIds | Unset): What the stores of these secrets call the requests that
            read them, by environment variable, where they tell.
    """

    fence: int
    run_id: str
    sandbox: str
    step_id: str
    output: str | Unset = UNSET
    outputs: OutputsKept | Unset = UNSET
    resolved: StartStepResolved | Unset = UNSET
    store_request_ids: StartStepStoreRequestIds | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        run_id = self.run_id

        sandbox = self.sandbox

        step_id = self.step_id

        output = self.output

        outputs: str | Unset = UNSET
        if not isinstance(self.outputs, Unset):
            outputs = self.outputs.value

        resolved: dict[str, Any] | Unset = UNSET
        if not isinstance(self.resolved, Unset):
            resolved = self.resolved.to_dict()

        store_request_ids: dict[str, Any] | Unset = UNSET
        if not isinstance(self.store_request_ids, Unset):
            store_request_ids = self.store_request_ids.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "fence": fence,
                "run_id": run_id,
                "sandbox": sandbox,
                "step_id": step_id,
            }
        )
        if output is not UNSET:
            field_dict["output"] = output
        if outputs is not UNSET:
            field_dict["outputs"] = outputs
        if resolved is not UNSET:
            field_dict["resolved"] = resolved
        if store_request_ids is not UNSET:
            field_dict["store_request_ids"] = store_request_ids

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.start_step_resolved import StartStepResolved
        from ..models.start_step_store_request_ids import StartStepStoreRequestIds

        d = dict(src_dict)
        fence = d.pop("fence")

        run_id = d.pop("run_id")

        sandbox = d.pop("sandbox")

        step_id = d.pop("step_id")

        output = d.pop("output", UNSET)

        _outputs = d.pop("outputs", UNSET)
        outputs: OutputsKept | Unset
        if isinstance(_outputs, Unset):
            outputs = UNSET
        else:
            outputs = OutputsKept(_outputs)

        _resolved = d.pop("resolved", UNSET)
        resolved: StartStepResolved | Unset
        if isinstance(_resolved, Unset):
            resolved = UNSET
        else:
            resolved = StartStepResolved.from_dict(_resolved)

        _store_request_ids = d.pop("store_request_ids", UNSET)
        store_request_ids: StartStepStoreRequestIds | Unset
        if isinstance(_store_request_ids, Unset):
            store_request_ids = UNSET
        else:
            store_request_ids = StartStepStoreRequestIds.from_dict(_store_request_ids)

        start_step = cls(
            fence=fence,
            run_id=run_id,
            sandbox=sandbox,
            step_id=step_id,
            output=output,
            outputs=outputs,
            resolved=resolved,
            store_request_ids=store_request_ids,
        )

        return start_step
