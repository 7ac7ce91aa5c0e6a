//! What a client can do wrong, and what it is told.

use super::Reason;

/// A breach of the protocol, after which a connection cannot go on: the `kind` label of the
/// metrics, so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.text())]
pub enum Violation {
    PacketType,
    Flags,
    Length,
    TooLarge,
    CutShort,
    Trailing,
    Utf8,
    Topic,
    Qos,
    PacketId,
    Property,
    Subscription,
    ProtocolName,
    ProtocolVersion,
    NotConnected,
    SecondConnect,
    TopicAlias,
    AliasMemory,
    ReceiveMaximum,
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
        Self::NotConnected,
        Self::SecondConnect,
        Self::TopicAlias,
        Self::AliasMemory,
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
            Self::NotConnected => "not_connected",
            Self::SecondConnect => "second_connect",
            Self::TopicAlias => "topic_alias",
            Self::AliasMemory => "alias_memory",
            Self::ReceiveMaximum => "receive_maximum",
            Self::Auth => "auth",
        }
    }

    /// For a person: what was wrong.
    pub const fn text(self) -> &'static str {
        match self {
            Self::PacketType => "a packet type that no client sends",
            Self::Flags => "reserved flags are not as the packet type wants them",
            Self::Length => "a length that is not a variable byte integer",
            Self::TooLarge => "a packet larger than the maximum",
            Self::CutShort => "a field that runs past the end of its packet",
            Self::Trailing => "bytes after the last field of a packet",
            Self::Utf8 => "a string that is not UTF-8 or holds U+0000",
            Self::Topic => "a topic name with a wildcard or U+0000, or none",
            Self::Qos => "QoS 3",
            Self::PacketId => "packet identifier 0",
            Self::Property => "a property that is unknown, out of place, repeated or out of range",
            Self::Subscription => {
                "a subscription without a topic filter or with impossible options"
            }
            Self::ProtocolName => "a protocol name that is not MQTT",
            Self::ProtocolVersion => "a protocol version other than 3.1, 3.1.1 and 5",
            Self::NotConnected => "something else before CONNECT",
            Self::SecondConnect => "a second CONNECT",
            Self::TopicAlias => {
                "a topic alias of 0 or above the maximum, or one that was never given"
            }
            Self::AliasMemory => "topic aliases for longer topics than one connection may have",
            Self::ReceiveMaximum => "more unacknowledged messages than the receive maximum by far",
            Self::Auth => "an authentication exchange that nobody began",
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
            Self::TopicAlias => Reason::TopicAliasInvalid,
            Self::AliasMemory => Reason::QuotaExceeded,
            Self::ReceiveMaximum => Reason::ReceiveMaximumExceeded,
        }
    }
}
