//! Does what collectd's plugins publish become the points that their names promise?
//!
//! Topics are `<plugin>[-<instance>]/<type>[-<instance>]` as the plugins of a Raspberry Pi or a router send
//! them, payloads as the `mqtt` plugin writes them: seconds to the millisecond, gauges in 15 digits,
//! counters whole (or rates, with `StoreRates`), and a zero byte at the end.

use super::{expect, expect_nothing, explained};

/// Topic below the host, payload, and the point's tags and fields.
pub(super) const CASES: [(&str, &str, &str); 54] = [
    (
        "cpu-0/cpu-idle",
        "1700000000.250:98.5992995995998\0",
        "plugin=cpu,plugin_instance=0,type=cpu,type_instance=idle value=98.5992995995998",
    ),
    (
        "cpu/percent-user",
        "1700000000.250:1.20060030015008\0",
        "plugin=cpu,type=percent,type_instance=user value=1.20060030015008",
    ),
    (
        "cpufreq-0/cpufreq",
        "1700000000.250:1500000000\0",
        "plugin=cpufreq,plugin_instance=0,type=cpufreq value=1500000000",
    ),
    (
        "memory/memory-slab_recl",
        "1700000000.250:48201728\0",
        "plugin=memory,type=memory,type_instance=slab_recl value=48201728",
    ),
    (
        "memory/percent-used",
        "1700000000.250:11.5\0",
        "plugin=memory,type=percent,type_instance=used value=11.5",
    ),
    (
        "load/load",
        "1700000000.250:0.5:0.25:0.125\0",
        "plugin=load,type=load shortterm=0.5,midterm=0.25,longterm=0.125",
    ),
    (
        "load/load-relative",
        "1700000000.250:0.5:0.25:0.125\0",
        "plugin=load,type=load,type_instance=relative shortterm=0.5,midterm=0.25,longterm=0.125",
    ),
    (
        "df-root/df_complex-free",
        "1700000000.250:23509204992\0",
        "plugin=df,plugin_instance=root,type=df_complex,type_instance=free value=23509204992",
    ),
    (
        "df-boot-firmware/percent_bytes-used",
        "1700000000.250:14.25\0",
        "plugin=df,plugin_instance=boot-firmware,type=percent_bytes,type_instance=used value=14.25",
    ),
    (
        "df/df-root",
        "1700000000.250:100:200\0",
        "plugin=df,type=df,type_instance=root used=100,free=200",
    ),
    (
        "disk-mmcblk0/disk_octets",
        "1700000000.250:0:18021.5\0",
        "plugin=disk,plugin_instance=mmcblk0,type=disk_octets read=0,write=18021.5",
    ),
    (
        "disk-mmcblk0/disk_ops",
        "1700000000.250:0:1.5\0",
        "plugin=disk,plugin_instance=mmcblk0,type=disk_ops read=0,write=1.5",
    ),
    (
        "disk-mmcblk0/disk_time",
        "1700000000.250:0:3\0",
        "plugin=disk,plugin_instance=mmcblk0,type=disk_time read=0,write=3",
    ),
    (
        "disk-mmcblk0/disk_merged",
        "1700000000.250:0:2\0",
        "plugin=disk,plugin_instance=mmcblk0,type=disk_merged read=0,write=2",
    ),
    (
        "disk-mmcblk0/disk_io_time",
        "1700000000.250:4.5:5.5\0",
        "plugin=disk,plugin_instance=mmcblk0,type=disk_io_time io_time=4.5,weighted_io_time=5.5",
    ),
    (
        "disk-mmcblk0/pending_operations",
        "1700000000.250:0\0",
        "plugin=disk,plugin_instance=mmcblk0,type=pending_operations value=0",
    ),
    (
        "interface-eth0/if_octets",
        "1700000000.250:10:20\0",
        "plugin=interface,plugin_instance=eth0,type=if_octets rx=10,tx=20",
    ),
    (
        "interface-br-lan/if_packets",
        "1700000000.250:1.5:2.5\0",
        "plugin=interface,plugin_instance=br-lan,type=if_packets rx=1.5,tx=2.5",
    ),
    (
        "interface-eth0/if_errors",
        "1700000000.250:0:0\0",
        "plugin=interface,plugin_instance=eth0,type=if_errors rx=0,tx=0",
    ),
    (
        "interface-eth0/if_dropped",
        "1700000000.250:nan:0\0",
        "plugin=interface,plugin_instance=eth0,type=if_dropped tx=0",
    ),
    (
        "ping/ping-192.168.1.1",
        "1700000000.250:0.412\0",
        "plugin=ping,type=ping,type_instance=192.168.1.1 value=0.412",
    ),
    (
        "ping/ping_stddev-example.org",
        "1700000000.250:1.25\0",
        "plugin=ping,type=ping_stddev,type_instance=example.org value=1.25",
    ),
    (
        "ping/ping_droprate-example.org",
        "1700000000.250:0\0",
        "plugin=ping,type=ping_droprate,type_instance=example.org value=0",
    ),
    (
        "processes/ps_state-running",
        "1700000000.250:1\0",
        "plugin=processes,type=ps_state,type_instance=running value=1",
    ),
    ("processes/fork_rate", "1700000000.250:2.9\0", "plugin=processes,type=fork_rate value=2.9"),
    (
        "processes-sshd/ps_count",
        "1700000000.250:3:4\0",
        "plugin=processes,plugin_instance=sshd,type=ps_count processes=3,threads=4",
    ),
    (
        "processes-sshd/ps_cputime",
        "1700000000.250:100:200\0",
        "plugin=processes,plugin_instance=sshd,type=ps_cputime user=100,syst=200",
    ),
    (
        "processes-sshd/ps_pagefaults",
        "1700000000.250:5:0\0",
        "plugin=processes,plugin_instance=sshd,type=ps_pagefaults minflt=5,majflt=0",
    ),
    (
        "processes-sshd/ps_disk_octets",
        "1700000000.250:-nan:7\0",
        "plugin=processes,plugin_instance=sshd,type=ps_disk_octets write=7",
    ),
    (
        "processes-sshd/io_octets",
        "1700000000.250:1:2\0",
        "plugin=processes,plugin_instance=sshd,type=io_octets rx=1,tx=2",
    ),
    (
        "processes-sshd/io_ops",
        "1700000000.250:1:2\0",
        "plugin=processes,plugin_instance=sshd,type=io_ops read=1,write=2",
    ),
    (
        "processes-sshd/ps_rss",
        "1700000000.250:6488064\0",
        "plugin=processes,plugin_instance=sshd,type=ps_rss value=6488064",
    ),
    (
        "sensors-cpu_thermal-virtual-0/temperature-temp1",
        "1700000000.250:47.712\0",
        "plugin=sensors,plugin_instance=cpu_thermal-virtual-0,type=temperature,type_instance=temp1 value=47.712",
    ),
    (
        "sensors-it8728-isa-0a30/fanspeed-fan1",
        "1700000000.250:1318\0",
        "plugin=sensors,plugin_instance=it8728-isa-0a30,type=fanspeed,type_instance=fan1 value=1318",
    ),
    (
        "thermal-thermal_zone0/temperature",
        "1700000000.250:48.312\0",
        "plugin=thermal,plugin_instance=thermal_zone0,type=temperature value=48.312",
    ),
    ("uptime/uptime", "1700000000.250:86400\0", "plugin=uptime,type=uptime value=86400"),
    ("users/users", "1700000000.250:2\0", "plugin=users,type=users value=2"),
    (
        "wireless-wlan0/signal_power",
        "1700000000.250:-52\0",
        "plugin=wireless,plugin_instance=wlan0,type=signal_power value=-52",
    ),
    (
        "wireless-wlan0/bitrate",
        "1700000000.250:72200000\0",
        "plugin=wireless,plugin_instance=wlan0,type=bitrate value=72200000",
    ),
    ("swap/swap-used", "1700000000.250:0\0", "plugin=swap,type=swap,type_instance=used value=0"),
    ("swap/swap_io-in", "1700000000.250:0\0", "plugin=swap,type=swap_io,type_instance=in value=0"),
    ("irq/irq-LOC", "1700000000.250:211.3\0", "plugin=irq,type=irq,type_instance=LOC value=211.3"),
    (
        "tcpconns-22-local/tcp_connections-ESTABLISHED",
        "1700000000.250:1\0",
        "plugin=tcpconns,plugin_instance=22-local,type=tcp_connections,type_instance=ESTABLISHED value=1",
    ),
    ("entropy/entropy", "1700000000.250:256\0", "plugin=entropy,type=entropy value=256"),
    (
        "contextswitch/contextswitch",
        "1700000000.250:1403.7\0",
        "plugin=contextswitch,type=contextswitch value=1403.7",
    ),
    ("conntrack/conntrack", "1700000000.250:97\0", "plugin=conntrack,type=conntrack value=97"),
    (
        "conntrack/percent-used",
        "1700000000.250:0.6\0",
        "plugin=conntrack,type=percent,type_instance=used value=0.6",
    ),
    (
        "nut-ups/voltage-input",
        "1700000000.250:231.4\0",
        "plugin=nut,plugin_instance=ups,type=voltage,type_instance=input value=231.4",
    ),
    (
        "nut-ups/timeleft-battery",
        "1700000000.250:2130\0",
        "plugin=nut,plugin_instance=ups,type=timeleft,type_instance=battery value=2130",
    ),
    (
        "dns/dns_octets",
        "1700000000.250:310:802\0",
        "plugin=dns,type=dns_octets queries=310,responses=802",
    ),
    (
        "vmem/vmpage_io-swap",
        "1700000000.250:0:1\0",
        "plugin=vmem,type=vmpage_io,type_instance=swap in=0,out=1",
    ),
    (
        "vmem/vmpage_faults",
        "1700000000.250:812:0\0",
        "plugin=vmem,type=vmpage_faults minflt=812,majflt=0",
    ),
    (
        "smart-sda/smart_attribute-power-on-hours",
        "1700000000.250:91:91:0:27432000000\0",
        "plugin=smart,plugin_instance=sda,type=smart_attribute,type_instance=power-on-hours current=91,worst=91,threshold=0,pretty=27432000000",
    ),
    (
        "openvpn-home/if_octets-laptop",
        "1700000000.250:1:2\0",
        "plugin=openvpn,plugin_instance=home,type=if_octets,type_instance=laptop rx=1,tx=2",
    ),
];

#[test]
fn values_have_the_names_of_their_types() {
    for (topic, payload, point) in CASES {
        let point = format!("collectd,device=box,{point} 1700000000250000000");
        expect("collectd", &format!("collectd/box/{topic}"), payload.as_bytes(), &[&point]);
    }
}

#[test]
fn a_type_that_nobody_knows_numbers_its_values_and_loses_none() {
    for (payload, fields) in [
        (":1", "value=1"),
        (":1:2:3", "value_0=1,value_1=2,value_2=3"),
        (":1:U:3", "value_0=1,value_2=3"),
    ] {
        let payload = format!("1700000000.250{payload}\0");
        let point =
            format!("collectd,device=box,plugin=own,type=own_type {fields} 1700000000250000000");
        expect("unknown", "collectd/box/own/own_type", payload.as_bytes(), &[&point]);
    }
    // A type of a `types.db` of one's own may have more values than the usual one.
    let point = "collectd,device=box,plugin=load,type=load value_0=1,value_1=2 1700000000250000000";
    expect("other", "collectd/box/load/load", b"1700000000.250:1:2\0", &[point]);
}

#[test]
fn what_says_no_value_is_nothing_and_what_is_no_number_costs_only_itself() {
    for values in ["nan", "-nan", "U", "nan:U"] {
        let payload = format!("1700000000.250:{values}\0");
        expect_nothing("none", "collectd/box/interface-eth0/if_octets", payload.as_bytes());
    }
    let shown = explained("collectd/box/interface-eth0/if_octets", b"1700000000.250:10:x\0");
    assert_eq!(
        shown.lines,
        [
            "collectd,device=box,plugin=interface,plugin_instance=eth0,type=if_octets rx=10.0 1700000000250000000"
        ]
    );
    assert_eq!(shown.problems, ["reading 0: field `tx`: `x` is not a number"]);
}
