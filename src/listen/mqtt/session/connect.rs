//! CONNECT: who is let in, and on what terms.

use std::borrow::Cow;
use std::time::Duration;

use super::{Ending, Moment, Phase, Refusal, Session, Step};

use crate::listen::mqtt::packet::Connect;
use crate::listen::mqtt::packet::Frame;
use crate::listen::mqtt::packet::Version;
use crate::listen::mqtt::packet::Violation;
use crate::listen::mqtt::packet::write::{self, Granted};

/// The registry of clients holds each identifier.
const CLIENT_ID_BYTES_MAX: usize = 512;

impl Session {
    pub(super) fn connect<'a>(
        &mut self,
        frame: Frame<'a>,
        moment: &Moment,
        assigned: impl FnOnce() -> String,
        out: &mut Vec<u8>,
    ) -> Result<Step<'a>, Ending> {
        if self.phase == Phase::Turned {
            return Err(Ending::Violation(Violation::SecondConnect));
        }
        self.glance(frame.first())?;
        self.phase = Phase::Turned; // Until the end of this function.
        self.version = Connect::dialect(frame);
        let connect = Connect::parse(frame).map_err(Ending::Violation)?;
        self.version = connect.version;
        self.packet_bytes_max = connect.properties.packet_bytes_max;
        self.judge(&connect, moment).map_or(Ok(()), |refusal| Err(Ending::Refused(refusal)))?;

        self.phase = Phase::Connected;
        self.heard = moment.now;
        let keep_alive = self.keep_alive(connect.keep_alive);
        self.silence_max = Duration::from_secs(keep_alive.into()) * 3 / 2;
        if self.version != Version::V5 {
            write::connack(out);
            let client_id = Some(connect.client_id).filter(|id| !id.is_empty());
            return Ok(Step::Connected { client_id: client_id.map(Cow::Borrowed) });
        }
        let name = connect.client_id.is_empty().then(assigned);
        let granted = Granted {
            receive_max: self.limits.receive_max,
            packet_bytes_max: u32::try_from(self.limits.packet_bytes_max).unwrap_or(u32::MAX),
            topic_alias_max: self.limits.topic_alias_max,
            assigned_client_id: name.as_deref(),
            keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
            ends_with_connection: connect.properties.session_expiry > 0,
        };
        write::connack_v5(&granted, out);
        let client_id = name.map_or(Cow::Borrowed(connect.client_id), Cow::Owned);
        Ok(Step::Connected { client_id: Some(client_id) })
    }

    /// Why a CONNECT that can be read is refused.
    fn judge(&self, connect: &Connect<'_>, moment: &Moment) -> Option<Refusal> {
        let is_nameless = connect.client_id.is_empty();
        let needs_name = match connect.version {
            Version::V31 => true,
            Version::V311 => !connect.clean_start,
            Version::V5 => false,
        };
        if (is_nameless && needs_name) || connect.client_id.len() > CLIENT_ID_BYTES_MAX {
            return Some(Refusal::ClientId);
        }
        if connect.properties.authentication_method.is_some() {
            return Some(Refusal::AuthenticationMethod);
        }
        self.refusal.or(moment.is_full.then_some(Refusal::Full))
    }

    /// In seconds. Only version 5 can be told of a shorter one than it asked for; a client that asks
    /// for none gets the longest there is, so that no connection stays for ever.
    fn keep_alive(&self, asked: u16) -> u16 {
        let max = u16::try_from(self.limits.keep_alive_max.as_secs()).unwrap_or(u16::MAX).max(1);
        match (asked, self.version) {
            (0, _) => max,
            (_, Version::V5) => asked.min(max),
            (_, Version::V31 | Version::V311) => asked,
        }
    }
}
