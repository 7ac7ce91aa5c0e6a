//! A fleet of simulated devices, the real gateway and a database that misbehaves on demand, with the ledger
//! that tells LOST, PHANTOM and WRONG.

use std::{net::SocketAddr, path::Path, time::Duration};

use simulator::{
    faulty::{Behaviour, Config, Faulty},
    fleet::{Fleet, FleetConfig, Gateway as Target, Group, Http, Link, Mqtt, Version},
    ledger::Ledger,
    verify::{self, Allowed, Row, Verdict},
    watch::{Summary, Watch},
};

use tokio::time::Instant;

use super::{
    gateway::{Gateway, Setup},
    port, wait_for,
};

/// The output's id in every rig.
pub const OUTPUT: &str = "db";
/// For the backlog to arrive once nothing stands in its way.
const DELIVERY_MAX: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub struct Rig {
    pub gateway: Gateway,
    pub database: Faulty,
    /// The token's file: read again at every probe.
    secrets: tempfile::TempDir,
    limits: String,
}

/// Where a fleet's topics go: measurement and device as the ledger knows them.
pub const RULE: &str = "[[rule]]\ntopic = \"sim/{measurement}/{device}\"\n";

/// Not on a port of the kernel's choice: while it refuses, an outgoing connection of somebody else's
/// could be given that. Free is free at one moment only, so another one is tried if need be.
async fn database() -> Faulty {
    for _ in 0..4 {
        let address = SocketAddr::from(([127, 0, 0, 1], port::free()));
        if let Ok(database) = Faulty::start(address, Config::default()).await {
            return database;
        }
    }
    panic!("four free ports in a row were taken by somebody else");
}

impl Rig {
    pub async fn start(journal: &str) -> Self {
        Self::with_output(journal, "").await
    }

    /// `limits`: further lines of the output's `[output.limits]`.
    pub async fn with_output(journal: &str, limits: &str) -> Self {
        let mut rig = Self::prepare(journal, limits).await;
        rig.gateway.run();
        rig
    }

    /// As `with_output`; the gateway is not started yet.
    pub async fn prepare(journal: &str, limits: &str) -> Self {
        let database = database().await;
        let secrets = tempfile::tempdir().unwrap();
        std::fs::write(secrets.path().join("token"), "test-token").unwrap();
        let tables = format!("{RULE}{}", output(&database.url(), secrets.path(), limits));
        let gateway = Gateway::prepare(&Setup { journal, tables: &tables });
        Self { gateway, database, secrets, limits: limits.to_owned() }
    }

    /// The output's tables, for a configuration that has more than it.
    pub fn output_table(&self) -> String {
        output(&self.database.url(), self.secrets.path(), &self.limits)
    }

    pub fn target(&self) -> Target {
        let at = |port: u16| format!("127.0.0.1:{port}");
        Target::new(&at(self.gateway.mqtt_port), &at(self.gateway.http_port))
    }

    pub fn fleet(&self, groups: Vec<Group>) -> Fleet {
        let gateway = self.target();
        Fleet::start(&FleetConfig { gateway, groups, seed: 7, start: None, ledger: None }).unwrap()
    }

    pub async fn behave(&self, behaviour: Behaviour) {
        self.database.set(behaviour).await.unwrap();
    }

    /// Waits until the gateway has nothing left to deliver, however much that is: as long as it becomes
    /// less.
    pub fn delivered(&self) {
        let mut least = u64::MAX;
        while least > 0 {
            least = wait_for("delivery of more", DELIVERY_MAX, || {
                let pending = self.gateway.pending(OUTPUT);
                if pending < least {
                    Ok(pending)
                } else {
                    Err(format!("{pending} readings pending"))
                }
            });
        }
    }

    /// The ledger against what the database holds.
    pub fn verdict(&self, ledger: &Ledger) -> Verdict {
        self.verdict_of(ledger, |_| true)
    }

    /// As `verdict`, of the rows that the fleet could have sent.
    pub fn verdict_of(&self, ledger: &Ledger, is_of_fleet: impl Fn(&Row) -> bool) -> Verdict {
        let stats = self.database.stats();
        assert_eq!(stats.malformed, 0, "malformed lines: {:?}", stats.malformed_examples);
        let is_probe = |row: &Row| row.measurement == "tidegate_probe";
        let rows =
            self.database.rows().into_iter().filter(|row| !is_probe(row) && is_of_fleet(row));
        verify::compare(ledger, rows, &Allowed::default())
    }
}

fn output(url: &str, secrets: &Path, limits: &str) -> String {
    format!(
        "[[output]]\nid = \"{OUTPUT}\"\ntype = \"influxdb\"\nurl = \"{url}\"\norg = \"o\"\nbucket = \"b\"\n\
         token = {{ file = \"{}/token\" }}\n[output.limits]\nbatch_age_max = \"100ms\"\n{limits}\n",
        secrets.display()
    )
}

pub fn mqtt(name: &str, devices: u32, period: Duration) -> Group {
    let mut group = Group::new(name, devices, Link::Mqtt(Mqtt::new(Version::V4, 1)));
    group.period = period;
    group
}

pub fn websocket(name: &str, devices: u32, period: Duration) -> Group {
    Group { period, ..Group::new(name, devices, Link::WebSocket) }
}

pub fn http(name: &str, devices: u32, period: Duration) -> Group {
    Group { period, ..Group::new(name, devices, Link::Http(Http::default())) }
}

/// The long form of a test, in `./check --long`.
pub fn is_long() -> bool {
    std::env::var("TIDEGATE_LONG").is_ok_and(|value| value == "1")
}

/// Waits until what was acknowledged before has come to the devices: nothing more has for a second.
/// What there is then. One that goes on being acknowledged never comes to rest.
pub async fn at_rest(watch: &Watch) -> Summary {
    const REST: Duration = Duration::from_secs(1);
    const REST_MAX: Duration = Duration::from_secs(30);
    let began = Instant::now();
    let (mut last, mut since) = (watch.look(), Instant::now());
    while since.elapsed() < REST {
        assert!(began.elapsed() < REST_MAX, "still acknowledged: {last:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = watch.look();
        if now.acknowledged != last.acknowledged {
            since = Instant::now();
        }
        last = now;
    }
    last
}

/// Waits until so many more readings are acknowledged than there were; how many there are now.
pub fn more_acknowledged(watch: &Watch, more: u64) -> u64 {
    let before = watch.look().acknowledged;
    wait_for("acknowledgements", DELIVERY_MAX, || {
        let now = watch.look();
        if now.acknowledged >= before + more {
            Ok(now.acknowledged)
        } else {
            Err(format!("{now:?}"))
        }
    })
}
