//! The channel between a sandbox's first process, `sealfleet-init`, and its host.
//!
//! ```text
//! host -> init   Inputs      files that are too large for a message, as descriptors
//! init -> host   Placed      they are in the workspace
//! host -> init   Step        command, environment, secret references, access lists, descriptors
//! init -> host   TokenAsked  an identity token, please; also while the command runs
//! host -> init   Token       here it is                   or   NoToken: why not
//! init -> host   ProxyAsked  a way to the identity backends, please, until Resolved
//! init -> host   Resolved    the version of each secret      or   Error: nothing will run
//! host -> init   Go          the start is on record
//! init -> host   Agent       what the step's agent said of its work, if the step runs one
//! init -> host   Result      the document that the command has left, if it has
//! init -> host   Artifacts   files that the command has left, as descriptors
//! host -> init   Taken       they are kept
//! init -> host   Egress      what it has reached and was kept from, now and then
//! init -> host   Ended       how the command ended, and what was redacted
//! ```
//!
//! A second sandbox, the egress proxy of the first one's step:
//!
//! ```text
//! host -> init   Egress      the policy, and what came with the other's Resolved
//! init -> host   Proxying    it lets through what the policy allows, and has its secrets
//! host -> init   Withdraw    these secrets are revoked
//! ```
//!
//! The two inits talk on a [socket of their own](ToProxy), and the host hears nothing of it:
//!
//! ```text
//! step -> proxy  Order       the policy, in a task of Fargate, where no host tells the proxy
//! step -> proxy  Begin       the placeholders of the secrets that the proxy delivers
//! proxy -> step  Ready       the certificate that it ends TLS with      or   Refused: why not
//! step -> proxy  Ask         what has the step done?
//! proxy -> step  Egress      it has reached these hosts, and was kept from those
//! step -> proxy  Withdraw    these secrets are revoked, in a task of Fargate
//! ```
//!
//! A message is JSON behind its length. It names its version and the open descriptors that travel
//! with it. By its types, no message can hold a secret's value. An identity token is none: the host
//! can have one for every step that it holds, and asks for this one.
//!
//! [`Socket`] carries messages between two processes of one host.

mod message;
mod peer;
mod socket;

use async_trait::async_trait;

pub use message::{
    AgentEnd, AgentFault, ArtifactFile, Artifacts, BackendOrder, Bearer, CheckOrder, Checked,
    CommandEnd, EGRESS_LISTENER, EGRESS_PEER, EgressOrder, NoToken, PlaceholderRequest,
    ReadableName, Refusal, ResolvedSecret, SecretAtEgress, SecretRequest, Step, StepResult, ToHost,
    ToInit, artifact_name, input_name,
};
pub use peer::{Egress, ProxyOrder, ToProxy, ToStep};
pub use socket::Socket;

/// The version of the messages. Any change to them is a new version.
pub const VERSION: u32 = 11;

/// The largest message to init, in bytes. A step is its largest part.
pub const MAX_TO_INIT: usize = 1024 * 1024;

/// The largest message to the host, in bytes. A result is its largest part: JSON in JSON is twice
/// as long at the most.
pub const MAX_TO_HOST: usize = 2 * sealfleet_domain::limits::RESULT_BYTES + 64 * 1024;

/// The largest message between a step's init and its proxy's, in bytes: what identity backends hold
/// comes with the certificates of their authorities.
pub const MAX_TO_PEER: usize = 512 * 1024;

/// The most descriptors that one message carries.
pub const MAX_DESCRIPTORS: usize = 8;

/// Open descriptors by name. A name is `SCHEME.FILE`: the identity backend that the descriptor is
/// for, and which of its files this is.
pub type Descriptors = std::collections::BTreeMap<String, std::os::fd::OwnedFd>;

/// One side of a channel: sends `Out`, receives `In`.
#[async_trait]
pub trait Channel<Out, In>: Send {
    /// Sends one message, with the descriptors that it carries.
    ///
    /// # Errors
    /// [`ChannelError`]; the channel is of no use after it.
    async fn send(&mut self, message: &Out, descriptors: Descriptors) -> Result<(), ChannelError>;

    /// Waits for the next message. Dropped while it waits, it may lose part of a message: use the
    /// channel no more.
    ///
    /// # Errors
    /// [`ChannelError`]; the channel is of no use after it.
    async fn receive(&mut self) -> Result<(In, Descriptors), ChannelError>;
}

/// Why a message did not pass.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side has ended, or closed its end.
    #[error("the other side closed the channel")]
    Closed,
    /// The other side is of another release.
    #[error(
        "the other side speaks version {0} of the channel, this side version {VERSION}: install \
         `sealfleet-worker` and `sealfleet-init` of the same release"
    )]
    Version(u64),
    /// The length that the message announces, or has.
    #[error("a message of {length} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        length: usize,
        /// The largest size in bytes.
        limit: usize,
    },
    /// The JSON is not a message of this version.
    #[error("a message is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Other descriptors arrived than the message names.
    #[error("a message names {named} descriptors and carries {carried}, {MAX_DESCRIPTORS} at most")]
    Descriptors {
        /// How many it names.
        named: usize,
        /// How many came with it.
        carried: usize,
    },
    /// The system's answer.
    #[error("the channel failed: {0}")]
    Io(#[from] std::io::Error),
}
