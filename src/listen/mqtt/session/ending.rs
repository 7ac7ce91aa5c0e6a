//! Why a connection ends, what its client is told, and what is still owed to it.

use crate::listen::mqtt::packet::Reason;
use crate::listen::mqtt::packet::Violation;

/// The `reason` label of the metrics, so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client sent DISCONNECT.
    Left,
    /// The client closed its side without a word.
    HungUp,
    /// The network failed.
    Failed,
    Violation(Violation),
    Refused(Refusal),
    /// No whole CONNECT in time.
    Silent,
    /// Nothing for one and a half times the keep alive.
    KeepAlive,
    /// One packet that took too long to arrive.
    Trickling,
    /// A client that does not read what it is sent.
    Unread,
    /// Another connection has come with the same client identifier.
    TakenOver,
    /// As much unacknowledged as is allowed, and it does not get less.
    Busy,
    /// What all connections may hold together is used up, and this one holds its part.
    Memory,
    /// A submission failed: nothing more can be acknowledged here.
    Broken,
    ShuttingDown,
}

/// Why a CONNECT that can be read is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The journal has been full for a while.
    Full,
    /// As many connections as are allowed.
    TooMany,
    /// Missing where it must be given, or too long.
    ClientId,
    /// Enhanced authentication, of which there is none.
    AuthenticationMethod,
}

impl Refusal {
    pub const ALL: &'static [Self] =
        &[Self::Full, Self::TooMany, Self::ClientId, Self::AuthenticationMethod];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TooMany => "too_many",
            Self::ClientId => "client_id",
            Self::AuthenticationMethod => "authentication_method",
        }
    }
}

impl Ending {
    /// Without what `Violation` and `Refusal` tell apart: they have counters of their own.
    pub const LABELS: &'static [&'static str] = &[
        "left",
        "hung_up",
        "failed",
        "violation",
        "refused",
        "silent",
        "keep_alive",
        "trickling",
        "unread",
        "taken_over",
        "busy",
        "memory",
        "broken",
        "shutting_down",
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::HungUp => "hung_up",
            Self::Failed => "failed",
            Self::Violation(_) => "violation",
            Self::Refused(_) => "refused",
            Self::Silent => "silent",
            Self::KeepAlive => "keep_alive",
            Self::Trickling => "trickling",
            Self::Unread => "unread",
            Self::TakenOver => "taken_over",
            Self::Busy => "busy",
            Self::Memory => "memory",
            Self::Broken => "broken",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// What the client is told, if it can be told anything: reason code and reason string.
    pub const fn told(self) -> Option<(Reason, &'static str)> {
        Some(match self {
            Self::Left | Self::HungUp | Self::Failed | Self::Silent | Self::Unread => return None,
            Self::Violation(violation) => (violation.reason(), violation.text()),
            Self::Refused(refusal) => refusal.told(),
            Self::KeepAlive => (Reason::KeepAliveTimeout, "nothing was heard for too long"),
            Self::Trickling => (Reason::ProtocolError, "a packet took too long to arrive"),
            Self::TakenOver => {
                (Reason::SessionTakenOver, "the client identifier is used elsewhere")
            }
            Self::Busy => (Reason::ServerBusy, "keep what is not acknowledged and come back later"),
            Self::Memory => (Reason::ServerBusy, "no memory to spare, come back later"),
            Self::Broken => {
                (Reason::Unspecified, "what is not acknowledged was not stored, send it again")
            }
            Self::ShuttingDown => (Reason::ServerShuttingDown, "the gateway is shutting down"),
        })
    }

    /// What was read before must still be stored: good readings do not pay for what ended the
    /// connection. (Where the journal takes nothing more it would only wait.)
    pub const fn submits(self) -> bool {
        !matches!(self, Self::Busy | Self::Broken | Self::Refused(_) | Self::Silent)
    }

    /// What becomes durable soon is still acknowledged: the client may be there to read it. A
    /// client that repeats a faulty packet after good ones gets rid of the good ones.
    pub const fn acknowledges(self) -> bool {
        matches!(self, Self::Left | Self::HungUp | Self::Violation(_) | Self::ShuttingDown)
    }

    /// Whether bytes can still be written.
    pub const fn is_writable(self) -> bool {
        !matches!(self, Self::Failed | Self::Unread)
    }
}

impl Refusal {
    const fn told(self) -> (Reason, &'static str) {
        match self {
            Self::Full => {
                (Reason::ServerUnavailable, "the journal is full, keep your readings and come back")
            }
            Self::TooMany => (Reason::ServerBusy, "too many connections, come back later"),
            Self::ClientId => (
                Reason::ClientIdentifierNotValid,
                "give a client identifier of at most 512 bytes, or ask for a clean session",
            ),
            Self::AuthenticationMethod => {
                (Reason::BadAuthenticationMethod, "there is no enhanced authentication")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_closed_set() {
        let endings = [
            Ending::Left,
            Ending::HungUp,
            Ending::Failed,
            Ending::Violation(Violation::Topic),
            Ending::Refused(Refusal::Full),
            Ending::Silent,
            Ending::KeepAlive,
            Ending::Trickling,
            Ending::Unread,
            Ending::TakenOver,
            Ending::Busy,
            Ending::Memory,
            Ending::Broken,
            Ending::ShuttingDown,
        ];
        let labels: Vec<_> = endings.iter().map(|ending| ending.label()).collect();
        assert_eq!(labels, Ending::LABELS);
    }

    #[test]
    fn a_client_that_is_sent_away_is_told_a_failure() {
        for refusal in Refusal::ALL {
            let (reason, text) = refusal.told();
            // 3.1.1 has a return code for every refusal but that of a thing it does not know.
            let has_a_word = *refusal != Refusal::AuthenticationMethod;
            assert_eq!(reason.return_code().is_some(), has_a_word);
            assert!(reason.is_failure() && !text.is_empty());
        }
    }
}
