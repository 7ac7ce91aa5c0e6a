//! What a run is put together of: databases, the rewritten configuration, the gateway, the ways to it,
//! the fleet.

use std::{fs, io, net::SocketAddr, path::Path};

use tokio::time::Instant;

use super::{Trial, crowd};
use crate::{
    bench::Histogram,
    faulty::{Config, Faulty},
    fleet::{Fleet, FleetConfig, Gateway as Target},
    proxy::Proxy,
    torture::{
        Error, Options,
        config::{CONTROL, Derived, Destination, Listener, Original, Places, SECRET},
        fault::Faults,
        gateway::{Gateway, Launch},
        place::Place,
        port::Ports,
    },
};

/// Somebody else may take a port between its choice and its use.
const PORT_TRIES: usize = 4;

/// One of the simulator's own, and the only way to it.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) faulty: Faulty,
    proxy: Proxy,
}

impl Database {
    async fn start(ports: &mut Ports) -> io::Result<Self> {
        let mut tries_left = PORT_TRIES;
        let faulty = loop {
            match Faulty::start(ports.free()?, Config::default()).await {
                Ok(faulty) => break faulty,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries_left > 1 => {
                    tries_left -= 1;
                }
                Err(error) => return Err(error),
            }
        };
        let proxy = Proxy::start(faulty.address()).await?;
        Ok(Self { faulty, proxy })
    }

    pub(super) fn way(&self) -> &Proxy {
        &self.proxy
    }
}

impl Trial {
    /// Everything runs, and devices send.
    pub(in super::super) async fn prepare(
        options: &Options,
        original: &Original,
        place: &Place,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self, Error> {
        let random = fastrand::Rng::with_seed(options.seed);
        let mut ports = Ports::new(&mut fastrand::Rng::new());
        let mut databases = Vec::new();
        for _ in 0..original.databases() {
            databases.push(Database::start(&mut ports).await?);
        }
        let derived = original.derive(&Places {
            dir: place.dir().to_owned(),
            mqtt: ports.free()?,
            http: ports.free()?,
            databases: databases.iter().map(|database| database.proxy.url()).collect(),
            room: place.room()?,
        })?;
        for remark in &derived.remarks {
            say(&format!("changed        {remark}"));
        }
        lay_out(place.dir(), &derived)?;
        let mut gateway = Gateway::new(Launch {
            before: options.before.clone(),
            gateway: options.gateway.clone(),
            dir: place.dir().to_owned(),
            config: place.dir().join(CONFIG),
        });
        let listening: Vec<_> = [derived.mqtt, derived.http]
            .iter()
            .flatten()
            .map(|listener| listener.address)
            .collect();
        gateway.start()?;
        let took = gateway.listening(&listening).await?;
        let mut starts = Histogram::default();
        starts.add(took, 1);
        let mqtt = way(derived.mqtt).await?;
        let http = way(derived.http).await?;
        let fleet = fleet(options, &derived, (mqtt.as_ref(), http.as_ref()), place.dir())?;
        Ok(Self {
            gateway,
            watch: fleet.watch(),
            fleet: Some(fleet),
            faults: Faults::new(!databases.is_empty()),
            databases,
            ways: mqtt.into_iter().chain(http).collect(),
            ports: listening,
            outputs: derived.outputs,
            socket: place.dir().join(CONTROL),
            random,
            began: Instant::now(),
            starts,
            rounds: 0,
            kills: 0,
            stops: 0,
            seed: options.seed,
        })
    }
}

const CONFIG: &str = "tidegate.toml";

fn lay_out(dir: &Path, derived: &Derived) -> io::Result<()> {
    fs::write(dir.join(CONFIG), &derived.text)?;
    fs::write(dir.join(SECRET), "torture\n")?;
    for output in &derived.outputs {
        if let Destination::Files(dir) = &output.to {
            fs::create_dir(dir)?;
        }
    }
    Ok(())
}

async fn way(to: Option<Listener>) -> io::Result<Option<Proxy>> {
    match to {
        Some(listener) => Proxy::start(listener.address).await.map(Some),
        None => Ok(None),
    }
}

fn fleet(
    options: &Options,
    derived: &Derived,
    (mqtt, http): (Option<&Proxy>, Option<&Proxy>),
    dir: &Path,
) -> io::Result<Fleet> {
    // Where there is no port there is no device that would look for it.
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let at = |way: Option<&Proxy>| way.map_or(nowhere, Proxy::address).to_string();
    Fleet::start(&FleetConfig {
        gateway: Target::new(&at(mqtt), &at(http)),
        groups: crowd::groups(derived.mqtt, derived.http, options.run_for),
        seed: options.seed,
        start: None,
        ledger: Some(dir.join("ledger")),
    })
}
