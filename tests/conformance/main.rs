//! One conformance suite for everything that runs sandboxes: what a step can do, see and use up,
//! and how its end is told, is the same wherever it runs.
//!
//! [`cases`] has what holds for every [`Host`](host::Host); [`of_workers`] what holds for the
//! backends that a worker starts. `scripts/test-images` builds the image, starts an engine, and
//! runs the suite; names or parts of names run those cases only.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cases;
mod host;
mod of_workers;
mod setup;
mod worker;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use worker::{PATIENCE, Worker};

/// The sandbox backends of a worker.
const BACKENDS: [&str; 2] = ["bubblewrap", "docker"];
/// Cases at once: most of them wait.
const AT_ONCE: usize = 6;
/// Set for a process of this program that is the worker of a case.
const WORKER: &str = "SEALFLEET_CONFORMANCE_WORKER";

type Case = fn(Arc<Worker>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($module:ident: $($name:ident)+) => {
        vec![$((
            stringify!($name),
            (|worker| Box::pin(async move { $module::$name(&*worker).await })) as Case,
        ),)+]
    };
}

fn for_all() -> Vec<(&'static str, Case)> {
    cases! { cases:
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
        files_lie_in_the_workspace
        much_output_is_cut_and_counted
        output_is_kept_byte_by_byte
        a_command_that_is_deaf_is_killed
        a_cancelled_command_may_end_by_itself
        a_revoked_step_is_killed_at_once
        s75_nothing_outlives_a_step
        the_root_is_read_only_and_four_places_are_not
        the_user_has_a_name_and_no_rights
        nothing_of_the_host_is_there
        there_is_no_network_and_no_metadata
        a_secret_is_in_the_environment_and_nowhere_else
        a_tool_sees_what_it_is_granted
        what_is_printed_holds_no_secret
        an_agent_runs_in_mode_full
        two_sandboxes_know_nothing_of_one_another
    }
}

fn for_workers() -> Vec<(&'static str, Case)> {
    cases! { of_workers:
        a_killed_worker_leaves_nothing
        sandboxes_are_listed_and_orphans_taken_away
        the_doctor_says_that_the_host_can_run_them
        s80_an_allowed_host_is_reached_and_no_other
        a_step_that_may_reach_nothing_has_no_proxy
        two_proxies_know_nothing_of_one_another
        no_host_in_the_trail_holds_a_secret
        a_start_is_timed
    }
}

fn for_docker() -> Vec<(&'static str, Case)> {
    cases! { of_workers:
        the_engine_knows_names_and_no_value
        an_image_with_other_volumes_is_refused
        only_a_container_s_first_process_is_its_init
        what_has_expired_is_taken_away_whoever_made_it
        an_engine_that_ends_takes_its_steps_with_it
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
    };
    if !arguments.list {
        setup::root(&place.directory);
    }
    libtest_mimic::run(&arguments, s79_every_backend_passes_every_case(&place)).exit_code()
}

/// What all cases share.
struct Place {
    directory: PathBuf,
    runtime: Arc<Runtime>,
}

/// 79. One conformance suite over every backend.
fn s79_every_backend_passes_every_case(place: &Place) -> Vec<Trial> {
    let mut trials = Vec::new();
    for backend in BACKENDS {
        // Each backend is set up once, by the first case that needs it.
        let worker = place.worker(backend);
        let mut cases = [for_all(), for_workers()].concat();
        if backend == "docker" {
            cases.extend(for_docker());
        }
        trials.extend(cases.into_iter().map(|(name, case)| {
            let (runtime, worker) = (Arc::clone(&place.runtime), worker.clone());
            Trial::test(format!("{backend}::{name}"), move || {
                runtime.block_on(async {
                    let ran = async { case(worker.await).await };
                    // What it says was printed when it panicked.
                    let ran = AssertUnwindSafe(ran).catch_unwind().await;
                    ran.map_err(|_| Failed::without_message())
                })
            })
        }));
    }
    trials
}

impl Place {
    fn worker(&self, backend: &'static str) -> impl Future<Output = Arc<Worker>> + Clone + use<> {
        let directory = self.directory.clone();
        let set_up = async move { Arc::new(setup::worker(backend, &directory).await) };
        set_up.boxed().shared()
    }
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
