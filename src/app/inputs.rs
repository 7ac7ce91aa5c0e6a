//! Binds the ports and starts the listeners and collectors.

use std::{net::SocketAddr, sync::Arc};

use journal::Room;
use tokio::net::TcpListener;

use super::StartError;
use super::report::Reporter;
use super::running::Running;
use crate::collect::broker;
use crate::config;
use crate::intake::Intake;
use crate::listen::accept;
use crate::listen::http;
use crate::listen::mqtt;

/// All ports, bound before anything is taken from one of them.
#[derive(Debug)]
pub(super) struct Ports {
    mqtt: Option<(TcpListener, config::Mqtt)>,
    http: Option<(TcpListener, config::Http)>,
}

/// What devices reach, and what goes out to fetch; each with its counters.
#[derive(Debug)]
pub(super) struct Inputs {
    mqtt: Option<(TcpListener, config::Mqtt, Arc<mqtt::Stats>)>,
    http: Option<(TcpListener, config::Http, Arc<http::Stats>)>,
    brokers: Vec<(broker::Settings, Arc<broker::Stats>)>,
}

impl Ports {
    pub(super) async fn bind(
        mqtt: Option<config::Mqtt>,
        http: Option<config::Http>,
    ) -> Result<Self, StartError> {
        let (mqtt, http) = with_places(mqtt, http);
        let mut ports = Self { mqtt: None, http: None };
        if let Some(mqtt) = mqtt {
            ports.mqtt = Some((bind(mqtt.listen).await?, mqtt));
        }
        if let Some(http) = http {
            ports.http = Some((bind(http.listen).await?, http));
        }
        Ok(ports)
    }

    pub(super) fn mqtt_address(&self) -> Option<SocketAddr> {
        self.mqtt.as_ref().and_then(|(port, _)| port.local_addr().ok())
    }

    pub(super) fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|(port, _)| port.local_addr().ok())
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Shares the open files that the system grants between the two ports.
fn with_places(
    mut mqtt: Option<config::Mqtt>,
    mut http: Option<config::Http>,
) -> (Option<config::Mqtt>, Option<config::Http>) {
    let mut ports: Vec<&mut accept::Limits> = mqtt
        .iter_mut()
        .map(|m| &mut m.ports)
        .chain(http.iter_mut().map(|h| &mut h.ports))
        .collect();
    let wanted: usize = ports.iter().map(|port| port.connections_max).sum();
    let granted = accept::make_room_for(wanted);
    for port in &mut ports {
        let share = granted.saturating_mul(port.connections_max) / wanted.max(1);
        port.connections_max = share.clamp(1, port.connections_max);
    }
    (mqtt, http)
}

impl Inputs {
    pub(super) fn new(
        ports: Ports,
        brokers: Vec<broker::Settings>,
        reporter: &mut Reporter,
    ) -> Self {
        let (mqtt_address, http_address) = (ports.mqtt_address(), ports.http_address());
        let mqtt = ports.mqtt.map(|(port, settings)| {
            let stats = Arc::new(mqtt::Stats::default());
            reporter.mqtt(mqtt_address, &stats);
            (port, settings, stats)
        });
        let http = ports.http.map(|(port, settings)| {
            let stats = Arc::new(http::Stats::default());
            reporter.http(http_address, &stats);
            (port, settings, stats)
        });
        let brokers = brokers
            .into_iter()
            .map(|settings| {
                let stats = reporter.broker(&settings);
                (settings, stats)
            })
            .collect();
        Self { mqtt, http, brokers }
    }

    pub(super) fn start(self, running: &mut Running, intake: &Intake, reporter: &Arc<Reporter>) {
        let stop = running.shutdown.clone();
        if let Some((port, settings, stats)) = self.mqtt {
            let config::Mqtt { ports, limits, .. } = settings;
            let serve = mqtt::serve(port, intake.clone(), ports, limits, stats, stop.clone());
            running.input("mqtt".into(), serve);
        }
        if let Some((port, settings, stats)) = self.http {
            let config::Http { ports, limits, .. } = settings;
            let (intake, house) = (intake.clone(), house(intake, reporter));
            let serve = http::serve(port, intake, ports, limits, house, stats, stop.clone());
            running.input("http".into(), serve);
        }
        for (settings, stats) in self.brokers {
            let name = format!("broker:{}", settings.id);
            running.input(name, broker::run(settings, intake.clone(), stats, stop.clone()));
        }
    }
}

/// What the HTTP port tells about the rest.
fn house(intake: &Intake, reporter: &Arc<Reporter>) -> http::House {
    let (reporter, room) = (Arc::clone(reporter), intake.watch_room());
    http::House {
        metrics: Arc::new(move || reporter.metrics()),
        ready: Arc::new(move || match *room.borrow() {
            Room::Free => Ok(()),
            Room::Full { .. } => Err("the journal takes nothing more".to_owned()),
        }),
    }
}
