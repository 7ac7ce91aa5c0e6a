//! What a client can do wrong, and what it is told.

use super::Reason;

/// A breach of the protocol, after which a connection cannot go on: the `kind` label of the
/// metrics, so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    #[error("a packet type that no client sends")]
    PacketType,
    #[error("reserved flags are not as the packet type wants them")]
    Flags,
    #[error("a length that is not a variable byte integer")]
    Length,
    #[error("a packet larger than the maximum")]
    TooLarge,
    #[error("a field that runs past the end of its packet")]
    CutShort,
    #[error("bytes after the last field of a packet")]
    Trailing,
    #[error("a string that is not UTF-8 or holds U+0000")]
    Utf8,
    #[error("a topic name with a wildcard or U+0000, or none")]
    Topic,
    #[error("QoS 3")]
    Qos,
    #[error("packet identifier 0")]
    PacketId,
    #[error("a property that is unknown, out of place, repeated or out of range")]
    Property,
    #[error("a subscription without a topic filter or with impossible options")]
    Subscription,
    #[error("a protocol name that is not MQTT")]
    ProtocolName,
    #[error("a protocol version other than 3.1, 3.1.1 and 5")]
    ProtocolVersion,
    #[error("an unusable client identifier")]
    ClientId,
    #[error("something else before CONNECT")]
    NotConnected,
    #[error("a second CONNECT")]
    SecondConnect,
    #[error("a topic alias of 0 or above the maximum, or one that was never given")]
    TopicAlias,
    #[error("more unacknowledged messages than the receive maximum by far")]
    ReceiveMaximum,
    #[error("an authentication exchange that nobody began")]
    Auth,
}

impl Violation {
    pub const ALL: &'static [Self] = &[
        Self::PacketType,
        Self::Flags,
        Self::Length,
        Self::TooLarge,
        Self::CutShort,
        Self::Trailing,
        Self::Utf8,
        Self::Topic,
        Self::Qos,
        Self::PacketId,
        Self::Property,
        Self::Subscription,
        Self::ProtocolName,
        Self::ProtocolVersion,
        Self::ClientId,
        Self::NotConnected,
        Self::SecondConnect,
        Self::TopicAlias,
        Self::ReceiveMaximum,
        Self::Auth,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::PacketType => "packet_type",
            Self::Flags => "flags",
            Self::Length => "length",
            Self::TooLarge => "too_large",
            Self::CutShort => "cut_short",
            Self::Trailing => "trailing",
            Self::Utf8 => "utf8",
            Self::Topic => "topic",
            Self::Qos => "qos",
            Self::PacketId => "packet_id",
            Self::Property => "property",
            Self::Subscription => "subscription",
            Self::ProtocolName => "protocol_name",
            Self::ProtocolVersion => "protocol_version",
            Self::ClientId => "client_id",
            Self::NotConnected => "not_connected",
            Self::SecondConnect => "second_connect",
            Self::TopicAlias => "topic_alias",
            Self::ReceiveMaximum => "receive_maximum",
            Self::Auth => "auth",
        }
    }

    /// What a version 5 client is told.
    pub const fn reason(self) -> Reason {
        match self {
            Self::PacketType
            | Self::Flags
            | Self::Length
            | Self::CutShort
            | Self::Trailing
            | Self::Utf8
            | Self::Qos => Reason::MalformedPacket,
            Self::PacketId
            | Self::Property
            | Self::Subscription
            | Self::NotConnected
            | Self::SecondConnect
            | Self::Auth => Reason::ProtocolError,
            Self::TooLarge => Reason::PacketTooLarge,
            Self::Topic => Reason::TopicNameInvalid,
            Self::ProtocolName | Self::ProtocolVersion => Reason::UnsupportedProtocolVersion,
            Self::ClientId => Reason::ClientIdentifierNotValid,
            Self::TopicAlias => Reason::TopicAliasInvalid,
            Self::ReceiveMaximum => Reason::ReceiveMaximumExceeded,
        }
    }
}
