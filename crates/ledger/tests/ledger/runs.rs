//! Races, conditions and what they cost.

use std::collections::BTreeSet;
use std::sync::Arc;

use sealfleet_domain::access::Role;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::credential::Home;
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::run::{
    Executor, Failure, Fence, Fresh, Outcome, Refusal, RequeueReason, Run, RunState,
};
use sealfleet_domain::{Owner, ProjectScope, RunId};
use sealfleet_ledger::{
    AuditFilter, Before, Claimed, Due, DueRun, Enqueued, Error, EventFilter, Idempotency, Ledger,
    NewClaim, RunFilter,
};
use sealfleet_system::SystemIds;

use crate::fixtures::{self, Hand, PACE, ledger, ledger_alone, scope, step, worker};

async fn enqueue(
    ledger: &Ledger,
    scope: &ProjectScope,
    idempotency: Option<&Idempotency>,
) -> (RunId, Enqueued) {
    let (run, change) = fixtures::run(ledger, None);
    let stored = ledger
        .enqueue(scope, run, &change, idempotency, "test")
        .await
        .unwrap();
    let (Enqueued::New(run) | Enqueued::Before(run)) = &stored;
    (run.run_id, stored)
}

async fn claim(
    ledger: &Ledger,
    scope: &ProjectScope,
    worker: &Worker,
    run_id: RunId,
) -> Result<Claimed, Error> {
    let executor = Executor::Worker;
    let wanted = NewClaim {
        scope,
        worker,
        run_id,
        step_id: &step(),
        executor,
        pace: PACE,
    };
    ledger.claim(&wanted, async |_| Ok(Fresh::Nothing)).await
}

#[tokio::test]
async fn a_claim_whose_step_may_not_start_gives_its_lease_back() {
    let (ledger, scope) = (ledger().await, scope("healthcare"));
    let (run_id, _) = enqueue(&ledger, &scope, None).await;
    let worker = worker(&ledger, 1);
    let wanted = NewClaim {
        scope: &scope,
        worker: &worker,
        run_id,
        step_id: &step(),
        executor: Executor::Worker,
        pace: PACE,
    };
    let unknown = async |_: &Run| Err(Error::Unavailable("no answer".to_owned()));
    let refused = async |_: &Run| {
        let detail = Failure::detail("no such profile");
        Ok(Fresh::Refused(Failure::ProfileRefused { detail }))
    };
    let leases = async || ledger.leases_of(&scope, worker.worker_id).await.unwrap();
    let claimed = ledger.claim(&wanted, unknown).await;
    assert!(matches!(claimed, Err(Error::Unavailable(_))), "{claimed:?}");
    assert_eq!(leases().await, []);
    let claimed = ledger.claim(&wanted, refused).await;
    let failed = matches!(claimed, Err(Error::StartRefused(_)));
    assert!(failed, "{claimed:?}");
    assert_eq!(leases().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_claims_at_once_one_wins() {
    let (ledger, scope) = (ledger().await, scope("healthcare"));
    let (run_id, _) = enqueue(&ledger, &scope, None).await;
    let claims: Vec<_> = (0..50)
        .map(|_| {
            let (ledger, scope) = (ledger.clone(), scope.clone());
            tokio::spawn(async move {
                let worker = worker(&ledger, 1);
                claim(&ledger, &scope, &worker, run_id).await
            })
        })
        .collect();
    let mut won = 0;
    for claim in claims {
        match claim.await.unwrap() {
            Ok(claimed) => {
                won += 1;
                assert_eq!(claimed.fence, Fence::new(1));
            }
            Err(Error::Refused(Refusal::NotQueued(_)) | Error::Contended) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_never_holds_more_than_it_may() {
    let (ledger, scope) = (ledger().await, scope("healthcare"));
    let worker = worker(&ledger, 3);
    let mut claims = Vec::new();
    for _ in 0..12 {
        let (run_id, _) = enqueue(&ledger, &scope, None).await;
        let (ledger, scope, worker) = (ledger.clone(), scope.clone(), worker.clone());
        claims.push(tokio::spawn(async move {
            claim(&ledger, &scope, &worker, run_id).await
        }));
    }
    for claim in claims {
        assert!(matches!(
            claim.await.unwrap(),
            Ok(_) | Err(Error::AtCapacity(3) | Error::Contended)
        ));
    }
    assert!(
        ledger
            .leases_of(&scope, worker.worker_id)
            .await
            .unwrap()
            .len()
            <= 3
    );
}

#[tokio::test]
async fn a_lease_is_there_exactly_while_the_step_is_held() {
    let (ledger, scope) = (ledger().await, scope("healthcare"));
    let worker = worker(&ledger, 2);
    let (run_id, _) = enqueue(&ledger, &scope, None).await;
    let claimed = claim(&ledger, &scope, &worker, run_id).await.unwrap();
    let again = claim(&ledger, &scope, &worker, run_id).await.unwrap();
    assert_eq!((claimed.fence, again.fence), (Fence::new(1), Fence::new(2)));
    let held = ledger.leases_of(&scope, worker.worker_id).await.unwrap();
    let [lease] = held.as_slice() else {
        panic!("{held:?}")
    };
    let until = ledger.now().plus_seconds(99);
    assert!(
        ledger
            .renew(&scope, &lease.key(worker.worker_id), until)
            .await
            .unwrap()
    );
    let stored = ledger
        .lease(&scope, worker.worker_id, lease.slot, lease.fence)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.until(), until);
    ledger
        .transition(&scope, run_id, "test", |run, now| {
            run.lose(&step(), again.fence, RequeueReason::LeaseExpired, PACE, now)
        })
        .await
        .unwrap();
    assert!(
        ledger
            .leases_of(&scope, worker.worker_id)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        !ledger
            .renew(&scope, &lease.key(worker.worker_id), until)
            .await
            .unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_idempotency_key_is_one_run_in_any_race() {
    let (ledger, scope) = (ledger().await, scope("healthcare"));
    let key = |request: &str| Idempotency {
        key: "k".to_owned(),
        request: request.to_owned(),
    };
    let tries: Vec<_> = (0..10)
        .map(|_| {
            let (ledger, scope) = (ledger.clone(), scope.clone());
            tokio::spawn(async move { enqueue(&ledger, &scope, Some(&key("one"))).await })
        })
        .collect();
    let mut new = 0;
    for tried in tries {
        new += usize::from(matches!(tried.await.unwrap().1, Enqueued::New(_)));
    }
    assert_eq!(new, 1);
    assert_eq!(
        ledger
            .runs(&scope, &RunFilter::default(), None, 50)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let other = ledger.enqueued_before(&scope, &key("two")).await;
    assert!(
        matches!(other, Err(Error::IdempotencyMismatch)),
        "{other:?}"
    );
    let elsewhere = self::scope("finance");
    let before = ledger.enqueued_before(&elsewhere, &key("one")).await;
    assert!(matches!(before, Ok(Before::Nothing)), "{before:?}");
}

#[tokio::test]
async fn another_projects_rows_are_not_there() {
    let (ledger, own, other) = (ledger().await, scope("a"), scope("a-b"));
    let (run_id, _) = enqueue(&ledger, &own, None).await;
    assert!(matches!(
        ledger.run(&other, run_id).await,
        Err(Error::NotFound)
    ));
    let worker = worker(&ledger, 1);
    let claimed = claim(&ledger, &other, &worker, run_id).await;
    assert!(matches!(claimed, Err(Error::NotFound)), "{claimed:?}");
    assert!(
        ledger
            .runs(&other, &RunFilter::default(), None, 50)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let filter = AuditFilter::between(ledger.now().plus_seconds(-60), ledger.now(), 50);
    let owner = |scope: &ProjectScope| Owner::Project(scope.clone());
    assert!(
        ledger
            .audit(&owner(&other), &filter)
            .await
            .unwrap()
            .entries
            .is_empty()
    );
    let entries = ledger.audit(&owner(&own), &filter).await.unwrap().entries;
    assert_eq!(entries.len(), 1);
    let id = entries.first().unwrap().event_id;
    assert_eq!(
        ledger.audit_entry(&owner(&own), id).await.unwrap().run_id,
        Some(run_id)
    );
    assert!(matches!(
        ledger.audit_entry(&owner(&other), id).await,
        Err(Error::NotFound)
    ));
}

#[tokio::test]
async fn the_due_index_holds_what_is_live_and_nothing_else() {
    let (ledger, scope) = (ledger().await, scope("healthcare"));
    let (run_id, _) = enqueue(&ledger, &scope, None).await;
    let due = async |seconds| {
        let mut found = Vec::new();
        for shard in sealfleet_ledger::due_shards() {
            let until = ledger.now().plus_seconds(seconds);
            let page = ledger.due(&shard, until, None, 10).await.unwrap();
            found.extend(page.items);
        }
        found
    };
    assert!(due(29).await.is_empty());
    let before = due(31).await;
    let run = Due::Run(DueRun {
        scope: scope.clone(),
        run_id,
    });
    assert_eq!(before.first().map(|(_, due)| due), Some(&run));
    let worker = worker(&ledger, 1);
    let claimed = claim(&ledger, &scope, &worker, run_id).await.unwrap();
    assert_eq!(
        due(31).await,
        before,
        "a lease is looked at when it may have run out, and the claim moves no place"
    );
    ledger
        .transition(&scope, run_id, "test", |run, now| {
            run.finish(
                &step(),
                Some(worker.worker_id),
                claimed.fence,
                &Outcome::Succeeded,
                PACE,
                now,
            )
        })
        .await
        .unwrap();
    assert!(due(1_000_000).await.is_empty());
    assert_eq!(
        ledger.run(&scope, run_id).await.unwrap().state(),
        RunState::Succeeded
    );
}

/// A run with this id of a workflow.
async fn enqueue_as(ledger: &Ledger, scope: &ProjectScope, run_id: RunId, workflow: &str) {
    let (mut run, change) = fixtures::run(ledger, None);
    run.run_id = run_id;
    run.workflow = workflow.parse().unwrap();
    let stored = ledger.enqueue(scope, run, &change, None, "test").await;
    assert!(matches!(stored, Ok(Enqueued::New(_))), "{stored:?}");
}

#[tokio::test]
async fn a_filtered_page_is_bounded_and_nothing_is_lost_between_pages() {
    const IN_ONE_PARTITION: u128 = 130;
    let (ledger, scope) = (ledger_alone().await, scope("healthcare"));
    // The last byte of an id names its partition; the first ones order the ids.
    let id = |time: u128, partition: u128| {
        RunId::from_uuid(uuid::Uuid::from_u128(
            time << 80 | 7 << 76 | 8 << 60 | partition,
        ))
    };
    let oldest = id(1, 1);
    enqueue_as(&ledger, &scope, oldest, "wanted").await;
    enqueue_as(&ledger, &scope, id(2, 0), "wanted").await;
    for time in 0..IN_ONE_PARTITION {
        enqueue_as(&ledger, &scope, id(3 + time, 0), "other").await;
    }
    let newest = id(200, 2);
    enqueue_as(&ledger, &scope, newest, "wanted").await;
    let filter = RunFilter {
        workflow: Some("wanted".parse().unwrap()),
        ..RunFilter::default()
    };
    let mut pages = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let page = ledger
            .runs(&scope, &filter, before.as_deref(), 5)
            .await
            .unwrap();
        pages.push(page.items.iter().map(|run| run.run_id).collect::<Vec<_>>());
        before = page.more_after;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![newest], vec![id(2, 0), oldest]]);
}

#[tokio::test]
async fn lists_page_through_everything_once() {
    let (ledger, scope) = (ledger().await, scope("healthcare"));
    let mut enqueued = BTreeSet::new();
    for _ in 0..25 {
        enqueued.insert(enqueue(&ledger, &scope, None).await.0);
    }
    let mut listed = Vec::new();
    let mut before: Option<String> = None;
    let queued = RunFilter {
        states: vec![RunState::Queued],
        ..RunFilter::default()
    };
    loop {
        let page = ledger
            .runs(&scope, &queued, before.as_deref(), 7)
            .await
            .unwrap();
        listed.extend(page.items.iter().map(|run| run.run_id));
        before = page.more_after;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), 25);
    assert!(
        listed
            .windows(2)
            .all(|pair| matches!(pair, [newer, older] if newer > older))
    );
    let filter = AuditFilter::between(ledger.now().plus_seconds(-600), ledger.now(), 7);
    let entries: Vec<_> = trail(&ledger, &scope, filter)
        .await
        .into_iter()
        .flatten()
        .map(|entry| entry.event_id)
        .collect();
    assert_eq!(entries.len(), 25);
    assert!(
        entries
            .windows(2)
            .all(|pair| matches!(pair, [older, newer] if older < newer))
    );
}

/// All pages of a trail.
async fn trail(
    ledger: &Ledger,
    scope: &ProjectScope,
    mut filter: AuditFilter,
) -> Vec<Vec<AuditEntry>> {
    let mut pages = Vec::new();
    loop {
        let page = ledger
            .audit(&Owner::Project(scope.clone()), &filter)
            .await
            .unwrap();
        assert!(
            page.entries.len() <= filter.limit
                && (page.more_after.is_none() || page.more_after > filter.after)
        );
        pages.push(page.entries);
        filter.after = page.more_after;
        if filter.after.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn a_trail_is_searched_by_actor_event_profile_and_key() {
    let (ledger, scope) = (ledger().await, scope("healthcare"));
    let (run_id, _) = enqueue(&ledger, &scope, None).await;
    let (workflow, crm) = ("w".parse().unwrap(), "crm".parse().unwrap());
    ledger
        .denied_run(&scope, "token:a", &workflow, vec![crm], "rule")
        .await
        .unwrap();
    ledger
        .denied_run(
            &scope,
            "token:b",
            &workflow,
            vec!["ehr".parse().unwrap()],
            "rule",
        )
        .await
        .unwrap();
    let all = AuditFilter::between(ledger.now().plus_seconds(-600), ledger.now(), 50);
    let found = async |filter: AuditFilter| -> Vec<String> {
        let entries = trail(&ledger, &scope, filter).await.into_iter().flatten();
        entries
            .map(|entry| format!("{} {}", entry.actor, entry.events.first().unwrap().name()))
            .collect()
    };
    let event = |types: &[&str], profile: Option<&str>, key: Option<&str>| EventFilter {
        types: types.iter().map(|name| (*name).to_owned()).collect(),
        profile: profile.map(|profile| profile.parse().unwrap()),
        key: key.map(str::to_owned),
    };
    let by = |event| AuditFilter {
        event,
        ..all.clone()
    };
    assert_eq!(found(all.clone()).await.len(), 3);
    assert_eq!(
        found(AuditFilter {
            run_id: Some(run_id),
            ..all.clone()
        })
        .await,
        ["test run.enqueued"]
    );
    assert_eq!(
        found(AuditFilter {
            actor: Some("token:b".to_owned()),
            ..all.clone()
        })
        .await,
        ["token:b run.denied"]
    );
    assert_eq!(found(by(event(&["run.denied"], None, None))).await.len(), 2);
    assert_eq!(
        found(by(event(&["run.denied", "run.enqueued"], None, None)))
            .await
            .len(),
        3
    );
    assert_eq!(
        found(by(event(&[], Some("crm"), None))).await,
        ["token:a run.denied"]
    );
    assert!(
        found(by(event(&[], Some("system/crm"), None)))
            .await
            .is_empty()
    );
    assert!(
        found(by(event(&["run.enqueued"], Some("crm"), None)))
            .await
            .is_empty(),
        "of two events at once"
    );
    assert!(found(by(event(&[], None, Some("K")))).await.is_empty());
}

#[tokio::test]
async fn a_search_that_finds_little_costs_little_a_page_and_misses_nothing() {
    let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
    let (meter, scope) = (store.meter(), scope("healthcare"));
    let clock = Arc::new(Hand::new());
    let ledger = Ledger::new(store, clock.clone(), Arc::new(SystemIds));
    let from = ledger.now();
    let workflow = "w".parse().unwrap();
    // So many in the span of a row that a query reads hardly more than what precedes a cursor.
    for number in 0..2500 {
        clock.wait(2 + i64::from(number % 2));
        let actor = if number % 1000 == 999 {
            "token:rare"
        } else {
            "token:often"
        };
        ledger
            .denied_run(&scope, actor, &workflow, vec![], "rule")
            .await
            .unwrap();
    }
    let rare = AuditFilter {
        actor: Some("token:rare".to_owned()),
        ..AuditFilter::between(from, ledger.now(), 50)
    };
    let before = meter.units().1;
    let pages = trail(&ledger, &scope, rare).await;
    let cost = meter.units().1 - before;
    assert_eq!(pages.iter().flatten().count(), 2);
    assert!(pages.len() > 1, "a page reads all there is");
    assert!(cost < 300.0, "{cost} RRU");
    let all = trail(
        &ledger,
        &scope,
        AuditFilter::between(from, ledger.now(), 100),
    )
    .await;
    let ids: BTreeSet<_> = all.iter().flatten().map(|entry| entry.event_id).collect();
    assert_eq!(
        (ids.len(), all.iter().flatten().count()),
        (2500, 2500),
        "each once"
    );
}

#[tokio::test]
async fn a_token_is_found_by_its_home_alone() {
    let ledger = ledger().await;
    let home = Home::Project("healthcare".parse().unwrap());
    let expires = ledger.now().plus_seconds(60);
    let (token, text) = ledger
        .create_token(&home, Role::Admin, None, None, expires, "test")
        .await
        .unwrap();
    assert!(ledger.token(&home, token.token_id).await.unwrap().is_some());
    let elsewhere = Home::Project("finance".parse().unwrap());
    assert!(
        ledger
            .token(&elsewhere, token.token_id)
            .await
            .unwrap()
            .is_none()
    );
    assert!(text.starts_with("sft.healthcare.tok_"));
    let revoked = ledger
        .revoke_token(&home, token.token_id, "test")
        .await
        .unwrap();
    assert!(revoked.revoked_at.is_some());
}
