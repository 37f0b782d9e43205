//! What the audit trail tells, and its archive.

use std::time::{Duration, Instant};

use sealfleet_archive::digest::fault::{Fault, Kind};
use sealfleet_client::{AuditQuery, Client, PageQuery, all_pages};
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::{ProjectId, RunId, Timestamp};

use super::report::{Seen, Why};

/// How often to look.
const POLL: Duration = Duration::from_secs(1);

/// All entries of a project, or of one of its runs, oldest first.
async fn read(client: &Client, run: Option<RunId>) -> Result<Vec<AuditEntry>, Why> {
    let list = async |page: &PageQuery| {
        let query = AuditQuery {
            run_id: run,
            page: page.clone(),
            ..AuditQuery::default()
        };
        client.list_audit_entries(&query).await
    };
    Ok(all_pages(list).await?)
}

/// Reads until the trail holds what is asked for, or as long as entries may take to arrive.
pub async fn until(
    client: &Client,
    run: Option<RunId>,
    limit: Duration,
    judge: impl Fn(&[AuditEntry]) -> Seen,
) -> Seen {
    let began = Instant::now();
    loop {
        let seen = judge(&read(client, run).await?);
        if seen.is_ok() || began.elapsed() > limit {
            return seen;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The entry of the first event that `is` holds for.
fn first(entries: &[AuditEntry], is: impl Fn(&Event) -> bool) -> Option<(usize, Timestamp)> {
    let mut all = entries.iter().enumerate();
    let found = all.find(|(_, entry)| entry.events.iter().any(&is))?;
    Some((found.0, found.1.at))
}

/// The run's secret was released, then injected and decrypted, in this order.
pub fn released_first(entries: &[AuditEntry]) -> Seen {
    let released = first(
        entries,
        |event| matches!(event, Event::SecretReleased { secrets, .. } if !secrets.is_empty()),
    );
    let injected = first(entries, |event| {
        matches!(event, Event::ProfileInjected { .. })
    });
    let decrypted = first(entries, |event| {
        matches!(event, Event::SecretDecrypted { .. })
    });
    match (released, injected, decrypted) {
        (None, _, None) => Err(Why::Broken(
            "the trail has no `secret.released` of the run".to_owned(),
        )),
        (None, _, Some(_)) => Err(Why::Broken(
            "a secret was decrypted, and its release is not on record".to_owned(),
        )),
        (Some(released), Some(_), Some(decrypted)) if released <= decrypted => Ok(format!(
            "secret.released at {}, secret.decrypted at {}",
            released.1, decrypted.1
        )),
        (Some(released), Some(_), Some(decrypted)) => Err(Why::Broken(format!(
            "secret.decrypted at {} is before secret.released at {}",
            decrypted.1, released.1
        ))),
        (Some(_), _, _) => Err(Why::Broken(
            "the run has ended, and the trail lacks `profile.injected` or `secret.decrypted`"
                .to_owned(),
        )),
    }
}

/// All entries are the project's, and the refused claim and the refused enqueue are among them.
pub fn of_its_own(entries: &[AuditEntry], project: &ProjectId, refused: &[&str]) -> Seen {
    let foreign = entries
        .iter()
        .find(|entry| entry.project != project.as_str());
    if let Some(foreign) = foreign {
        return Err(Why::Broken(format!(
            "entry {} is of project {}",
            foreign.event_id, foreign.project
        )));
    }
    let events = || entries.iter().flat_map(|entry| &entry.events);
    for name in refused {
        if !events().any(|event| event.name() == *name) {
            return Err(Why::Broken(format!(
                "the trail of {project} does not tell of `{name}`"
            )));
        }
    }
    Ok(format!(
        "{} entries of {project}, `{}` among them",
        entries.len(),
        refused.join("`, `")
    ))
}

/// What the verification of the archive has found. A digest that cannot be read is none, but it is
/// there: only where nothing else is wrong is it too early to tell.
pub fn verifies(faults: &[Fault]) -> Result<(), Why> {
    let mut others = faults.iter().filter(|fault| fault.kind != Kind::NoDigests);
    match (others.next(), faults.is_empty()) {
        (Some(first), _) => Err(Why::Broken(format!(
            "{} faults; the first is {first}",
            faults.len()
        ))),
        (None, false) => Err(Why::NotTried(
            "there is no digest: one is made each hour. It is a fault if the stack is older"
                .to_owned(),
        )),
        (None, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn entry(second: u8, project: &str, event: Value) -> AuditEntry {
        serde_json::from_value(json!({
            "event_id": format!("evt_0198c0de-0000-7000-8000-0000000000{second:02}"),
            "at": format!("2026-01-31T08:00:{second:02}.000Z"), "project": project, "actor": "worker:x",
            "events": [event],
        }))
        .expect("an entry")
    }

    fn released(second: u8) -> AuditEntry {
        let secret =
            json!({ "name": "CANARY", "uri": "builtin://canary", "version": "1", "from": "crm" });
        entry(
            second,
            "a",
            json!({ "type": "secret.released", "step_id": "sees", "fence": 1, "secrets": [secret] }),
        )
    }

    fn injected(second: u8) -> AuditEntry {
        entry(
            second,
            "a",
            json!({ "type": "profile.injected", "step_id": "sees", "fence": 1, "profiles": [] }),
        )
    }

    fn decrypted(second: u8) -> AuditEntry {
        entry(
            second,
            "a",
            json!({ "type": "secret.decrypted", "step_id": "sees", "fence": 1, "profile": "crm",
                "key": "CANARY", "uri": "builtin://canary" }),
        )
    }

    #[test]
    fn a_secret_without_a_release_before_it_is_broken() {
        let right = [released(1), injected(2), decrypted(3)];
        assert!(released_first(&right).is_ok());
        for wrong in [
            vec![],
            vec![injected(2), decrypted(3)],
            vec![decrypted(1), injected(2), released(3)],
            vec![released(1), injected(2)],
            vec![released(1), decrypted(3)],
        ] {
            let seen = released_first(&wrong);
            assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");
        }
    }

    #[test]
    fn a_trail_with_a_foreign_entry_or_without_a_refusal_is_broken() {
        let project: ProjectId = "a".parse().expect("a project");
        let refusal = || {
            entry(
                4,
                "a",
                json!({ "type": "claim.refused", "step_id": "sees", "code": "not_found", "count": 1 }),
            )
        };
        let judge = |entries: &[AuditEntry]| of_its_own(entries, &project, &["claim.refused"]);
        assert!(judge(&[injected(1), refusal()]).is_ok());
        assert!(matches!(judge(&[injected(1)]), Err(Why::Broken(_))));
        let foreign = entry(1, "b", json!({ "type": "run.cancelled" }));
        assert!(matches!(judge(&[foreign, refusal()]), Err(Why::Broken(_))));
    }

    #[test]
    fn an_archive_with_a_fault_is_broken_and_one_without_digests_is_not_tried() {
        let fault = |kind| Fault {
            kind,
            digest: None,
            object: None,
            line: None,
            count: None,
            detail: None,
        };
        assert_eq!(verifies(&[]), Ok(()));
        let early = verifies(&[fault(Kind::NoDigests)]);
        assert!(matches!(early, Err(Why::NotTried(_))), "{early:?}");
        for faults in [
            vec![fault(Kind::LineEdited)],
            vec![fault(Kind::NoDigests), fault(Kind::DigestUnreadable)],
        ] {
            let seen = verifies(&faults);
            assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");
        }
    }
}
