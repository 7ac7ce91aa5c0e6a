//! Does what was acknowledged arrive over a network that is late, drips, swallows answers, cuts, or
//! takes everything and says nothing?

use std::{net::SocketAddr, time::Duration};

use simulator::{
    fleet::{Fleet, FleetConfig, Gateway as Target},
    proxy::{Proxy, Weather},
};

use super::trial::{clean_end, devices, more_acknowledged};
use crate::support::{
    gateway::Setup,
    rig::{RULE, Rig, is_long},
};

const WEATHERS: [Weather; 5] = [
    Weather::Late(Duration::from_millis(150)),
    Weather::Drip(Duration::from_millis(1)),
    Weather::Hole,
    Weather::Swallow,
    Weather::Cut,
];

fn spell() -> Duration {
    Duration::from_millis(if is_long() { 20_000 } else { 1_500 })
}

async fn proxy_to(port: u16) -> Proxy {
    Proxy::start(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_way_to_the_database_is_not_felt_by_devices_and_loses_nothing() {
    let mut rig = Rig::prepare("", "backoff_max = \"500ms\"\n").await;
    let proxy = Proxy::start(rig.database.address()).await.unwrap();
    let quick = "type = \"influxdb\"\nrequest_max = \"1s\"\n";
    let output = rig.output_table().replace("type = \"influxdb\"\n", quick);
    let tables = format!("{RULE}{}", output.replace(&rig.database.url(), &proxy.url()));
    rig.gateway.configure(&Setup { journal: "", tables: &tables });
    rig.gateway.run();
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    for weather in WEATHERS {
        more_acknowledged(&watch, 200);
        proxy.set(weather);
        tokio::time::sleep(spell()).await;
        more_acknowledged(&watch, 200);
        proxy.set(Weather::Clear);
    }
    assert_eq!(watch.look().failures, 0, "devices felt it");
    clean_end(&rig, fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_way_from_the_devices_loses_nothing() {
    let rig = Rig::start("").await;
    let (mqtt, http) =
        (proxy_to(rig.gateway.mqtt_port).await, proxy_to(rig.gateway.http_port).await);
    let gateway = Target::new(&mqtt.address().to_string(), &http.address().to_string());
    let config = FleetConfig { gateway, groups: devices(), seed: 7, start: None, ledger: None };
    let fleet = Fleet::start(&config).unwrap();
    let watch = fleet.watch();
    for weather in WEATHERS {
        more_acknowledged(&watch, 200);
        for proxy in [&mqtt, &http] {
            proxy.set(weather);
        }
        tokio::time::sleep(spell()).await;
        // Devices that wait for an answer would wait for their keep alive: they lose the line instead.
        for proxy in [&mqtt, &http] {
            proxy.set(Weather::Cut);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        for proxy in [&mqtt, &http] {
            proxy.set(Weather::Clear);
        }
    }
    more_acknowledged(&watch, 200);
    assert!(watch.look().resent > 0, "nothing had to be sent again");
    clean_end(&rig, fleet).await;
}
