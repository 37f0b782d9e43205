//! 74. `notify`: what the account's event bus is told of the ends of runs.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use sealfleet_aws::Unavailable;
use sealfleet_aws::bus::Bus;
use sealfleet_domain::NamePrefix;
use sealfleet_domain::run::{Failure, Fresh, Outcome, Pace, Run};
use sealfleet_functions::notify::{DETAIL_TYPE, Ports, handle};
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
    events: Arc<Mutex<Vec<Value>>>,
    refuses: Arc<Mutex<usize>>,
}

#[async_trait]
impl Bus for Told {
    async fn put(&self, detail_type: &str, detail: &Value) -> Result<(), Unavailable> {
        assert_eq!(detail_type, DETAIL_TYPE);
        let mut refuses = self.refuses.lock().unwrap();
        if *refuses > 0 {
            *refuses -= 1;
            return Err(Unavailable {
                service: "EventBridge",
                detail: "ThrottlingException".to_owned(),
            });
        }
        self.events.lock().unwrap().push(detail.clone());
        Ok(())
    }
}

impl Told {
    fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap().clone()
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
