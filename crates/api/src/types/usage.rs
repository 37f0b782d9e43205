use std::collections::BTreeMap;

use sealfleet_domain::agent::{Usage, Usd};
use sealfleet_domain::prices::PriceTag;
use sealfleet_domain::run::is_zero;
use sealfleet_domain::usage::Sums;
use sealfleet_domain::{ProjectId, WorkflowName};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use sealfleet_domain::schema;

/// What attempts at steps have used together. An attempt is one claim of a step; it counts on the
/// UTC day of its end, however it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct UsageSums {
    pub attempts: u64,
    /// Milliseconds from claims to ends.
    pub wall_ms: u64,
    /// Milliseconds of hosted sandboxes, times their virtual CPUs. What workers run has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vcpu_ms: u64,
    /// Milliseconds of hosted sandboxes, times their gigabytes of 1,024 MiB.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gb_ms: u64,
    /// Hosted attempts that were ended from outside: their time is an estimate, from claim to end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub estimated_attempts: u64,
    /// Tokens as they are charged: as egress proxies have counted them, or else as agents say.
    pub tokens: Usage,
    /// Tokens as the agents' own CLIs say, to compare.
    pub tokens_of_agents: Usage,
    /// Tokens as egress proxies have counted them, to compare.
    pub tokens_of_proxies: Usage,
    /// Bytes that steps sent through their egress proxies.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub egress_sent_bytes: u64,
    /// Bytes that they received.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub egress_received_bytes: u64,
    /// US dollars for all that has a price, by the prices at its end. Absent if nothing has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::cost"))]
    pub cost_usd: Option<Usd>,
    /// The part of it for hosted sandboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::cost"))]
    pub sandboxes_usd: Option<Usd>,
    /// The part of it for tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::cost"))]
    pub tokens_usd: Option<Usd>,
    /// How often an attempt used a model whose price nobody knows: `cost_usd` lacks it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpriced: u64,
    /// Attempts of agents of which nobody has told what they used: `tokens` and `cost_usd` lack it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: u64,
}

impl From<&Sums> for UsageSums {
    fn from(sums: &Sums) -> Self {
        let tokens = |[input_tokens, cached_input_tokens, output_tokens]: [u64; 3]| Usage {
            input_tokens,
            cached_input_tokens,
            output_tokens,
        };
        let sandboxes = (sums.sandbox_nanos > 0).then_some(sums.sandbox_nanos);
        let models = (sums.priced > 0).then_some(sums.model_nanos);
        let both = sandboxes
            .or(models)
            .map(|_| sums.sandbox_nanos.saturating_add(sums.model_nanos));
        let usd = |nanos: Option<u64>| nanos.map(|nanos| Usd::millionths(nanos.div_ceil(1000)));
        Self {
            attempts: sums.attempts,
            wall_ms: sums.wall_ms,
            vcpu_ms: sums.vcpu_ms,
            gb_ms: sums.gb_ms,
            estimated_attempts: sums.estimated,
            tokens: tokens([sums.input, sums.cached, sums.output]),
            tokens_of_agents: tokens([sums.agent_input, sums.agent_cached, sums.agent_output]),
            tokens_of_proxies: tokens([sums.proxy_input, sums.proxy_cached, sums.proxy_output]),
            egress_sent_bytes: sums.sent,
            egress_received_bytes: sums.received,
            cost_usd: usd(both),
            sandboxes_usd: usd(sandboxes),
            tokens_usd: usd(models),
            unpriced: sums.unpriced,
            untold: sums.untold,
        }
    }
}

/// What steps of a project have used, by what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct UsageRow {
    pub project: ProjectId,
    /// The UTC day, `YYYY-MM-DD`, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// If it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowName>,
    /// The profile of the highest level of the runs' cascades, if it was asked for. Absent for runs
    /// without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// `PROVIDER/MODEL`, if it was asked for. Absent for work without a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub used: UsageSums,
}

/// The prices by which usage is charged from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PricesView {
    /// Of an hour of a virtual CPU, and of a gigabyte, of hosted sandboxes.
    pub sandboxes: PriceTag,
    /// Of a million tokens, by `PROVIDER/MODEL`, or by the model alone as the deployment names it.
    /// A model that is not here has no price.
    pub models: BTreeMap<String, PriceTag>,
}
