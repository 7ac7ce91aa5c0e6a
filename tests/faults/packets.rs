//! Does what was acknowledged arrive over a network that loses packets, is too narrow, swallows
//! everything, resets what comes, or is unplugged, on both sides of the gateway at once?
//!
//! What the proxy of `network` cannot show: here TCP itself sends again, waits longer each time, and
//! gives up.

use std::{sync::Arc, time::Duration};

use simulator::watch::Watch;

use super::{
    namespace::{Namespace, Packets},
    trial::{clean_end, devices, more_acknowledged},
};
use crate::support::{
    gateway::Setup,
    rig::{RULE, Rig, at_rest, is_long},
};

const WEATHERS: [Packets; 5] = [
    Packets::Lost(10),
    Packets::Narrow(256),
    Packets::Swallowed,
    Packets::Reset,
    Packets::Unplugged,
];

fn spell() -> Duration {
    Duration::from_secs(if is_long() { 20 } else { 2 })
}

/// Nothing can pass: then nothing may be acknowledged, or the weather is none.
async fn is_dark(watch: &Watch) {
    let before = at_rest(watch).await.acknowledged;
    tokio::time::sleep(spell()).await;
    assert_eq!(watch.look().acknowledged, before, "something passes");
}

#[test]
fn packets_that_are_lost_cost_no_reading() {
    let Some(namespace) = Namespace::new() else { return };
    let namespace = Arc::new(namespace);
    namespace.run(async {
        let rig = Rig::prepare("", "backoff_max = \"500ms\"\n").await;
        let quick = "type = \"influxdb\"\nrequest_max = \"1s\"\n";
        let output = rig.output_table().replace("type = \"influxdb\"\n", quick);
        rig.gateway.configure(&Setup { journal: "", tables: &format!("{RULE}{output}") });
        let mut rig = rig;
        rig.gateway.run();
        let fleet = rig.fleet(devices());
        let watch = fleet.watch();
        for packets in WEATHERS {
            more_acknowledged(&watch, 200);
            namespace.begin(packets);
            match packets {
                Packets::Lost(_) | Packets::Narrow(_) => {
                    tokio::time::sleep(spell()).await;
                    more_acknowledged(&watch, 50);
                }
                Packets::Swallowed | Packets::Reset | Packets::Unplugged => is_dark(&watch).await,
            }
            let hit = namespace.end(packets);
            println!("{packets:?}: {hit} packets, {:?}", watch.look());
            assert!(hit > 0 || packets == Packets::Unplugged, "{packets:?} hit nothing");
        }
        more_acknowledged(&watch, 200);
        assert!(watch.look().resent > 0, "nothing had to be sent again");
        clean_end(&rig, fleet).await;
    });
}
