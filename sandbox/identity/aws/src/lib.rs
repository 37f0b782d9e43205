//! What identity backends in AWS have in common: a login by a token of the step, and requests that
//! are signed with what it gives.
//!
//! AWS STS takes the identity token that the control plane has signed for the step, and gives keys
//! to a role whose trust policy names the project (`AssumeRoleWithWebIdentity`, AWS STS API
//! Reference). A session policy leaves of the role what one request needs. Nobody holds a key of
//! AWS before, and the keys are gone with the start of the command.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, RequestBuilder, Url};
use sealfleet_domain::Clock as _;
use sealfleet_identity::{Context, IdentityError, SecretValue};
use sealfleet_identity_web::{Answer, Service, fault};
use sealfleet_system::SystemClock;
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// Seconds that a session lasts: the least that STS gives.
const SESSION_SECONDS: &str = "900";
/// The most characters of a session's name.
const SESSION_NAME: usize = 64;

/// The role that a step assumes, and how.
pub struct Login {
    service: Service,
    client: Client,
    sts: Url,
    region: String,
    role: String,
    token: SecretValue,
}

/// The keys of a session.
pub struct Session {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Zeroizing<String>,
}

/// What a step's token says of it.
#[derive(Deserialize)]
struct Claims {
    run: String,
    step: String,
}

impl Login {
    /// Settings: `role`, `region`, and `sts`, the address of AWS STS. `addresses` are those that
    /// the service itself has.
    ///
    /// # Errors
    /// `no_login`
    pub fn of(
        service: Service,
        context: &mut Context,
        addresses: &[&str],
    ) -> Result<Self, IdentityError> {
        let sts = service.setting(context, "sts")?;
        let addresses = [addresses, &[&sts]].concat();
        Ok(Self {
            service,
            client: service.client(context, &addresses)?,
            sts: Url::parse(&sts).map_err(|_| service.not_configured())?,
            region: service.setting(context, "region")?,
            role: service.setting(context, "role")?,
            token: context
                .token
                .take()
                .ok_or_else(|| service.not_configured())?,
        })
    }

    /// The identity token of the step.
    #[must_use]
    pub fn token(&self) -> String {
        String::from_utf8_lossy(self.token.expose()).into_owned()
    }

    /// A session of the role that may do what both the role and `policy` allow.
    ///
    /// # Errors
    /// `wrong_credential`: the role does not trust the step.
    pub async fn assume(&self, policy: &Value) -> Result<Session, IdentityError> {
        let token = Zeroizing::new(self.token());
        let name = session_name(&token).ok_or_else(|| self.service.not_configured())?;
        let mut form = Url::parse("form:").map_err(|_| self.service.not_configured())?;
        form.query_pairs_mut()
            .append_pair("Version", "2011-06-15")
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("RoleArn", &self.role)
            .append_pair("RoleSessionName", &name)
            .append_pair("DurationSeconds", SESSION_SECONDS)
            .append_pair("Policy", &policy.to_string())
            .append_pair("WebIdentityToken", &token);
        let form = form.query().unwrap_or_default().to_owned();
        let kind = "application/x-www-form-urlencoded";
        let request = self.client.post(self.sts.clone());
        let request = request.header("content-type", kind).body(form);
        let answer = self.service.send(request).await?;
        match answer.status.as_u16() {
            200 => Session::of(&answer).ok_or_else(|| self.service.no_sense()),
            _ => Err(self.not_assumed(&answer)),
        }
    }

    /// What an error of STS means ("Common errors" and "`AssumeRoleWithWebIdentity`").
    fn not_assumed(&self, answer: &Answer) -> IdentityError {
        let role = &self.role;
        match element(answer, "Code").as_deref() {
            Some(
                "AccessDenied"
                | "InvalidIdentityToken"
                | "IDPRejectedClaim"
                | "ExpiredTokenException",
            ) => fault(
                "wrong_credential",
                format!(
                    "AWS STS does not let this step assume `{role}`: its trust policy must name this control plane's issuer, its audience and the step's project, and the account needs the OIDC provider of that issuer"
                ),
            ),
            Some("ValidationError") => fault(
                "no_login",
                format!("AWS STS takes `{role}` for no role: give this worker the role's ARN"),
            ),
            Some("RegionDisabledException") => fault(
                "denied",
                format!(
                    "AWS STS is not active in `{}`: activate it in the account's settings",
                    self.region
                ),
            ),
            Some("IDPCommunicationError") => fault(
                "unavailable",
                "AWS STS cannot fetch the keys of this control plane's issuer: its address must be public",
            ),
            _ => answer.refused("the login at AWS STS"),
        }
    }

    /// Asks an API of AWS without a session. It refuses that, and so says that it is there.
    ///
    /// # Errors
    /// See [`Service::send`]; `bad_answer` if it is not AWS that answers.
    pub async fn knock(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<(), IdentityError> {
        let mut request = self.client.post(url.clone()).body(body.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.service.send(request).await?;
        // AWS gives each request an id, and each error a type.
        let has_type = |error: Map<String, Value>| error.contains_key("__type");
        let is_aws = answer.request_id.is_some() || answer.read().is_ok_and(has_type);
        match answer.status.as_u16() {
            429 | 500..=599 => Err(answer.refused("a request without a login")),
            400..=499 if is_aws => Ok(()),
            _ => Err(self.service.no_sense()),
        }
    }

    /// Asks an API of AWS that speaks JSON, in a session.
    ///
    /// # Errors
    /// See [`Service::send`].
    pub async fn ask(
        &self,
        session: &Session,
        signing_name: &str,
        url: &Url,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, IdentityError> {
        let body = Zeroizing::new(body.to_string());
        let request = self
            .signed(session, signing_name, url, headers, &body)
            .ok_or_else(|| self.service.not_configured())?;
        self.service.send(request.body(body.to_string())).await
    }

    fn signed(
        &self,
        session: &Session,
        signing_name: &str,
        url: &Url,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<RequestBuilder> {
        let identity = session.credentials().into();
        let millis = u64::try_from(SystemClock.now().millis()).ok()?;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(signing_name)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        let body = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", url.as_str(), headers.iter().copied(), body);
        let (instructions, _) = sign(signable.ok()?, &parameters).ok()?.into_parts();
        let mut request = self.client.post(url.clone());
        for (name, value) in headers.iter().copied().chain(instructions.headers()) {
            request = request.header(name, value);
        }
        Some(request)
    }
}

impl Session {
    fn of(answer: &Answer) -> Option<Self> {
        Some(Self {
            access_key_id: element(answer, "AccessKeyId")?,
            secret_access_key: Zeroizing::new(element(answer, "SecretAccessKey")?),
            session_token: Zeroizing::new(element(answer, "SessionToken")?),
        })
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(
            &self.access_key_id,
            self.secret_access_key.as_str(),
            Some(self.session_token.to_string()),
            None,
            "sealfleet-identity",
        )
    }
}

/// The text of the first element of this name. An answer of STS is XML, and these texts have no
/// character that XML escapes.
fn element(answer: &Answer, tag: &str) -> Option<String> {
    let (_, rest) = answer.text()?.split_once(&format!("<{tag}>"))?;
    let (found, _) = rest.split_once('<')?;
    Some(found.trim().to_owned())
}

/// The name of a session, for people who read CloudTrail: the run and the step. None if this is no
/// token of a step.
fn session_name(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let Claims { run, step } = serde_json::from_slice(&payload).ok()?;
    let of_aws = |letter: &char| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(*letter);
    let name = format!("{run}.{step}");
    Some(name.chars().filter(of_aws).take(SESSION_NAME).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_run_and_step() {
        let name =
            |claims: &str| session_name(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims)));
        let named = name(r#"{"run":"run_0198c0de","step":"fetch","aud":"x"}"#);
        assert_eq!(named.as_deref(), Some("run_0198c0de.fetch"));
        let long = format!(r#"{{"run":"run_1","step":"{}/"}}"#, "a".repeat(80));
        assert_eq!(name(&long).map(|name| name.len()), Some(SESSION_NAME));
        assert_eq!(name("{}"), None);
        assert_eq!(session_name("no token"), None);
    }
}
