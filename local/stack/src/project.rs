//! `up --project`: a project with all that its first run needs.
//!
//! It runs the commands that a person would: nothing here is another way in. Their files lie below
//! the stack's directory, and go with the stack, as the worker does.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sealfleet_cli::contexts::{Contexts, Place};

use crate::{
    Error, Process, Stack, deploy_project,
    process::{MARK, spawn},
    stack::Processes,
};

/// Words of a command line, of texts and paths.
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        &[$(AsRef::<OsStr>::as_ref($word)),*]
    };
}

/// The directory of the project's files, in that of the stack.
pub(crate) const DIRECTORY: &str = "project";
/// The pool of the project's worker.
const POOL: &str = "workers";
const WORKER: &str = "worker";
/// Files of the project.
const STORE: &str = "store";
const STORE_KEY: &str = "store.key";
const CREDENTIAL: &str = "worker.credential";

/// The programs that are run.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `sealfleet`
    pub cli: PathBuf,
    /// `sealfleet-worker`
    pub worker: PathBuf,
    /// `sealfleet-init`
    pub init: PathBuf,
}

/// Onboards a project, and leaves its admin's token, an empty profile, a secret store, a worker and
/// a context, all but the token and the worker by the project's name.
///
/// # Errors
/// When one of the commands fails.
pub async fn onboard(stack: &Stack, project: &str, programs: &Programs) -> Result<(), Error> {
    leave_other_contexts_alone(project)?;
    deploy_project(stack, project, Some(POOL), None).await?;
    let at = |name: &str| stack.directory.join(DIRECTORY).join(name);
    let directory = stack.directory.join(DIRECTORY);
    fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    // Sandboxes of a worker that root runs have a user of their own, which reaches their root here.
    let reachable = Permissions::from_mode(0o711);
    fs::set_permissions(&directory, reachable).map_err(Error::file(&directory))?;

    let cli = |arguments: &[&OsStr]| {
        let mut command = Command::new(&programs.cli);
        command
            .args(arguments)
            .env("SEALFLEET_API_URL", &stack.api_url)
            .env("AWS_ENDPOINT_URL", &stack.endpoint)
            .env("AWS_REGION", &stack.region)
            .env("AWS_ACCESS_KEY_ID", &stack.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &stack.secret_access_key)
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("AWS_PROFILE")
            .env_remove("SEALFLEET_TOKEN_FILE")
            .env_remove("SEALFLEET_CONTEXT");
        run(&mut command)
    };
    let (operator, admin) = (at("operator"), at("admin"));
    let (store, key) = (at(STORE), at(STORE_KEY));
    let (enrolment_key, credential) = (at("enrolment-key"), at(CREDENTIAL));
    cli(words![
        "token",
        "bootstrap",
        "--ledger-table",
        &stack.ledger_table,
        "--audit-table",
        &stack.audit_table,
        "--out",
        &operator
    ])?;
    cli(words![
        "project",
        "create",
        project,
        "--pull-pool",
        POOL,
        "--token-file",
        &operator
    ])?;
    cli(words![
        "token",
        "create",
        "--project",
        project,
        "--role",
        "admin",
        "--out",
        &admin,
        "--token-file",
        &operator
    ])?;
    run(Command::new(&programs.init).args(words![
        "builtin",
        "create",
        "--project",
        project,
        "--store",
        &store,
        "--key-file",
        &key
    ]))?;
    cli(words![
        "login",
        "--context",
        project,
        "--token-file",
        &admin,
        "--builtin-store",
        &store,
        "--builtin-key-file",
        &key
    ])?;
    cli(words!["profile", "create", project, "--token-file", &admin])?;
    cli(words![
        "enrolment-key",
        "create",
        "--pool",
        POOL,
        "--out",
        &enrolment_key,
        "--token-file",
        &admin
    ])?;
    run(Command::new(&programs.worker).args(words![
        "--api-url",
        &stack.api_url,
        "register",
        "--project",
        project,
        "--pool",
        POOL,
        "--name",
        "local",
        "--enrolment-key-file",
        &enrolment_key,
        "--credential-file",
        &credential
    ]))?;
    start_worker(stack, programs, &[]).await.map(drop)
}

/// Refuses the name of a context that is not a local stack's: its token may be nowhere else.
fn leave_other_contexts_alone(project: &str) -> Result<(), Error> {
    let place = Place::of_user()?;
    let contexts = place.load()?.contexts;
    let mut others = contexts.iter().filter(|(name, context)| {
        name.to_string() == project && !context.api_url.starts_with("http://127.0.0.1")
    });
    match others.next() {
        None => Ok(()),
        Some(_) => Err(Error::ContextOfAnother(project.to_owned())),
    }
}

fn run(command: &mut Command) -> Result<(), Error> {
    let program = PathBuf::from(command.get_program());
    let ran = command.stdin(Stdio::null()).output();
    let output = ran.map_err(|source| Error::Run { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let line: Vec<_> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    Err(Error::Command {
        command: line.join(" "),
        output: String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned(),
    })
}

/// Starts the project's worker, with these further options of `run`. Answers whether it replaced
/// one, which ends first.
pub(crate) async fn start_worker(
    stack: &Stack,
    programs: &Programs,
    options: &[&str],
) -> Result<bool, Error> {
    let at = |name: &str| stack.directory.join(DIRECTORY).join(name);
    if !at(CREDENTIAL).exists() {
        return Err(Error::NoProject);
    }
    let processes = Processes::load(&stack.directory)?;
    let replaced = processes.and_then(|all| all.started.get(WORKER).copied());
    if let Some(process) = replaced {
        process.end().await;
    }
    let mut worker = Command::new(&programs.worker);
    worker.args(words![
        "--api-url",
        &stack.api_url,
        "run",
        "--credential-file",
        &at(CREDENTIAL),
        "--rootfs",
        &stack.directory.join("rootfs"),
        "--init",
        &programs.init,
        "--log-dir",
        &at("output"),
        "--builtin-store",
        &at(STORE),
        "--builtin-key-file",
        &at(STORE_KEY)
    ]);
    start(stack, WORKER, worker.args(options))?;
    Ok(replaced.is_some())
}

/// Starts a process of the stack, which `down` ends. Answers it, and where its log is.
pub(crate) fn start(
    stack: &Stack,
    name: &str,
    command: &mut Command,
) -> Result<(Child, PathBuf), Error> {
    let directory = &stack.directory;
    let log = directory.join("logs").join(format!("{name}.log"));
    let child = spawn(command.env(MARK, &stack.id), &log)?;
    if let (Some(process), Some(mut processes)) =
        (Process::of(child.id()), Processes::load(directory)?)
    {
        processes.started.insert(name.to_owned(), process);
        processes.save(directory)?;
    }
    Ok((child, log))
}

/// Removes the contexts that lead to this stack. It is gone, and so are their tokens.
pub(crate) fn forget_contexts(stack_directory: &Path) {
    let Ok(stack) = Stack::load(stack_directory) else {
        return;
    };
    let forget = || {
        let place = Place::of_user()?;
        let Contexts { contexts, .. } = place.load()?;
        for (name, context) in contexts {
            if context.api_url == stack.api_url {
                place.remove(&name)?;
            }
        }
        Ok::<_, sealfleet_cli::contexts::Error>(())
    };
    if let Err(error) = forget() {
        eprintln!("contexts of this stack may be left: {error}");
    }
}
