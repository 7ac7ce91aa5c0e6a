//! Reason codes of version 5 that we send, and what earlier versions say instead.

/// A reason code (MQTT 5, section 2.4): those of them that this gateway has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    Success = 0x00,
    NoSubscriptionExisted = 0x11,
    Unspecified = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    ServerShuttingDown = 0x8b,
    BadAuthenticationMethod = 0x8c,
    KeepAliveTimeout = 0x8d,
    SessionTakenOver = 0x8e,
    TopicNameInvalid = 0x90,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    QuotaExceeded = 0x97,
    PayloadFormatInvalid = 0x99,
}

impl Reason {
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// 0x80 and above.
    pub const fn is_failure(self) -> bool {
        self.code() >= 0x80
    }

    /// The CONNACK return code of 3.1 and 3.1.1 (section 3.2.2.3) that says the same. None: those
    /// versions have no word for it, and the connection is closed without one.
    pub const fn return_code(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ServerUnavailable | Self::ServerBusy | Self::ServerShuttingDown => Some(3),
            _ => None,
        }
    }
}
