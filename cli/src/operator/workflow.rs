//! Registered workflows: written once, approved by somebody else, run by name.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use sealfleet_client::types::{
    RegisterWorkflow, RunWorkflow, WorkflowDefinition, WorkflowVersionView, WorkflowView,
};
use sealfleet_domain::{WorkflowName, limits};
use serde_json::Value;

use super::connection::Connection;
use super::failure::Failure;
use super::input;
use super::listing::Listing;
use super::output::{Table, answer, lines, moment, page, word};
use super::run::{document, show, until_ended};

/// The longest request body, in bytes.
const MOST: u64 = limits::BODY_BYTES as u64;

#[derive(Subcommand)]
pub enum Command {
    /// Register a version of a workflow; somebody else has to approve it
    Register {
        /// Name of the workflow
        name: WorkflowName,
        /// File with the definition as YAML or JSON; `-` reads standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List registered workflows
    List(Listing),
    /// Show the versions of a workflow, newest first
    Show {
        /// Name of the workflow, or one version of it: NAME@VERSION
        workflow: Named,
        #[command(flatten)]
        listing: Listing,
    },
    /// Take a workflow out of use; its runs go on
    Retire {
        /// Name of the workflow
        name: WorkflowName,
    },
    /// Run a workflow with parameters
    Run {
        /// Name of the workflow, or with the version that you expect to be live: NAME@VERSION
        workflow: Named,
        /// Parameter as NAME=VALUE: JSON, or else a text; may be repeated
        #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = input::pair)]
        parameters: Vec<(String, String)>,
        /// Parameter as NAME=FILE, whose text is the value; may be repeated
        #[arg(long = "parameter-file", value_name = "NAME=FILE", value_parser = input::pair)]
        files: Vec<(String, String)>,
        /// Key of this request: retrying with the same key never creates a second run
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        /// Label of the run, as KEY=VALUE; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = input::pair)]
        labels: Vec<(String, String)>,
        /// Wait until the run ends, with progress on standard error
        #[arg(long)]
        watch: bool,
    },
}

/// A workflow, and perhaps a version of it.
#[derive(Clone, Debug)]
pub struct Named {
    name: WorkflowName,
    version: Option<u32>,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let number = |text: &str| text.parse().map_err(|_| "a version is a number".to_owned());
        Ok(Self {
            name: name.parse().map_err(|error| format!("{error}"))?,
            version: version.map(number).transpose()?,
        })
    }
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let output = connection.output;
    match command {
        Command::Register { name, file } => {
            if file.as_os_str() == "-" && connection.takes_standard_input() {
                let both = "standard input cannot hold both the token and the definition";
                return Err(Failure::Usage(both.to_owned()));
            }
            let text = input::file(&file, MOST)?;
            let source = file.display().to_string();
            let definition: WorkflowDefinition = document::read_as(&text, &source, "definition")?;
            let request = RegisterWorkflow { name, definition };
            let version = connection.client()?.register_workflow(&request).await?;
            answer(output, &version, || registered(&version))
        }
        Command::List(listing) => {
            let client = connection.client()?;
            let all = listing.read(async |page| client.list_workflows(page).await);
            page(output, &all.await?, table)
        }
        Command::Show { workflow, listing } => {
            let client = connection.client()?;
            let name = &workflow.name;
            let versions =
                listing.read(async |page| client.list_workflow_versions(name, page).await);
            let mut versions = versions.await?;
            if let Some(version) = workflow.version {
                versions.items.retain(|one| one.version == version);
                let found = versions.items.first();
                let found = found.ok_or_else(|| no_version(name, version))?;
                return answer(output, found, || whole(found));
            }
            page(output, &versions, versions_table)
        }
        Command::Retire { name } => {
            let retired = connection.client()?.retire_workflow(&name).await?;
            answer(output, &retired, || summary(&retired))
        }
        Command::Run {
            workflow,
            parameters,
            files,
            idempotency_key,
            labels,
            watch,
        } => {
            let request = RunWorkflow {
                version: workflow.version,
                parameters: given(parameters, files)?,
                labels: input::unique("label", labels)?,
            };
            let client = connection.client()?;
            let run = client.run_workflow(&workflow.name, &request, idempotency_key.as_deref());
            let run = run.await?;
            if watch {
                return until_ended(&client, output, run.run_id, None).await;
            }
            answer(output, &run, || show::text(&run))
        }
    }
}

/// The values of parameters. A text that is JSON is what it says: `3` is a number, `"3"` a text.
fn given(
    parameters: Vec<(String, String)>,
    files: Vec<(String, String)>,
) -> Result<serde_json::Map<String, Value>, Failure> {
    let texts = input::unique("parameter", parameters)?;
    let mut all = serde_json::Map::new();
    for (name, text) in texts {
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        all.insert(name, value);
    }
    for (name, file) in input::unique("parameter-file", files)? {
        let text = input::file(file.as_ref(), MOST)?;
        let value = Value::String(text.to_string());
        if all.insert(name.clone(), value).is_some() {
            let twice = format!("the parameter `{name}` is given twice");
            return Err(Failure::Usage(twice));
        }
    }
    Ok(all)
}

fn no_version(name: &WorkflowName, version: u32) -> Failure {
    Failure::Usage(format!("`{name}` has no version {version}"))
}

fn table(workflows: &[WorkflowView]) -> Table {
    let mut table = Table::new(["WORKFLOW", "LIVE", "PENDING", "NEWEST"]);
    for workflow in workflows {
        table.row([
            workflow.name.to_string(),
            number(workflow.live),
            number(workflow.pending),
            workflow.newest.to_string(),
        ]);
    }
    table
}

fn versions_table(versions: &[WorkflowVersionView]) -> Table {
    let mut table = Table::new(["VERSION", "STATE", "REGISTERED", "BY", "HASH"]);
    for version in versions {
        table.row([
            format!("{}@{}", version.workflow, version.version),
            word(&version.state),
            moment(version.registered_at),
            version.registered_by.clone(),
            version.hash.to_string(),
        ]);
    }
    table
}

fn number(version: Option<u32>) -> String {
    version
        .map(|version| version.to_string())
        .unwrap_or_default()
}

fn summary(workflow: &WorkflowView) -> String {
    lines([
        ("workflow", workflow.name.to_string()),
        ("live", number(workflow.live)),
        ("pending", number(workflow.pending)),
        ("newest", workflow.newest.to_string()),
    ])
}

fn registered(version: &WorkflowVersionView) -> String {
    let next = format!(
        "somebody else approves it: sealfleet approval show workflow:{}@{}",
        version.workflow, version.version
    );
    let mut rows = heads(version).to_vec();
    rows.push(("next", next));
    lines(rows)
}

fn heads(version: &WorkflowVersionView) -> [(&'static str, String); 6] {
    [
        ("workflow", version.workflow.to_string()),
        ("version", version.version.to_string()),
        ("state", word(&version.state)),
        ("registered", moment(version.registered_at)),
        ("by", version.registered_by.clone()),
        ("hash", version.hash.to_string()),
    ]
}

/// A version with its definition, as a file that registers it again.
pub(super) fn whole(version: &WorkflowVersionView) -> String {
    let definition = serde_json::to_string_pretty(&version.definition).unwrap_or_default();
    format!("{}\n{definition}\n", lines(heads(version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_stands_below_the_rest() {
        let answer = include_str!("../../../crates/api/answers/register_workflow.json");
        let version = serde_json::from_str(answer).expect("a version");
        let text = registered(&version);
        let column = |line: &str| {
            line.find("  ")
                .map(|gap| gap + line[gap..].len() - line[gap..].trim_start().len())
        };
        let columns: Vec<_> = text.lines().map(column).collect();
        assert!(
            text.contains("next ") && columns.windows(2).all(|pair| pair[0] == pair[1]),
            "{text}"
        );
    }
}
