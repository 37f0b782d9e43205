//! The API as `sealfleet_api::operations` describes it, held against what is deployed and what handlers do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod routes;
