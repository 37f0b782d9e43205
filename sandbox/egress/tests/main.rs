//! The proxy from outside: programs of a sandbox on one side, hosts on the other, and names that
//! mean what a test says. All of it on loopback, which the tests open as an operator would.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod addresses;
mod clients;
mod host;
mod inside;
mod limits;
mod policy;
mod random;
mod record;
mod requests;
mod tunnels;
mod world;
