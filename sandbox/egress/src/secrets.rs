//! The secrets of one request.

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{HOST, HeaderValue};
use sealfleet_domain::egress::{Denied, HTTPS};

use crate::Shared;
use crate::credentials::{Misuse, Place};
use crate::forward::Body;
use crate::refusal::Refusal;
use crate::sigv4::{BODY_BYTES, Payload, Refused, Signed};
use crate::target::Target;

/// Puts secrets into a request. `rewrite` makes the request that the host gets, before it is
/// signed.
pub async fn put_in(
    shared: &Shared,
    target: &Target,
    request: Request<Incoming>,
    rewrite: impl FnOnce(&mut Request<Body>),
) -> Result<Request<Body>, Refusal> {
    let credentials = &*shared.credentials;
    let misused = |misuse| refused(shared, target, Refused::Misuse(misuse));
    let path = request.uri().path().to_owned();
    let place = Place {
        target,
        path: &path,
    };
    let signed = Signed::of(credentials, place, &request);
    let signed = signed.map_err(|why| refused(shared, target, why))?;
    credentials.refuse_in_target(&request).map_err(misused)?;
    let (request, body) = match &signed {
        Some(signed) if signed.payload == Payload::Whole => whole(shared, target, request).await?,
        _ => (request.map(|body| body.boxed()), Bytes::new()),
    };
    let (mut parts, content) = request.into_parts();
    if let Some(signed) = &signed {
        // In HTTP/2 it stands in the target.
        if let (false, Some(authority)) = (parts.headers.contains_key(HOST), parts.uri.authority())
            && let Ok(host) = HeaderValue::try_from(authority.as_str())
        {
            parts.headers.insert(HOST, host);
        }
        let verified = signed.verify(target, &parts, &body);
        verified.map_err(|why| refused(shared, target, why))?;
    }
    let mut request = Request::from_parts(parts, content);
    rewrite(&mut request);
    let host = HeaderValue::try_from(target.host_header(HTTPS));
    let host = host.map_err(|_| Refusal::Request("the host cannot stand in a header"))?;
    request.headers_mut().insert(HOST, host);
    let filled = credentials.fill(place, request.headers_mut());
    filled.map_err(misused)?;
    let Some(signed) = signed else {
        return Ok(request);
    };
    let (mut parts, content) = request.into_parts();
    let done = signed.sign_anew(credentials, place, &mut parts, &body);
    done.map_err(|why| refused(shared, target, why))?;
    Ok(Request::from_parts(parts, content))
}

/// Refuses a request with a placeholder: without TLS, none is replaced.
pub fn refuse_any(
    shared: &Shared,
    target: &Target,
    request: &Request<Incoming>,
) -> Result<(), Refusal> {
    let held = shared.credentials.refuse_any(request);
    held.map_err(|misuse| refused(shared, target, Refused::Misuse(misuse)))
}

/// Counts why a request does not get its secrets.
fn refused(shared: &Shared, target: &Target, why: Refused) -> Refusal {
    match why {
        Refused::Misuse(misuse) => {
            let (reason, key) = misuse.row();
            shared.record.denied_for(target, reason, Some(key));
            Misuse::refusal(misuse, target)
        }
        Refused::Because(refusal) => {
            if let Refusal::Signature(key) = &refusal {
                let reason = Denied::CredentialMismatch;
                shared.record.denied_for(target, reason, Some(key));
            }
            refusal
        }
    }
}

/// Reads all of a body. Few at once may be here, and none is longer than [`BODY_BYTES`].
async fn whole(
    shared: &Shared,
    target: &Target,
    request: Request<Incoming>,
) -> Result<(Request<Body>, Bytes), Refusal> {
    let broken = || Refusal::Broken(target.clone());
    let _turn = shared.bodies.acquire().await.map_err(|_| broken())?;
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(Refusal::TooLong);
    }
    let read = Limited::new(body, BODY_BYTES).collect().await;
    let body = read.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Refusal::TooLong,
        None => Refusal::Request("the body ended before its end"),
    })?;
    let body = body.to_bytes();
    let content = Full::new(body.clone()).map_err(|never| match never {});
    Ok((Request::from_parts(parts, content.boxed()), body))
}
