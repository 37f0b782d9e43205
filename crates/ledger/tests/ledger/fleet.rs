//! Workers of whom several tell and decide at once.

use std::collections::BTreeSet;

use futures_util::future::join;
use sealfleet_domain::ApprovalId;
use sealfleet_domain::approval::{Decision, Verdict};
use sealfleet_domain::fleet::{Sandboxes, WorkerStatus};
use sealfleet_ledger::Registration;

use crate::fixtures::{ledger_alone, scope, worker};

#[tokio::test]
async fn an_approval_takes_back_nothing_that_the_worker_tells_meanwhile() {
    let ledger = ledger_alone().await;
    let scope = scope("healthcare");
    let sandboxes = Sandboxes {
        backends: BTreeSet::from(["bubblewrap".to_owned()]),
        egress: true,
        ..Sandboxes::default()
    };
    // Which of the two writes first is up to them.
    for _ in 0..16 {
        let mut new = worker(&ledger, 1);
        new.status = WorkerStatus::Pending;
        let id = new.worker_id;
        ledger
            .register_worker(&scope, &new, Registration::Pending, "test")
            .await
            .unwrap();
        let told = ledger.note_sandboxes(&scope, id, sandboxes.clone(), "worker");
        let decision = Decision {
            verdict: Verdict::Approve,
            by: "admin".to_owned(),
            login: None,
            reason: None,
            at: ledger.now(),
        };
        let approval = ApprovalId::Worker { worker_id: id };
        let approved = ledger.decide(&scope, &approval, decision, true);
        let (told, approved) = join(told, approved).await;
        told.unwrap();
        approved.unwrap();
        let stored = ledger.worker(scope.project(), id).await.unwrap().unwrap();
        assert_eq!(
            (stored.status, stored.sandboxes),
            (WorkerStatus::Approved, sandboxes.clone())
        );
    }
}
