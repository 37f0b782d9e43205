//! `audit path`: the path of a credential, from its reference to the end of each sandbox that got
//! it, and who enqueued the run. The trail tells it; what a run is now adds the tool, the pool and
//! the sandbox. The console shows the same stations (`console/src/path.ts`), and
//! `scripts/test-console` compares the two.

use std::collections::btree_map::{BTreeMap, Entry};

use clap::Args;
use sealfleet_client::types::RunView;
use sealfleet_client::{AuditQuery, Client, all_pages};
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::fence::Fence;
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::{RunId, StepId, Timestamp};
use serde::Serialize;

use super::connection::Connection;
use super::failure::Failure;
use super::listing::first;
use super::output::{answer, word};
use super::trail::{Key, key};

/// Releases that are shown where no limit is given.
const RELEASES: u32 = 20;

#[derive(Args)]
pub struct PathOf {
    /// The key: `API_KEY`, or `PROFILE/API_KEY`
    #[arg(value_name = "[PROFILE/]KEY", value_parser = key)]
    key: Key,
    /// Show only releases to this run
    #[arg(long)]
    run: Option<RunId>,
    /// Show only releases from this time on; without it, those of the last day
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// Show only releases before this time
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    to: Option<Timestamp>,
    /// Show at most this many releases, oldest first
    #[arg(long, value_name = "NUMBER", default_value_t = RELEASES, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// The path of one release.
#[derive(Serialize)]
struct Path {
    run_id: RunId,
    step_id: StepId,
    fence: Fence,
    stations: Vec<Station>,
}

/// A station of a path.
#[derive(Serialize)]
struct Station {
    name: &'static str,
    what: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    more: String,
}

#[derive(Serialize)]
struct Paths {
    items: Vec<Path>,
}

/// One release of the key to one claim of a step.
struct Release {
    run_id: RunId,
    step_id: StepId,
    fence: Fence,
    at: Timestamp,
    secret: SecretRef,
}

pub(super) async fn run(of: PathOf, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let most = usize::try_from(of.limit).unwrap_or(usize::MAX);
    let query = AuditQuery {
        run_id: of.run,
        profile: of.key.profile.clone(),
        key: Some(of.key.key.clone()),
        types: vec!["secret.released".to_owned()],
        from: of.from,
        to: of.to,
        ..AuditQuery::default()
    };
    let entries = first(most, async |page| {
        let page = page.clone();
        client
            .list_audit_entries(&AuditQuery {
                page,
                ..query.clone()
            })
            .await
    });
    let mut stories = BTreeMap::new();
    let mut items = Vec::new();
    for release in releases(&entries.await?.items, &of.key)
        .into_iter()
        .take(most)
    {
        let story = match stories.entry(release.run_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(story(&client, release.run_id).await?),
        };
        items.push(path(&release, &story.0, &story.1));
    }
    let paths = Paths { items };
    answer(connection.output, &paths, || paths.text())
}

/// What the trail tells of a run, and what it is now.
async fn story(client: &Client, run_id: RunId) -> Result<(Vec<AuditEntry>, RunView), Failure> {
    let query = AuditQuery {
        run_id: Some(run_id),
        ..AuditQuery::default()
    };
    let entries = all_pages(async |page| {
        let page = page.clone();
        client
            .list_audit_entries(&AuditQuery {
                page,
                ..query.clone()
            })
            .await
    });
    Ok((entries.await?, client.get_run(run_id).await?))
}

fn releases(entries: &[AuditEntry], key: &Key) -> Vec<Release> {
    let mut found = Vec::new();
    for entry in entries {
        for event in &entry.events {
            let (
                Some(run_id),
                Event::SecretReleased {
                    step_id,
                    fence,
                    secrets,
                },
            ) = (entry.run_id, event)
            else {
                continue;
            };
            let ours = secrets.iter().filter(|secret| {
                secret.name == key.key
                    && key
                        .profile
                        .as_ref()
                        .is_none_or(|profile| secret.from == *profile)
            });
            found.extend(ours.map(|secret| Release {
                run_id,
                step_id: step_id.clone(),
                fence: *fence,
                at: entry.at,
                secret: secret.clone(),
            }));
        }
    }
    found
}

fn path(release: &Release, entries: &[AuditEntry], run: &RunView) -> Path {
    let Release {
        run_id,
        step_id,
        fence,
        at,
        secret,
    } = release;
    let ours = |step: &StepId, of: Fence| step == step_id && of == *fence;
    let events = || {
        let of = |entry| -> &AuditEntry { entry };
        entries
            .iter()
            .flat_map(move |entry| of(entry).events.iter().map(move |event| (entry, event)))
    };
    let enqueued = events().find_map(|(entry, event)| match event {
        Event::RunEnqueued {
            workflow, profiles, ..
        } => Some((entry, workflow, profiles)),
        _ => None,
    });
    let injected = events().find_map(|(_, event)| match event {
        Event::ProfileInjected {
            step_id,
            fence,
            profiles,
        } if ours(step_id, *fence) => Some(profiles),
        _ => None,
    });
    let leased = events().find_map(|(_, event)| match event {
        Event::StepLeased {
            step_id,
            fence,
            worker_id,
            mode,
            ..
        } if ours(step_id, *fence) => Some((worker_id, mode)),
        _ => None,
    });
    let running = events().find_map(|(entry, event)| match event {
        Event::StepRunning { step_id, fence } if ours(step_id, *fence) => Some(entry.at),
        _ => None,
    });
    let used = injected
        .or(enqueued.map(|(_, _, profiles)| profiles))
        .and_then(|uses| uses.iter().find(|used| used.profile == secret.from));
    let view = run.steps.iter().find(|step| step.id == *step_id);
    let asked = run.document.as_ref().and_then(|document| {
        let mut steps = document.steps.iter();
        steps.find(|step| step.id == *step_id)?.tool.as_ref()
    });
    let last = view.filter(|view| view.fence == *fence);
    let (end, why) = events()
        .find_map(|(entry, event)| end(event, step_id, *fence, last.is_some(), entry.at))
        .unwrap_or_else(|| ("goes on".to_owned(), String::new()));
    let none = String::new;
    let stations = [
        ("reference", secret.uri.to_string(), none()),
        (
            "version",
            secret
                .version
                .clone()
                .unwrap_or_else(|| "not pinned".to_owned()),
            none(),
        ),
        (
            "profile",
            secret.from.to_string(),
            used.map(|used| format!("version {}", used.version))
                .unwrap_or_default(),
        ),
        (
            "level",
            used.map_or_else(|| "unknown".to_owned(), |used| word(&used.level)),
            none(),
        ),
        (
            "run",
            run_id.to_string(),
            enqueued
                .map(|(entry, workflow, _)| {
                    format!(
                        "workflow {workflow}, enqueued by {} at {}",
                        entry.actor, entry.at
                    )
                })
                .unwrap_or_default(),
        ),
        (
            "step",
            step_id.to_string(),
            format!(
                "fence {fence}{}, released at {at}",
                leased
                    .map(|(_, mode)| format!(", mode {}", word(mode)))
                    .unwrap_or_default()
            ),
        ),
        (
            "tool",
            asked.map_or_else(|| "none".to_owned(), ToString::to_string),
            none(),
        ),
        (
            "worker",
            leased.map_or_else(|| "unknown".to_owned(), |(worker, _)| worker.to_string()),
            view.map(|view| format!("pool {}", view.pool))
                .unwrap_or_default(),
        ),
        (
            "sandbox",
            last.and_then(|view| view.handle.clone())
                .unwrap_or_else(|| "not recorded".to_owned()),
            running.map_or_else(
                || "never started".to_owned(),
                |at| format!("running at {at}"),
            ),
        ),
        ("end", end, why),
    ];
    Path {
        run_id: *run_id,
        step_id: step_id.clone(),
        fence: *fence,
        stations: stations
            .into_iter()
            .map(|(name, what, more)| Station { name, what, more })
            .collect(),
    }
}

/// How the claim ended, if the event says it, and why. An end from outside names no fence: it is
/// that of the last claim.
fn end(
    event: &Event,
    step: &StepId,
    claim: Fence,
    last: bool,
    at: Timestamp,
) -> Option<(String, String)> {
    let (name, why) = match event {
        Event::StepSucceeded { step_id, fence } if step_id == step && *fence == claim => {
            ("succeeded", String::new())
        }
        Event::StepFailed {
            step_id,
            fence,
            failure,
        } if step_id == step && *fence == claim => ("failed", kind(failure)),
        Event::StepRequeued {
            step_id,
            fence,
            reason,
            ..
        } if step_id == step && *fence == claim => ("requeued", word(reason)),
        Event::StepAborted { step_id, reason } if last && step_id == step => {
            ("aborted", kind(reason))
        }
        Event::StepDead { step_id, reason } if last && step_id == step => ("dead", word(reason)),
        _ => return None,
    };
    let comma = if why.is_empty() { "" } else { ", " };
    Some((name.to_owned(), format!("{why}{comma}at {at}")))
}

/// The `kind` of a failure or of a reason.
fn kind(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let kind = value.get("kind").and_then(serde_json::Value::as_str);
    kind.unwrap_or_default().to_owned()
}

impl Paths {
    fn text(&self) -> String {
        if self.items.is_empty() {
            return "the key was not released in this time\n".to_owned();
        }
        let texts: Vec<String> = self.items.iter().map(Path::text).collect();
        texts.join("\n")
    }
}

impl Path {
    /// A line for each station.
    fn text(&self) -> String {
        let lines = self.stations.iter().map(|station| {
            let Station { name, what, more } = station;
            let more = if more.is_empty() {
                String::new()
            } else {
                format!("  ({more})")
            };
            format!("{name:<10} {what}{more}\n")
        });
        lines.collect()
    }
}
