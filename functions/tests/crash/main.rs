//! Death between any two awaits.
//!
//! The real handlers run over the real ledger (DynamoDB's protocol, in process) and over ports that
//! can die: before the n-th call of a port takes effect, or after it did and before its answer
//! arrives. Each story below is told once to the end, to count its calls; then once for every call
//! and both sides of it, with that one death in it. What a caller or AWS would repeat is repeated;
//! in the harsher half of the stories nothing is, and `sweep` alone goes on.
//!
//! After each telling: every run has reached one end, each step ended once, no lease is left, no
//! task runs that nobody knows of, no task was ever launched whose secrets' release was not on
//! record, no audit entry is lost or doubled, and no state was changed without one.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod audited;
mod walk;
mod world;

use sealfleet_domain::audit::Event;
use sealfleet_domain::run::RunState;
use world::{Death, Repeats, Trail, World};

/// Tells `story` with a death at every call, and checks the end of each telling.
async fn at_every_call<F>(story: F, ends: &[RunState])
where
    F: AsyncFn(&World) -> (),
{
    for repeats in [Repeats::Yes, Repeats::No] {
        at_every_call_with(repeats, &story, ends).await;
    }
}

async fn at_every_call_with<F>(repeats: Repeats, story: &F, ends: &[RunState])
where
    F: AsyncFn(&World) -> (),
{
    let whole = World::new(None, repeats).await;
    story(&whole).await;
    whole.run_to_the_end().await;
    whole.check(ends).await;
    let calls = whole.calls();
    assert!(calls > 5, "the story makes only {calls} calls");
    for call in 1..=calls {
        for death in [Death::Before(call), Death::After(call)] {
            let world = World::new(Some(death), repeats).await;
            story(&world).await;
            world.run_to_the_end().await;
            world.check(ends).await;
        }
    }
}

#[tokio::test]
async fn a_fargate_run_ends_once_wherever_a_handler_dies() {
    at_every_call(
        async |world| {
            if let Some(run_id) = world.enqueue("fargate", "identity").await {
                world.deliver().await;
                world.ecs_runs_and_ends(0).await;
                world.remember(run_id);
            }
        },
        &[RunState::Succeeded],
    )
    .await;
}

#[tokio::test]
async fn a_pull_worker_run_ends_once_wherever_a_handler_dies() {
    at_every_call(
        async |world| {
            if let Some(run_id) = world.enqueue("workers", "sandboxed").await {
                world.remember(run_id);
                world.work(run_id).await;
            }
        },
        &[RunState::Succeeded, RunState::Dead],
    )
    .await;
}

#[tokio::test]
async fn a_cancelled_fargate_run_leaves_no_task() {
    at_every_call(
        async |world| {
            if let Some(run_id) = world.enqueue("fargate", "identity").await {
                world.remember(run_id);
                world.deliver().await;
                world.cancel(run_id).await;
            }
        },
        // Without repeats, the one request to cancel may be the call that died.
        &[RunState::Aborted, RunState::Succeeded],
    )
    .await;
}

#[tokio::test]
async fn a_cancel_in_the_middle_of_a_launch_leaves_no_task() {
    let mut launches = 0;
    for at in 1..=20 {
        let world = World::new(None, Repeats::No).await;
        let run_id = world
            .enqueue("fargate", "identity")
            .await
            .expect("enqueued");
        world.remember(run_id);
        world.deliver_and_cancel_at(at, run_id).await;
        launches += usize::from(world.tasks_launched() > 0);
        assert_eq!(
            world.orphans().await,
            0,
            "nobody died: launcher or canceller stops the task at once"
        );
        world.run_to_the_end().await;
        world.check(&[RunState::Aborted, RunState::Succeeded]).await;
    }
    assert!(launches > 1, "no telling got as far as a launch");
}

#[tokio::test]
async fn the_queue_may_lose_every_message() {
    let world = World::new(None, Repeats::No).await;
    world.queue_loses_everything();
    for pool in ["fargate", "workers"] {
        let run_id = world.enqueue(pool, "sandboxed").await.expect("enqueued");
        world.remember(run_id);
    }
    world.queue_keeps_everything();
    world.run_to_the_end().await;
    world.check(&[RunState::Succeeded]).await;
}

#[tokio::test]
async fn a_hard_revocation_is_finished_wherever_a_handler_dies() {
    at_every_call(
        async |world| {
            if let Some(run_id) = world.enqueue("fargate", "identity").await {
                world.remember(run_id);
                world.deliver().await;
                world.revoke().await;
                if world.is_revoked().await {
                    world.run_to_the_end().await;
                    assert_eq!(world.finished_fan_outs().await, 1);
                }
            }
        },
        // A launch that died before the revocation finds it when it goes on. Without repeats, the
        // one request to revoke may be the call that died.
        &[RunState::Aborted, RunState::Failed, RunState::Succeeded],
    )
    .await;
}

#[tokio::test]
async fn a_revocation_in_the_middle_of_a_launch_leaves_no_task() {
    let mut launches = 0;
    for at in 1..=20 {
        let world = World::new(None, Repeats::No).await;
        let run_id = world
            .enqueue("fargate", "identity")
            .await
            .expect("enqueued");
        world.remember(run_id);
        world.deliver_and_revoke_at(at).await;
        launches += usize::from(world.tasks_launched() > 0);
        assert_eq!(
            world.orphans().await,
            0,
            "nobody died: launcher or revoker stops the task at once"
        );
        let revoked = world.is_revoked().await;
        world.run_to_the_end().await;
        let ends: &[RunState] = if revoked {
            &[RunState::Aborted, RunState::Failed]
        } else {
            &[RunState::Succeeded]
        };
        world.check(ends).await;
    }
    assert!(launches > 1, "no telling got as far as a launch");
}

#[tokio::test]
async fn what_is_told_again_is_counted_once() {
    /// What each telling of ECS counts: starts, ends, and the ten seconds of a quarter of a CPU
    /// that the task had.
    async fn counted(end: impl AsyncFn(&World, sealfleet_domain::RunId)) -> [f64; 3] {
        let world = World::new(None, Repeats::No).await;
        let run_id = world
            .enqueue("fargate", "identity")
            .await
            .expect("enqueued");
        world.deliver().await;
        world.ecs_says_running().await;
        world.ecs_says_running().await;
        end(&world, run_id).await;
        for _ in 0..3 {
            world.ecs_runs_and_ends(0).await;
        }
        ["StepsStarted", "StepsEnded", "VcpuSeconds"].map(|name| world.metric(name))
    }
    assert_eq!(
        counted(async |_, _| ()).await,
        [1.0, 1.0, 2.5],
        "it ended by itself"
    );
    assert_eq!(
        counted(async |world, run_id| world.cancel(run_id).await).await,
        [1.0, 1.0, 2.5],
        "it was cancelled"
    );
    assert_eq!(
        counted(async |world, _| world.ecs_takes_away()).await,
        [1.0, 0.0, 2.5],
        "it was lost, and is queued"
    );
}

/// The two ways in which the audit table may be away, and whether calls are repeated then.
const AWAY: [(Trail, Repeats); 2] = [
    (Trail::Refuses, Repeats::Yes),
    (Trail::AnswersAreLost, Repeats::No),
];

#[tokio::test]
async fn a_run_is_cancelled_without_the_audit_table_wherever_a_handler_dies() {
    for (away, repeats) in AWAY {
        at_every_call_with(
            repeats,
            &async |world: &World| {
                if let Some(run_id) = world.enqueue("fargate", "identity").await {
                    world.remember(run_id);
                    world.deliver().await;
                    world.audit_table(away);
                    world.cancel(run_id).await;
                    // With the table away, too, and to no avail.
                    world.sweep().await;
                    world.audit_table(Trail::Answers);
                }
            },
            &[RunState::Aborted, RunState::Succeeded],
        )
        .await;
    }
}

#[tokio::test]
async fn a_hard_revocation_aborts_without_the_audit_table_wherever_a_handler_dies() {
    for (away, repeats) in AWAY {
        at_every_call_with(
            repeats,
            &async |world: &World| {
                if let Some(run_id) = world.enqueue("fargate", "identity").await {
                    world.remember(run_id);
                    world.deliver().await;
                    world.audit_table(away);
                    world.revoke().await;
                    world.sweep().await;
                    world.audit_table(Trail::Answers);
                    if world.is_revoked().await {
                        world.run_to_the_end().await;
                        assert_eq!(world.finished_fan_outs().await, 1);
                    }
                }
            },
            &[RunState::Aborted, RunState::Failed, RunState::Succeeded],
        )
        .await;
    }
}

#[tokio::test]
async fn without_the_audit_table_nothing_is_given_and_everything_is_taken() {
    let world = World::new(None, Repeats::No).await;
    let cancelled = world
        .enqueue_as("one", "fargate", "identity")
        .await
        .expect("enqueued");
    world.deliver().await;
    let revoked = world
        .enqueue_as("two", "fargate", "identity")
        .await
        .expect("enqueued");
    world.deliver().await;
    let waits = world
        .enqueue_as("three", "fargate", "identity")
        .await
        .expect("enqueued");
    let pulled = world
        .enqueue_as("four", "workers", "sandboxed")
        .await
        .expect("enqueued");
    let runs = [cancelled, revoked, waits, pulled];
    assert_eq!(world.tasks_launched(), 2);
    world.audit_table(Trail::Refuses);

    assert!(
        world.is_refused_to_enqueue().await,
        "enqueue without an audit table"
    );
    world.deliver().await;
    assert_eq!(
        world.tasks_launched(),
        2,
        "a dispatch without an audit table"
    );
    assert!(
        world.is_refused_to_claim(pulled).await,
        "a claim without an audit table"
    );
    assert_eq!(
        [world.state(waits).await, world.state(pulled).await],
        [RunState::Queued; 2]
    );
    assert_eq!(
        world.waiting().await,
        0,
        "what is refused waits for nothing"
    );

    world.cancel(cancelled).await;
    assert_eq!(world.state(cancelled).await, RunState::Aborted);
    assert_eq!((world.tasks_running(), world.waiting().await), (1, 1));
    world.revoke().await;
    assert!(world.is_revoked().await);
    assert_eq!(world.state(revoked).await, RunState::Aborted);
    assert_eq!(
        (world.tasks_running(), world.waiting().await),
        (0, 3),
        "the revocation, and one run that it aborts"
    );
    world.sweep().await;
    assert_eq!(
        world.waiting().await,
        3,
        "nothing leaves the outbox before the trail takes it"
    );
    assert!(
        !world
            .events(cancelled)
            .await
            .contains(&Event::RunCancelled {})
    );

    world.audit_table(Trail::Answers);
    for run_id in runs {
        world.remember(run_id);
    }
    world.run_to_the_end().await;
    world
        .check(&[RunState::Aborted, RunState::Failed, RunState::Succeeded])
        .await;
    assert_eq!(world.finished_fan_outs().await, 1);
    let told =
        |events: Vec<Event>, wanted: fn(&Event) -> bool| events.into_iter().filter(wanted).count();
    assert_eq!(
        told(world.events(cancelled).await, |event| *event
            == Event::RunCancelled {}),
        1
    );
    let aborted = |event: &Event| matches!(event, Event::RunAbortedByRevocation { .. });
    assert_eq!(told(world.events(revoked).await, aborted), 1);
}
