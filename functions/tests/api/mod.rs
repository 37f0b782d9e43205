//! The API as `sealfleet_api::operations` describes it, compared with the deployed routes and the
//! handlers' answers.

pub mod authorisation;
mod console;
mod cursors;
mod routes;
