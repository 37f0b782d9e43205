//! `profile resolve`: shows key by key what a run would start with.

use clap::Args;
use sealfleet_client::types::{ResolveCascade, ResolvedCascade, ResolvedKey};
use sealfleet_domain::cascade::{Origin, Overrides};
use sealfleet_domain::{ProfileName, ToolName, WorkflowName};

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::input::{pair, unique};
use super::super::output::{Table, answer, levels, lines, or_dash, word};

#[derive(Args)]
pub struct Question {
    /// Workflow of the run
    #[arg(long)]
    workflow: WorkflowName,
    /// Take the run for one of the registered workflow of that name
    #[arg(long)]
    registered: bool,
    /// Profile that the run names
    #[arg(long)]
    profile: Option<ProfileName>,
    /// Plain environment variable that the run sets itself, as KEY=VALUE; may be repeated
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Key that the run removes; may be repeated
    #[arg(long = "remove", value_name = "KEY")]
    remove: Vec<String>,
    /// Tool whose view to show: which secrets it would see
    #[arg(long)]
    tool: Option<ToolName>,
}

pub(super) async fn run(connection: &Connection, question: Question) -> Result<(), Failure> {
    let Question {
        workflow,
        registered,
        profile,
        env,
        remove,
        tool,
    } = question;
    let overrides = Overrides {
        env: unique("env", env)?,
        remove: remove.into_iter().collect(),
    };
    let request = ResolveCascade {
        workflow,
        registered,
        profile,
        overrides,
        tool,
    };
    let resolved = connection.client()?.resolve_cascade(&request).await?;
    answer(connection.output, &resolved, || text(&resolved))
}

fn text(resolved: &ResolvedCascade) -> String {
    let mut table = Table::new([
        "KEY",
        "KIND",
        "VALUE OR REFERENCE",
        "DELIVERY",
        "LEVEL",
        "PROFILE",
        "SEEN",
        "REVOKED BY",
    ]);
    for key in &resolved.keys {
        let (kind, value) = kind_and_value(key);
        let [level, profile] = origin(&key.origin);
        let seen = if key.seen { "yes" } else { "no" }.to_owned();
        table.row([
            key.key.clone(),
            kind.to_owned(),
            value,
            key.delivery.to_string(),
            level,
            profile,
            seen,
            or_dash(key.revoked_by),
        ]);
    }
    for (key, by) in &resolved.removed {
        let [level, profile] = origin(by);
        table.row([
            key.clone(),
            "removed".to_owned(),
            or_dash(None::<&str>),
            or_dash(None::<&str>),
            level,
            profile,
            "no".to_owned(),
            or_dash(None::<&str>),
        ]);
    }
    format!(
        "{}\n{}",
        lines([
            ("profiles", levels(&resolved.profiles)),
            ("egress", or_dash(resolved.egress.as_ref())),
            ("egress ceiling", or_dash(resolved.egress_ceiling.as_ref())),
        ]),
        table.text()
    )
}

fn kind_and_value(key: &ResolvedKey) -> (&'static str, String) {
    match &key.secret {
        Some(reference) => ("secret", reference.to_string()),
        None => ("env", or_dash(key.value.as_ref())),
    }
}

/// The level that set the key and its profile. The run's own overrides have no profile.
fn origin(origin: &Origin) -> [String; 2] {
    [word(&origin.level), or_dash(origin.profile.as_ref())]
}
