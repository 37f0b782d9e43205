//! 74. `notify`: what the account's event bus is told of the ends of runs, and of approvals.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use sealfleet_aws::Unavailable;
use sealfleet_aws::bus::Bus;
use sealfleet_domain::approval::{Decision, Verdict};
use sealfleet_domain::run::{Failure, Fresh, Outcome, Pace, Run};
use sealfleet_domain::{NamePrefix, StepId};
use sealfleet_functions::notify::{APPROVAL_DECIDED, APPROVAL_REQUESTED, Ports, RUN_ENDED, handle};
use sealfleet_ledger::store::{Item, Key, Table};
use sealfleet_test_fakes::memory::Changed;
use serde_json::{Value, json};

use crate::trail::{World, record, scope};

const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};

/// Keeps what it is told, and refuses the next events if it has to.
#[derive(Clone, Default)]
struct Told {
    events: Arc<Mutex<Vec<(String, Value)>>>,
    refuses: Arc<Mutex<usize>>,
}

#[async_trait]
impl Bus for Told {
    async fn put(&self, detail_type: &str, detail: &Value) -> Result<(), Unavailable> {
        let mut refuses = self.refuses.lock().unwrap();
        if *refuses > 0 {
            *refuses -= 1;
            return Err(Unavailable {
                service: "EventBridge",
                detail: "ThrottlingException".to_owned(),
            });
        }
        let told = (detail_type.to_owned(), detail.clone());
        self.events.lock().unwrap().push(told);
        Ok(())
    }
}

impl Told {
    /// What it was told of ends of runs.
    fn events(&self) -> Vec<Value> {
        self.of(RUN_ENDED)
    }

    fn of(&self, kind: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        let of_kind = events.iter().filter(|(of, _)| of == kind);
        of_kind.map(|(_, detail)| detail.clone()).collect()
    }

    /// Tells of these changes, which are numbered from `first`. Answers the number of the first
    /// record that has to come again.
    async fn hears(&self, changes: &[Changed], first: usize) -> Option<usize> {
        let ports = Ports {
            bus: Box::new(self.clone()),
            prefix: NamePrefix::default(),
        };
        let mut event = Event::default();
        event.records = changes.iter().zip(first..).map(numbered).collect();
        let answer = handle(&ports, event).await.unwrap();
        let failures = answer.batch_item_failures;
        assert!(failures.len() < 2);
        let number = failures.first()?.item_identifier.as_ref();
        Some(number.unwrap().parse().unwrap())
    }
}

fn numbered((change, number): (&Changed, usize)) -> EventRecord {
    let mut record = record(change);
    record.change.sequence_number = Some(number.to_string());
    record
}

#[tokio::test]
async fn each_end_is_told_once_and_nothing_else() {
    let world = World::new();
    let (run_id, changes) = world.cancelled_run().await;
    let told = Told::default();
    assert_eq!(told.hears(&changes, 0).await, None);
    let events = told.events();
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    let at = event["ended_at"].clone();
    let step = json!({ "id": "a", "state": "aborted", "attempt": 1, "ended_at": at });
    assert_eq!(
        *event,
        json!({
            "version": 1, "end_id": event["end_id"], "installation": "sealfleet", "project": "healthcare",
            "run_id": run_id, "workflow": "w", "labels": {}, "state": "aborted",
            "created_at": event["created_at"], "ended_at": at, "steps": [step],
        })
    );
    // The same record again is the same end; a change of a run that has ended is none.
    told.hears(&changes, 0).await;
    assert_eq!(told.events()[1]["end_id"], event["end_id"]);
    let ended = changes.last().unwrap();
    let mut later = ended.clone();
    later.before.clone_from(&ended.after);
    assert_eq!(told.hears(&[later], 0).await, None);
    assert_eq!(told.events().len(), 2);
}

#[tokio::test]
async fn what_the_bus_does_not_take_comes_again_from_there_on() {
    let world = World::new();
    let mut changes = Vec::new();
    for _ in 0..3 {
        changes.extend(world.cancelled_run().await.1);
    }
    let told = Told::default();
    // The first end is taken, the second is not, the third is not tried.
    assert_eq!(told.hears(&changes[..2], 0).await, None);
    *told.refuses.lock().unwrap() = 1;
    let again = told.hears(&changes[2..], 2).await.unwrap();
    assert_eq!(told.events().len(), 1);
    assert_eq!(told.hears(&changes[again..], again).await, None);
    let mut ids: Vec<String> = told
        .events()
        .iter()
        .map(|event| event["end_id"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!((told.events().len(), ids.len()), (3, 3), "each once");
}

#[tokio::test]
async fn of_a_failure_only_its_kind_is_told() {
    let world = World::new();
    let run_id = world.enqueue(&["a"], None).await;
    let fence = world.claim(run_id, "a", Fresh::Nothing).await;
    let failed = Outcome::Failed {
        failure: Failure::CannotStart {
            cause: None,
            detail: "words from outside".to_owned(),
        },
    };
    let step = "a".parse().unwrap();
    let rule = |run: &mut Run, now| run.finish(&step, None, fence, &failed, PACE, now);
    let scope = scope();
    let done = world.ledger.transition(&scope, run_id, "test", rule);
    done.await.unwrap();
    let changes = std::mem::take(&mut world.stage.lock().stream);
    let told = Told::default();
    assert_eq!(told.hears(&changes, 0).await, None);
    let events = told.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["state"], "failed");
    assert_eq!(events[0]["steps"][0]["failure"], "cannot_start");
    assert!(!events[0].to_string().contains("outside"), "{}", events[0]);
}

/// The change of an approval's row in this partition, from how it was.
fn changed(world: &World, partition: &str, id: &str, before: Option<Arc<Item>>) -> Changed {
    let key = Key {
        pk: format!("PRJ#healthcare#{partition}"),
        sk: id.to_owned(),
    };
    let after = world.stage.lock().tables.get(Table::Ledger, &key);
    Changed {
        table: Table::Ledger,
        key,
        before,
        after,
    }
}

#[tokio::test]
async fn a_request_for_approval_and_its_end_are_told_once_each() {
    let world = World::new();
    let run_id = world.enqueue_waiting("a").await;
    let id = format!("step:{run_id}:a");
    let mut changes = vec![changed(&world, "APPROVALS", &id, None)];
    let step: StepId = "a".parse().unwrap();
    for by in ["token:b", "token:c"] {
        let decision = Decision {
            verdict: Verdict::Approve,
            by: by.to_owned(),
            login: None,
            reason: Some("words of theirs".into()),
            at: world.ledger.now(),
        };
        let rule = |run: &mut Run, now| run.decide(&step, &decision, true, PACE, now);
        let scope = scope();
        let done = world.ledger.transition(&scope, run_id, by, rule);
        done.await.unwrap();
        let waited = changes[0].after.clone();
        changes.push(changed(&world, "APPROVALS", &id, waited));
    }
    changes.push(changed(&world, "DECIDED", &id, None));
    // One of two, and the end of the wait.
    assert!(changes[1].after.is_some() && changes[2].after.is_none());
    for told in [&changes[0], &changes[3]] {
        let mark = told.after.as_ref().unwrap()["notify"].as_s();
        assert_eq!(
            mark.unwrap(),
            "1",
            "the filter of the mapping lets it through"
        );
    }
    let told = Told::default();
    assert_eq!(told.hears(&changes, 0).await, None);
    let (requested, decided) = (told.of(APPROVAL_REQUESTED), told.of(APPROVAL_DECIDED));
    assert_eq!((requested.len(), decided.len()), (1, 1));
    let at = requested[0]["requested_at"].clone();
    assert_eq!(
        requested[0],
        json!({
            "version": 1, "request_id": decided[0]["request_id"], "installation": "sealfleet",
            "project": "healthcare", "approval": id, "kind": "step",
            "state": "pending", "approvers": 2, "requested_at": at,
            "decide_by": requested[0]["decide_by"],
        })
    );
    assert_eq!(decided[0]["state"], "approved");
    assert!(!decided[0].to_string().contains("theirs"), "{decided:?}");
}
