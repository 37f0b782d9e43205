//! API tokens.

use sealfleet_domain::access::Role;
use sealfleet_domain::audit::Event;
use sealfleet_domain::credential::{Home, Token, token_text};
use sealfleet_domain::hash::SecretHash;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{ProjectScope, Timestamp, TokenId};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::pages::Page;
use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Table, Write};

impl Ledger {
    /// Reads the stored row of a token.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn token(&self, home: &Home, id: TokenId) -> Result<Option<Token>, Error> {
        let item = self.row(&keys::token(home, id)).await?;
        item.map(from_item).transpose()
    }

    /// Creates a token. Returns its text, which is not stored anywhere.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn create_token(
        &self,
        home: &Home,
        role: Role,
        note: Option<String>,
        login: Option<String>,
        expires_at: Timestamp,
        actor: &str,
    ) -> Result<(Token, String), Error> {
        let now = self.now();
        let token_id = TokenId::new(self.ids(), now);
        let secret = self.ids().secret();
        let token = Token {
            token_id,
            role,
            note,
            login,
            hash: SecretHash::of(&secret),
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        let event = Event::TokenCreated {
            token_id,
            role,
            expires_at,
        };
        let writes = vec![
            Write::Put {
                table: Table::Ledger,
                item: to_item(&token, keys::token(home, token_id)).map_err(unwritten)?,
                only_if: Condition::Absent,
            },
            self.audit_write(trail(home), actor, None, vec![event], now)
                .map_err(unwritten)?,
        ];
        self.store.write(writes).await.map_err(unwritten)?;
        Ok((token, token_text(home, token_id, &secret)))
    }

    /// Revokes a token. Idempotent.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn revoke_token(
        &self,
        home: &Home,
        id: TokenId,
        actor: &str,
    ) -> Result<Token, Error> {
        let mut token = self.token(home, id).await?.ok_or(Error::NotFound)?;
        if token.revoked_at.is_some() {
            return Ok(token);
        }
        let now = self.now();
        token.revoked_at = Some(now);
        let event = Event::TokenRevoked { token_id: id };
        let mut writes = match home {
            Home::Project(project) => {
                let scope = ProjectScope::of_stored_row(project.clone());
                self.parts(&scope, None, std::slice::from_ref(&event))?
            }
            Home::Operators => Vec::new(),
        };
        writes.extend([
            Write::Put {
                table: Table::Ledger,
                item: to_item(&token, keys::token(home, id)).map_err(unwritten)?,
                // Revoking is the only change to a token's row, so the row is still as it was read.
                only_if: Condition::Is(vec![(
                    "token_id",
                    aws_sdk_dynamodb::types::AttributeValue::S(id.to_string()),
                )]),
            },
            self.audit_write(trail(home), actor, None, vec![event], now)
                .map_err(unwritten)?,
        ]);
        self.store.write(writes).await.map_err(unwritten)?;
        Ok(token)
    }

    /// A page of tokens, oldest first.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn tokens(
        &self,
        home: &Home,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Token>, Error> {
        self.page(keys::tokens(home), after, limit).await
    }
}

fn trail(home: &Home) -> &str {
    match home {
        Home::Project(project) => project.as_str(),
        Home::Operators => OPERATOR_SCOPE,
    }
}
