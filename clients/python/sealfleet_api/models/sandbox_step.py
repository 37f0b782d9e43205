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

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.agent import Agent
    from ..models.egress_policy_allow import EgressPolicyAllow
    from ..models.inputs import Inputs
    from ..models.output_credentials import OutputCredentials
    from ..models.sandbox_step_artifacts_item_type_1 import (
        SandboxStepArtifactsItemType1,
    )
    from ..models.sandbox_step_at_egress import SandboxStepAtEgress
    from ..models.sandbox_step_command_item_type_1 import SandboxStepCommandItemType1
    from ..models.sandbox_step_env import SandboxStepEnv
    from ..models.step_inputs import StepInputs


T = TypeVar("T", bound="SandboxStep")


@_attrs_define
class SandboxStep:
    """What a Fargate sandbox has to run.

    Attributes:
        command (list[SandboxStepCommandItemType1 | str]): The program and its arguments. Empty for an agent.
        env (SandboxStepEnv): Plain environment variables.
        secret_names (list[str]): The names of the secrets that the command may see.
        timeout_seconds (int): Seconds that the command may run.
        agent (Agent | Unset): An agent to run.
        artifacts (list[SandboxStepArtifactsItemType1 | str] | Unset): What the command is to leave behind.
        at_egress (SandboxStepAtEgress | Unset): Secrets that its egress proxy has in its place, by environment
            variable, and where they go.
        audiences (list[str] | Unset): Who the command may have identity tokens for.
        brings (StepInputs | Unset): What has to be brought to a step before its command starts.
        egress (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
        in_files (list[str] | Unset): Those of its secrets that it gets in files.
        inputs (Inputs | Unset): What a step gets to work with.
        outputs (OutputCredentials | Unset): Temporary AWS credentials to write what one claim puts out, and for nothing
            else. An object is written once: a request that does not say `If-None-Match: *` is refused.
        tty (bool | Unset): Whether the command has a terminal.
        unredacted (list[str] | Unset): Those of its secrets whose values stay in its output.
    """

    command: list[SandboxStepCommandItemType1 | str]
    env: SandboxStepEnv
    secret_names: list[str]
    timeout_seconds: int
    agent: Agent | Unset = UNSET
    artifacts: list[SandboxStepArtifactsItemType1 | str] | Unset = UNSET
    at_egress: SandboxStepAtEgress | Unset = UNSET
    audiences: list[str] | Unset = UNSET
    brings: StepInputs | Unset = UNSET
    egress: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    in_files: list[str] | Unset = UNSET
    inputs: Inputs | Unset = UNSET
    outputs: OutputCredentials | Unset = UNSET
    tty: bool | Unset = UNSET
    unredacted: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.egress_policy_allow import EgressPolicyAllow
        from ..models.sandbox_step_artifacts_item_type_1 import (
            SandboxStepArtifactsItemType1,
        )
        from ..models.sandbox_step_command_item_type_1 import (
            SandboxStepCommandItemType1,
        )

        command = []
        for command_item_data in self.command:
            command_item: dict[str, Any] | str
            if isinstance(command_item_data, SandboxStepCommandItemType1):
                command_item = command_item_data.to_dict()
            else:
                command_item = command_item_data
            command.append(command_item)

        env = self.env.to_dict()

        secret_names = self.secret_names

        timeout_seconds = self.timeout_seconds

        agent: dict[str, Any] | Unset = UNSET
        if not isinstance(self.agent, Unset):
            agent = self.agent.to_dict()

        artifacts: list[dict[str, Any] | str] | Unset = UNSET
        if not isinstance(self.artifacts, Unset):
            artifacts = []
            for artifacts_item_data in self.artifacts:
                artifacts_item: dict[str, Any] | str
                if isinstance(artifacts_item_data, SandboxStepArtifactsItemType1):
                    artifacts_item = artifacts_item_data.to_dict()
                else:
                    artifacts_item = artifacts_item_data
                artifacts.append(artifacts_item)

        at_egress: dict[str, Any] | Unset = UNSET
        if not isinstance(self.at_egress, Unset):
            at_egress = self.at_egress.to_dict()

        audiences: list[str] | Unset = UNSET
        if not isinstance(self.audiences, Unset):
            audiences = self.audiences

        brings: dict[str, Any] | Unset = UNSET
        if not isinstance(self.brings, Unset):
            brings = self.brings.to_dict()

        egress: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.egress, Unset):
            egress = UNSET
        elif isinstance(self.egress, EgressPolicyAllow):
            egress = self.egress.to_dict()
        else:
            egress = self.egress

        in_files: list[str] | Unset = UNSET
        if not isinstance(self.in_files, Unset):
            in_files = self.in_files

        inputs: dict[str, Any] | Unset = UNSET
        if not isinstance(self.inputs, Unset):
            inputs = self.inputs.to_dict()

        outputs: dict[str, Any] | Unset = UNSET
        if not isinstance(self.outputs, Unset):
            outputs = self.outputs.to_dict()

        tty = self.tty

        unredacted: list[str] | Unset = UNSET
        if not isinstance(self.unredacted, Unset):
            unredacted = self.unredacted

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "command": command,
                "env": env,
                "secret_names": secret_names,
                "timeout_seconds": timeout_seconds,
            }
        )
        if agent is not UNSET:
            field_dict["agent"] = agent
        if artifacts is not UNSET:
            field_dict["artifacts"] = artifacts
        if at_egress is not UNSET:
            field_dict["at_egress"] = at_egress
        if audiences is not UNSET:
            field_dict["audiences"] = audiences
        if brings is not UNSET:
            field_dict["brings"] = brings
        if egress is not UNSET:
            field_dict["egress"] = egress
        if in_files is not UNSET:
            field_dict["in_files"] = in_files
        if inputs is not UNSET:
            field_dict["inputs"] = inputs
        if outputs is not UNSET:
            field_dict["outputs"] = outputs
        if tty is not UNSET:
            field_dict["tty"] = tty
        if unredacted is not UNSET:
            field_dict["unredacted"] = unredacted

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.agent import Agent
        from ..models.egress_policy_allow import EgressPolicyAllow
        from ..models.inputs import Inputs
        from ..models.output_credentials import OutputCredentials
        from ..models.sandbox_step_artifacts_item_type_1 import (
            SandboxStepArtifactsItemType1,
        )
        from ..models.sandbox_step_at_egress import SandboxStepAtEgress
        from ..models.sandbox_step_command_item_type_1 import (
            SandboxStepCommandItemType1,
        )
        from ..models.sandbox_step_env import SandboxStepEnv
        from ..models.step_inputs import StepInputs

        d = dict(src_dict)
        command = []
        _command = d.pop("command")
        for command_item_data in _command:

            def _parse_command_item(data: object) -> SandboxStepCommandItemType1 | str:
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    command_item_type_1 = SandboxStepCommandItemType1.from_dict(data)

                    return command_item_type_1
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                return cast(SandboxStepCommandItemType1 | str, data)

            command_item = _parse_command_item(command_item_data)

            command.append(command_item)

        env = SandboxStepEnv.from_dict(d.pop("env"))

        secret_names = cast(list[str], d.pop("secret_names"))

        timeout_seconds = d.pop("timeout_seconds")

        _agent = d.pop("agent", UNSET)
        agent: Agent | Unset
        if isinstance(_agent, Unset):
            agent = UNSET
        else:
            agent = Agent.from_dict(_agent)

        _artifacts = d.pop("artifacts", UNSET)
        artifacts: list[SandboxStepArtifactsItemType1 | str] | Unset = UNSET
        if _artifacts is not UNSET:
            artifacts = []
            for artifacts_item_data in _artifacts:

                def _parse_artifacts_item(
                    data: object,
                ) -> SandboxStepArtifactsItemType1 | str:
                    try:
                        if not isinstance(data, dict):
                            raise TypeError()
                        artifacts_item_type_1 = SandboxStepArtifactsItemType1.from_dict(
                            data
                        )

                        return artifacts_item_type_1
                    except (TypeError, ValueError, AttributeError, KeyError):
                        pass
                    return cast(SandboxStepArtifactsItemType1 | str, data)

                artifacts_item = _parse_artifacts_item(artifacts_item_data)

                artifacts.append(artifacts_item)

        _at_egress = d.pop("at_egress", UNSET)
        at_egress: SandboxStepAtEgress | Unset
        if isinstance(_at_egress, Unset):
            at_egress = UNSET
        else:
            at_egress = SandboxStepAtEgress.from_dict(_at_egress)

        audiences = cast(list[str], d.pop("audiences", UNSET))

        _brings = d.pop("brings", UNSET)
        brings: StepInputs | Unset
        if isinstance(_brings, Unset):
            brings = UNSET
        else:
            brings = StepInputs.from_dict(_brings)

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

        in_files = cast(list[str], d.pop("in_files", UNSET))

        _inputs = d.pop("inputs", UNSET)
        inputs: Inputs | Unset
        if isinstance(_inputs, Unset):
            inputs = UNSET
        else:
            inputs = Inputs.from_dict(_inputs)

        _outputs = d.pop("outputs", UNSET)
        outputs: OutputCredentials | Unset
        if isinstance(_outputs, Unset):
            outputs = UNSET
        else:
            outputs = OutputCredentials.from_dict(_outputs)

        tty = d.pop("tty", UNSET)

        unredacted = cast(list[str], d.pop("unredacted", UNSET))

        sandbox_step = cls(
            command=command,
            env=env,
            secret_names=secret_names,
            timeout_seconds=timeout_seconds,
            agent=agent,
            artifacts=artifacts,
            at_egress=at_egress,
            audiences=audiences,
            brings=brings,
            egress=egress,
            in_files=in_files,
            inputs=inputs,
            outputs=outputs,
            tty=tty,
            unredacted=unredacted,
        )

        sandbox_step.additional_properties = d
        return sandbox_step

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
