from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.mode import Mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.acl import Acl
    from ..models.claim_agent import ClaimAgent
    from ..models.claim_artifacts_item_type_1 import ClaimArtifactsItemType1
    from ..models.claim_command_item_type_1 import ClaimCommandItemType1
    from ..models.claim_env import ClaimEnv
    from ..models.egress_policy_allow import EgressPolicyAllow
    from ..models.inputs import Inputs
    from ..models.secret_ref import SecretRef


T = TypeVar("T", bound="Claim")


@_attrs_define
class Claim:
    """A granted claim. It names secrets and never holds a value.

    Attributes:
        attempt (int): Counts tries, from 1.
        command (list[ClaimCommandItemType1 | str]): The program and its arguments. Empty for an agent.
        env (ClaimEnv): Plain environment variables: those of the profiles, and the step's own.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        lease_seconds (int): Seconds that the lease lasts without a heartbeat.
        mode (Mode): How a step is executed. `full_jit` (a CLI agent with just-in-time credentials) is not accepted yet.

            - `bare`: 0: a plain process of the worker. Never sees a secret.

            - `sandboxed`: 1: a sandbox. Never sees a secret.

            - `identity`: 2: a sandbox that the profile's secrets are injected into.

            - `full`: 3: such a sandbox, with a CLI agent in it.
        project (str): The name of a project, which is a tenant. Never `system`.
        run_id (str): A run's id.
        secrets (list[SecretRef]): The secrets to resolve inside the sandbox, by reference. Empty unless the mode is
            `identity` or `full`.
        step_id (str): The id of a step, unique in its run.
        timeout_seconds (int): Seconds that the sandbox may run.
        agent (ClaimAgent | Unset): The CLI agent to run, in place of a command.
        artifacts (list[ClaimArtifactsItemType1 | str] | Unset): What the command is to leave behind.
        audiences (list[str] | Unset): Who it may have identity tokens for.
        backend (str | Unset): The sandbox backend that it has to run in.
        egress (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
        fetches (bool | Unset): Whether more has to be brought to it first: uploads among its inputs, or what other
            steps have left. `POST /v1/step-inputs` says where it is.
        image (str | Unset): The variant of the sandbox image that it has to run in.
        inputs (Inputs | Unset): What a step gets to work with.
        tool (str | Unset): The name of a tool that a step runs, such as a CLI agent.
        tools (Acl | Unset): The secrets that each tool sees, by environment variable. `*` stands for all of them.
        tty (bool | Unset): Whether the command has a terminal.
    """

    attempt: int
    command: list[ClaimCommandItemType1 | str]
    env: ClaimEnv
    fence: int
    lease_seconds: int
    mode: Mode
    project: str
    run_id: str
    secrets: list[SecretRef]
    step_id: str
    timeout_seconds: int
    agent: ClaimAgent | Unset = UNSET
    artifacts: list[ClaimArtifactsItemType1 | str] | Unset = UNSET
    audiences: list[str] | Unset = UNSET
    backend: str | Unset = UNSET
    egress: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    fetches: bool | Unset = UNSET
    image: str | Unset = UNSET
    inputs: Inputs | Unset = UNSET
    tool: str | Unset = UNSET
    tools: Acl | Unset = UNSET
    tty: bool | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.claim_artifacts_item_type_1 import ClaimArtifactsItemType1
        from ..models.claim_command_item_type_1 import ClaimCommandItemType1
        from ..models.egress_policy_allow import EgressPolicyAllow

        attempt = self.attempt

        command = []
        for command_item_data in self.command:
            command_item: dict[str, Any] | str
            if isinstance(command_item_data, ClaimCommandItemType1):
                command_item = command_item_data.to_dict()
            else:
                command_item = command_item_data
            command.append(command_item)

        env = self.env.to_dict()

        fence = self.fence

        lease_seconds = self.lease_seconds

        mode = self.mode.value

        project = self.project

        run_id = self.run_id

        secrets = []
        for secrets_item_data in self.secrets:
            secrets_item = secrets_item_data.to_dict()
            secrets.append(secrets_item)

        step_id = self.step_id

        timeout_seconds = self.timeout_seconds

        agent: dict[str, Any] | Unset = UNSET
        if not isinstance(self.agent, Unset):
            agent = self.agent.to_dict()

        artifacts: list[dict[str, Any] | str] | Unset = UNSET
        if not isinstance(self.artifacts, Unset):
            artifacts = []
            for artifacts_item_data in self.artifacts:
                artifacts_item: dict[str, Any] | str
                if isinstance(artifacts_item_data, ClaimArtifactsItemType1):
                    artifacts_item = artifacts_item_data.to_dict()
                else:
                    artifacts_item = artifacts_item_data
                artifacts.append(artifacts_item)

        audiences: list[str] | Unset = UNSET
        if not isinstance(self.audiences, Unset):
            audiences = self.audiences

        backend = self.backend

        egress: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.egress, Unset):
            egress = UNSET
        elif isinstance(self.egress, EgressPolicyAllow):
            egress = self.egress.to_dict()
        else:
            egress = self.egress

        fetches = self.fetches

        image = self.image

        inputs: dict[str, Any] | Unset = UNSET
        if not isinstance(self.inputs, Unset):
            inputs = self.inputs.to_dict()

        tool = self.tool

        tools: dict[str, Any] | Unset = UNSET
        if not isinstance(self.tools, Unset):
            tools = self.tools.to_dict()

        tty = self.tty

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "attempt": attempt,
                "command": command,
                "env": env,
                "fence": fence,
                "lease_seconds": lease_seconds,
                "mode": mode,
                "project": project,
                "run_id": run_id,
                "secrets": secrets,
                "step_id": step_id,
                "timeout_seconds": timeout_seconds,
            }
        )
        if agent is not UNSET:
            field_dict["agent"] = agent
        if artifacts is not UNSET:
            field_dict["artifacts"] = artifacts
        if audiences is not UNSET:
            field_dict["audiences"] = audiences
        if backend is not UNSET:
            field_dict["backend"] = backend
        if egress is not UNSET:
            field_dict["egress"] = egress
        if fetches is not UNSET:
            field_dict["fetches"] = fetches
        if image is not UNSET:
            field_dict["image"] = image
        if inputs is not UNSET:
            field_dict["inputs"] = inputs
        if tool is not UNSET:
            field_dict["tool"] = tool
        if tools is not UNSET:
            field_dict["tools"] = tools
        if tty is not UNSET:
            field_dict["tty"] = tty

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.acl import Acl
        from ..models.claim_agent import ClaimAgent
        from ..models.claim_artifacts_item_type_1 import ClaimArtifactsItemType1
        from ..models.claim_command_item_type_1 import ClaimCommandItemType1
        from ..models.claim_env import ClaimEnv
        from ..models.egress_policy_allow import EgressPolicyAllow
        from ..models.inputs import Inputs
        from ..models.secret_ref import SecretRef

        d = dict(src_dict)
        attempt = d.pop("attempt")

        command = []
        _command = d.pop("command")
        for command_item_data in _command:

            def _parse_command_item(data: object) -> ClaimCommandItemType1 | str:
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    command_item_type_1 = ClaimCommandItemType1.from_dict(data)

                    return command_item_type_1
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                return cast(ClaimCommandItemType1 | str, data)

            command_item = _parse_command_item(command_item_data)

            command.append(command_item)

        env = ClaimEnv.from_dict(d.pop("env"))

        fence = d.pop("fence")

        lease_seconds = d.pop("lease_seconds")

        mode = Mode(d.pop("mode"))

        project = d.pop("project")

        run_id = d.pop("run_id")

        secrets = []
        _secrets = d.pop("secrets")
        for secrets_item_data in _secrets:
            secrets_item = SecretRef.from_dict(secrets_item_data)

            secrets.append(secrets_item)

        step_id = d.pop("step_id")

        timeout_seconds = d.pop("timeout_seconds")

        _agent = d.pop("agent", UNSET)
        agent: ClaimAgent | Unset
        if isinstance(_agent, Unset):
            agent = UNSET
        else:
            agent = ClaimAgent.from_dict(_agent)

        _artifacts = d.pop("artifacts", UNSET)
        artifacts: list[ClaimArtifactsItemType1 | str] | Unset = UNSET
        if _artifacts is not UNSET:
            artifacts = []
            for artifacts_item_data in _artifacts:

                def _parse_artifacts_item(
                    data: object,
                ) -> ClaimArtifactsItemType1 | str:
                    try:
                        if not isinstance(data, dict):
                            raise TypeError()
                        artifacts_item_type_1 = ClaimArtifactsItemType1.from_dict(data)

                        return artifacts_item_type_1
                    except (TypeError, ValueError, AttributeError, KeyError):
                        pass
                    return cast(ClaimArtifactsItemType1 | str, data)

                artifacts_item = _parse_artifacts_item(artifacts_item_data)

                artifacts.append(artifacts_item)

        audiences = cast(list[str], d.pop("audiences", UNSET))

        backend = d.pop("backend", UNSET)

        def _parse_egress(
            data: object,
        ) -> Literal["none", "open"] | EgressPolicyAllow | Unset:
            if isinstance(data, Unset):
                return data
            componentsschemas_egress_policy_type_0 = cast(Literal["none"], data)
            if componentsschemas_egress_policy_type_0 != "none":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_0 must match const 'none', got '{componentsschemas_egress_policy_type_0}'"
                )
            return componentsschemas_egress_policy_type_0
            componentsschemas_egress_policy_type_1 = cast(Literal["open"], data)
            if componentsschemas_egress_policy_type_1 != "open":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_1 must match const 'open', got '{componentsschemas_egress_policy_type_1}'"
                )
            return componentsschemas_egress_policy_type_1
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_egress_policy_type_2 = EgressPolicyAllow.from_dict(data)

            return componentsschemas_egress_policy_type_2

        egress = _parse_egress(d.pop("egress", UNSET))

        fetches = d.pop("fetches", UNSET)

        image = d.pop("image", UNSET)

        _inputs = d.pop("inputs", UNSET)
        inputs: Inputs | Unset
        if isinstance(_inputs, Unset):
            inputs = UNSET
        else:
            inputs = Inputs.from_dict(_inputs)

        tool = d.pop("tool", UNSET)

        _tools = d.pop("tools", UNSET)
        tools: Acl | Unset
        if isinstance(_tools, Unset):
            tools = UNSET
        else:
            tools = Acl.from_dict(_tools)

        tty = d.pop("tty", UNSET)

        claim = cls(
            attempt=attempt,
            command=command,
            env=env,
            fence=fence,
            lease_seconds=lease_seconds,
            mode=mode,
            project=project,
            run_id=run_id,
            secrets=secrets,
            step_id=step_id,
            timeout_seconds=timeout_seconds,
            agent=agent,
            artifacts=artifacts,
            audiences=audiences,
            backend=backend,
            egress=egress,
            fetches=fetches,
            image=image,
            inputs=inputs,
            tool=tool,
            tools=tools,
            tty=tty,
        )

        claim.additional_properties = d
        return claim

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
