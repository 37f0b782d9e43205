//! From a request to its handler, by the row of its operation.

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::operations::{Parameters, Route};

use super::auth::Caller;
use super::fault::Answered;

/// Answers a request by the handler of its operation.
///
/// A handler takes a [`Caller`], which proves that the operation's row lets the caller in, and the
/// typed parameters of the path. `$way` is how callers are verified. An operation that is `reading`
/// gets what that reads in the caller's project together with the caller.
macro_rules! route {
    (@way $door:expr) => { $door };
    (@way $door:expr, $read:expr) => {
        &crate::shared::auth::Reading { door: $door, read: $read }
    };
    ($request:expr, $way:expr;
     $($operation:ident $(reading $read:expr)? => |$caller:ident, $parameters:pat_param| $answer:expr;)+) => {
        match $request.operation.id {
            $(id if id == sealfleet_api::operations::$operation.operation.id => {
                crate::shared::route::serve(
                    $request,
                    crate::shared::route::route!(@way $way $(, $read)?),
                    &sealfleet_api::operations::$operation,
                    async |$caller, $parameters| $answer.await,
                )
                .await
            })+
            // An operation of another function, which API Gateway did not send there.
            _ => Err(sealfleet_api::Problem::not_found()),
        }
    };
}
pub(crate) use route;

/// Lets the caller in, reads the path's parameters, and only then asks the handler.
///
/// # Errors
/// The problem to answer with.
pub(crate) async fn serve<W, C: Caller<W>, P: Parameters>(
    request: &Request,
    way: &W,
    _: &Route<P>,
    handler: impl AsyncFnOnce(C, P) -> Answered,
) -> Result<Answer, Problem> {
    let caller = C::admit(way, request).await?;
    let parameters = request.parameters()?;
    Ok(handler(caller, parameters).await?)
}
