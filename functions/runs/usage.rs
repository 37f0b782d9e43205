//! What steps have used: the sums of the caller's own project; for operators, of every project.
//!
//! Operators see sums and no runs (`docs/decisions/009-operator-does-not-enter-projects.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{Page, PricesView, UsageRow, UsageSums};
use sealfleet_api::{Problem, cursor};
use sealfleet_domain::usage::Sums;
use sealfleet_domain::{Owner, ProjectId, ProjectScope, Timestamp};
use sealfleet_ledger::{Ledger, UsedBy};
use serde::{Deserialize, Serialize};

use super::Ports;
use crate::shared::auth::OwnerCaller;
use crate::shared::fault::{Answered, Fault};

/// Days that one query spans at most.
const MOST_DAYS: i64 = 92;
/// Days that are read when no `from` is given.
const DEFAULT_DAYS: i64 = 30;
/// Sums of one project that one query adds up at most.
const MOST_SUMS: usize = 100_000;
/// Projects that one page looks at.
const PROJECTS: usize = 10;

/// What sums can be asked for by.
const GROUPS: [&str; 4] = ["day", "workflow", "profile", "model"];

/// What a row is summed by, each in its place: day, workflow, profile, model. Empty where it is not
/// asked for, and where there is none.
type Group = [String; 4];

/// What a query asks for.
struct Asked {
    from: String,
    to: String,
    by: BTreeSet<String>,
}

/// Where a list goes on: after this group of this project. Without a group: after the project.
#[derive(Serialize, Deserialize)]
struct After {
    project: ProjectId,
    group: Option<Group>,
}

pub(super) async fn sums(ports: &Ports, caller: OwnerCaller, request: &Request) -> Answered {
    let ledger = &ports.ledger;
    let asked = asked(request, &caller.owner, ledger.now())?;
    let (scope, list) = (caller.owner.name(), asked.list());
    let after = request
        .query
        .get("cursor")
        .map(|text| after(scope, &list, text))
        .transpose()?;
    let limit = request.limit()?;
    let (projects, more) = projects(ledger, &caller.owner, after.as_ref()).await?;
    let answer = |items: Vec<UsageRow>, next: Option<After>| {
        let next_cursor = next.and_then(|next| serde_json::to_string(&next).ok());
        let next_cursor = next_cursor.map(|after| cursor::write(scope, &list, &after));
        Answer::json(200, &Page { items, next_cursor })
    };
    let (mut items, mut last) = (Vec::new(), None);
    for project in projects {
        let groups = groups(ledger, &project, &asked).await?;
        let from = match &after {
            Some(After {
                project: begun,
                group: Some(group),
            }) if *begun == project => Excluded(group.clone()),
            _ => Unbounded,
        };
        for (group, sums) in groups.range((from, Unbounded)) {
            if items.len() == limit {
                return answer(items, last);
            }
            items.push(row(&project, group.clone(), sums));
            last = Some(After {
                project: project.clone(),
                group: Some(group.clone()),
            });
        }
        last = Some(After {
            project,
            group: None,
        });
    }
    answer(items, last.filter(|_| more))
}

pub(super) async fn prices(ports: &Ports, _: OwnerCaller) -> Answered {
    let prices = ports.ledger.prices();
    let view = PricesView {
        sandboxes: prices.tag_of_sandboxes(),
        models: prices.tags_of_models(),
    };
    Answer::json(200, &view)
}

/// The projects to read, and whether there may be more after them.
async fn projects(
    ledger: &Ledger,
    owner: &Owner,
    after: Option<&After>,
) -> Result<(Vec<ProjectId>, bool), Fault> {
    if let Owner::Project(scope) = owner {
        return Ok((vec![scope.project().clone()], false));
    }
    let last = after.map(|after| after.project.as_str());
    let found = ledger.projects(last, PROJECTS).await?;
    let begun = after.filter(|after| after.group.is_some());
    let begun = begun.map(|after| after.project.clone());
    let all = begun.into_iter().chain(found.items).collect();
    Ok((all, found.more_after.is_some()))
}

/// The sums of a project, by what is asked for.
async fn groups(
    ledger: &Ledger,
    project: &ProjectId,
    asked: &Asked,
) -> Result<BTreeMap<Group, Sums>, Fault> {
    let scope = ProjectScope::of_stored_row(project.clone());
    let used = ledger
        .used(&scope, (&asked.from, &asked.to), MOST_SUMS)
        .await?
        .ok_or_else(|| Problem::invalid("from", "these are too many sums; ask for fewer days"))?;
    let mut groups = BTreeMap::new();
    for (by, sums) in used {
        let UsedBy {
            day,
            workflow,
            profile,
            model,
        } = by;
        let mut group = [day, workflow.to_string(), profile, model];
        for (part, name) in group.iter_mut().zip(GROUPS) {
            if !asked.by.contains(name) {
                part.clear();
            }
        }
        let all: &mut Sums = groups.entry(group).or_default();
        *all = all.plus(&sums);
    }
    Ok(groups)
}

fn row(project: &ProjectId, group: Group, sums: &Sums) -> UsageRow {
    let [day, workflow, profile, model] =
        group.map(|part| Some(part).filter(|part| !part.is_empty()));
    UsageRow {
        project: project.clone(),
        day,
        workflow: workflow.and_then(|workflow| workflow.parse().ok()),
        profile,
        model,
        used: UsageSums::from(sums),
    }
}

fn asked(request: &Request, owner: &Owner, now: Timestamp) -> Result<Asked, Problem> {
    let day = |name: &str| {
        let text = request.query.get(name);
        text.map(|text| day_of(text).ok_or_else(|| not_a_day(name)))
            .transpose()
    };
    let to = day("to")?.unwrap_or_else(|| now.day_number());
    let from = day("from")?.unwrap_or(to - DEFAULT_DAYS + 1);
    if to < from || to - from >= MOST_DAYS {
        let detail = format!("`from` is not after `to`, and they span {MOST_DAYS} days at most");
        return Err(Problem::invalid("from", detail));
    }
    let by = request.query.get("group_by").map_or("day", String::as_str);
    let by: BTreeSet<String> = by.split(',').map(str::to_owned).collect();
    if !by.iter().all(|name| GROUPS.contains(&name.as_str())) {
        let detail =
            "use `day`, `workflow`, `profile` or `model`, or several with commas between them";
        return Err(Problem::invalid("group_by", detail));
    }
    let named = by.contains("workflow") || by.contains("profile");
    if named && matches!(owner, Owner::System) {
        let detail = "operators see sums by `day` and `model`: names of workflows and profiles are a project's own";
        return Err(Problem::invalid("group_by", detail));
    }
    Ok(Asked {
        from: Timestamp::of_day(from).day(),
        to: Timestamp::of_day(to).day(),
        by,
    })
}

/// The number of a day that is written as `YYYY-MM-DD`.
fn day_of(text: &str) -> Option<i64> {
    let midnight = Timestamp::parse(&format!("{text}T00:00:00Z")).ok()?;
    (midnight.day() == text).then(|| midnight.day_number())
}

fn not_a_day(name: &str) -> Problem {
    Problem::invalid(
        name,
        "write a UTC day as `YYYY-MM-DD`, for example `2026-11-30`",
    )
}

fn after(scope: &str, list: &str, text: &str) -> Result<After, Problem> {
    let after = cursor::read(scope, list, text)?;
    serde_json::from_str(&after)
        .map_err(|_| Problem::invalid("cursor", "the cursor is not of this list"))
}

impl Asked {
    /// The name of the list, which cursors are bound to.
    fn list(&self) -> String {
        let by: Vec<&str> = self.by.iter().map(String::as_str).collect();
        format!("usage:{}:{}:{}", self.from, self.to, by.join(","))
    }
}
