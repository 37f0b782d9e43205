//! The proxy from outside: programs of a sandbox on one side, hosts on the other, and names that
//! mean what a test says. All of it on loopback, which the tests open as an operator would.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod addresses;
mod agents;
mod aws;
mod clients;
mod host;
mod inside;
mod limits;
mod policy;
mod protocols;
mod random;
mod record;
mod requests;
mod secrets;
mod secure;
mod tls;
mod trusting;
mod tunnels;
mod world;
