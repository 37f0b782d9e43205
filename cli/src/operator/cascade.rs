//! The cascade: the profiles that a project puts below those that its runs name.

use clap::{Args, Subcommand};
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::{ProfileName, ProfileRef, WorkflowName};

use super::connection::Connection;
use super::failure::Failure;
use super::input::{pair, unique};
use super::output::{Table, answer};

#[derive(Subcommand)]
pub enum Command {
    /// Show the profiles below each run's own profile, lowest level first
    Show,
    /// Change the profiles below each run's own profile; levels that you do not name stay unchanged
    Set(Set),
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct Set {
    /// Operators' profile for the lowest level: `NAME` or `system/NAME`
    #[arg(long, value_name = "PROFILE", value_parser = system_profile)]
    system: Option<ProfileName>,
    /// Default profile of the project
    #[arg(long, value_name = "PROFILE")]
    project: Option<ProfileName>,
    /// Profile of a workflow, as WORKFLOW=PROFILE; may be repeated
    #[arg(long = "workflow", value_name = "WORKFLOW=PROFILE", value_parser = binding)]
    workflows: Vec<(WorkflowName, ProfileName)>,
    /// Remove the operators' profile
    #[arg(long, conflicts_with = "system")]
    clear_system: bool,
    /// Remove the project's default profile
    #[arg(long, conflicts_with = "project")]
    clear_project: bool,
    /// Remove this workflow's profile; may be repeated
    #[arg(long = "clear-workflow", value_name = "WORKFLOW")]
    clear_workflows: Vec<WorkflowName>,
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let before = client.get_cascade().await?;
    let bindings = match command {
        Command::Show => before,
        Command::Set(set) => client.put_cascade(&set.over(before)?).await?,
    };
    answer(connection.output, &bindings, || text(&bindings))
}

impl Set {
    fn over(self, mut bindings: Bindings) -> Result<Bindings, Failure> {
        if self.clear_system || self.system.is_some() {
            bindings.system = self.system;
        }
        if self.clear_project || self.project.is_some() {
            bindings.project = self.project;
        }
        for workflow in &self.clear_workflows {
            if bindings.workflows.remove(workflow).is_none() {
                return Err(Failure::Usage(format!(
                    "no profile is bound to the workflow `{workflow}`"
                )));
            }
        }
        bindings
            .workflows
            .extend(unique("workflow", self.workflows)?);
        Ok(bindings)
    }
}

fn text(bindings: &Bindings) -> String {
    let mut table = Table::new(["LEVEL", "WORKFLOW", "PROFILE"]);
    if let Some(name) = &bindings.system {
        table.row([
            "system".to_owned(),
            "all".to_owned(),
            ProfileRef::System(name.clone()).to_string(),
        ]);
    }
    if let Some(name) = &bindings.project {
        table.row(["project".to_owned(), "all".to_owned(), name.to_string()]);
    }
    for (workflow, name) in &bindings.workflows {
        table.row([
            "workflow".to_owned(),
            workflow.to_string(),
            name.to_string(),
        ]);
    }
    table.text()
}

/// Parses a system profile: `NAME` or `system/NAME`.
fn system_profile(text: &str) -> Result<ProfileName, String> {
    text.strip_prefix("system/")
        .unwrap_or(text)
        .parse()
        .map_err(|error| format!("{error}"))
}

fn binding(text: &str) -> Result<(WorkflowName, ProfileName), String> {
    let (workflow, profile) =
        pair(text).map_err(|_| "write it as `WORKFLOW=PROFILE`".to_owned())?;
    let workflow = workflow.parse().map_err(|error| format!("{error}"))?;
    Ok((
        workflow,
        profile.parse().map_err(|error| format!("{error}"))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    fn set(arguments: &[&str]) -> Set {
        Line::try_parse_from([&["x"], arguments].concat())
            .expect("arguments")
            .set
    }

    #[test]
    fn levels_that_are_not_named_stay() {
        let before = set(&[
            "--system",
            "system/base",
            "--project",
            "crm",
            "--workflow",
            "billing=bill",
        ]);
        let before = before.over(Bindings::default()).expect("bindings");
        assert_eq!(
            before.system.as_ref().map(ProfileName::as_str),
            Some("base")
        );
        let after = set(&[
            "--clear-project",
            "--clear-workflow",
            "billing",
            "--workflow",
            "triage=t",
        ]);
        let after = after.over(before.clone()).expect("bindings");
        assert_eq!((after.system, after.project), (before.system, None));
        assert_eq!(
            after
                .workflows
                .keys()
                .map(WorkflowName::as_str)
                .collect::<Vec<_>>(),
            ["triage"]
        );
        assert!(
            set(&["--clear-workflow", "nothing"])
                .over(Bindings::default())
                .is_err()
        );
        assert!(Line::try_parse_from(["x"]).is_err(), "nothing to change");
        assert!(Line::try_parse_from(["x", "--project", "a", "--clear-project"]).is_err());
    }
}
