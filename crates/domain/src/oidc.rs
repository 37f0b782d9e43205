//! OIDC callers: which issuers a deployment trusts, and what a caller's claims mean.
//!
//! The deployment trusts each issuer for one audience, and its configuration alone says which
//! project and role a claim means. A claim that is absent, of the wrong type or ambiguous means
//! nothing. A caller never becomes an operator. `sealfleet-oidc` checks the signature first; this
//! module decides on claims that are genuine.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::access::{Principal, Role, Subject};
use crate::clock::Timestamp;
use crate::names::ProjectId;
use crate::scope::ProjectScope;

/// The claims of a JWT.
pub type Claims = Map<String, Value>;

/// The most issuers that a deployment can trust.
const MOST_ISSUERS: usize = 10;
/// Most bytes of an issuer's address, an audience, a claim's name or a group's name.
const TEXT_BYTES: usize = 200;
/// Seconds by which two clocks may differ.
const LEEWAY_SECONDS: i64 = 30;
/// Most bytes of a subject (OpenID Connect Core 1.0, section 2: at most 255 ASCII characters).
const SUBJECT_BYTES: usize = 255;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuers(Vec<Issuer>);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Address of the issuer, exactly as in the `iss` claim: `https://…`. Plain `http://` is
    /// allowed only for the local machine.
    pub issuer: String,
    /// The audience that the `aud` claim must name.
    pub audience: String,
    /// How to find a caller's project.
    pub project: ProjectRule,
    /// How to find a caller's role in that project.
    pub role: RoleRule,
    /// Greatest age of a token, by its `iat` claim, no matter when it expires.
    #[serde(default = "a_day")]
    pub max_age_seconds: u32,
    /// How people log in to the console with this issuer; absent where they cannot.
    #[serde(default)]
    pub console: Option<Login>,
}

/// The console as a public client of an issuer: authorization code with PKCE (RFC 6749, section
/// 4.1; RFC 7636). A browser uses it, so it holds no client secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub client_id: String,
    /// Where people log in.
    pub authorization_endpoint: String,
    /// Where the console exchanges its code. The issuer must let the console's origin call it
    /// (CORS).
    pub token_endpoint: String,
    /// Scopes, separated by spaces.
    #[serde(default = "openid")]
    pub scope: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProjectRule {
    /// The claim with this name holds the project's id.
    Claim(String),
    /// Every caller of this issuer belongs to this project.
    Value(ProjectId),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RoleRule {
    /// A claim that holds a string or a list of strings, which map to roles. Strings outside the
    /// map are ignored. The others must agree on one role.
    Claim(ClaimedRole),
    /// Every caller of this issuer has this role.
    Value(FixedRole),
}

/// Roles by the values of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimedRole {
    pub claim: String,
    /// The role for each value.
    pub map: BTreeMap<String, CallerRole>,
}

/// The same role for every caller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedRole {
    pub value: CallerRole,
}

/// A role that an OIDC caller can have. `operator` is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerRole {
    /// May do everything in one project.
    Admin,
    /// Enqueues, cancels and retries runs, and reads.
    Member,
    Viewer,
}

/// A configuration of issuers that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIssuers {
    /// It is not the expected JSON.
    #[error("the issuers are not a JSON list of {{issuer, audience, project, role}}: {0}")]
    Json(String),
    /// One entry is not valid.
    #[error("issuer {number} cannot be used: {reason}")]
    Entry {
        /// The entry's position, from 1.
        number: usize,
        reason: &'static str,
    },
    #[error("{MOST_ISSUERS} issuers at most")]
    Many,
}

/// Why a caller with a genuine token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The token is not valid here or at this time.
    #[error("{0}")]
    Token(&'static str),
    /// The token is valid, but its claims give no project or role.
    #[error("{0}")]
    Claims(String),
}

const fn a_day() -> u32 {
    24 * 3600
}

fn openid() -> String {
    "openid".to_owned()
}

impl Issuers {
    /// Parses a deployment's configuration: a JSON list of [`Issuer`]s, or an empty text.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn parse(text: &str) -> Result<Self, BadIssuers> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let issuers: Vec<Issuer> =
            serde_json::from_str(text).map_err(|error| BadIssuers::Json(error.to_string()))?;
        if issuers.len() > MOST_ISSUERS {
            return Err(BadIssuers::Many);
        }
        let mut seen = BTreeSet::new();
        for (index, issuer) in issuers.iter().enumerate() {
            let checked = issuer.check().and_then(|()| {
                if seen.insert(&issuer.issuer) {
                    Ok(())
                } else {
                    Err("its address is named twice")
                }
            });
            checked.map_err(|reason| BadIssuers::Entry {
                number: index + 1,
                reason,
            })?;
        }
        Ok(Self(issuers))
    }

    /// The issuer with exactly this address.
    #[must_use]
    pub fn named(&self, iss: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.issuer == iss)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.iter()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Issuer {
    fn check(&self) -> Result<(), &'static str> {
        if !is_trustworthy_url(&self.issuer) {
            return Err(
                "its address must be `https://HOST/…` without user, query or fragment; `http` only for the local machine",
            );
        }
        let claims = match (&self.project, &self.role) {
            (ProjectRule::Claim(claim), RoleRule::Claim(role)) => vec![claim, &role.claim],
            (ProjectRule::Claim(claim), RoleRule::Value(_)) => vec![claim],
            (ProjectRule::Value(_), RoleRule::Claim(role)) => vec![&role.claim],
            (ProjectRule::Value(_), RoleRule::Value(_)) => {
                return Err(
                    "project and role are both fixed, which would admit everybody with an account there: take at least one of them from a claim",
                );
            }
        };
        let groups = match &self.role {
            RoleRule::Claim(role) => role.map.keys().collect(),
            RoleRule::Value(_) => Vec::new(),
        };
        if matches!(&self.role, RoleRule::Claim(role) if role.map.is_empty()) {
            return Err("its map of roles is empty");
        }
        let texts = claims
            .into_iter()
            .chain(groups)
            .chain([&self.audience, &self.issuer]);
        for text in texts {
            if text.is_empty() || text.len() > TEXT_BYTES {
                return Err("each of its texts must have 1 to 200 bytes");
            }
        }
        if self.max_age_seconds == 0 {
            return Err("`max_age_seconds` must be at least 1");
        }
        self.console.as_ref().map_or(Ok(()), Login::check)
    }

    /// Which token of a login is meant for this API: the ID token if the console itself is the
    /// audience, else the access token, which must be a JWT.
    #[must_use]
    pub fn token_of(&self, login: &Login) -> &'static str {
        match login.client_id == self.audience {
            true => "id_token",
            false => "access_token",
        }
    }

    /// Address of its discovery document (OpenID Connect Discovery 1.0, section 4).
    #[must_use]
    pub fn discovery_url(&self) -> String {
        format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        )
    }

    /// The principal that the claims name. The caller must have verified the token's signature with
    /// a key of this issuer.
    ///
    /// # Errors
    /// [`Refused`], which says what to do about it.
    pub fn admit(&self, claims: &Claims, now: Timestamp) -> Result<Principal, Refused> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(Refused::Token("another issuer issued the JWT"));
        }
        if !self.is_meant(claims.get("aud")) {
            return Err(Refused::Token(
                "the JWT is not meant for this API: its `aud` claim names another audience",
            ));
        }
        self.check_times(claims, now)?;
        let subject = claims
            .get("sub")
            .and_then(Value::as_str)
            .filter(|sub| !sub.is_empty() && sub.len() <= SUBJECT_BYTES)
            .ok_or(Refused::Token(
                "the JWT must have a `sub` claim of 1 to 255 bytes",
            ))?;
        Ok(Principal::Oidc {
            scope: ProjectScope::verified(self.project(claims)?),
            subject: Subject::of(&self.issuer, subject),
            role: self.role(claims)?,
        })
    }

    fn is_meant(&self, aud: Option<&Value>) -> bool {
        match aud {
            Some(Value::String(aud)) => *aud == self.audience,
            Some(Value::Array(all)) => {
                all.iter().all(Value::is_string)
                    && all.iter().any(|aud| aud.as_str() == Some(&self.audience))
            }
            _ => false,
        }
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), Refused> {
        let now = now.epoch_seconds();
        let expires = numeric_date(claims, "exp")?.ok_or(Refused::Token(
            "the JWT has no `exp` claim: only a JWT that expires is accepted",
        ))?;
        if now >= expires.saturating_add(LEEWAY_SECONDS) {
            return Err(Refused::Token(
                "the JWT has expired: get a new one from its issuer",
            ));
        }
        if numeric_date(claims, "nbf")?
            .is_some_and(|from| now.saturating_add(LEEWAY_SECONDS) < from)
        {
            return Err(Refused::Token("the JWT is not valid yet (`nbf`)"));
        }
        let issued = numeric_date(claims, "iat")?.ok_or(Refused::Token(
            "the JWT has no `iat` claim, so its age is unknown",
        ))?;
        if now.saturating_add(LEEWAY_SECONDS) < issued {
            return Err(Refused::Token(
                "the JWT was issued in the future (`iat`): check the clocks",
            ));
        }
        if now.saturating_sub(issued)
            > i64::from(self.max_age_seconds).saturating_add(LEEWAY_SECONDS)
        {
            return Err(Refused::Token(
                "the JWT is older than this API accepts: get a new one from its issuer",
            ));
        }
        Ok(())
    }

    fn project(&self, claims: &Claims) -> Result<ProjectId, Refused> {
        match &self.project {
            ProjectRule::Value(project) => Ok(project.clone()),
            ProjectRule::Claim(name) => claims
                .get(name)
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| {
                    Refused::Claims(format!(
                        "the JWT's claim `{name}` must hold the id of one project, as a string"
                    ))
                }),
        }
    }

    fn role(&self, claims: &Claims) -> Result<Role, Refused> {
        let rule = match &self.role {
            RoleRule::Value(fixed) => return Ok(fixed.value.into()),
            RoleRule::Claim(rule) => rule,
        };
        let values: Vec<&str> = match claims.get(&rule.claim) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let roles: BTreeSet<CallerRole> = values
            .iter()
            .filter_map(|value| rule.map.get(*value).copied())
            .collect();
        match roles.iter().collect::<Vec<_>>().as_slice() {
            [role] => Ok((**role).into()),
            [] => Err(Refused::Claims(format!(
                "the JWT's claim `{}` holds no value that maps to a role",
                rule.claim
            ))),
            _ => Err(Refused::Claims(format!(
                "the JWT's claim `{}` maps to several roles",
                rule.claim
            ))),
        }
    }
}

impl Login {
    fn check(&self) -> Result<(), &'static str> {
        for endpoint in [&self.authorization_endpoint, &self.token_endpoint] {
            // The console's content policy names an endpoint, where other signs end the name.
            let plain = endpoint
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b":/.-_~[]".contains(&byte));
            if !plain || !is_trustworthy_url(endpoint) || endpoint.len() > TEXT_BYTES {
                return Err(
                    "`console` needs endpoints of at most 200 bytes like `https://HOST/PATH`, of letters, digits and `.-_~/:`; `http` only for the local machine",
                );
            }
        }
        let printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        for text in [&self.client_id, &self.scope] {
            if text.is_empty() || text.len() > TEXT_BYTES || !printable(text) {
                return Err("`console` needs texts of 1 to 200 printable ASCII characters");
            }
        }
        if !self.scope.split(' ').any(|scope| scope == "openid") {
            return Err("the `scope` of `console` must contain `openid`");
        }
        Ok(())
    }
}

impl From<CallerRole> for Role {
    fn from(role: CallerRole) -> Self {
        match role {
            CallerRole::Admin => Self::Admin,
            CallerRole::Member => Self::Member,
            CallerRole::Viewer => Self::Viewer,
        }
    }
}

/// A claim that holds a time in seconds since the epoch. It may have a fraction (RFC 7519, section
/// 2).
fn numeric_date(claims: &Claims, name: &str) -> Result<Option<i64>, Refused> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "cutting off the fraction is intended"
    )]
    let seconds = value.as_i64().or_else(|| {
        value
            .as_f64()
            .filter(|at| at.is_finite())
            .map(|at| at.floor() as i64)
    });
    seconds
        .map(Some)
        .ok_or(Refused::Token("the JWT's times must be numbers of seconds"))
}

/// Whether keys may be fetched from this address: `https`, or `http` on the local machine, with
/// only host and path.
#[must_use]
pub fn is_trustworthy_url(url: &str) -> bool {
    let plain = url
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@' | b'\\' | b'"'));
    let (rest, this_machine_only) =
        match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return false,
        };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    plain
        && !host.is_empty()
        && (!this_machine_only || matches!(host, "localhost" | "127.0.0.1" | "::1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const SECONDS: i64 = 1_800_000_000;

    fn issuer() -> Issuer {
        let text = r#"[{"issuer":"https://login.example.com/a","audience":"sealfleet","project":{"claim":"tenant"},
            "role":{"claim":"groups","map":{"ops":"admin","dev":"member","guests":"viewer"}},"max_age_seconds":3600}]"#;
        Issuers::parse(text)
            .expect("valid")
            .named("https://login.example.com/a")
            .expect("there")
            .clone()
    }

    fn claims(change: &[(&str, Value)]) -> Claims {
        let mut claims = json!({
            "iss": "https://login.example.com/a", "aud": "sealfleet", "sub": "ada", "iat": SECONDS - 10,
            "exp": SECONDS + 300, "tenant": "finance", "groups": ["dev", "all-staff"],
        });
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        let Value::Object(mut claims) = claims else {
            panic!("an object")
        };
        claims.retain(|_, value| !value.is_null());
        claims
    }

    fn admitted(change: &[(&str, Value)]) -> Result<(String, Role, String), Refused> {
        let principal = issuer().admit(&claims(change), NOW)?;
        let actor = principal.actor();
        let Principal::Oidc { scope, role, .. } = principal else {
            panic!("an OIDC caller")
        };
        Ok((scope.project().to_string(), role, actor))
    }

    #[test]
    fn claims_name_project_role_and_actor() {
        let expected = (
            "finance".to_owned(),
            Role::Member,
            "oidc:login.example.com/a/ada".to_owned(),
        );
        assert_eq!(admitted(&[]), Ok(expected.clone()));
        assert_eq!(admitted(&[("groups", json!("dev"))]), Ok(expected.clone()));
        assert_eq!(
            admitted(&[("aud", json!(["other", "sealfleet"]))]),
            Ok(expected.clone())
        );
        assert_eq!(
            admitted(&[("exp", json!(f64::from(1_800_000_300) + 0.5))]),
            Ok(expected)
        );
    }

    #[test]
    fn what_is_not_clear_stands_for_nothing() {
        for (name, value) in [
            ("tenant", Value::Null),
            ("tenant", json!(["finance"])),
            ("tenant", json!("Finance")),
            ("tenant", json!("system")),
            ("tenant", json!(1)),
            ("groups", Value::Null),
            ("groups", json!([])),
            ("groups", json!(["all-staff"])),
            ("groups", json!({ "dev": true })),
            ("groups", json!(["dev", "ops"])),
            ("groups", json!("dev ops")),
        ] {
            let refused = admitted(&[(name, value.clone())]);
            assert!(
                matches!(&refused, Err(Refused::Claims(text)) if text.contains(name)),
                "{name}={value}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_token_is_for_here_and_now() {
        for (name, value) in [
            ("iss", json!("https://login.example.com/b")),
            ("iss", Value::Null),
            ("aud", json!("sealfleet2")),
            ("aud", json!(["other"])),
            ("aud", json!(["sealfleet", 1])),
            ("aud", Value::Null),
            ("exp", json!(SECONDS - 30)),
            ("exp", json!("soon")),
            ("exp", Value::Null),
            ("nbf", json!(SECONDS + 31)),
            ("iat", json!(SECONDS + 31)),
            ("iat", json!(SECONDS - 3631)),
            ("iat", Value::Null),
            ("sub", Value::Null),
            ("sub", json!("")),
            ("sub", json!("x".repeat(256))),
        ] {
            let refused = admitted(&[(name, value.clone())]);
            assert!(
                matches!(refused, Err(Refused::Token(_))),
                "{name}={value}: {refused:?}"
            );
        }
        // Clocks may differ by half a minute.
        for (name, value) in [
            ("exp", SECONDS - 29),
            ("nbf", SECONDS + 30),
            ("iat", SECONDS + 30),
        ] {
            assert!(admitted(&[(name, json!(value))]).is_ok(), "{name}={value}");
        }
    }

    #[test]
    fn a_login_of_the_console_names_its_endpoints_exactly() {
        let entry = |login: Value| {
            let entry = json!([{
                "issuer": "https://i.example", "audience": "sealfleet",
                "project": { "claim": "p" }, "role": { "value": "viewer" }, "console": login,
            }]);
            Issuers::parse(&entry.to_string())
        };
        let login = |member: &str, value: &str| {
            let mut login = json!({
                "client_id": "console", "authorization_endpoint": "https://i.example/authorize",
                "token_endpoint": "https://i.example/token",
            });
            login[member] = json!(value);
            login
        };
        let issuers = entry(login("scope", "openid groups")).expect("valid");
        let issuer = issuers.iter().next().expect("one");
        let mut login_of = issuer.console.clone().expect("a login");
        assert_eq!(issuer.token_of(&login_of), "access_token");
        login_of.client_id = "sealfleet".to_owned();
        assert_eq!(issuer.token_of(&login_of), "id_token");
        assert!(entry(login("token_endpoint", "http://127.0.0.1:1/token")).is_ok());
        for (member, value) in [
            ("token_endpoint", "https://i.example/token; script-src *"),
            ("token_endpoint", "https://i.example/token;script-src"),
            ("token_endpoint", "https://*.example/token"),
            ("token_endpoint", "https://i.example/token,https://x"),
            ("token_endpoint", "http://i.example/token"),
            ("token_endpoint", "data:"),
            ("authorization_endpoint", "javascript:alert(1)"),
            (
                "authorization_endpoint",
                "https://i.example/authorize?prompt=none",
            ),
            ("client_id", ""),
            ("client_id", "a\nb"),
            ("scope", "groups"),
            ("secret", "no client of a browser has one"),
        ] {
            let bad = entry(login(member, value));
            assert!(bad.is_err(), "{member}: {value}");
        }
    }

    #[test]
    fn no_subject_looks_like_another() {
        let actor = |sub: &str| admitted(&[("sub", json!(sub))]).expect("admitted").2;
        assert_eq!(actor("auth0|7:x@y"), "oidc:login.example.com/a/auth0|7:x@y");
        assert_eq!(actor("a/b %\n"), "oidc:login.example.com/a/a%2Fb%20%25%0A");
        assert_eq!(actor("é"), "oidc:login.example.com/a/%C3%A9");
        let (long, other) = (
            actor(&"x".repeat(200)),
            actor(&format!("{}y", "x".repeat(199))),
        );
        assert!(
            long != other && long.len() <= "oidc:login.example.com/a/".len() + 128,
            "{long}"
        );
    }

    #[test]
    fn an_issuer_that_would_let_anybody_in_is_refused() {
        let entry = |issuer: &str, project: &str, role: &str| {
            Issuers::parse(&format!(
                r#"[{{"issuer":"{issuer}","audience":"a","project":{project},"role":{role}}}]"#
            ))
        };
        let (claim, map) = (r#"{"claim":"p"}"#, r#"{"claim":"g","map":{"x":"admin"}}"#);
        assert!(entry("https://i.example", claim, map).is_ok());
        assert!(entry("https://i.example", claim, r#"{"value":"viewer"}"#).is_ok());
        assert!(entry("http://127.0.0.1:8080/x", r#"{"value":"finance"}"#, map).is_ok());
        for bad in [
            "http://i.example",
            "http://localhost.i.example",
            "http://127.0.0.1@i.example",
            "https://",
            "ftp://i",
            "https://i.example?x",
            "https://i.example#x",
            "https://u@i.example",
            "https://i example",
            "http://127.0.0.1.nip.io",
        ] {
            assert!(entry(bad, claim, map).is_err(), "{bad}");
        }
        assert!(
            entry(
                "https://i.example",
                r#"{"value":"finance"}"#,
                r#"{"value":"viewer"}"#
            )
            .is_err(),
            "all fixed"
        );
        assert!(
            entry(
                "https://i.example",
                claim,
                r#"{"claim":"g","map":{"x":"operator"}}"#
            )
            .is_err(),
            "an operator"
        );
        assert!(
            entry("https://i.example", claim, r#"{"claim":"g","map":{}}"#).is_err(),
            "no role"
        );
        assert!(
            entry("https://i.example", r#"{"claim":"p","value":"q"}"#, map).is_err(),
            "two rules"
        );
        let twice = format!(
            r#"{{"issuer":"https://i.example","audience":"a","project":{claim},"role":{map}}}"#
        );
        assert!(
            Issuers::parse(&format!("[{twice},{twice}]")).is_err(),
            "named twice"
        );
        assert_eq!(
            Issuers::parse(" ").map(|issuers| issuers.is_empty()),
            Ok(true)
        );
    }
}
