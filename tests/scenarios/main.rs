//! The acceptance scenarios that need AWS or processes: black box, over the HTTP API and the AWS
//! APIs, against one running local stack. Those that are the API's own meaning are told in process:
//! `functions/tests/semantics`.
//!
//! `cargo test -p sealfleet-tests --test scenarios` after `cargo build`; names or parts of names
//! run those only. The stack is started once; `SEALFLEET_STACK=DIR/stack.json` uses one that is up.
//! Scenarios run side by side, each in projects or with workers of its own; those that end
//! processes of the stack, or take the whole machine, run alone.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON read by name: what is absent reads as null"
)]

mod access;
mod agents;
mod approvals;
mod archive;
mod audit;
mod aws_sm;
mod builtin;
mod cascade;
mod clients;
mod crowd;
mod door;
mod drift;
mod drill;
mod egress;
mod events;
mod fleet;
mod fuzz;
mod inputs;
mod kill;
mod onboarding;
mod outputs;
mod permissions;
mod prove;
mod reasons;
mod restore;
mod revocation;
mod sandbox;
mod sealed;
mod seen;
mod sops;
mod stores;
mod vault;
mod witness;
mod workflows;
mod workload;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use sealfleet_test_stack::{Failure, Outcome, Stack};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;

/// Scenarios of the acceptance list. Those that do not exist yet are absent below.
const LISTED: usize = 97;
/// No scenario needs longer, even beside others on a small machine.
const LIMIT: Duration = Duration::from_secs(300);
/// Scenarios at once, unless `--test-threads` says otherwise.
const AT_ONCE: usize = 4;

/// Modules whose scenarios run alone: they take the whole machine for some seconds, or end
/// processes of the stack.
const ALONE: [&str; 4] = ["sealed", "audit", "crowd", "kill"];

type Scenario = fn(Arc<Stack>) -> Pin<Box<dyn Future<Output = Outcome>>>;

macro_rules! scenarios {
    ($($module:ident: $($name:ident)+;)+) => {
        vec![$($((
            stringify!($module),
            stringify!($name),
            (|stack| Box::pin(async move { $module::$name(&stack).await })) as Scenario,
        ),)+)+]
    };
}

fn scenarios() -> Vec<(&'static str, &'static str, Scenario)> {
    scenarios! {
        sealed:
            s34_a_secret_is_in_the_sandbox_and_nowhere_else
            s37_without_the_ledger_nothing_starts;
        events:
            s74_the_end_of_a_run_is_an_event
            s87_a_request_for_approval_is_an_event;
        fleet:
            s02_a_key_of_one_use_approves_one
            s06_approve_and_reject_race
            s09_a_step_is_its_own_projects
            s10_queue_keys_open_one_queue
            s13_an_unmatchable_step_blocks_nobody
            s14_fifty_claims_have_one_winner
            s20_max_concurrent
            s21_idempotency_keys
            s23_cancel
            s24_another_projects_rows_do_not_exist;
        cascade:
            s26_the_later_level_wins
            s27_a_tombstone_ends_a_key
            s31_backends;
        drift:
            s35_drift_is_told_exactly;
        revocation:
            s40_a_hard_revocation_stops_all_that_runs;
        access:
            s49_a_tool_sees_what_it_is_granted;
        door:
            an_oidc_caller_comes_in_by_its_claims
            a_github_job_needs_no_stored_token
            a_project_calls_as_often_as_it_may;
        sandbox:
            s52_each_step_in_its_own_mode
            a_step_finds_its_files_wherever_it_runs
            s55_a_sandbox_cannot_read_another_projects_secret
            s56_every_end_has_its_reason
            s76_what_a_step_prints_holds_no_secret;
        outputs:
            s70_a_result_comes_out_and_stays_with_its_project
            s70_what_stays_on_the_host_is_nowhere_else
            s70_artifacts_come_out_and_go_on
            s71_exec_is_as_if_the_command_ran_here
            s72_a_gigabyte_of_output_is_cut_in_its_middle;
        inputs:
            s70_a_file_goes_in_and_a_result_goes_on
            s70_fargate_steps_are_brought_files_and_leave_some
            s70_a_result_on_a_host_alone_is_not_taken
            s73_a_long_prompt_reaches_the_command;
        reasons:
            s69_each_secret_that_is_not_there_has_its_own_reason;
        onboarding:
            a_project_is_onboarded_by_one_command;
        prove:
            a_deployed_stack_is_proved_by_one_command
            projects_that_are_not_kept_apart_are_noticed
            a_leak_and_a_trail_with_a_gap_are_noticed
            a_revocation_without_effect_is_noticed;
        restore:
            an_installation_goes_on_with_restored_tables;
        fuzz:
            no_answer_is_outside_of_the_document
            no_answer_to_an_operator_is_outside_of_the_document;
        clients:
            s91_generated_clients_run_a_story;
        egress:
            s80_a_step_reaches_what_its_profile_allows
            s81_a_key_at_egress_is_never_in_the_step
            s81_a_key_at_egress_is_in_the_second_container_alone;
        agents:
            s77_an_agent_works_with_its_tenants_key
            s78_an_agent_over_its_limits_is_stopped;
        workflows:
            s86_callers_run_what_others_approved;
        approvals:
            s87_a_step_waits_until_somebody_else_approves_it;
        workload:
            s83_a_step_proves_itself_to_others
            a_step_gets_its_tokens_as_files;
        sops:
            s84_a_worker_reads_files_of_sops;
        stores:
            s34_every_backend_and_delivery
            s84_backends_are_checked_before_steps_run
            s84_logins_at_aws_are_checked_before_steps_run
            s84_one_command_writes_and_pins;
        vault:
            s84_a_worker_reads_vault
            s84_what_vault_lends_is_taken_back;
        aws_sm:
            s84_a_worker_reads_secrets_manager;
        builtin:
            s32_what_is_stored_opens_with_its_key_only
            s33_a_rotated_key_opens_every_old_secret;
        witness:
            s62_a_read_that_no_release_explains_is_told;
        archive:
            s58_any_touch_of_the_archive_is_named
            s61_a_replay_is_equal_and_poison_is_set_aside
            a_range_is_exported_again;
        permissions:
            who_may_do_what_on_aws_is_enforced;
        audit:
            s57_a_hundred_events_are_all_there
            s60_without_the_audit_table_runs_go_on_and_nothing_is_lost
            what_the_stream_lost_is_copied_again;
        crowd:
            s68_a_labelled_step_finds_its_worker
            a_flood_of_one_project_delays_no_other
            steps_of_one_run_never_refuse_one_another
            the_largest_run_is_driven_to_its_end_whatever_drifts;
        kill:
            s44_a_killed_fan_out_finishes_by_itself
            a_killed_function_loses_nothing
            a_killed_worker_loses_nothing
            a_killed_ecs_agent_loses_nothing;
    }
}

fn main() -> ExitCode {
    let (words, options) = words_and_options(std::env::args());
    let mut arguments = Arguments::from_iter(options);
    arguments.test_threads.get_or_insert(AT_ONCE);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(&words, None)).exit_code();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
    {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => return not_started(&Failure::from(error)),
    };
    let stack = match runtime.block_on(Stack::start_or_attach()) {
        Ok(stack) => Arc::new(stack),
        Err(failure) => return not_started(&failure),
    };
    let passed = Arc::new(Mutex::new(BTreeSet::new()));
    let house = House {
        runtime: Arc::clone(&runtime),
        stack: Arc::clone(&stack),
        passed: Arc::clone(&passed),
        alone: Arc::default(),
    };
    let conclusion = libtest_mimic::run(&arguments, trials(&words, Some(&house)));
    let mut closed = runtime.block_on(stack.close());
    if conclusion.has_failed() {
        eprintln!("logs: {}", stack.parts.directory.join("logs").display());
    } else {
        closed = closed.and_then(|()| stack.forget());
    }
    let exist: BTreeSet<&str> = scenarios()
        .iter()
        .filter_map(|(_, name, _)| number(name))
        .collect();
    let passed = passed.lock().unwrap_or_else(PoisonError::into_inner).len();
    let (in_process, of_sandboxes) = (in_process(), of_sandboxes());
    let elsewhere = in_process.iter().chain(&of_sandboxes);
    let all: BTreeSet<&str> = exist
        .iter()
        .copied()
        .chain(elsewhere.map(String::as_str))
        .collect();
    println!(
        "acceptance: {} of {LISTED} scenarios exist: {} here, {passed} pass; {} in process, in the tests of sealfleet-functions; {} in tests/conformance",
        all.len(),
        exist.len(),
        in_process.len(),
        of_sandboxes.len()
    );
    match closed {
        Ok(()) => conclusion.exit_code(),
        Err(failure) => not_started(&failure),
    }
}

fn not_started(failure: &Failure) -> ExitCode {
    eprintln!("scenarios: {failure}");
    ExitCode::FAILURE
}

/// Shared by all trials.
struct House {
    runtime: Arc<Runtime>,
    stack: Arc<Stack>,
    passed: Arc<Mutex<BTreeSet<&'static str>>>,
    /// Read by scenarios that bear company, written by those that must be alone.
    alone: Arc<RwLock<()>>,
}

fn trials(words: &[String], house: Option<&House>) -> Vec<Trial> {
    let trial = |(module, name, scenario): (&'static str, &'static str, Scenario)| {
        let house = house.map(|house| {
            (
                Arc::clone(&house.runtime),
                Arc::clone(&house.stack),
                Arc::clone(&house.passed),
                Arc::clone(&house.alone),
            )
        });
        Trial::test(name, move || {
            let (runtime, stack, passed, alone) = house.ok_or("the stack is not up")?;
            let outcome = runtime.block_on(async {
                if ALONE.contains(&module) {
                    let _alone = alone.write().await;
                    tokio::time::timeout(LIMIT, scenario(stack)).await
                } else {
                    let _among_others = alone.read().await;
                    tokio::time::timeout(LIMIT, scenario(stack)).await
                }
            });
            match outcome {
                Ok(Ok(())) => {
                    if let Some(number) = number(name) {
                        passed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(number);
                    }
                    Ok(())
                }
                Ok(Err(failure)) => Err(Failed::from(failure.to_string())),
                Err(_) => Err(Failed::from(format!(
                    "not done after {} s",
                    LIMIT.as_secs()
                ))),
            }
        })
        .with_kind(module)
    };
    let is_wanted =
        |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    scenarios()
        .into_iter()
        .filter(|(_, name, _)| is_wanted(name))
        .map(trial)
        .collect()
}

/// The words that choose scenarios, and the rest of the command line.
fn words_and_options(arguments: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    const WITH_VALUE: [&str; 5] = [
        "--test-threads",
        "--format",
        "--color",
        "--logfile",
        "--skip",
    ];
    let (mut words, mut options): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for argument in arguments {
        let follows = options
            .last()
            .is_none_or(|option| WITH_VALUE.contains(&option.as_str()));
        if follows || argument.starts_with('-') {
            options.push(argument)
        } else {
            words.push(argument)
        }
    }
    (words, options)
}

/// The numbers of the scenarios that need no stack, read from the tests that tell them.
fn in_process() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions/tests");
    let folders = [folder.join("semantics"), folder];
    let files = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    let files = files.flatten().flatten();
    let sources = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    let mut numbers = BTreeSet::new();
    for source in sources {
        let tests = source.split("#[tokio::test]\nasync fn ").skip(1);
        let names = tests.filter_map(|test| test.split_once('_'));
        let is_number = |number: &&str| {
            let digits = number.strip_prefix('s');
            digits.is_some_and(|digits| digits.parse::<usize>().is_ok())
        };
        numbers.extend(
            names
                .map(|(number, _)| number)
                .filter(is_number)
                .map(str::to_owned),
        );
    }
    numbers
}

/// The numbers of the scenarios that the conformance suite of sandboxes tells.
fn of_sandboxes() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sources = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    let mut numbers = BTreeSet::new();
    for source in sources {
        let functions = source
            .split("\npub async fn s")
            .chain(source.split("\nfn s"));
        let names = functions.filter_map(|rest| rest.split_once('_'));
        let digits = names.map(|(digits, _)| digits);
        let numbered = digits.filter(|digits| digits.parse::<usize>().is_ok());
        numbers.extend(numbered.map(|digits| format!("s{digits}")));
    }
    numbers
}

/// `s09` of `s09_a_step_is_its_own_projects`. `None` for scenarios that are not on the list.
fn number(name: &'static str) -> Option<&'static str> {
    let (number, _) = name.split_once('_')?;
    number
        .strip_prefix('s')
        .filter(|digits| digits.parse::<usize>().is_ok())?;
    Some(number)
}
