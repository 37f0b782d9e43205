//! What several functions share.

pub mod auth;
pub mod cascade;
pub mod deadline;
pub mod effects;
pub mod fan_out;
pub mod metrics;
pub mod pages;
pub mod problems;
pub mod settings;
pub mod task;
pub mod views;
