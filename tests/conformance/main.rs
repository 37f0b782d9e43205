//! One conformance suite for everything that runs sandboxes: what a step can do, see and use up,
//! and how its end is told, is the same wherever it runs.
//!
//! [`cases`] has what holds for every [`Host`](host::Host); [`of_workers`] what holds for the
//! backends that a worker starts, and [`fargate`] for what the control plane starts, on a local
//! stack; [`github`] has a case of its own. `scripts/test-images` builds the image, starts an
//! engine, and runs the suite; names or parts of names run those cases only.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cases;
mod fargate;
mod github;
mod host;
mod of_workers;
mod setup;
mod worker;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use libtest_mimic::{Arguments, Failed, Trial};
use sealfleet_test_stack::Stack;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use fargate::Fargate;
use host::Host;
use worker::{PATIENCE, Worker};

/// The sandbox backends of a worker.
const BACKENDS: [&str; 2] = ["bubblewrap", "docker"];
/// Cases at once: most of them wait.
const AT_ONCE: usize = 6;
/// Set for a process of this program that is the worker of a case.
const WORKER: &str = "SEALFLEET_CONFORMANCE_WORKER";

type Ran<T = ()> = Pin<Box<dyn Future<Output = T>>>;
/// Sets a host up when it is first asked for.
type SetUp<H> = Arc<dyn Fn() -> Ran<Arc<H>> + Send + Sync>;
/// A case, and its name.
type Case<H> = (&'static str, fn(Arc<H>) -> Ran);

macro_rules! cases {
    ($module:ident of $host:ty: $($name:ident)+) => {
        vec![$((
            stringify!($name),
            (|host| Box::pin(async move { $module::$name(&*host).await })) as fn(Arc<$host>) -> Ran,
        ),)+]
    };
}

fn for_all() -> Vec<Case<dyn Host>> {
    cases! { cases of dyn Host:
        exit_codes_are_told_exactly
        signals_are_told
        what_cannot_be_executed_is_told
        a_missing_image_is_told
        a_step_over_its_time_is_asked_and_then_killed
        memory_is_bounded
        memory_of_a_hidden_process_is_bounded
        files_are_no_memory_and_a_full_disk_is_told
        processes_are_bounded_and_a_fork_bomb_ends
        standard_input_is_the_step_s_own_or_empty
        a_terminal_is_one_stream
        files_lie_in_the_workspace
        much_output_is_cut_and_counted
        output_is_kept_byte_by_byte
        a_command_that_is_deaf_is_killed
        a_cancelled_command_may_end_by_itself
        a_revoked_step_is_killed
        s75_nothing_outlives_a_step
        the_root_is_read_only_and_few_places_are_not
        the_user_has_a_name_and_no_rights
        nothing_of_the_host_is_there
        the_environment_is_known_by_name
        there_is_no_network_and_no_metadata
        a_secret_is_in_the_environment_and_nowhere_else
        a_tool_sees_what_it_is_granted
        what_is_printed_holds_no_secret
        an_agent_runs_in_mode_full
        s77_codex_answers_with_its_tenants_key
        s77_claude_code_answers_with_its_tenants_key
        two_sandboxes_share_no_network
        two_sandboxes_share_no_process_and_no_file
    }
}

fn for_workers() -> Vec<Case<Worker>> {
    let mut cases = cases! { github of Worker: a_branch_becomes_a_pull_request };
    cases.extend(cases! { of_workers of Worker:
        s75_a_drained_worker_asks_and_then_kills
        a_killed_worker_leaves_nothing
        sandboxes_are_listed_and_orphans_taken_away
        the_doctor_says_that_the_host_can_run_them
        s80_an_allowed_host_is_reached_and_no_other
        s85_tokens_are_counted_by_the_proxy_and_agree
        a_step_that_may_reach_nothing_has_no_proxy
        two_proxies_know_nothing_of_one_another
        no_host_in_the_trail_holds_a_secret
        s81_a_key_at_egress_is_never_in_the_step
        a_key_at_egress_that_is_not_there_starts_nothing
        a_secret_may_be_a_file
        a_start_is_timed
    });
    cases
}

fn for_docker() -> Vec<Case<Worker>> {
    cases! { of_workers of Worker:
        the_engine_knows_names_and_no_value
        an_image_with_other_volumes_is_refused
        only_a_container_s_first_process_is_its_init
        what_has_expired_is_taken_away_whoever_made_it
        an_engine_that_ends_takes_its_steps_with_it
    }
}

fn for_fargate() -> Vec<Case<Fargate>> {
    cases! { fargate of Fargate:
        what_fargate_cannot_do_is_refused
        s80_an_allowed_host_is_reached_and_no_other
        a_step_that_may_reach_nothing_reaches_not_even_its_role
        s81_a_key_at_egress_is_never_in_the_step
        a_secret_may_be_a_file
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build();
    let runtime = Arc::new(runtime.unwrap());
    let worker = std::env::vars().find(|(name, _)| name == WORKER);
    if let Some((_, told)) = worker {
        runtime.block_on(of_workers::wait_to_be_killed(&told));
        return ExitCode::FAILURE;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let place = tempfile::tempdir().unwrap();
    let place = Place {
        directory: setup::open_directory(place.path()),
        runtime,
        stack: Arc::default(),
    };
    if !arguments.list {
        setup::root(&place.directory);
    }
    let conclusion = libtest_mimic::run(&arguments, s79_every_host_passes_every_case(&place));
    for (name, why) in fargate::NOT_CHECKED {
        println!("fargate::{name} is not checked: {why}");
    }
    if let Some(stack) = place.stack.get() {
        place.runtime.block_on(stack.close()).unwrap();
        if !conclusion.has_failed() {
            stack.forget().unwrap();
        }
    }
    conclusion.exit_code()
}

/// What all cases share.
struct Place {
    directory: PathBuf,
    runtime: Arc<Runtime>,
    /// The local stack, once a case has needed it.
    stack: Arc<OnceLock<Arc<Stack>>>,
}

/// 79. One conformance suite over every host.
fn s79_every_host_passes_every_case(place: &Place) -> Vec<Trial> {
    let mut trials = Vec::new();
    for backend in BACKENDS {
        let worker = place.worker(backend);
        let all = for_all().into_iter();
        trials.extend(all.map(|case| place.trial(backend, case, as_host(&worker))));
        let mut cases = for_workers();
        if backend == "docker" {
            cases.extend(for_docker());
        }
        let cases = cases.into_iter();
        trials.extend(cases.map(|case| place.trial(backend, case, worker.clone())));
    }
    let fargate = place.fargate();
    let mut not_checked = fargate::NOT_CHECKED.map(|(name, _)| name).to_vec();
    for case in for_all() {
        let is_checked = !not_checked.contains(&case.0);
        not_checked.retain(|name| *name != case.0);
        let trial = place.trial("fargate", case, as_host(&fargate));
        trials.push(trial.with_ignored_flag(!is_checked));
    }
    assert!(not_checked.is_empty(), "no such cases: {not_checked:?}");
    let cases = for_fargate().into_iter();
    trials.extend(cases.map(|case| place.trial("fargate", case, fargate.clone())));
    trials
}

impl Place {
    fn worker(&self, backend: &'static str) -> SetUp<Worker> {
        let directory = self.directory.clone();
        once(move || {
            let directory = directory.clone();
            Box::pin(async move { setup::worker(backend, &directory).await })
        })
    }

    fn fargate(&self) -> SetUp<Fargate> {
        let (directory, stack) = (self.directory.clone(), Arc::clone(&self.stack));
        once(move || {
            let (directory, stack) = (directory.clone(), Arc::clone(&stack));
            Box::pin(async move {
                let started = Arc::new(Stack::start_or_attach().await.unwrap());
                // To take it down, whatever follows.
                drop(stack.set(Arc::clone(&started)));
                Fargate::of(started, directory).await.unwrap()
            })
        })
    }

    fn trial<H: ?Sized + 'static>(&self, of: &str, (name, case): Case<H>, host: SetUp<H>) -> Trial {
        let runtime = Arc::clone(&self.runtime);
        Trial::test(format!("{of}::{name}"), move || {
            runtime.block_on(async {
                let ran = async { case(host().await).await };
                // What it says was printed when it panicked.
                let ran = AssertUnwindSafe(ran).catch_unwind().await;
                ran.map_err(|_| Failed::without_message())
            })
        })
    }
}

/// Each host is set up once, by the first case that needs it.
fn once<H: Send + Sync + 'static>(
    make: impl Fn() -> Ran<H> + Clone + Send + Sync + 'static,
) -> SetUp<H> {
    let made = Arc::new(OnceCell::new());
    Arc::new(move || {
        let (made, make) = (Arc::clone(&made), make.clone());
        Box::pin(async move {
            let made = made.get_or_init(async || Arc::new(make().await)).await;
            Arc::clone(made)
        })
    })
}

fn as_host<H: Host + 'static>(host: &SetUp<H>) -> SetUp<dyn Host> {
    let host = Arc::clone(host);
    Arc::new(move || {
        let host = host();
        Box::pin(async move { host.await as Arc<dyn Host> })
    })
}

/// Waits for `condition`.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All processes of this machine that have this argument.
pub fn processes_with(argument: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == argument.as_bytes())
        })
        .count()
}

/// A number that no other case has, to find processes by.
pub fn mark() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(1000);
    format!(
        "{}{}",
        NUMBER.fetch_add(1, Ordering::Relaxed),
        std::process::id()
    )
}

/// A directory of the suite.
pub fn directory(worker: &Worker) -> &Path {
    worker.place.parent().unwrap()
}
