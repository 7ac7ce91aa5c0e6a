//! How the client library is asked to connect and to subscribe.

use std::sync::Arc;

use rumqttc::{
    NetworkOptions, TlsConfiguration, Transport,
    v5::{
        MqttOptions,
        mqttbytes::{
            QoS,
            v5::{Filter, RetainForwardRule},
        },
    },
};
use secrecy::ExposeSecret as _;

use super::Settings;
use crate::tls;
use crate::tls::TlsError;

/// We publish next to nothing, and that at QoS 0; the library allocates by this number.
const OUTGOING_INFLIGHT_MAX: u16 = 16;
/// Seconds from the name lookup to CONNACK.
const CONNECT_SECONDS_MAX: u64 = 10;
/// The library panics below 5 s; the wire has 16 bits.
const KEEP_ALIVE_SECONDS: std::ops::RangeInclusive<u64> = 5..=65_535;

/// Read anew for each connection: a certificate file may be replaced meanwhile.
pub(super) fn connect(settings: &Settings) -> Result<MqttOptions, TlsError> {
    let mut options = MqttOptions::new(&settings.client_id, host(&settings.host), settings.port);
    let keep_alive =
        settings.keep_alive.as_secs().clamp(*KEEP_ALIVE_SECONDS.start(), *KEEP_ALIVE_SECONDS.end());
    let expiry = u32::try_from(settings.session_expiry.as_secs()).unwrap_or(u32::MAX);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_clean_start(false)
        .set_session_expiry_interval(Some(expiry))
        .set_manual_acks(true)
        .set_keep_alive(std::time::Duration::from_secs(keep_alive))
        .set_connection_timeout(CONNECT_SECONDS_MAX)
        .set_max_packet_size(Some(settings.packet_bytes_max))
        .set_receive_maximum(Some(settings.receive_max.max(1)))
        .set_outgoing_inflight_upper_limit(OUTGOING_INFLIGHT_MAX)
        .set_network_options(network);
    if let Some(username) = &settings.username {
        let password = settings.password.as_ref().map_or("", |secret| secret.expose_secret());
        options.set_credentials(username, password);
    }
    if settings.tls {
        let config = tls::client(settings.ca_file.as_deref())?;
        let config = TlsConfiguration::Rustls(Arc::new(config));
        options.set_transport(Transport::tls_with_config(config));
    }
    Ok(options)
}

/// QoS 1; retained messages only where they are wanted, and only when the filter is new to the session:
/// otherwise each reconnect would store old values again.
pub(super) fn filters(settings: &Settings) -> impl Iterator<Item = Filter> + '_ {
    let retained = if settings.retained {
        RetainForwardRule::OnNewSubscribe
    } else {
        RetainForwardRule::Never
    };
    settings.topics.iter().map(move |topic| {
        let mut filter = Filter::new(topic, QoS::AtLeastOnce);
        filter.retain_forward_rule = retained.clone();
        filter
    })
}

/// The library joins host and port with a colon.
fn host(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}
