from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.cli import Cli
from ..models.dead_reason import DeadReason
from ..models.mode import Mode
from ..models.requeue_reason import RequeueReason
from ..models.step_state import StepState
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.abort_reason_approval_denied import AbortReasonApprovalDenied
    from ..models.abort_reason_approval_expired import AbortReasonApprovalExpired
    from ..models.abort_reason_cancelled import AbortReasonCancelled
    from ..models.abort_reason_dependency_failed import AbortReasonDependencyFailed
    from ..models.abort_reason_revoked import AbortReasonRevoked
    from ..models.approval import Approval
    from ..models.artifact_total import ArtifactTotal
    from ..models.attempt_view import AttemptView
    from ..models.failure_agent_auth import FailureAgentAuth
    from ..models.failure_agent_context import FailureAgentContext
    from ..models.failure_agent_network import FailureAgentNetwork
    from ..models.failure_agent_rate_limited import FailureAgentRateLimited
    from ..models.failure_bad_artifacts import FailureBadArtifacts
    from ..models.failure_bad_result import FailureBadResult
    from ..models.failure_cannot_execute import FailureCannotExecute
    from ..models.failure_cannot_start import FailureCannotStart
    from ..models.failure_drifted import FailureDrifted
    from ..models.failure_exit import FailureExit
    from ..models.failure_out_of_memory import FailureOutOfMemory
    from ..models.failure_over_budget import FailureOverBudget
    from ..models.failure_over_turns import FailureOverTurns
    from ..models.failure_profile_refused import FailureProfileRefused
    from ..models.failure_secret_revoked import FailureSecretRevoked
    from ..models.failure_secret_unavailable import FailureSecretUnavailable
    from ..models.failure_signal import FailureSignal
    from ..models.failure_timed_out import FailureTimedOut
    from ..models.output_place_project import OutputPlaceProject
    from ..models.output_place_task import OutputPlaceTask
    from ..models.output_place_worker import OutputPlaceWorker
    from ..models.usage import Usage
    from ..models.usage_sums import UsageSums


T = TypeVar("T", bound="StepView")


@_attrs_define
class StepView:
    """A step of a run.

    Attributes:
        attempt (int): Counts tries, from 1.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        id (str): The id of a step, unique in its run.
        mode (Mode): How a step is executed. `full_jit` (a CLI agent with just-in-time credentials) is not accepted yet.

            - `bare`: 0: a plain process of the worker. Never sees a secret.

            - `sandboxed`: 1: a sandbox. Never sees a secret.

            - `identity`: 2: a sandbox that the profile's secrets are injected into.

            - `full`: 3: such a sandbox, with a CLI agent in it.
        pool (str): The name of a pool, which is a queue of a project.
        state (StepState): Where a step stands.
        aborted (AbortReasonApprovalDenied | AbortReasonApprovalExpired | AbortReasonCancelled |
            AbortReasonDependencyFailed | AbortReasonRevoked | Unset): Why a step was ended from outside.
        agent (Cli | Unset): A CLI that Sealfleet can call.

            - `custom`: A program that reads the prompt from its standard input; `args` names it.
        approval (Approval | Unset): A request that somebody else decides on.
        artifacts (ArtifactTotal | Unset): How much a step has left.
        attempts (list[AttemptView] | Unset): Its claims, oldest first. Only `GET /v1/runs/{run_id}` shows them.
        cost_usd (float | Unset): What its agent cost in US dollars: an estimate, as the CLI says, or else by list
            prices.
        dead (DeadReason | Unset): Why a step was given up.

            - `attempts_exhausted`: It was lost as often as it may be tried.

            - `ttl_expired`: Nobody claimed it in its time to live.
        diagnosis (str | Unset): What it waits for, if the control plane can tell.
        ended_at (datetime.datetime | Unset): A date and time of RFC 3339.
        failure (FailureAgentAuth | FailureAgentContext | FailureAgentNetwork | FailureAgentRateLimited |
            FailureBadArtifacts | FailureBadResult | FailureCannotExecute | FailureCannotStart | FailureDrifted |
            FailureExit | FailureOutOfMemory | FailureOverBudget | FailureOverTurns | FailureProfileRefused |
            FailureSecretRevoked | FailureSecretUnavailable | FailureSignal | FailureTimedOut | Unset): How a command
            failed.
        handle (str | Unset): The task or sandbox, while it lives.
        lost (RequeueReason | Unset): Why a step went back to its queue.

            - `lease_expired`: Its lease ran out: its worker was lost.

            - `worker_revoked`: Its worker was revoked.

            - `sandbox_lost`: The machine under its sandbox was lost, or the engine that ran it.

            - `no_capacity`: The host had no capacity for it.

            - `throttled`: The host was called too fast.

            - `network_timeout`: Its sandbox got no network in time, or could not reach what its start needs.

            - `image_timeout`: Its image was not there in time.

            - `role_not_ready`: A role that its start needs cannot be used yet.

            - `host_failed`: The host failed to start it, and may not fail again.
        needs (list[str] | Unset): Steps that must succeed first.
        output (OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset): Where the output of a step lies.
        output_cut_bytes (int | Unset): Bytes of its output that its worker has not kept; absent if it has kept all.
        output_missing_bytes (int | Unset): Bytes of its output that are not in the project's outputs; absent if all
            are, or if its output does not go there.
        result_bytes (int | Unset): The size of its result; absent if it has none.
        session_id (str | Unset): The CLI's own id of its agent's session.
        started_at (datetime.datetime | Unset): A date and time of RFC 3339.
        turns (int | Unset): Answers of the model that its agent has had.
        usage (Usage | Unset): Tokens that a model was sent and has written.
        used (UsageSums | Unset): What attempts at steps have used together. An attempt is one claim of a step; it
            counts on the UTC day of its end, however it ended.
        worker_id (str | Unset): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own
            sandboxes.
    """

    attempt: int
    fence: int
    id: str
    mode: Mode
    pool: str
    state: StepState
    aborted: (
        AbortReasonApprovalDenied
        | AbortReasonApprovalExpired
        | AbortReasonCancelled
        | AbortReasonDependencyFailed
        | AbortReasonRevoked
        | Unset
    ) = UNSET
    agent: Cli | Unset = UNSET
    approval: Approval | Unset = UNSET
    artifacts: ArtifactTotal | Unset = UNSET
    attempts: list[AttemptView] | Unset = UNSET
    cost_usd: float | Unset = UNSET
    dead: DeadReason | Unset = UNSET
    diagnosis: str | Unset = UNSET
    ended_at: datetime.datetime | Unset = UNSET
    failure: (
        FailureAgentAuth
        | FailureAgentContext
        | FailureAgentNetwork
        | FailureAgentRateLimited
        | FailureBadArtifacts
        | FailureBadResult
        | FailureCannotExecute
        | FailureCannotStart
        | FailureDrifted
        | FailureExit
        | FailureOutOfMemory
        | FailureOverBudget
        | FailureOverTurns
        | FailureProfileRefused
        | FailureSecretRevoked
        | FailureSecretUnavailable
        | FailureSignal
        | FailureTimedOut
        | Unset
    ) = UNSET
    handle: str | Unset = UNSET
    lost: RequeueReason | Unset = UNSET
    needs: list[str] | Unset = UNSET
    output: OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset = UNSET
    output_cut_bytes: int | Unset = UNSET
    output_missing_bytes: int | Unset = UNSET
    result_bytes: int | Unset = UNSET
    session_id: str | Unset = UNSET
    started_at: datetime.datetime | Unset = UNSET
    turns: int | Unset = UNSET
    usage: Usage | Unset = UNSET
    used: UsageSums | Unset = UNSET
    worker_id: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.abort_reason_approval_denied import AbortReasonApprovalDenied
        from ..models.abort_reason_cancelled import AbortReasonCancelled
        from ..models.abort_reason_dependency_failed import AbortReasonDependencyFailed
        from ..models.abort_reason_revoked import AbortReasonRevoked
        from ..models.failure_agent_auth import FailureAgentAuth
        from ..models.failure_agent_context import FailureAgentContext
        from ..models.failure_agent_network import FailureAgentNetwork
        from ..models.failure_agent_rate_limited import FailureAgentRateLimited
        from ..models.failure_bad_artifacts import FailureBadArtifacts
        from ..models.failure_bad_result import FailureBadResult
        from ..models.failure_cannot_execute import FailureCannotExecute
        from ..models.failure_cannot_start import FailureCannotStart
        from ..models.failure_exit import FailureExit
        from ..models.failure_out_of_memory import FailureOutOfMemory
        from ..models.failure_over_budget import FailureOverBudget
        from ..models.failure_over_turns import FailureOverTurns
        from ..models.failure_profile_refused import FailureProfileRefused
        from ..models.failure_secret_revoked import FailureSecretRevoked
        from ..models.failure_secret_unavailable import FailureSecretUnavailable
        from ..models.failure_signal import FailureSignal
        from ..models.failure_timed_out import FailureTimedOut
        from ..models.output_place_project import OutputPlaceProject
        from ..models.output_place_worker import OutputPlaceWorker

        attempt = self.attempt

        fence = self.fence

        id = self.id

        mode = self.mode.value

        pool = self.pool

        state = self.state.value

        aborted: dict[str, Any] | Unset
        if isinstance(self.aborted, Unset):
            aborted = UNSET
        elif (
            isinstance(self.aborted, AbortReasonCancelled)
            or isinstance(self.aborted, AbortReasonDependencyFailed)
            or isinstance(self.aborted, AbortReasonRevoked)
            or isinstance(self.aborted, AbortReasonApprovalDenied)
        ):
            aborted = self.aborted.to_dict()
        else:
            aborted = self.aborted.to_dict()

        agent: str | Unset = UNSET
        if not isinstance(self.agent, Unset):
            agent = self.agent.value

        approval: dict[str, Any] | Unset = UNSET
        if not isinstance(self.approval, Unset):
            approval = self.approval.to_dict()

        artifacts: dict[str, Any] | Unset = UNSET
        if not isinstance(self.artifacts, Unset):
            artifacts = self.artifacts.to_dict()

        attempts: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.attempts, Unset):
            attempts = []
            for attempts_item_data in self.attempts:
                attempts_item = attempts_item_data.to_dict()
                attempts.append(attempts_item)

        cost_usd = self.cost_usd

        dead: str | Unset = UNSET
        if not isinstance(self.dead, Unset):
            dead = self.dead.value

        diagnosis = self.diagnosis

        ended_at: str | Unset = UNSET
        if not isinstance(self.ended_at, Unset):
            ended_at = self.ended_at.isoformat()

        failure: dict[str, Any] | Unset
        if isinstance(self.failure, Unset):
            failure = UNSET
        elif (
            isinstance(self.failure, FailureExit)
            or isinstance(self.failure, FailureSignal)
            or isinstance(self.failure, FailureCannotExecute)
            or isinstance(self.failure, FailureTimedOut)
            or isinstance(self.failure, FailureOutOfMemory)
            or isinstance(self.failure, FailureAgentRateLimited)
            or isinstance(self.failure, FailureAgentAuth)
            or isinstance(self.failure, FailureAgentContext)
            or isinstance(self.failure, FailureAgentNetwork)
            or isinstance(self.failure, FailureOverBudget)
            or isinstance(self.failure, FailureOverTurns)
            or isinstance(self.failure, FailureBadResult)
            or isinstance(self.failure, FailureBadArtifacts)
            or isinstance(self.failure, FailureCannotStart)
            or isinstance(self.failure, FailureSecretUnavailable)
            or isinstance(self.failure, FailureSecretRevoked)
            or isinstance(self.failure, FailureProfileRefused)
        ):
            failure = self.failure.to_dict()
        else:
            failure = self.failure.to_dict()

        handle = self.handle

        lost: str | Unset = UNSET
        if not isinstance(self.lost, Unset):
            lost = self.lost.value

        needs: list[str] | Unset = UNSET
        if not isinstance(self.needs, Unset):
            needs = self.needs

        output: dict[str, Any] | Unset
        if isinstance(self.output, Unset):
            output = UNSET
        elif isinstance(self.output, OutputPlaceWorker) or isinstance(
            self.output, OutputPlaceProject
        ):
            output = self.output.to_dict()
        else:
            output = self.output.to_dict()

        output_cut_bytes = self.output_cut_bytes

        output_missing_bytes = self.output_missing_bytes

        result_bytes = self.result_bytes

        session_id = self.session_id

        started_at: str | Unset = UNSET
        if not isinstance(self.started_at, Unset):
            started_at = self.started_at.isoformat()

        turns = self.turns

        usage: dict[str, Any] | Unset = UNSET
        if not isinstance(self.usage, Unset):
            usage = self.usage.to_dict()

        used: dict[str, Any] | Unset = UNSET
        if not isinstance(self.used, Unset):
            used = self.used.to_dict()

        worker_id = self.worker_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "attempt": attempt,
                "fence": fence,
                "id": id,
                "mode": mode,
                "pool": pool,
                "state": state,
            }
        )
        if aborted is not UNSET:
            field_dict["aborted"] = aborted
        if agent is not UNSET:
            field_dict["agent"] = agent
        if approval is not UNSET:
            field_dict["approval"] = approval
        if artifacts is not UNSET:
            field_dict["artifacts"] = artifacts
        if attempts is not UNSET:
            field_dict["attempts"] = attempts
        if cost_usd is not UNSET:
            field_dict["cost_usd"] = cost_usd
        if dead is not UNSET:
            field_dict["dead"] = dead
        if diagnosis is not UNSET:
            field_dict["diagnosis"] = diagnosis
        if ended_at is not UNSET:
            field_dict["ended_at"] = ended_at
        if failure is not UNSET:
            field_dict["failure"] = failure
        if handle is not UNSET:
            field_dict["handle"] = handle
        if lost is not UNSET:
            field_dict["lost"] = lost
        if needs is not UNSET:
            field_dict["needs"] = needs
        if output is not UNSET:
            field_dict["output"] = output
        if output_cut_bytes is not UNSET:
            field_dict["output_cut_bytes"] = output_cut_bytes
        if output_missing_bytes is not UNSET:
            field_dict["output_missing_bytes"] = output_missing_bytes
        if result_bytes is not UNSET:
            field_dict["result_bytes"] = result_bytes
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if started_at is not UNSET:
            field_dict["started_at"] = started_at
        if turns is not UNSET:
            field_dict["turns"] = turns
        if usage is not UNSET:
            field_dict["usage"] = usage
        if used is not UNSET:
            field_dict["used"] = used
        if worker_id is not UNSET:
            field_dict["worker_id"] = worker_id

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.abort_reason_approval_denied import AbortReasonApprovalDenied
        from ..models.abort_reason_approval_expired import AbortReasonApprovalExpired
        from ..models.abort_reason_cancelled import AbortReasonCancelled
        from ..models.abort_reason_dependency_failed import AbortReasonDependencyFailed
        from ..models.abort_reason_revoked import AbortReasonRevoked
        from ..models.approval import Approval
        from ..models.artifact_total import ArtifactTotal
        from ..models.attempt_view import AttemptView
        from ..models.failure_agent_auth import FailureAgentAuth
        from ..models.failure_agent_context import FailureAgentContext
        from ..models.failure_agent_network import FailureAgentNetwork
        from ..models.failure_agent_rate_limited import FailureAgentRateLimited
        from ..models.failure_bad_artifacts import FailureBadArtifacts
        from ..models.failure_bad_result import FailureBadResult
        from ..models.failure_cannot_execute import FailureCannotExecute
        from ..models.failure_cannot_start import FailureCannotStart
        from ..models.failure_drifted import FailureDrifted
        from ..models.failure_exit import FailureExit
        from ..models.failure_out_of_memory import FailureOutOfMemory
        from ..models.failure_over_budget import FailureOverBudget
        from ..models.failure_over_turns import FailureOverTurns
        from ..models.failure_profile_refused import FailureProfileRefused
        from ..models.failure_secret_revoked import FailureSecretRevoked
        from ..models.failure_secret_unavailable import FailureSecretUnavailable
        from ..models.failure_signal import FailureSignal
        from ..models.failure_timed_out import FailureTimedOut
        from ..models.output_place_project import OutputPlaceProject
        from ..models.output_place_task import OutputPlaceTask
        from ..models.output_place_worker import OutputPlaceWorker
        from ..models.usage import Usage
        from ..models.usage_sums import UsageSums

        d = dict(src_dict)
        attempt = d.pop("attempt")

        fence = d.pop("fence")

        id = d.pop("id")

        mode = Mode(d.pop("mode"))

        pool = d.pop("pool")

        state = StepState(d.pop("state"))

        def _parse_aborted(
            data: object,
        ) -> (
            AbortReasonApprovalDenied
            | AbortReasonApprovalExpired
            | AbortReasonCancelled
            | AbortReasonDependencyFailed
            | AbortReasonRevoked
            | Unset
        ):
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_abort_reason_type_0 = AbortReasonCancelled.from_dict(
                    data
                )

                return componentsschemas_abort_reason_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_abort_reason_type_1 = (
                    AbortReasonDependencyFailed.from_dict(data)
                )

                return componentsschemas_abort_reason_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_abort_reason_type_2 = AbortReasonRevoked.from_dict(
                    data
                )

                return componentsschemas_abort_reason_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_abort_reason_type_3 = (
                    AbortReasonApprovalDenied.from_dict(data)
                )

                return componentsschemas_abort_reason_type_3
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_abort_reason_type_4 = (
                AbortReasonApprovalExpired.from_dict(data)
            )

            return componentsschemas_abort_reason_type_4

        aborted = _parse_aborted(d.pop("aborted", UNSET))

        _agent = d.pop("agent", UNSET)
        agent: Cli | Unset
        if isinstance(_agent, Unset):
            agent = UNSET
        else:
            agent = Cli(_agent)

        _approval = d.pop("approval", UNSET)
        approval: Approval | Unset
        if isinstance(_approval, Unset):
            approval = UNSET
        else:
            approval = Approval.from_dict(_approval)

        _artifacts = d.pop("artifacts", UNSET)
        artifacts: ArtifactTotal | Unset
        if isinstance(_artifacts, Unset):
            artifacts = UNSET
        else:
            artifacts = ArtifactTotal.from_dict(_artifacts)

        _attempts = d.pop("attempts", UNSET)
        attempts: list[AttemptView] | Unset = UNSET
        if _attempts is not UNSET:
            attempts = []
            for attempts_item_data in _attempts:
                attempts_item = AttemptView.from_dict(attempts_item_data)

                attempts.append(attempts_item)

        cost_usd = d.pop("cost_usd", UNSET)

        _dead = d.pop("dead", UNSET)
        dead: DeadReason | Unset
        if isinstance(_dead, Unset):
            dead = UNSET
        else:
            dead = DeadReason(_dead)

        diagnosis = d.pop("diagnosis", UNSET)

        _ended_at = d.pop("ended_at", UNSET)
        ended_at: datetime.datetime | Unset
        if isinstance(_ended_at, Unset):
            ended_at = UNSET
        else:
            ended_at = datetime.datetime.fromisoformat(_ended_at)

        def _parse_failure(
            data: object,
        ) -> (
            FailureAgentAuth
            | FailureAgentContext
            | FailureAgentNetwork
            | FailureAgentRateLimited
            | FailureBadArtifacts
            | FailureBadResult
            | FailureCannotExecute
            | FailureCannotStart
            | FailureDrifted
            | FailureExit
            | FailureOutOfMemory
            | FailureOverBudget
            | FailureOverTurns
            | FailureProfileRefused
            | FailureSecretRevoked
            | FailureSecretUnavailable
            | FailureSignal
            | FailureTimedOut
            | Unset
        ):
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_0 = FailureExit.from_dict(data)

                return componentsschemas_failure_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_1 = FailureSignal.from_dict(data)

                return componentsschemas_failure_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_2 = FailureCannotExecute.from_dict(data)

                return componentsschemas_failure_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_3 = FailureTimedOut.from_dict(data)

                return componentsschemas_failure_type_3
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_4 = FailureOutOfMemory.from_dict(data)

                return componentsschemas_failure_type_4
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_5 = FailureAgentRateLimited.from_dict(
                    data
                )

                return componentsschemas_failure_type_5
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_6 = FailureAgentAuth.from_dict(data)

                return componentsschemas_failure_type_6
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_7 = FailureAgentContext.from_dict(data)

                return componentsschemas_failure_type_7
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_8 = FailureAgentNetwork.from_dict(data)

                return componentsschemas_failure_type_8
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_9 = FailureOverBudget.from_dict(data)

                return componentsschemas_failure_type_9
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_10 = FailureOverTurns.from_dict(data)

                return componentsschemas_failure_type_10
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_11 = FailureBadResult.from_dict(data)

                return componentsschemas_failure_type_11
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_12 = FailureBadArtifacts.from_dict(data)

                return componentsschemas_failure_type_12
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_13 = FailureCannotStart.from_dict(data)

                return componentsschemas_failure_type_13
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_14 = FailureSecretUnavailable.from_dict(
                    data
                )

                return componentsschemas_failure_type_14
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_15 = FailureSecretRevoked.from_dict(data)

                return componentsschemas_failure_type_15
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_16 = FailureProfileRefused.from_dict(
                    data
                )

                return componentsschemas_failure_type_16
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_failure_type_17 = FailureDrifted.from_dict(data)

            return componentsschemas_failure_type_17

        failure = _parse_failure(d.pop("failure", UNSET))

        handle = d.pop("handle", UNSET)

        _lost = d.pop("lost", UNSET)
        lost: RequeueReason | Unset
        if isinstance(_lost, Unset):
            lost = UNSET
        else:
            lost = RequeueReason(_lost)

        needs = cast(list[str], d.pop("needs", UNSET))

        def _parse_output(
            data: object,
        ) -> OutputPlaceProject | OutputPlaceTask | OutputPlaceWorker | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_output_place_type_0 = OutputPlaceWorker.from_dict(
                    data
                )

                return componentsschemas_output_place_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_output_place_type_1 = OutputPlaceProject.from_dict(
                    data
                )

                return componentsschemas_output_place_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_output_place_type_2 = OutputPlaceTask.from_dict(data)

            return componentsschemas_output_place_type_2

        output = _parse_output(d.pop("output", UNSET))

        output_cut_bytes = d.pop("output_cut_bytes", UNSET)

        output_missing_bytes = d.pop("output_missing_bytes", UNSET)

        result_bytes = d.pop("result_bytes", UNSET)

        session_id = d.pop("session_id", UNSET)

        _started_at = d.pop("started_at", UNSET)
        started_at: datetime.datetime | Unset
        if isinstance(_started_at, Unset):
            started_at = UNSET
        else:
            started_at = datetime.datetime.fromisoformat(_started_at)

        turns = d.pop("turns", UNSET)

        _usage = d.pop("usage", UNSET)
        usage: Usage | Unset
        if isinstance(_usage, Unset):
            usage = UNSET
        else:
            usage = Usage.from_dict(_usage)

        _used = d.pop("used", UNSET)
        used: UsageSums | Unset
        if isinstance(_used, Unset):
            used = UNSET
        else:
            used = UsageSums.from_dict(_used)

        worker_id = d.pop("worker_id", UNSET)

        step_view = cls(
            attempt=attempt,
            fence=fence,
            id=id,
            mode=mode,
            pool=pool,
            state=state,
            aborted=aborted,
            agent=agent,
            approval=approval,
            artifacts=artifacts,
            attempts=attempts,
            cost_usd=cost_usd,
            dead=dead,
            diagnosis=diagnosis,
            ended_at=ended_at,
            failure=failure,
            handle=handle,
            lost=lost,
            needs=needs,
            output=output,
            output_cut_bytes=output_cut_bytes,
            output_missing_bytes=output_missing_bytes,
            result_bytes=result_bytes,
            session_id=session_id,
            started_at=started_at,
            turns=turns,
            usage=usage,
            used=used,
            worker_id=worker_id,
        )

        step_view.additional_properties = d
        return step_view

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
