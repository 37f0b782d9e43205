//! Credentials of the HTTP API: API tokens, worker credentials and enrolment keys.
//!
//! All three have the form `KIND.PROJECT.ID.SECRET`, which is opaque to their holders. Project and
//! id only address the stored row. The 256-bit secret proves the credential: its SHA-256 is
//! compared in constant time. A missing row, a wrong secret and an expired credential get the same
//! refusal, so a caller cannot find out which ids exist.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::access::{Principal, Role};
use crate::clock::Timestamp;
use crate::fleet::{EnrolmentKey, Worker};
use crate::hash::SecretHash;
use crate::ids::{EnrolmentKeyId, TokenId, WorkerId};
use crate::names::ProjectId;
use crate::scope::{OPERATOR_SCOPE, Operator, ProjectScope};

/// A credential that a caller presents. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct Presented<Id> {
    /// Where it claims to belong.
    pub home: Home,
    /// The stored row that it claims to match.
    pub id: Id,
    secret: [u8; 32],
}

/// Where a credential belongs: in one project, or to the operators above projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    Project(ProjectId),
    Operators,
}

#[derive(Clone, Debug)]
pub enum Credential {
    /// `sft.`: an API token.
    Token(Presented<TokenId>),
    /// `sfw.`: a worker's credential.
    Worker(Presented<WorkerId>),
    /// `sfe.`: an enrolment key.
    EnrolmentKey(Presented<EnrolmentKeyId>),
}

/// The only answer to an invalid credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential is not valid: it is unknown, expired or revoked")]
pub struct Unauthenticated;

/// The stored row of an API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The id that the credential contains.
    pub token_id: TokenId,
    /// What its holder may do.
    pub role: Role,
    /// Note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The login that made it, itself or with a token that it had made, as `oidc:SUBJECT`. Absent
    /// for a token that goes back to an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    pub hash: SecretHash,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl<Id> std::fmt::Debug for Presented<Id>
where
    Id: std::fmt::Debug,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presented")
            .field("home", &self.home)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Home {
    fn parse(text: &str) -> Option<Self> {
        if text == OPERATOR_SCOPE {
            Some(Self::Operators)
        } else {
            text.parse().ok().map(Self::Project)
        }
    }
}

impl Credential {
    /// Parses the text after `Bearer ` in an `Authorization` header.
    ///
    /// # Errors
    /// [`Unauthenticated`] when the text has none of the three forms.
    pub fn parse(text: &str) -> Result<Self, Unauthenticated> {
        let parts: Vec<&str> = text.split('.').collect();
        let [kind, home, id, secret] = parts.as_slice() else {
            return Err(Unauthenticated);
        };
        let home = Home::parse(home).ok_or(Unauthenticated)?;
        let secret: [u8; 32] = URL_SAFE_NO_PAD
            .decode(secret)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(Unauthenticated)?;
        match *kind {
            "sft" => Ok(Self::Token(Presented {
                home,
                id: id.parse().map_err(|_| Unauthenticated)?,
                secret,
            })),
            "sfw" => Ok(Self::Worker(Presented {
                home,
                id: id.parse().map_err(|_| Unauthenticated)?,
                secret,
            })),
            "sfe" => Ok(Self::EnrolmentKey(Presented {
                home,
                id: id.parse().map_err(|_| Unauthenticated)?,
                secret,
            })),
            _ => Err(Unauthenticated),
        }
    }
}

impl Presented<TokenId> {
    /// The principal that holds this token, if `stored` is its live row.
    ///
    /// # Errors
    /// [`Unauthenticated`] for an absent, expired or revoked row and for a wrong secret, without
    /// distinction.
    pub fn verify(
        &self,
        stored: Option<&Token>,
        now: Timestamp,
    ) -> Result<Principal, Unauthenticated> {
        let row = stored
            .filter(|row| row.hash.matches(&self.secret))
            .ok_or(Unauthenticated)?;
        if row.revoked_at.is_some() || row.expires_at <= now {
            return Err(Unauthenticated);
        }
        match (&self.home, row.role) {
            (Home::Operators, Role::Operator) => {
                Ok(Principal::Operator(Operator::verified(self.id)))
            }
            (Home::Project(project), Role::Admin | Role::Member | Role::Viewer) => {
                Ok(Principal::Token {
                    scope: ProjectScope::verified(project.clone()),
                    token_id: self.id,
                    role: row.role,
                    login: row.login.clone(),
                })
            }
            // Sealfleet never writes such a combination, so refuse it.
            (Home::Operators, Role::Admin | Role::Member | Role::Viewer)
            | (Home::Project(_), Role::Operator) => Err(Unauthenticated),
        }
    }
}

impl Presented<WorkerId> {
    /// The scope of the worker that holds this credential. The caller must check the worker's
    /// status (pending, revoked): a pending worker may send heartbeats, but not claim.
    ///
    /// # Errors
    /// [`Unauthenticated`] for an absent row and for a wrong secret, without distinction.
    pub fn verify(&self, stored: Option<&Worker>) -> Result<ProjectScope, Unauthenticated> {
        let Home::Project(project) = &self.home else {
            return Err(Unauthenticated);
        };
        let matches = stored
            .and_then(|row| row.hash.as_ref())
            .is_some_and(|hash| hash.matches(&self.secret));
        if matches {
            Ok(ProjectScope::verified(project.clone()))
        } else {
            Err(Unauthenticated)
        }
    }
}

impl Presented<EnrolmentKeyId> {
    /// The scope of the project that owns this enrolment key.
    ///
    /// # Errors
    /// [`Unauthenticated`] for an absent, expired, revoked or exhausted row and for a wrong secret,
    /// without distinction.
    pub fn verify(
        &self,
        stored: Option<&EnrolmentKey>,
        now: Timestamp,
    ) -> Result<ProjectScope, Unauthenticated> {
        let Home::Project(project) = &self.home else {
            return Err(Unauthenticated);
        };
        let row = stored
            .filter(|row| row.hash.matches(&self.secret))
            .ok_or(Unauthenticated)?;
        if row.revoked_at.is_some() || row.expires_at <= now || row.uses >= row.max_uses {
            return Err(Unauthenticated);
        }
        Ok(ProjectScope::verified(project.clone()))
    }
}

/// The text of an API token for its holder. It is shown only once.
#[must_use]
pub fn token_text(home: &Home, id: TokenId, secret: &[u8; 32]) -> String {
    text("sft", home, &id, secret)
}

/// The text of a worker's credential for its holder. It is shown only once.
#[must_use]
pub fn worker_text(scope: &ProjectScope, id: WorkerId, secret: &[u8; 32]) -> String {
    text("sfw", &Home::Project(scope.project().clone()), &id, secret)
}

/// The text of an enrolment key for its holder. It is shown only once.
#[must_use]
pub fn enrolment_key_text(scope: &ProjectScope, id: EnrolmentKeyId, secret: &[u8; 32]) -> String {
    text("sfe", &Home::Project(scope.project().clone()), &id, secret)
}

fn text(kind: &str, home: &Home, id: &dyn std::fmt::Display, secret: &[u8; 32]) -> String {
    let home = match home {
        Home::Project(project) => project.as_str(),
        Home::Operators => OPERATOR_SCOPE,
    };
    format!("{kind}.{home}.{id}.{}", URL_SAFE_NO_PAD.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn token(role: Role) -> (Presented<TokenId>, Token) {
        let id: TokenId = "tok_0198c0de-0000-7000-8000-00000000000a"
            .parse()
            .expect("valid");
        let home = if role == Role::Operator {
            Home::Operators
        } else {
            Home::Project("healthcare".parse().expect("valid"))
        };
        let row = Token {
            token_id: id,
            role,
            note: None,
            login: None,
            hash: SecretHash::of(&SECRET),
            created_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(1000),
            revoked_at: None,
        };
        let Ok(Credential::Token(presented)) = Credential::parse(&token_text(&home, id, &SECRET))
        else {
            panic!("a written token is read back")
        };
        (presented, row)
    }

    #[test]
    fn a_live_token_names_its_project_and_role() {
        let (presented, row) = token(Role::Member);
        let Ok(Principal::Token { scope, role, .. }) =
            presented.verify(Some(&row), Timestamp::from_millis(1))
        else {
            panic!("a live token holds")
        };
        assert_eq!(
            (scope.project().as_str(), role),
            ("healthcare", Role::Member)
        );
    }

    #[test]
    fn every_dead_token_is_refused_alike() {
        let (presented, row) = token(Role::Admin);
        let now = Timestamp::from_millis(1);
        let wrong = Token {
            hash: SecretHash::of(&[8; 32]),
            ..row.clone()
        };
        let revoked = Token {
            revoked_at: Some(now),
            ..row.clone()
        };
        let misplaced = Token {
            role: Role::Operator,
            ..row.clone()
        };
        assert_eq!(presented.verify(None, now).err(), Some(Unauthenticated));
        assert_eq!(
            presented.verify(Some(&wrong), now).err(),
            Some(Unauthenticated)
        );
        assert_eq!(
            presented.verify(Some(&revoked), now).err(),
            Some(Unauthenticated)
        );
        assert_eq!(
            presented.verify(Some(&misplaced), now).err(),
            Some(Unauthenticated)
        );
        assert_eq!(
            presented
                .verify(Some(&row), Timestamp::from_millis(1000))
                .err(),
            Some(Unauthenticated)
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let (presented, _) = token(Role::Admin);
        let shown = format!("{presented:?}");
        assert!(shown.contains("tok_") && !shown.contains("7, 7"), "{shown}");
    }
}
