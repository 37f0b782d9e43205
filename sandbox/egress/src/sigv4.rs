//! AWS Signature Version 4.
//!
//! A secret access key never goes over the network, so there is no placeholder to replace: the
//! program signs with the placeholder as its key. The proxy checks that, and signs the same request
//! anew with the real one. <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use std::time::SystemTime;

use aws_credential_types::Credentials as Keys;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use subtle::ConstantTimeEq as _;
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::credentials::{Credentials, Held, Misuse, Place};
use crate::refusal::Refusal;
use crate::target::Target;

/// Bytes of a body that is read as a whole to be signed. Four of them at once fit into the
/// memory of a proxy.
pub const BODY_BYTES: usize = 8 << 20;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// Services whose paths are signed as they are.
const OF_S3: [&str; 4] = ["s3", "s3-object-lambda", "s3-outposts", "s3express"];

/// A signature of a request, as its program made it.
pub struct Signed<'a> {
    held: &'a Held,
    access_key_id: String,
    day: String,
    region: String,
    service: String,
    signature: String,
    time: SystemTime,
    names: Vec<HeaderName>,
    pub payload: Payload,
}

/// What a signature says of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Its hash, or that there is none: the body need not be read.
    Told(String),
    /// Nothing in the head: the body is a part of the signature.
    Whole,
    /// Each chunk of the body has a signature of its own.
    Chunks,
}

impl<'a> Signed<'a> {
    /// The signature of a request, if it was made for a secret access key that the proxy holds.
    pub fn of<B>(
        credentials: &'a Credentials,
        place: Place<'_>,
        request: &Request<B>,
    ) -> Result<Option<Self>, Refused> {
        let all: Vec<&HeaderValue> = request.headers().get_all(AUTHORIZATION).iter().collect();
        let query = request
            .uri()
            .query()
            .unwrap_or_default()
            .replace("%2F", "/");
        let names = |text: &str, id: &str| {
            let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-._".contains(c));
            words.any(|word| word == id)
        };
        let is_signed = |id: &str| {
            let texts = all.iter().filter_map(|value| value.to_str().ok());
            let mut signed = texts.filter(|text| text.starts_with("AWS4-"));
            signed.any(|text| names(text, id))
        };
        let is_presigned = |id: &str| query.contains("X-Amz-") && names(&query, id);
        let mut signing = credentials.signing();
        let Some((held, id)) = signing.find(|(_, id)| is_signed(id) || is_presigned(id)) else {
            return Ok(None);
        };
        if !held.is_bound(place) {
            return Err(Misuse::mismatch(held).into());
        }
        if is_presigned(id) {
            return unsignable(
                "An address that is signed in its query would give away what it allows. Sign the \
                 request in its Authorization header.",
            );
        }
        let [authorization] = all.as_slice() else {
            return unsignable(NOT_COMPLETE);
        };
        let authorization = authorization.to_str().unwrap_or_default();
        let Some(fields) = authorization.strip_prefix(ALGORITHM) else {
            return unsignable(
                "Its algorithm is not AWS4-HMAC-SHA256. For SigV4A, name the region of the bucket \
                 in place of a multi-region access point.",
            );
        };
        let read = Self::read(held, fields, request.headers());
        match read {
            Some(signed) if signed.access_key_id != id => unsignable(NOT_COMPLETE),
            Some(signed) if signed.payload == Payload::Chunks => unsignable(CHUNKS),
            Some(signed) => Ok(Some(signed)),
            None => unsignable(NOT_COMPLETE),
        }
    }

    fn read(held: &'a Held, fields: &str, headers: &HeaderMap) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = fields.split(',').map(str::trim);
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let scope: Vec<&str> = field("Credential")?.split('/').collect();
        let [access_key_id, day, region, service, "aws4_request"] = *scope.as_slice() else {
            return None;
        };
        let names = field("SignedHeaders")?.split(';').map(str::parse);
        let names: Vec<HeaderName> = names.collect::<Result<_, _>>().ok()?;
        let only = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().filter(|_| values.next().is_none())?;
            value.to_str().ok()
        };
        let date = only(&DATE)?;
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let time = PrimitiveDateTime::parse(date, format).ok()?.assume_utc();
        let payload = match headers.get(&CONTENT_HASH) {
            None => Payload::Whole,
            Some(_) => payload(only(&CONTENT_HASH)?)?,
        };
        let is_signed = |name: &HeaderName| names.contains(name);
        let is_complete = is_signed(&HOST)
            && is_signed(&DATE)
            && (payload == Payload::Whole || is_signed(&CONTENT_HASH))
            && date.starts_with(day);
        is_complete.then(|| Self {
            held,
            access_key_id: access_key_id.to_owned(),
            day: day.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signature: field("Signature").unwrap_or_default().to_owned(),
            time: time.into(),
            names,
            payload,
        })
    }

    /// Refuses a request that was signed with something else than the placeholder. `body` is all of
    /// it if the signature says nothing of it.
    pub fn verify(&self, target: &Target, parts: &Parts, body: &[u8]) -> Result<(), Refused> {
        let placeholder = self.held.placeholder.as_bytes();
        let own = self.sign(target, parts, body, &self.access_key_id, placeholder);
        let is_it =
            own.is_some_and(|(own, _)| own.as_bytes().ct_eq(self.signature.as_bytes()).into());
        if is_it {
            return Ok(());
        }
        Err(Refused::Because(Refusal::Signature(self.held.key.clone())))
    }

    /// Signs the request as the host gets it.
    pub fn sign_anew(
        &self,
        credentials: &Credentials,
        place: Place<'_>,
        parts: &mut Parts,
        body: &[u8],
    ) -> Result<(), Refused> {
        let filled = credentials.replaced(place, self.access_key_id.as_bytes())?;
        let id = filled
            .as_ref()
            .map_or(self.access_key_id.as_bytes(), |id| id);
        let Ok(id) = std::str::from_utf8(id) else {
            return unsignable(NOT_COMPLETE);
        };
        let signed = self.held.with_value(place, |secret| {
            self.sign(place.target, parts, body, id, secret)
        })?;
        let header = signed.and_then(|(signature, names)| {
            let Self {
                day,
                region,
                service,
                ..
            } = self;
            HeaderValue::try_from(format!(
                "{ALGORITHM} Credential={id}/{day}/{region}/{service}/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            ))
            .ok()
        });
        let Some(mut header) = header else {
            return unsignable(NOT_COMPLETE);
        };
        header.set_sensitive(true);
        parts.headers.insert(AUTHORIZATION, header);
        Ok(())
    }

    /// A signature, and the names of the fields in it. Fields that were signed and are not sent on,
    /// as those of one connection, are left out.
    fn sign(
        &self,
        target: &Target,
        parts: &Parts,
        body: &[u8],
        access_key_id: &str,
        secret: &[u8],
    ) -> Option<(String, String)> {
        let secret = std::str::from_utf8(secret).ok()?;
        let mut names: Vec<&HeaderName> = self.names.iter().collect();
        names.retain(|name| parts.headers.contains_key(*name) && **name != AUTHORIZATION);
        names.sort_unstable_by_key(|name| name.as_str());
        names.dedup();
        let fields = names.iter().flat_map(|name| {
            let values = parts.headers.get_all(*name).iter();
            values.map(|value| Some((name.as_str(), value.to_str().ok()?)))
        });
        let fields: Vec<(&str, &str)> = fields.collect::<Option<_>>()?;
        let body = match &self.payload {
            Payload::Told(hash) => SignableBody::Precomputed(hash.clone()),
            Payload::Whole => SignableBody::Bytes(body),
            Payload::Chunks => return None,
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let address = format!("https://{target}{path}");
        let (method, fields) = (parts.method.as_str(), fields.into_iter());
        let request = SignableRequest::new(method, address, fields, body).ok()?;

        let mut settings = SigningSettings::default();
        settings.excluded_headers = None;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        if OF_S3.contains(&self.service.as_str()) {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let keys = Keys::new(access_key_id, secret, None, None, "step");
        let identity = Identity::from(keys);
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(self.time)
            .settings(settings)
            .build()
            .ok()?;
        let (_, signature) = sign(request, &params.into()).ok()?.into_parts();
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        Some((signature, names.join(";")))
    }
}

/// Why a request is not signed anew.
pub enum Refused {
    Misuse(Misuse),
    Because(Refusal),
}

impl From<Misuse> for Refused {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

const NOT_COMPLETE: &str = "Its signature is not complete, or cannot be read. It has one Authorization \
     header, and signs `host`, `x-amz-date`, and `x-amz-content-sha256` where that is sent.";
const CHUNKS: &str = "Its body is signed in chunks, each with a signature of its own. Turn chunked \
     signing off, so that the body is hashed as a whole or not at all: \
     `chunkedEncodingEnabled(false)` in the SDK for Java, `DisableContentSha256` in clients of MinIO.";

fn unsignable<T>(what: &'static str) -> Result<T, Refused> {
    Err(Refused::Because(Refusal::Unsignable(what)))
}

/// What `x-amz-content-sha256` says.
fn payload(text: &str) -> Option<Payload> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text {
        "UNSIGNED-PAYLOAD" | "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => {
            Some(Payload::Told(text.to_owned()))
        }
        _ if is_hash => Some(Payload::Told(text.to_owned())),
        _ if text.starts_with("STREAMING-") => Some(Payload::Chunks),
        _ => None,
    }
}
