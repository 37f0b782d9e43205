//! Profiles and revocations: versions, all or none, and the check at every claim and start.

use std::collections::BTreeMap;

use sealfleet_domain::cascade::Level;
use sealfleet_domain::containment::{Containment, Ended, Position, Stage, Tally};
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::identity::{Identity, ProfileUse, SecretRef};
use sealfleet_domain::profile::Content;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::{Executor, Failure, Fresh, Handle, RunState, SecretsRead};
use sealfleet_domain::{ContainmentId, Owner, ProfileName, ProjectScope, RevocationId, RunId};
use sealfleet_ledger::{Claimed, Error, Idempotency, Ledger, NewClaim, Start, StartedSandbox};

use crate::fixtures::{self, PACE, ledger, step};

fn scope() -> ProjectScope {
    fixtures::scope("healthcare")
}

fn owner() -> Owner {
    Owner::Project(scope())
}

fn crm() -> ProfileName {
    "crm".parse().unwrap()
}

fn knob(value: &str) -> Content {
    Content {
        env: BTreeMap::from([("K".to_owned(), value.to_owned())]),
        ..Content::default()
    }
}

#[tokio::test]
async fn a_change_names_the_version_it_replaces_and_every_version_is_kept() {
    let ledger = ledger().await;
    let created = ledger
        .create_profile(&owner(), &crm(), knob("1"), "token:a")
        .await
        .unwrap();
    assert_eq!(created.version, 1);
    assert!(matches!(
        ledger
            .create_profile(&owner(), &crm(), knob("x"), "token:a")
            .await,
        Err(Error::Exists)
    ));
    let updated = ledger
        .update_profile(&owner(), &crm(), 1, knob("2"), "token:b")
        .await
        .unwrap();
    assert_eq!(
        (updated.version, updated.created_at),
        (2, created.created_at)
    );
    let stale = ledger
        .update_profile(&owner(), &crm(), 1, knob("3"), "token:c")
        .await;
    assert!(matches!(stale, Err(Error::VersionConflict(2))), "{stale:?}");
    ledger
        .delete_profile(&owner(), &crm(), Some(2), "token:d")
        .await
        .unwrap();
    assert!(matches!(
        ledger.profile(&owner(), &crm()).await,
        Err(Error::NotFound)
    ));
    let again = ledger
        .create_profile(&owner(), &crm(), knob("4"), "token:e")
        .await
        .unwrap();
    assert_eq!(again.version, 4, "no two versions of one name look alike");
    let versions = ledger
        .profile_versions(&owner(), &crm(), None, 10)
        .await
        .unwrap()
        .items;
    let shown: Vec<_> = versions
        .iter()
        .map(|v| (v.profile.version, v.by.as_str(), v.deleted))
        .collect();
    assert_eq!(
        shown,
        [
            (4, "token:e", false),
            (3, "token:d", true),
            (2, "token:b", false),
            (1, "token:a", false)
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_changes_of_one_version_one_wins() {
    let ledger = ledger().await;
    ledger
        .create_profile(&owner(), &crm(), knob("1"), "token:a")
        .await
        .unwrap();
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                ledger
                    .update_profile(&owner(), &crm(), 1, knob("2"), "token:a")
                    .await
            })
        })
        .collect();
    let mut won = 0;
    for tried in tries {
        match tried.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, Error::VersionConflict(2)), "{error}"),
        }
    }
    assert_eq!(won, 1);
}

fn revocation(ledger: &Ledger, key: &str) -> Revocation {
    Revocation {
        revocation_id: RevocationId::new(ledger.ids(), ledger.now()),
        profile: "crm".parse().unwrap(),
        key: key.to_owned(),
        uri: format!("builtin://{}", key.to_lowercase()).parse().unwrap(),
        hard: false,
        reason: "leaked".to_owned(),
        actor: "token:a".to_owned(),
        at: ledger.now(),
        fan_out_id: None,
        lifted: None,
    }
}

#[tokio::test]
async fn all_keys_are_revoked_or_none_and_each_once() {
    let ledger = ledger().await;
    let first = revocation(&ledger, "A");
    ledger
        .revoke(&owner(), std::slice::from_ref(&first), "token:a")
        .await
        .unwrap();
    let bulk = [
        revocation(&ledger, "B"),
        revocation(&ledger, "A"),
        revocation(&ledger, "C"),
    ];
    match ledger.revoke(&owner(), &bulk, "token:a").await {
        Err(Error::AlreadyRevoked(keys)) => assert_eq!(keys, ["`A` of `crm`"]),
        other => assert!(other.is_err(), "revoked twice"),
    }
    assert_eq!(
        ledger.active_revocations(&owner()).await.unwrap(),
        std::slice::from_ref(&first)
    );
    let lifted = ledger
        .lift(&owner(), first.revocation_id, "token:b")
        .await
        .unwrap();
    assert!(lifted.lifted.is_some());
    let again = ledger.lift(&owner(), first.revocation_id, "token:b").await;
    assert!(
        matches!(again, Err(Error::WrongState("lifted"))),
        "{again:?}"
    );
    ledger.revoke(&owner(), &bulk, "token:a").await.unwrap();
    assert_eq!(ledger.active_revocations(&owner()).await.unwrap().len(), 3);
    assert_eq!(
        ledger
            .revocations(&owner(), true, None, 10)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert!(
        ledger
            .active_revocations(&Owner::System)
            .await
            .unwrap()
            .is_empty()
    );
}

fn identity() -> Identity {
    let secret = SecretRef {
        delivery: sealfleet_domain::delivery::Delivery::Env,
        redact: true,
        name: "A".to_owned(),
        uri: "builtin://a".parse().unwrap(),
        version: Some("1".to_owned()),
        arn: None,
        from: "crm".parse().unwrap(),
    };
    let used = ProfileUse {
        level: Level::Run,
        profile: "crm".parse().unwrap(),
        version: 1,
    };
    Identity {
        profiles: vec![used],
        secrets: vec![secret],
        ..Identity::default()
    }
}

fn worker(ledger: &Ledger) -> Worker {
    fixtures::worker(ledger, 5)
}

async fn enqueue(ledger: &Ledger) -> RunId {
    let (run, change) = fixtures::run(ledger, Some(identity()));
    ledger
        .enqueue(&scope(), run.clone(), &change, None, "test")
        .await
        .unwrap();
    run.run_id
}

async fn claim(ledger: &Ledger, worker: &Worker, run_id: RunId) -> Result<Claimed, Error> {
    let (scope, step_id, executor) = (scope(), step(), Executor::Worker);
    let wanted = NewClaim {
        scope: &scope,
        worker,
        run_id,
        step_id: &step_id,
        executor,
        pace: PACE,
    };
    ledger
        .claim(&wanted, async |_| Ok(Fresh::Identity(identity())))
        .await
}

async fn start(
    ledger: &Ledger,
    worker: &Worker,
    run_id: RunId,
    claimed: &Claimed,
) -> Result<Start, Error> {
    let (scope, step_id, read) = (scope(), step(), SecretsRead::default());
    let ready = StartedSandbox {
        scope: &scope,
        run_id,
        step_id: &step_id,
        holder: Some(worker.worker_id),
        fence: claimed.fence,
        handle: Handle::new("sandbox".to_owned()),
        read: &read,
        output: None,
        uploads: false,
        pace: PACE,
    };
    ledger.start(&ready, "test").await
}

#[tokio::test]
async fn a_claim_that_finds_a_revocation_ends_its_step() {
    let ledger = ledger().await;
    let (run_id, worker) = (enqueue(&ledger).await, worker(&ledger));
    ledger
        .revoke(&owner(), &[revocation(&ledger, "A")], "token:a")
        .await
        .unwrap();
    let claimed = claim(&ledger, &worker, run_id).await;
    assert!(
        matches!(
            claimed,
            Err(Error::StartRefused(Failure::SecretRevoked { .. }))
        ),
        "{claimed:?}"
    );
    assert_eq!(
        ledger.run(&scope(), run_id).await.unwrap().state(),
        RunState::Failed
    );
    assert!(
        ledger
            .leases_of(&scope(), worker.worker_id)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_start_that_finds_a_revocation_does_not_happen() {
    let ledger = ledger().await;
    let (run_id, worker) = (enqueue(&ledger).await, worker(&ledger));
    let claimed = claim(&ledger, &worker, run_id).await.unwrap();
    let revocation = revocation(&ledger, "A");
    ledger
        .revoke(&owner(), std::slice::from_ref(&revocation), "token:a")
        .await
        .unwrap();
    let started = start(&ledger, &worker, run_id, &claimed).await.unwrap();
    assert!(
        matches!(&started, Start::Revoked(_, by) if by.revocation_id == revocation.revocation_id),
        "{started:?}"
    );
    assert_eq!(
        ledger.run(&scope(), run_id).await.unwrap().state(),
        RunState::Aborted
    );
    let again = start(&ledger, &worker, run_id, &claimed).await;
    assert!(matches!(again, Err(Error::Refused(_))), "{again:?}");
}

#[tokio::test]
async fn a_start_before_the_revocation_goes_on_and_is_not_started_twice() {
    let ledger = ledger().await;
    let (run_id, worker) = (enqueue(&ledger).await, worker(&ledger));
    let claimed = claim(&ledger, &worker, run_id).await.unwrap();
    assert!(matches!(
        start(&ledger, &worker, run_id, &claimed).await,
        Ok(Start::Running(_))
    ));
    ledger
        .revoke(&owner(), &[revocation(&ledger, "A")], "token:a")
        .await
        .unwrap();
    assert!(
        matches!(
            start(&ledger, &worker, run_id, &claimed).await,
            Ok(Start::Running(_))
        ),
        "told twice"
    );
    assert_eq!(
        ledger.run(&scope(), run_id).await.unwrap().state(),
        RunState::Running
    );
    let used = ledger
        .delete_profile(&owner(), &crm(), None, "token:a")
        .await;
    assert!(matches!(used, Err(Error::NotFound)), "{used:?}");
    ledger
        .create_profile(&owner(), &crm(), knob("1"), "token:a")
        .await
        .unwrap();
    let used = ledger
        .delete_profile(&owner(), &crm(), None, "token:a")
        .await;
    assert!(matches!(used, Err(Error::InUse)), "{used:?}");
}

/// A containment is begun once, moves only from where it was read, counts its parts once, and ends
/// once.
#[tokio::test]
async fn a_containment_moves_from_where_it_was_read_and_ends_once() {
    let ledger = ledger().await;
    let new = || Containment {
        containment_id: ContainmentId::new(ledger.ids(), ledger.now()),
        reason: "an incident".to_owned(),
        tokens: false,
        actor: "token:a".to_owned(),
        started_at: ledger.now(),
        position: Position::begin(1),
        ended: None,
    };
    let once = |request: &str| Idempotency {
        key: "one".to_owned(),
        request: request.to_owned(),
    };
    let (first, scope) = (new(), scope());
    let begin = async |new: &Containment, request: &str| {
        let once = once(request);
        ledger.begin_containment(&scope, new, Some(&once)).await
    };
    assert_eq!(begin(&first, "a").await.unwrap(), first);
    assert_eq!(begin(&new(), "a").await.unwrap(), first);
    let other = begin(&new(), "b").await;
    assert!(
        matches!(other, Err(Error::IdempotencyMismatch)),
        "{other:?}"
    );

    let id = first.containment_id;
    let within = ledger.within(Some(id));
    let keys = [revocation(&ledger, "A"), revocation(&ledger, "B")];
    for _ in 0..2 {
        let hard = keys
            .clone()
            .map(|row| sealfleet_domain::revocation::Revocation { hard: true, ..row });
        within.revoke(&owner(), &hard, "token:a").await.unwrap();
    }
    let counted = ledger.contained_so_far(&scope, id).await.unwrap().stopped;
    let keys = Tally {
        keys: 2,
        ..Tally::default()
    };
    assert_eq!(counted, keys);

    let moved = Containment {
        position: Position {
            stage: Stage::Runs,
            after: Some("x".to_owned()),
            ..Position::begin(1)
        },
        ..first.clone()
    };
    let to = async |read: &Position| {
        let due = ledger.now();
        let moving = ledger.move_containment(&scope, read, moved.clone(), due);
        moving.await.unwrap()
    };
    assert_eq!(to(&first.position).await, Some(moved.clone()));
    assert_eq!(to(&first.position).await, None, "somebody else was faster");
    assert_eq!(ledger.containment(&scope, id).await.unwrap(), moved);
    let ended = Ended {
        at: ledger.now(),
        complete: true,
        stopped: counted,
    };
    let end = async || {
        let ending = ledger.end_containment(&scope, &moved.position, &moved, ended.clone());
        ending.await.unwrap()
    };
    assert!(end().await.is_some());
    assert_eq!(end().await, None, "it has ended");
    let page = ledger.containments(&scope, None, 10).await.unwrap();
    assert_eq!(page.items[0].ended, Some(ended));
}
