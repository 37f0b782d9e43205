//! Whether a new run can run at all, with the field and the remedy named where it cannot.

use std::collections::BTreeMap;

use sealfleet_api::Problem;
use sealfleet_api::types::{EnqueueRun, EnqueueStep};
use sealfleet_domain::artifact::{self, Artifact};
use sealfleet_domain::capability::{Backend, Carries};
use sealfleet_domain::fleet::{Pool, Project};
use sealfleet_domain::inputs::Inputs;
use sealfleet_domain::labels::{BACKEND, IMAGE, Labels};
use sealfleet_domain::profile::check_env;
use sealfleet_domain::run::{InvalidGraph, Mode, StepSpec, check_graph};
use sealfleet_domain::{StepId, command, limits};

/// # Errors
/// The field that is wrong, and what to do.
pub fn steps(
    run: &EnqueueRun,
    project: &Project,
    with_profile: bool,
) -> Result<BTreeMap<StepId, StepSpec>, Problem> {
    if !run.overrides.is_empty() && !with_profile {
        return Err(Problem::invalid(
            "overrides",
            "there is no profile to override; name one as `profile`",
        ));
    }
    check_prompts(&run.steps)?;
    let mut steps = BTreeMap::new();
    for (index, step) in run.steps.iter().cloned().enumerate() {
        let at = format!("steps[{index}]");
        let id = step.id.clone();
        let spec = spec(&at, step, project, with_profile)?;
        if steps.insert(id.clone(), spec).is_some() {
            return Err(Problem::invalid(
                format!("{at}.id"),
                format!("step `{id}` stands here twice; rename one"),
            ));
        }
    }
    let inputs: usize = steps.values().map(|step| step.inputs.bytes()).sum();
    if inputs > limits::INPUT_BYTES {
        return Err(Problem::invalid(
            "steps",
            format!(
                "the files and standard inputs of the run have {inputs} bytes: {} at most",
                limits::INPUT_BYTES
            ),
        ));
    }
    check_graph(&steps).map_err(|error| {
        let field = match &error {
            InvalidGraph::Empty | InvalidGraph::TooMany(_) | InvalidGraph::TooManyApprovals(_) => {
                "steps".to_owned()
            }
            InvalidGraph::UnknownNeed { step, .. } | InvalidGraph::Cycle(step) => {
                format!("steps.{step}.needs")
            }
            InvalidGraph::Unneeded { step, .. } | InvalidGraph::TakesTooMany(step) => {
                format!("steps.{step}.takes")
            }
        };
        Problem::invalid(field, error.to_string())
    })?;
    check_takes(&steps, project)?;
    Ok(steps)
}

/// What a step takes must be something that the other can leave.
fn check_takes(steps: &BTreeMap<StepId, StepSpec>, project: &Project) -> Result<(), Problem> {
    for (step_id, step) in steps {
        let at = format!("steps.{step_id}.takes");
        for (taken, other) in step.takes.iter().filter_map(|id| steps.get_key_value(id)) {
            if other.mode == Mode::Bare {
                let detail = format!(
                    "`{taken}` is `bare` and leaves nothing to take; use the mode `sandboxed`"
                );
                return Err(Problem::invalid(at, detail));
            }
            let host = project.pools.get(&other.pool).map(Pool::host);
            if let Some(Err(detail)) = host.map(|host| host.check_carries(Carries::Result)) {
                let detail = format!("`{taken}` leaves nothing to take: {detail}");
                return Err(Problem::invalid(at, detail));
            }
        }
    }
    Ok(())
}

/// Prompts are part of the run's document, so all of them together are bound.
fn check_prompts(steps: &[EnqueueStep]) -> Result<(), Problem> {
    let prompts = steps
        .iter()
        .filter_map(|step| step.agent.as_ref()?.prompt.as_ref());
    let bytes: usize = prompts.map(String::len).sum();
    if bytes <= limits::PROMPT_BYTES {
        return Ok(());
    }
    Err(Problem::invalid(
        "steps",
        format!(
            "the prompts of all steps together have {bytes} bytes, and {} is the most; put long ones into files that `prompt_file` names",
            limits::PROMPT_BYTES
        ),
    ))
}

fn spec(
    at: &str,
    step: EnqueueStep,
    project: &Project,
    with_profile: bool,
) -> Result<StepSpec, Problem> {
    let pool = project.pools.get(&step.pool).ok_or_else(|| {
        let pools = project
            .pools
            .keys()
            .map(|pool| format!("`{pool}`"))
            .collect::<Vec<_>>()
            .join(", ");
        Problem::invalid(
            format!("{at}.pool"),
            format!("the project has no pool `{}`; it has {pools}", step.pool),
        )
    })?;
    pool.host()
        .check_mode(step.mode)
        .map_err(|message| Problem::invalid(format!("{at}.mode"), message))?;
    if step.mode.sees_identity() && !with_profile {
        return Err(Problem::invalid(
            "profile",
            format!(
                "a step of mode `{}` needs a profile: name one, or have an admin bind one to the project or the workflow",
                step.mode
            ),
        ));
    }
    let inputs = Inputs {
        files: step.files.clone(),
        stdin: step.stdin.clone(),
    };
    check_work(at, &step, &inputs)?;
    if let Some(why) = no_terminal(&step) {
        return Err(Problem::invalid(format!("{at}.tty"), why));
    }
    check_env(&format!("{at}.env"), &step.env)
        .map_err(|error| Problem::invalid(error.field, error.message))?;
    let requires = requires(step.requires, step.mode, pool)
        .map_err(|message| Problem::invalid(format!("{at}.requires"), message))?;
    if step
        .model
        .as_ref()
        .is_some_and(|model| model.is_empty() || model.len() > limits::MODEL_BYTES)
    {
        return Err(Problem::invalid(
            format!("{at}.model"),
            format!("a model's name has 1 to {} bytes", limits::MODEL_BYTES),
        ));
    }
    inputs
        .check()
        .map_err(|error| Problem::invalid(format!("{at}.files"), error.to_string()))?;
    for (field, wants, what) in [
        ("files", inputs.uploads().next().is_some(), Carries::Uploads),
        ("takes", !step.takes.is_empty(), Carries::Takes),
        ("artifacts", !step.artifacts.is_empty(), Carries::Artifacts),
        (
            "artifacts",
            step.artifacts.iter().any(Artifact::stays),
            Carries::LocalArtifacts,
        ),
    ] {
        if wants {
            let carried = pool.host().check_carries(what);
            carried.map_err(|message| Problem::invalid(format!("{at}.{field}"), message))?;
        }
    }
    if step.mode == Mode::Bare && !step.artifacts.is_empty() {
        return Err(Problem::invalid(
            format!("{at}.artifacts"),
            "a `bare` step leaves no artifacts: nothing searches them for secrets; use the mode `sandboxed`",
        ));
    }
    artifact::check(&step.artifacts)
        .map_err(|message| Problem::invalid(format!("{at}.artifacts"), message))?;
    between(
        at,
        "timeout_seconds",
        step.timeout_seconds,
        limits::TIMEOUT_SECONDS,
    )?;
    between(at, "max_attempts", step.max_attempts, limits::MAX_ATTEMPTS)?;
    between(at, "ttl_seconds", step.ttl_seconds, limits::TTL_SECONDS)?;
    Ok(StepSpec {
        pool: step.pool,
        mode: step.mode,
        tool: step
            .tool
            .or(step.agent.as_ref().and_then(|agent| agent.cli.tool())),
        command: step.command,
        agent: step.agent,
        needs: step.needs,
        takes: step.takes,
        requires,
        model: step.model.map(String::from),
        env: step.env,
        inputs,
        tty: step.tty,
        artifacts: step.artifacts,
        approval: step.approval,
        on_drift: step.on_drift,
        timeout_seconds: step.timeout_seconds,
        max_attempts: step.max_attempts,
        ttl_seconds: step.ttl_seconds,
    })
}

/// What a step requires, with what its pool adds: a sandbox backend that can run it.
fn requires(asked: BTreeMap<String, String>, mode: Mode, pool: &Pool) -> Result<Labels, String> {
    let mut requires = Labels::required(asked).map_err(|error| error.to_string())?;
    let of_sandboxes = [BACKEND, IMAGE].into_iter();
    let mut of_sandboxes = of_sandboxes.filter(|key| requires.get(key).is_some());
    if let Some(key) = of_sandboxes.next() {
        let host = pool.host();
        if host.backends.is_empty() {
            return Err(format!(
                "a {} pool has sandboxes of one kind; leave `{key}` out",
                host.name
            ));
        }
        if mode == Mode::Bare {
            return Err(format!(
                "a `bare` step has no sandbox; leave `{key}` out, or use the mode `sandboxed`"
            ));
        }
    }
    match (pool.backend(), requires.get(BACKEND)) {
        (Some(own), Some(asked)) if own != asked => {
            return Err(format!(
                "the pool runs its steps in `{own}`; leave `{BACKEND}` out, or name a pool that has `{asked}`"
            ));
        }
        (Some(own), _) => requires = requires.with(BACKEND, own),
        (None, _) => {}
    }
    let Some(name) = requires.get(BACKEND) else {
        return Ok(requires);
    };
    Backend::named(name)?.check_mode(mode)?;
    Ok(requires)
}

/// A step runs a command, or, in mode `full` and in no other, an agent.
fn check_work(at: &str, step: &EnqueueStep, inputs: &Inputs) -> Result<(), Problem> {
    let Some(agent) = &step.agent else {
        if step.mode == Mode::Full {
            return Err(Problem::invalid(
                format!("{at}.agent"),
                "a step of mode `full` runs a CLI agent: name it as `agent`, or use the mode `identity` for a command",
            ));
        }
        return command::check(&step.command, inputs)
            .map_err(|message| Problem::invalid(format!("{at}.command"), message));
    };
    if step.mode != Mode::Full {
        return Err(Problem::invalid(
            format!("{at}.mode"),
            "an agent runs in mode `full` only: set the mode to `full`, or leave `agent` out",
        ));
    }
    if !step.command.is_empty() {
        return Err(Problem::invalid(
            format!("{at}.command"),
            "a step runs either a command or an agent: leave one out; further arguments of the CLI are `agent.args`",
        ));
    }
    if step.stdin.is_some() {
        return Err(Problem::invalid(
            format!("{at}.stdin"),
            "an agent reads its prompt from its standard input: put the text into `agent.prompt`",
        ));
    }
    agent
        .check()
        .map_err(|(field, message)| Problem::invalid(format!("{at}.agent.{field}"), message))
}

/// Why a step that asks for a terminal cannot have one.
fn no_terminal(step: &EnqueueStep) -> Option<&'static str> {
    if !step.tty {
        return None;
    }
    if step.mode == Mode::Bare {
        return Some("a `bare` step has no terminal; use the mode `sandboxed`");
    }
    if step.agent.is_some() {
        return Some("an agent is called without a terminal; leave `tty` out");
    }
    let says = "a terminal is the standard input, and nobody types; leave `stdin` out and bring its text as a file";
    step.stdin.is_some().then_some(says)
}

fn between(at: &str, name: &str, number: u32, most: u32) -> Result<(), Problem> {
    if (1..=most).contains(&number) {
        Ok(())
    } else {
        Err(Problem::invalid(
            format!("{at}.{name}"),
            format!("use a number from 1 to {most}"),
        ))
    }
}
