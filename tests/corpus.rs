//! The corpora of the fuzz targets hold, without a nightly compiler. (Those of the formats are
//! replayed in `proto/tests/all/corpus.rs`.)

#[path = "../fuzz/checks/mqtt.rs"]
mod mqtt;

use std::{fs, path::Path};

#[test]
fn mqtt_holds_on_its_corpus() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/mqtt_packet");
    let seeds: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() >= 20, "only {} seeds", seeds.len());
    for seed in &seeds {
        mqtt::packets(seed);
        for cut in 0..seed.len() {
            mqtt::packets(&seed[..cut]);
        }
        for at in 0..seed.len() {
            let mut flipped = seed.clone();
            for bit in 0..8 {
                flipped[at] ^= 1 << bit;
                mqtt::packets(&flipped);
                flipped[at] ^= 1 << bit;
            }
        }
    }
}
