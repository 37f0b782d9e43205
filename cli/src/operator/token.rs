//! API tokens.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use sealfleet_client::NewFile;
use sealfleet_client::types::{CreateToken, TokenCreated, TokenView};
use sealfleet_domain::access::Role;
use sealfleet_domain::credential::Home;
use sealfleet_domain::{Clock as _, Line, ProjectId, TokenId};
use sealfleet_ledger::{Dynamo, Ledger, Tables};
use sealfleet_system::{SystemClock, SystemIds};

use super::aws;
use super::connection::Connection;
use super::failure::Failure;
use super::handover::{keep, new_file, or_revoked, print};
use super::input::seconds;
use super::listing::Listing;
use super::output::{Output, Table, ago, answer, lines, moment, note, or_dash, page, word};

/// The actor of bootstraps in the audit trail.
const BOOTSTRAP: &str = "cli:bootstrap";

#[derive(Subcommand)]
pub enum Command {
    /// Create the first operator token, directly in the ledger table with your own AWS credentials
    Bootstrap {
        /// Name of the ledger table
        #[arg(
            long,
            value_name = "TABLE",
            env = "SEALFLEET_LEDGER_TABLE",
            default_value = "sealfleet-ledger"
        )]
        ledger_table: String,
        /// Name of the audit table
        #[arg(
            long,
            value_name = "TABLE",
            env = "SEALFLEET_AUDIT_TABLE",
            default_value = "sealfleet-audit"
        )]
        audit_table: String,
        /// Note for people
        #[arg(long)]
        note: Option<Line>,
        /// How long the token is valid: `90d`
        #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "90d")]
        expires_in: u32,
        /// Write the token to this new file, readable by its owner alone, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Create a token for a project and show it once
    Create {
        /// What the token's holder may do
        #[arg(long, value_enum)]
        role: ProjectRole,
        /// Project of the token; operators must name it
        #[arg(long)]
        project: Option<ProjectId>,
        /// Note for people
        #[arg(long)]
        note: Option<Line>,
        /// How long the token is valid: `90d`
        #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "90d")]
        expires_in: u32,
        /// Write the token to this new file, readable by its owner alone, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List tokens, without their secrets
    List {
        /// Project whose tokens to list; operators must name it
        #[arg(long)]
        project: Option<ProjectId>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Revoke a token
    Revoke {
        /// Id of the token
        token_id: TokenId,
        /// Project of the token; operators must name it
        #[arg(long)]
        project: Option<ProjectId>,
    },
}

/// A token's role inside its project.
#[derive(Clone, Copy, ValueEnum)]
pub enum ProjectRole {
    /// Do everything in the project
    Admin,
    /// Enqueue, cancel and retry runs, and read
    Member,
    /// Read everything except the audit trail
    Viewer,
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::Bootstrap {
            ledger_table,
            audit_table,
            note,
            expires_in,
            out,
        } => {
            let file = new_file(out)?;
            let ledger = own_ledger(Tables {
                ledger: ledger_table,
                audit: audit_table,
            })
            .await?;
            let created = bootstrap(&ledger, note, expires_in).await?;
            let id = created.view.token_id;
            let revoke = ledger.revoke_token(&Home::Operators, id, BOOTSTRAP);
            or_revoked(show(connection, created, file), id, revoke).await
        }
        Command::Create {
            role,
            project,
            note,
            expires_in,
            out,
        } => {
            let file = new_file(out)?;
            let role = match role {
                ProjectRole::Admin => Role::Admin,
                ProjectRole::Member => Role::Member,
                ProjectRole::Viewer => Role::Viewer,
            };
            let request = CreateToken {
                role,
                note,
                expires_in_seconds: expires_in,
                project,
            };
            let client = connection.client()?;
            let created = client.create_token(&request).await?;
            let id = created.view.token_id;
            let revoke = client.revoke_token(request.project.as_ref(), id);
            or_revoked(show(connection, created, file), id, revoke).await
        }
        Command::List { project, listing } => {
            let client = connection.client()?;
            let tokens =
                listing.read(async |page| client.list_tokens(project.as_ref(), page).await);
            page(connection.output, &tokens.await?, |tokens| {
                let mut table =
                    Table::new(["TOKEN", "ROLE", "STATE", "EXPIRES", "REVOKED", "NOTE"]);
                let now = SystemClock.now();
                for token in tokens {
                    let state = match token.revoked_at {
                        Some(_) => "revoked",
                        None if token.expires_at <= now => "expired",
                        None => "active",
                    };
                    table.row([
                        token.token_id.to_string(),
                        word(&token.role),
                        state.to_owned(),
                        ago(token.expires_at),
                        or_dash(token.revoked_at.map(ago)),
                        or_dash(token.note.as_ref()),
                    ]);
                }
                table
            })
        }
        Command::Revoke { token_id, project } => {
            connection
                .client()?
                .revoke_token(project.as_ref(), token_id)
                .await?;
            let revoked = serde_json::json!({ "token_id": token_id, "revoked": true });
            answer(connection.output, &revoked, || {
                format!("{token_id} is revoked\n")
            })
        }
    }
}

/// The ledger, by the operator's own AWS credentials.
async fn own_ledger(tables: Tables) -> Result<Ledger, Failure> {
    let config = aws::config().await?;
    let store = Dynamo::new(aws_sdk_dynamodb::Client::new(&config), tables);
    Ok(Ledger::new(
        Arc::new(store),
        Arc::new(SystemClock),
        Arc::new(SystemIds),
    ))
}

async fn bootstrap(
    ledger: &Ledger,
    note: Option<Line>,
    expires_in: u32,
) -> Result<TokenCreated, Failure> {
    let expires_at = ledger.now().plus_seconds(i64::from(expires_in));
    let made = ledger
        .create_token(
            &Home::Operators,
            Role::Operator,
            note.map(String::from),
            None,
            expires_at,
            BOOTSTRAP,
        )
        .await;
    let (row, token) = made.map_err(Failure::other)?;
    let view = TokenView {
        token_id: row.token_id,
        role: row.role,
        note: row.note,
        login: row.login,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    };
    Ok(TokenCreated { token, view })
}

fn show(
    connection: &Connection,
    created: TokenCreated,
    file: Option<NewFile>,
) -> Result<(), Failure> {
    let TokenCreated { token, view } = created;
    match file {
        Some(file) => {
            let file = keep(file, token)?;
            answer(connection.output, &view, || {
                lines([
                    ("token", view.token_id.to_string()),
                    ("role", word(&view.role)),
                    ("expires", moment(view.expires_at)),
                    ("file", file.display().to_string()),
                ])
            })
        }
        None if connection.output == Output::Json => {
            let document = serde_json::to_string_pretty(&TokenCreated { token, view });
            print(&(document.map_err(Failure::other)? + "\n"))
        }
        None => {
            note(&format!(
                "{} ({}), valid until {}; it is shown only this once:\n",
                view.token_id,
                word(&view.role),
                view.expires_at
            ));
            print(&format!("{token}\n"))
        }
    }
}
