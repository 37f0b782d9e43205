//! The HTTP API: its requests and answers as types, shared by the functions that serve it and the
//! clients that call it.
//!
//! JSON everywhere; a field that no type names is refused, so that a mistyped one is never silently
//! ignored. Errors are `application/problem+json` (RFC 9457) with a stable `code`. No field of any
//! request takes a secret's value.

pub mod cursor;
pub mod http;
mod object;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod operations;
mod plain;
pub mod problem;
pub mod rest;
pub mod types;

pub use problem::{Code, Problem};
