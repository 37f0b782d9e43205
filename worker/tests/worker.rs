//! What a worker promises, with a control plane, a queue and an executor that do as they are told.
//! Time is paused: it moves when everybody waits.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_client::types::{
    AskIdentityToken, Claim, ClaimStep, FetchInputs, Heartbeat, HeartbeatAnswer, IdentityToken,
    LeaseRef, LeaseVerdict, OutputCredentials, QueueCredentials, ReportStep, StartStep, StepAnswer,
    StepInput, StepInputs, WaitingStep,
};
use sealfleet_client::{Code, Error, Problem, TransferError};
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::redaction::{self, Redaction};
use sealfleet_domain::run::Failure;
use sealfleet_worker::control::ControlPlane;
use sealfleet_worker::executor::{Ended, Executor, Prepared, Running};
use sealfleet_worker::queue::{Message, Queue, QueueError};
use sealfleet_worker::worker::{End, Settings, Wish, Worker};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

const RUN: &str = "run_0198c0de-0000-7000-8000-00000000000a";

fn claim(lease_seconds: i64, timeout_seconds: u32) -> Claim {
    serde_json::from_value(json!({
        "project": "healthcare", "run_id": RUN, "step_id": "a", "fence": 1, "attempt": 1,
        "lease_seconds": lease_seconds, "mode": "bare", "command": ["true"], "env": {},
        "timeout_seconds": timeout_seconds
    }))
    .unwrap()
}

fn refusal(code: Code) -> Error {
    Error::Problem(Problem::new(code, "no"))
}

fn unreachable_now() -> Error {
    Error::Unreadable {
        status: 503,
        reason: "nobody".to_owned(),
    }
}

/// A control plane by its answers. Where a list of answers has ended, its last rule stands.
#[derive(Default)]
struct Control {
    claims: Mutex<VecDeque<Result<Claim, Error>>>,
    starts: Mutex<VecDeque<Error>>,
    reports: Mutex<VecDeque<Error>>,
    heartbeat: Mutex<Beat>,
    reported: Mutex<Vec<ReportStep>>,
    /// What the next report is told of.
    waiting: Mutex<Vec<WaitingStep>>,
    asked: Mutex<Vec<ClaimStep>>,
    claimed_at: Mutex<Vec<Instant>>,
    started: Mutex<Vec<StartStep>>,
    beats: Mutex<Vec<(Instant, usize)>>,
}

#[derive(Clone, Copy, Default)]
enum Beat {
    #[default]
    Held,
    /// An admin has not decided yet.
    Pending,
    /// An admin wants no new steps.
    Draining,
    NotHeld,
    Cancelled,
    Unreachable,
    Hanging,
    Refused(Code),
}

#[async_trait]
impl ControlPlane for Control {
    async fn claim(&self, step: &ClaimStep) -> Result<Claim, Error> {
        self.asked.lock().unwrap().push(step.clone());
        self.claimed_at.lock().unwrap().push(Instant::now());
        self.claims
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or_else(|| Err(refusal(Code::NotQueued)))
    }

    async fn heartbeat(&self, request: &Heartbeat) -> Result<HeartbeatAnswer, Error> {
        self.beats
            .lock()
            .unwrap()
            .push((Instant::now(), request.leases.len()));
        let beat = *self.heartbeat.lock().unwrap();
        let held = match beat {
            Beat::Held | Beat::Pending | Beat::Draining => true,
            Beat::NotHeld | Beat::Cancelled => false,
            Beat::Unreachable => return Err(unreachable_now()),
            Beat::Hanging => std::future::pending().await,
            Beat::Refused(code) => return Err(refusal(code)),
        };
        let verdict = |lease: &LeaseRef| LeaseVerdict {
            run_id: lease.run_id,
            step_id: lease.step_id.clone(),
            fence: lease.fence,
            held,
            cancelled: matches!(beat, Beat::Cancelled),
            revoked: Vec::new(),
            denials_recorded: false,
        };
        Ok(HeartbeatAnswer {
            status: match beat {
                Beat::Pending => WorkerStatus::Pending,
                _ => WorkerStatus::Approved,
            },
            draining: matches!(beat, Beat::Draining),
            leases: request.leases.iter().map(verdict).collect(),
        })
    }

    async fn start(&self, request: &StartStep) -> Result<StepAnswer, Error> {
        if let Some(error) = self.starts.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.started.lock().unwrap().push(request.clone());
        Ok(StepAnswer {
            state: "running".to_owned(),
            waiting: Vec::new(),
        })
    }

    async fn report(&self, request: &ReportStep) -> Result<StepAnswer, Error> {
        if let Some(error) = self.reports.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.reported.lock().unwrap().push(request.clone());
        Ok(StepAnswer {
            state: request.state.clone(),
            waiting: self.waiting.lock().unwrap().drain(..).collect(),
        })
    }

    async fn queue_credentials(&self) -> Result<QueueCredentials, Error> {
        Err(unreachable_now())
    }

    async fn output_credentials(&self, _: &LeaseRef) -> Result<OutputCredentials, Error> {
        Err(unreachable_now())
    }

    async fn step_inputs(&self, _: &FetchInputs) -> Result<StepInputs, Error> {
        Err(unreachable_now())
    }

    async fn identity_token(&self, _: &AskIdentityToken) -> Result<IdentityToken, Error> {
        Err(refusal(Code::StaleFence))
    }

    async fn fetch(&self, _: &StepInput, _: &mut File) -> Result<(), TransferError> {
        Err(TransferError::Address)
    }
}

/// A queue of `hints` equal hints.
#[derive(Default)]
struct Hints {
    hints: AtomicUsize,
    deleted: AtomicUsize,
    released: Mutex<Vec<Duration>>,
    refuse: Mutex<Option<Code>>,
}

#[async_trait]
impl Queue for Hints {
    async fn receive(&self) -> Result<Option<Message>, QueueError> {
        if let Some(code) = *self.refuse.lock().unwrap() {
            return Err(QueueError::Control(refusal(code)));
        }
        if self
            .hints
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |hints| {
                hints.checked_sub(1)
            })
            .is_err()
        {
            tokio::time::sleep(Duration::from_secs(20)).await;
            return Ok(None);
        }
        let body = json!({"run_id": RUN, "step_id": "a"}).to_string();
        Ok(Some(Message {
            body,
            receipt: "r".to_owned(),
        }))
    }

    async fn delete(&self, _: &Message) -> Result<(), QueueError> {
        self.deleted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn release(&self, _: &Message, after: Duration) -> Result<(), QueueError> {
        self.released.lock().unwrap().push(after);
        Ok(())
    }
}

/// Commands that end after `takes`, or by a signal.
#[derive(Clone, Default)]
struct Sandboxes(Arc<Seen>);

#[derive(Default)]
struct Seen {
    takes: Mutex<Option<Duration>>,
    is_lost: AtomicBool,
    fails: Mutex<Option<Failure>>,
    is_down: AtomicBool,
    /// Whether what runs sandboxes is down after a failure.
    ends_engine: AtomicBool,
    ran: AtomicUsize,
    dropped_unrun: AtomicUsize,
    stopped: Mutex<Vec<(Instant, Duration)>>,
}

struct Fake {
    seen: Arc<Seen>,
    ends: Instant,
    killed: Notify,
    dead: AtomicBool,
    ran: bool,
    none: BTreeMap<String, String>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !self.ran {
            self.seen.dropped_unrun.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Executor for Sandboxes {
    async fn ready(&self) -> Result<(), String> {
        match self.0.is_down.load(Ordering::SeqCst) {
            true => Err("its engine does not answer".to_owned()),
            false => Ok(()),
        }
    }

    async fn prepare(&self, _: &Claim) -> Result<Box<dyn Prepared>, Failure> {
        if let Some(failure) = self.0.fails.lock().unwrap().clone() {
            if self.0.ends_engine.load(Ordering::SeqCst) {
                self.0.is_down.store(true, Ordering::SeqCst);
            }
            return Err(failure);
        }
        let (killed, dead) = (Notify::new(), AtomicBool::new(false));
        Ok(Box::new(Fake {
            seen: self.0.clone(),
            ends: Instant::now(),
            killed,
            dead,
            ran: false,
            none: BTreeMap::new(),
        }))
    }
}

#[async_trait]
impl Prepared for Fake {
    fn sandbox(&self) -> &str {
        "fake"
    }

    fn resolved(&self) -> &BTreeMap<String, String> {
        &self.none
    }

    async fn go(mut self: Box<Self>) -> Result<Box<dyn Running>, Failure> {
        self.seen.ran.fetch_add(1, Ordering::SeqCst);
        self.ran = true;
        let takes = self
            .seen
            .takes
            .lock()
            .unwrap()
            .unwrap_or(Duration::from_secs(100_000));
        self.ends = Instant::now() + takes;
        Ok(self)
    }
}

#[async_trait]
impl Running for Fake {
    async fn wait(&self) -> Ended {
        if self.dead.load(Ordering::SeqCst) {
            return Ended::Signal(9);
        }
        tokio::select! {
            () = tokio::time::sleep_until(self.ends) => match self.seen.is_lost.load(Ordering::SeqCst) {
                true => Ended::Lost,
                false => Ended::Code(0),
            },
            () = self.killed.notified() => Ended::Signal(9),
        }
    }

    async fn stop(&self, grace: Duration) -> Ended {
        self.seen
            .stopped
            .lock()
            .unwrap()
            .push((Instant::now(), grace));
        self.dead.store(true, Ordering::SeqCst);
        self.killed.notify_waiters();
        self.wait().await
    }

    fn output_cut_bytes(&self) -> u64 {
        7
    }

    fn redactions(&self) -> Vec<Redaction> {
        vec![Redaction {
            key: "API_KEY".to_owned(),
            stream: redaction::Stream::Stdout,
            encoding: redaction::Encoding::Base64,
            count: 2,
        }]
    }
}

struct Stage {
    control: Arc<Control>,
    queue: Arc<Hints>,
    sandboxes: Sandboxes,
    wish: watch::Sender<Wish>,
    began: Instant,
}

impl Stage {
    fn new(claims: Vec<Result<Claim, Error>>) -> Self {
        let queue = Hints {
            hints: AtomicUsize::new(claims.len()),
            ..Hints::default()
        };
        let control = Control {
            claims: Mutex::new(claims.into()),
            ..Control::default()
        };
        let (wish, began) = (watch::Sender::new(Wish::Work), Instant::now());
        Self {
            control: Arc::new(control),
            queue: Arc::new(queue),
            sandboxes: Sandboxes::default(),
            wish,
            began,
        }
    }

    fn takes(self, seconds: u64) -> Self {
        *self.sandboxes.0.takes.lock().unwrap() = Some(Duration::from_secs(seconds));
        self
    }

    fn beats(self, beat: Beat) -> Self {
        *self.control.heartbeat.lock().unwrap() = beat;
        self
    }

    fn worker(&self) -> tokio::task::JoinHandle<End> {
        let settings = Settings {
            heartbeat: Duration::from_secs(10),
            max_concurrent: 1,
            drain: Duration::from_secs(30),
        };
        let executor = Arc::new(self.sandboxes.clone());
        let worker = Worker::new(self.control.clone(), self.queue.clone(), executor, settings);
        tokio::spawn(worker.run(self.wish.subscribe()))
    }

    /// Works for some seconds, then drains.
    async fn work_for(&self, seconds: u64) -> End {
        let worker = self.worker();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.wish.send_replace(Wish::Drain);
        worker.await.unwrap()
    }

    fn reported(&self) -> Vec<ReportStep> {
        self.control.reported.lock().unwrap().clone()
    }

    /// When each sandbox was stopped, in seconds, and with which grace.
    fn stopped(&self) -> Vec<(u64, u64)> {
        let stopped = self.sandboxes.0.stopped.lock().unwrap();
        stopped
            .iter()
            .map(|(at, grace)| ((*at - self.began).as_secs(), grace.as_secs()))
            .collect()
    }

    fn ran(&self) -> usize {
        self.sandboxes.0.ran.load(Ordering::SeqCst)
    }

    fn deleted(&self) -> usize {
        self.queue.deleted.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_claimed_kept_alive_and_reported_with_its_fence() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]).takes(65);
    assert_eq!(stage.work_for(100).await, End::Asked);
    let reported = stage.reported();
    assert_eq!(
        (
            reported.len(),
            reported[0].state.as_str(),
            reported[0].fence.number()
        ),
        (1, "succeeded", 1)
    );
    assert_eq!((stage.deleted(), stage.ran()), (1, 1));
    assert_eq!(reported[0].output_cut_bytes, 7);
    assert_eq!(reported[0].redactions[0].count, 2);
    let beats = stage.control.beats.lock().unwrap();
    assert_eq!(
        beats.len(),
        7,
        "one at once, then one each 10 seconds, none without a lease"
    );
    assert!(stage.stopped().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_shorter_than_the_heartbeats_are_far_apart_is_kept() {
    let stage = Stage::new(vec![Ok(claim(8, 600))]).takes(65);
    assert_eq!(stage.work_for(100).await, End::Asked);
    assert_eq!(stage.reported().len(), 1);
    assert!(stage.stopped().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_start_runs_nothing_and_reports_nothing() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]);
    stage
        .control
        .starts
        .lock()
        .unwrap()
        .push_back(refusal(Code::StaleFence));
    stage.work_for(60).await;
    assert_eq!((stage.ran(), stage.reported().len()), (0, 0));
    assert_eq!(stage.sandboxes.0.dropped_unrun.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_with_a_revoked_secret_is_not_asked_again() {
    let stage = Stage::new(vec![Ok(claim(30, 600)), Ok(claim(30, 600))]).takes(1);
    stage
        .control
        .starts
        .lock()
        .unwrap()
        .push_back(refusal(Code::SecretRevoked));
    stage.work_for(60).await;
    assert_eq!(
        stage.sandboxes.0.dropped_unrun.load(Ordering::SeqCst),
        1,
        "the sandbox is gone"
    );
    assert_eq!(
        (stage.ran(), stage.reported().len()),
        (1, 1),
        "only the next step"
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_not_answered_is_asked_again_before_anything_runs() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]).takes(1);
    stage
        .control
        .starts
        .lock()
        .unwrap()
        .extend([unreachable_now(), unreachable_now()]);
    stage.work_for(60).await;
    assert_eq!(
        (
            stage.ran(),
            stage.control.started.lock().unwrap().len(),
            stage.reported().len()
        ),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_held_kills_at_once_and_reports_nothing() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]).beats(Beat::NotHeld);
    stage.work_for(60).await;
    assert_eq!(stage.stopped(), [(10, 0)]);
    assert!(stage.reported().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_step_has_a_grace_and_is_not_reported() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]).beats(Beat::Cancelled);
    stage.work_for(60).await;
    assert_eq!(stage.stopped(), [(10, 5)]);
    assert!(stage.reported().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_worker_stops_has_a_grace_within_its_lease() {
    for (lease_seconds, grace) in [(30, 5), (3, 1)] {
        // Nothing renews it meanwhile.
        let stage = Stage::new(vec![Ok(claim(lease_seconds, 600))]).beats(Beat::Unreachable);
        let worker = stage.worker();
        tokio::time::sleep(Duration::from_secs(2)).await;
        stage.wish.send_replace(Wish::Stop);
        worker.await.unwrap();
        assert_eq!(stage.stopped(), [(2, grace)]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_heartbeats_a_sandbox_dies_with_its_lease() {
    // The first heartbeat is waited for, five seconds at the most, before anything is claimed.
    for (beat, claimed) in [(Beat::Unreachable, 0), (Beat::Hanging, 5)] {
        let stage = Stage::new(vec![Ok(claim(30, 600))]).beats(beat);
        stage.work_for(60).await;
        let end = claimed + 30;
        assert_eq!(stage.stopped(), [(end, 0)], "not before, not after");
        assert!(stage.reported().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn one_good_heartbeat_in_time_keeps_the_lease() {
    let stage = Stage::new(vec![Ok(claim(30, 600))])
        .takes(50)
        .beats(Beat::Unreachable);
    let worker = stage.worker();
    tokio::time::sleep(Duration::from_secs(22)).await;
    *stage.control.heartbeat.lock().unwrap() = Beat::Held;
    tokio::time::sleep(Duration::from_secs(60)).await;
    stage.wish.send_replace(Wish::Drain);
    worker.await.unwrap();
    assert_eq!((stage.stopped().len(), stage.reported().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_worker_kills_everything_and_ends() {
    for code in [Code::WorkerRevoked, Code::Unauthenticated] {
        let stage = Stage::new(vec![Ok(claim(30, 600))]);
        let worker = stage.worker();
        tokio::time::sleep(Duration::from_secs(5)).await;
        *stage.control.heartbeat.lock().unwrap() = Beat::Refused(code);
        assert_eq!(worker.await.unwrap(), End::NotAllowed);
        assert_eq!(
            (stage.stopped(), stage.reported().len()),
            (vec![(10, 0)], 0)
        );
    }
    let stage = Stage::new(vec![Err(refusal(Code::WorkerRevoked))]);
    assert_eq!(stage.worker().await.unwrap(), End::NotAllowed);
    let stage = Stage::new(vec![]);
    *stage.queue.refuse.lock().unwrap() = Some(Code::WorkerRejected);
    assert_eq!(stage.worker().await.unwrap(), End::NotAllowed);
}

#[tokio::test(start_paused = true)]
async fn a_pending_worker_waits_for_its_approval() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]).takes(1);
    let stage = stage.beats(Beat::Pending);
    *stage.queue.refuse.lock().unwrap() = Some(Code::WorkerPending);
    let worker = stage.worker();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((stage.ran(), worker.is_finished()), (0, false));
    *stage.queue.refuse.lock().unwrap() = None;
    *stage.control.heartbeat.lock().unwrap() = Beat::Held;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(stage.reported().len(), 1);
    stage.wish.send_replace(Wish::Stop);
    assert_eq!(worker.await.unwrap(), End::Asked);
}

#[tokio::test(start_paused = true)]
async fn a_draining_worker_ends_what_it_holds_and_waits_until_it_is_resumed() {
    let stage = Stage::new(vec![Ok(claim(30, 600)), Ok(claim(30, 600))]).takes(30);
    let worker = stage.worker();
    tokio::time::sleep(Duration::from_secs(5)).await;
    *stage.control.heartbeat.lock().unwrap() = Beat::Draining;
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!((stage.ran(), stage.reported().len()), (1, 1));
    assert!(stage.stopped().is_empty() && !worker.is_finished());
    *stage.control.heartbeat.lock().unwrap() = Beat::Held;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!((stage.ran(), stage.reported().len()), (2, 2));
    stage.wish.send_replace(Wish::Stop);
    assert_eq!(worker.await.unwrap(), End::Asked);
    // A claim may tell it first. The hint is for others.
    let stage = Stage::new(vec![Err(refusal(Code::WorkerDraining)), Ok(claim(30, 600))]);
    let stage = stage.beats(Beat::Draining);
    stage.work_for(200).await;
    assert_eq!((stage.ran(), stage.deleted()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn hints_are_deleted_or_shown_again_as_the_refusal_says() {
    let refused = |code| Stage::new(vec![Err(refusal(code))]);
    for code in [
        Code::NotFound,
        Code::NotQueued,
        Code::SecretRevoked,
        Code::ProfileDenied,
        Code::StartRefused,
        Code::Conflict,
        Code::InvalidRequest,
        Code::StepMismatch,
    ] {
        let stage = refused(code);
        stage.work_for(60).await;
        assert_eq!(
            (stage.deleted(), stage.queue.released.lock().unwrap().len()),
            (1, 0),
            "{code:?}"
        );
    }
    for code in [
        Code::AtCapacity,
        Code::WorkerPending,
        Code::Unavailable,
        Code::Internal,
    ] {
        let stage = refused(code);
        stage.work_for(60).await;
        let released = stage.queue.released.lock().unwrap().clone();
        assert_eq!((stage.deleted(), released.len(), stage.ran()), (0, 1, 0));
        assert!(released[0] >= Duration::from_secs(1) && released[0] <= Duration::from_secs(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_goes_on_at_once_after_a_step_that_may_not_start() {
    let refused = [Code::SecretRevoked, Code::StartRefused].map(|code| Err(refusal(code)));
    let stage = Stage::new(refused.into_iter().chain([Ok(claim(30, 600))]).collect()).takes(1);
    stage.work_for(2).await;
    assert_eq!(
        (stage.deleted(), stage.ran(), stage.reported().len()),
        (3, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_step_that_it_cannot_run_a_worker_lets_others_have_the_next_message() {
    let stage = Stage::new(vec![Err(refusal(Code::StepMismatch)), Ok(claim(30, 600))]).takes(1);
    stage.work_for(5).await;
    let asked = stage.control.claimed_at.lock().unwrap().clone();
    let pause = asked[1] - asked[0];
    assert!(
        (Duration::from_millis(500)..=Duration::from_millis(1500)).contains(&pause),
        "{pause:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_waits_for_this_worker_comes_before_the_queue() {
    let stage = Stage::new(vec![Ok(claim(30, 600)), Ok(claim(30, 600))]).takes(5);
    let waiting = WaitingStep {
        run_id: RUN.parse().unwrap(),
        step_id: "b".parse().unwrap(),
    };
    *stage.control.waiting.lock().unwrap() = vec![waiting];
    stage.work_for(8).await;
    let asked = stage.control.asked.lock().unwrap().clone();
    assert_eq!((stage.ran(), asked[1].step_id.as_str()), (2, "b"));
    let asked = stage.control.claimed_at.lock().unwrap().clone();
    assert_eq!((asked[1] - asked[0]).as_secs(), 5, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_the_steps_that_wait_to_others() {
    let stage = Stage::new(vec![Ok(claim(30, 600)), Ok(claim(30, 600))]).takes(25);
    let waiting = WaitingStep {
        run_id: RUN.parse().unwrap(),
        step_id: "b".parse().unwrap(),
    };
    *stage.control.waiting.lock().unwrap() = vec![waiting];
    stage.work_for(5).await;
    assert_eq!(
        (stage.ran(), stage.control.asked.lock().unwrap().len()),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_free_slot_is_filled() {
    let stage = Stage::new(vec![Ok(claim(30, 600)), Ok(claim(30, 600))]).takes(40);
    let worker = stage.worker();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        (stage.ran(), stage.queue.hints.load(Ordering::SeqCst)),
        (1, 1),
        "the second is left to others"
    );
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(stage.ran(), 2);
    stage.wish.send_replace(Wish::Stop);
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_is_held_and_takes_nothing_new() {
    let stage = Stage::new(vec![Ok(claim(30, 600)), Ok(claim(30, 600))]).takes(25);
    assert_eq!(stage.work_for(5).await, End::Asked);
    assert_eq!((Instant::now() - stage.began).as_secs(), 25);
    assert_eq!(
        (stage.ran(), stage.reported().len(), stage.stopped().len()),
        (1, 1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_time_and_a_second_signal_at_once() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]);
    stage.work_for(5).await;
    assert_eq!(
        (stage.stopped(), stage.reported().len()),
        (vec![(35, 5)], 0)
    );

    let stage = Stage::new(vec![Ok(claim(30, 600))]);
    let worker = stage.worker();
    tokio::time::sleep(Duration::from_secs(5)).await;
    stage.wish.send_replace(Wish::Drain);
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.wish.send_replace(Wish::Stop);
    worker.await.unwrap();
    assert_eq!((stage.stopped(), stage.reported().len()), (vec![(7, 5)], 0));
}

#[tokio::test(start_paused = true)]
async fn a_report_is_repeated_until_it_is_accepted_or_refused() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]).takes(1);
    stage
        .control
        .reports
        .lock()
        .unwrap()
        .extend((0..5).map(|_| unreachable_now()));
    stage.work_for(120).await;
    assert_eq!(stage.reported().len(), 1);

    let stage = Stage::new(vec![Ok(claim(30, 600))]).takes(1);
    stage
        .control
        .reports
        .lock()
        .unwrap()
        .push_back(refusal(Code::StaleFence));
    stage.work_for(120).await;
    assert!(stage.reported().is_empty() && stage.control.reports.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_step_that_runs_too_long_is_stopped_gently_and_reported() {
    let stage = Stage::new(vec![Ok(claim(30, 45))]);
    stage.work_for(100).await;
    assert_eq!(stage.stopped(), [(45, 5)]);
    assert_eq!(
        stage.reported()[0].failure,
        Some(Failure::TimedOut { after_seconds: 45 })
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_sandbox_is_lost_is_given_back() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]).takes(5);
    stage.sandboxes.0.is_lost.store(true, Ordering::SeqCst);
    stage.work_for(10).await;
    let reported = stage.reported();
    let states: Vec<_> = reported.iter().map(|end| end.state.as_str()).collect();
    assert_eq!(
        (states, reported[0].failure.is_none()),
        (vec!["lost"], true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_engine_is_down_takes_no_step_until_it_is_back() {
    let stage = Stage::new(vec![Ok(claim(30, 600))]).takes(5);
    stage.sandboxes.0.is_down.store(true, Ordering::SeqCst);
    let worker = stage.worker();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(stage.control.asked.lock().unwrap().is_empty());
    assert_eq!(
        stage.queue.hints.load(Ordering::SeqCst),
        1,
        "it is left to others"
    );
    stage.sandboxes.0.is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    stage.wish.send_replace(Wish::Drain);
    worker.await.unwrap();
    assert_eq!((stage.ran(), stage.reported().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_an_engine_could_not_start_is_given_back() {
    let stage = Stage::new(vec![Ok(claim(30, 45))]);
    *stage.sandboxes.0.fails.lock().unwrap() = Some(Failure::CannotStart {
        cause: None,
        detail: "no engine".to_owned(),
    });
    stage.sandboxes.0.ends_engine.store(true, Ordering::SeqCst);
    stage.work_for(10).await;
    let reported = stage.reported();
    assert_eq!(
        (
            reported.len(),
            reported[0].state.as_str(),
            &reported[0].failure
        ),
        (1, "lost", &None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_cannot_start_is_reported_without_a_start() {
    let stage = Stage::new(vec![Ok(claim(30, 45))]);
    let failure = Failure::SecretUnavailable {
        cause: None,
        detail: "unknown_secret: `builtin://x`".to_owned(),
    };
    *stage.sandboxes.0.fails.lock().unwrap() = Some(failure.clone());
    stage.work_for(10).await;
    assert!(stage.control.started.lock().unwrap().is_empty());
    let reported = stage.reported();
    assert_eq!((reported.len(), &reported[0].failure), (1, &Some(failure)));
}
