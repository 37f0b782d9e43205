//! The order of reads and writes: the product's, and ways to get it wrong.

/// Who reads and writes what first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The product's: a claim writes its lease, then reads the revocations; a revoker writes its
    /// row, then reads the leases.
    IntentThenCheck,
    /// A claim reads the revocations, then writes its lease.
    CheckBeforeLease,
    /// A revoker reads the leases, then writes its row.
    LeasesBeforeRow,
    /// A claim reads no revocations.
    ClaimUnchecked,
    /// A launcher that finds its pool's own lease goes on without reading the revocations.
    ResumeUnchecked,
    /// A fan-out stores where it goes on before it has dealt with what it read.
    PlaceBeforeAborts,
    /// A launcher stores its handle whatever has become of the claim.
    HandleUnconditional,
    /// A start reads no revocations.
    StartUnchecked,
    /// A refused claim ends its step and leaves alone what another delivery has launched under the
    /// same fence.
    RefusalLeavesSandbox,
    /// A refused launch ends its step whatever another delivery has launched under the same fence.
    FailedLaunchEndsOther,
    /// A fan-out goes on after its revocation was lifted.
    FanOutOutlivesLift,
    /// A launcher leaves a task alone whose handle was refused. Breaks nothing: two other guards
    /// stop that task.
    LaunchNotTakenBack,
}

impl Protocol {
    /// Every mutation that breaks a promise.
    pub const MUTATIONS: [Self; 10] = [
        Self::CheckBeforeLease,
        Self::LeasesBeforeRow,
        Self::ClaimUnchecked,
        Self::ResumeUnchecked,
        Self::PlaceBeforeAborts,
        Self::HandleUnconditional,
        Self::StartUnchecked,
        Self::RefusalLeavesSandbox,
        Self::FailedLaunchEndsOther,
        Self::FanOutOutlivesLift,
    ];

    /// What differs from the product, in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::IntentThenCheck => "the product's order",
            Self::CheckBeforeLease => "a claim reads the revocations before it writes its lease",
            Self::LeasesBeforeRow => "a revoker reads the leases before it writes its row",
            Self::ClaimUnchecked => "a claim reads no revocations",
            Self::ResumeUnchecked => {
                "a launcher that resumes its pool's lease reads no revocations"
            }
            Self::PlaceBeforeAborts => {
                "a fan-out stores its next place before it aborts what it read"
            }
            Self::HandleUnconditional => "a launcher stores its handle although the step was ended",
            Self::StartUnchecked => "a start reads no revocations",
            Self::RefusalLeavesSandbox => {
                "a refused claim leaves alone what a second delivery has launched"
            }
            Self::FailedLaunchEndsOther => {
                "a launch that ECS refuses ends a step that a second delivery has launched"
            }
            Self::FanOutOutlivesLift => "a fan-out goes on after its revocation was lifted",
            Self::LaunchNotTakenBack => "a launcher leaves a task alone whose handle was refused",
        }
    }
}
