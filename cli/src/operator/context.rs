//! Contexts: which control plane commands talk to, and as whom.

use clap::Subcommand;
use serde_json::json;

use super::connection::Connection;
use super::failure::Failure;
use super::near;
use super::output::{Table, answer, lines, list, or_dash};
use crate::contexts::{Context, Contexts, Name, Place};

#[derive(Subcommand)]
pub enum Command {
    /// List contexts; a star marks the current one
    List,
    /// Make a context the current one
    Use {
        /// Name of the context
        name: Name,
    },
    /// Show a context: the current one, unless you name one
    Show {
        /// Name of the context
        name: Option<Name>,
    },
    /// Remove a context and the token that `login` stored for it; the token stays valid
    Remove {
        /// Name of the context
        name: Name,
    },
}

pub(super) fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let place = Place::of_user()?;
    let all = place.load()?;
    let output = connection.output;
    match command {
        Command::List => {
            let contexts: Vec<_> = all
                .contexts
                .iter()
                .map(|(name, context)| shown(&all, name, context))
                .collect();
            list(output, &contexts, || table(&all))
        }
        Command::Use { name } => {
            // What is not there makes no file.
            found(&all, &name)?;
            place.change(|all| {
                found(all, &name)?;
                all.current = Some(name.clone());
                Ok::<_, Failure>(())
            })?;
            answer(output, &json!({ "current": name }), || {
                format!("{name} is the current context\n")
            })
        }
        Command::Show { name } => {
            let name = name.or(connection.context.clone()).or(all.current.clone());
            let name = name.ok_or_else(|| {
                Failure::Usage(
                    "there is no current context: log in with `sealfleet login`".to_owned(),
                )
            })?;
            let context = found(&all, &name)?;
            answer(output, &shown(&all, &name, context), || {
                let store = context.builtin.as_ref();
                lines([
                    ("context", name.to_string()),
                    ("api", context.api_url.clone()),
                    ("token", context.token_file.display().to_string()),
                    (
                        "secrets",
                        or_dash(store.map(|builtin| builtin.store.display())),
                    ),
                ])
            })
        }
        Command::Remove { name } => {
            found(&all, &name)?;
            place.remove(&name).map_err(Failure::other)?;
            answer(output, &json!({ "context": name, "removed": true }), || {
                format!("{name} is removed; its token stays valid until it expires or is revoked\n")
            })
        }
    }
}

fn found<'a>(all: &'a Contexts, name: &Name) -> Result<&'a Context, Failure> {
    all.contexts.get(name).ok_or_else(|| {
        Failure::Usage(near::unknown(
            "context",
            &name.to_string(),
            all.contexts.keys(),
        ))
    })
}

fn shown(all: &Contexts, name: &Name, context: &Context) -> serde_json::Value {
    let current = all.current.as_ref() == Some(name);
    json!({ "name": name, "current": current, "context": context })
}

fn table(all: &Contexts) -> Table {
    let mut table = Table::new(["CURRENT", "CONTEXT", "API", "TOKEN"]);
    for (name, context) in &all.contexts {
        let current = all.current.as_ref() == Some(name);
        table.row([
            if current { "*" } else { "" }.to_owned(),
            name.to_string(),
            context.api_url.clone(),
            context.token_file.display().to_string(),
        ]);
    }
    table
}
