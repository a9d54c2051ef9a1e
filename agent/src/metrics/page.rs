//! The page: each metric with its type and what it means.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::{Counted, Histogram, Sample};
use crate::status::{Address, AddressState, ControlInterface, Group, Host, Phase};

/// The page, in the `OpenMetrics` text format.
///
/// # Errors
/// None are known.
pub fn page(sample: Sample) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("rais");
    registry.register_collector(Box::new(sample));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Sample {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        out.info("build", "The agent.", &label("version", &self.status.version))?;
        self.groups(&mut out)?;
        self.hosts(&mut out)?;
        self.addresses(&mut out)?;
        self.changes(&mut out)?;
        self.heartbeats(&mut out)?;
        self.messages(&mut out)?;
        self.data_plane(&mut out)
    }
}

type Labels = Vec<(&'static str, String)>;

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

/// A truth value as monitoring systems want it.
fn flag(on: bool) -> u32 {
    u32::from(on)
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}

/// Writes metrics.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn info(&mut self, name: &str, help: &str, labels: &Labels) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        series: impl Iterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        each(&mut metric, series, |mut one, value| one.encode_gauge(value))
    }

    fn counters<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        series: impl Iterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        let none: Option<&Exemplar<NoLabelSet, f64>> = None;
        each(&mut metric, series, |mut one, value| one.encode_counter(value, none))
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = (Labels, Arc<Histogram>)>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        each(&mut metric, series, |one, histogram| write_histogram(one, histogram))
    }
}

fn each<V>(
    metric: &mut MetricEncoder<'_>,
    series: impl Iterator<Item = (Labels, V)>,
    write: impl Fn(MetricEncoder<'_>, &V) -> fmt::Result,
) -> fmt::Result {
    for (labels, value) in series {
        write(metric.encode_family(&labels)?, &value)?;
    }
    Ok(())
}

fn write_histogram(mut metric: MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let buckets = histogram.buckets();
    let count = buckets.iter().map(|(_, count)| count).sum();
    metric.encode_histogram::<NoLabelSet>(histogram.sum(), count, &buckets, None)
}

impl Sample {
    /// One series a group.
    fn each_group<V>(&self, value: impl Fn(&Group) -> V) -> impl Iterator<Item = (Labels, V)> {
        self.status.groups.iter().map(move |group| (label("group", &group.name), value(group)))
    }

    /// Any number of series a group, with more labels.
    fn in_group<V, I: IntoIterator<Item = (Labels, V)>>(
        &self,
        series: impl Fn(&Group) -> I,
    ) -> impl Iterator<Item = (Labels, V)> {
        self.status.groups.iter().flat_map(move |group| {
            series(group).into_iter().map(|(more, value)| {
                let mut labels = label("group", &group.name);
                labels.extend(more);
                (labels, value)
            })
        })
    }

    /// One series a host in sight.
    fn each_host<V>(&self, value: impl Fn(&Host) -> V) -> impl Iterator<Item = (Labels, V)> {
        self.in_group(move |group| {
            let one = |host: &Host| (label("host", &host.id.to_string()), value(host));
            group.hosts.iter().map(one).collect::<Vec<_>>()
        })
    }

    /// One series an address.
    fn each_address<V>(&self, value: impl Fn(&Address) -> V) -> impl Iterator<Item = (Labels, V)> {
        self.in_group(move |group| {
            let one = |a: &Address| (label("address", &a.address.to_string()), value(a));
            group.addresses.iter().map(one).collect::<Vec<_>>()
        })
    }

    /// One series a control interface.
    fn each_interface<V>(
        &self,
        value: impl Fn(&ControlInterface) -> V,
    ) -> impl Iterator<Item = (Labels, V)> {
        self.in_group(move |group| {
            let one = |link: &ControlInterface| (label("interface", &link.name), value(link));
            group.control_interfaces.iter().map(one).collect::<Vec<_>>()
        })
    }

    /// Any number of series a group, from what was counted.
    fn counted<V, I: IntoIterator<Item = (Labels, V)>>(
        &self,
        series: impl Fn(&Counted) -> I,
    ) -> impl Iterator<Item = (Labels, V)> {
        self.in_group(move |group| self.counted.get(&group.name).map(&series).into_iter().flatten())
    }

    /// One series a word, from what was counted.
    fn by_word(
        &self,
        name: &'static str,
        counts: impl Fn(&Counted) -> &[(&'static str, u64)],
    ) -> impl Iterator<Item = (Labels, u64)> {
        self.counted(move |c| {
            counts(c).iter().map(|(word, n)| (label(name, word), *n)).collect::<Vec<_>>()
        })
    }

    fn groups(&self, out: &mut Out<'_>) -> fmt::Result {
        let own = self.status.host.id;
        out.gauges(
            "leader",
            None,
            "1 for the host that this one follows; absent while there is none.",
            self.in_group(|g| g.leader.map(|id| (label("host", &id.to_string()), 1_u32))),
        )?;
        let leading = self.each_group(|g| flag(g.leader == Some(own)));
        out.gauges("leading", None, "1 while this host leads the group.", leading)?;
        let quorum = self.each_group(|g| flag(g.quorum_met));
        out.gauges(
            "quorum_met",
            None,
            "1 while enough hosts are in sight to hold addresses.",
            quorum,
        )?;
        let hosts = self.each_group(|g| g.hosts.len() as u64);
        out.gauges("hosts_in_sight", None, "Live hosts, this one included.", hosts)?;
        let lease = self.each_group(|g| seconds(g.data_plane.lease_ms_left));
        out.gauges(
            "lease_remaining",
            Some(&Unit::Seconds),
            "How long this host may go on answering without another heartbeat; 0 without a lease.",
            lease,
        )?;
        let tests = self.in_group(|g| {
            let one = |t: &crate::status::Test| (label("test", &t.name), flag(t.passing));
            g.tests.iter().map(one).collect::<Vec<_>>()
        });
        out.gauges("test_passing", None, "1 while a test of this host passes.", tests)
    }

    fn hosts(&self, out: &mut Out<'_>) -> fmt::Result {
        let ok = self.each_host(|h| flag(h.ok));
        out.gauges("host_ok", None, "1 while the tests of a host pass, by what it says.", ok)?;
        let quiesced = self.each_host(|h| flag(h.quiesced));
        out.gauges("host_quiesced", None, "1 while a host takes no new addresses.", quiesced)?;
        let member = self.each_host(|h| flag(h.phase == Phase::Member));
        out.gauges("host_member", None, "1 unless a host is joining or leaving.", member)?;
        let load = self.each_host(|h| h.load);
        out.gauges("host_load", None, "Load of a host, in the unit of its capacity.", load)?;
        let capacity = self.each_host(|h| h.capacity);
        out.gauges("host_capacity", None, "What a host can bear; 0 counts as full.", capacity)?;
        out.gauges(
            "host_utilisation",
            Some(&Unit::Other("ratio".to_owned())),
            "Load of a host in parts of its capacity.",
            self.each_host(|h| match h.capacity {
                0 => 1.0,
                capacity => f64::from(h.load) / f64::from(capacity),
            }),
        )?;
        let addresses = self.each_host(|h| h.addresses.len() as u64);
        out.gauges("host_addresses", None, "Addresses that a host has.", addresses)?;
        let silence = self.each_host(|h| seconds(h.age_ms));
        let help = "How long ago a host was last heard.";
        out.gauges("host_silence", Some(&Unit::Seconds), help, silence)
    }

    fn addresses(&self, out: &mut Out<'_>) -> fmt::Result {
        out.gauges(
            "address_state",
            None,
            "1 for the state in which an address is, 0 for all others.",
            self.in_group(|g| g.addresses.iter().flat_map(states).collect::<Vec<_>>()),
        )?;
        let holders = self.in_group(|g| g.addresses.iter().flat_map(holders).collect::<Vec<_>>());
        out.gauges("address_holder", None, "1 for each host that has an address.", holders)?;
        let orphaned = self.in_group(|g| {
            let one =
                |a: &Address| a.orphaned_s.map(|s| (label("address", &a.address.to_string()), s));
            g.addresses.iter().filter_map(one).collect::<Vec<_>>()
        });
        let help = "For how long an address was not served by its preferred host.";
        out.gauges("address_orphaned", Some(&Unit::Seconds), help, orphaned)?;
        let packets = self.each_address(|a| a.packets);
        let help = "Packets to an address let through on this host since it has it.";
        out.counters("address_packets", None, help, packets)?;
        let bytes = self.each_address(|a| a.bytes);
        let help = "Their bytes.";
        out.counters("address_received", Some(&Unit::Bytes), help, bytes)?;
        let connections = self.each_address(|a| a.connections);
        let help = "New TCP connections to an address on this host since it has it.";
        out.counters("address_connections", None, help, connections)?;
        let zone = self.in_group(|g| g.dns.iter().flat_map(zone_lists).collect::<Vec<_>>());
        out.gauges("zone_addresses", None, "Addresses that the group's zone could have.", zone)
    }

    fn changes(&self, out: &mut Out<'_>) -> fmt::Result {
        out.counters(
            "moves",
            None,
            "Addresses that this host acquired or released, by reason.",
            self.counted(|c| {
                let moves = c.measures.moves().into_iter();
                moves.map(|((change, reason), n)| (vec![("change", change), ("reason", reason)], n))
            }),
        )?;
        let kinds =
            self.counted(|c| c.measures.kinds().into_iter().map(|(k, n)| (label("kind", &k), n)));
        out.counters("events", None, "Events of this host by kind, see rais events.", kinds)?;
        out.histograms(
            "change_duration",
            "How long changes took, by the kind of their events.",
            self.counted(|c| {
                c.measures.changes().into_iter().map(|(kind, h)| (label("change", &kind), h))
            }),
        )?;
        out.histograms(
            "change_phase_duration",
            "How long each phase of a change took.",
            self.counted(|c| {
                let phases = c.measures.phases().into_iter();
                phases.map(|((change, phase), h)| (vec![("change", change), ("phase", phase)], h))
            }),
        )
    }

    fn heartbeats(&self, out: &mut Out<'_>) -> fmt::Result {
        let sent = self.counted(|c| [(Labels::new(), c.measures.heartbeats().0)]);
        out.counters("heartbeats_sent", None, "Heartbeats that renewed the lease.", sent)?;
        let missed = self.counted(|c| [(Labels::new(), c.measures.heartbeats().1)]);
        let help = "Heartbeats that left too late or on no interface, or renewed no lease.";
        out.counters("heartbeats_missed", None, help, missed)?;
        let unit = Some(&Unit::Seconds);
        let help = "From when a heartbeat was due until it had left.";
        let mut metric =
            out.0.encode_descriptor("heartbeat_lateness", help, unit, MetricType::Histogram)?;
        let lateness = self.counted(|c| [(Labels::new(), Arc::clone(&c.measures))]);
        each(&mut metric, lateness, |one, measures| write_histogram(one, &measures.lateness))
    }

    fn messages(&self, out: &mut Out<'_>) -> fmt::Result {
        let up = self.each_interface(|i| flag(i.up));
        out.gauges("control_interface_up", None, "1 while it is up and has carrier.", up)?;
        let heard = self.each_interface(|i| i.hosts_heard as u64);
        let help = "Other hosts in sight that were heard on a control interface.";
        out.gauges("control_interface_hosts_heard", None, help, heard)?;
        let sent = self.each_interface(|i| i.sent);
        out.counters("messages_sent", None, "Messages sent.", sent)?;
        let failed = self.each_interface(|i| i.send_failed);
        out.counters("messages_send_failed", None, "Messages that could not be sent.", failed)?;
        let received = self.by_word("type", |c| &c.received);
        out.counters("messages_received", None, "Messages received and handled.", received)?;
        let refused = self.by_word("reason", |c| &c.refused);
        let help = "Datagrams refused. A duplicate came over a second control interface.";
        out.counters("messages_refused", None, help, refused)?;
        let dropped = self.by_word("queue", |c| &c.dropped);
        out.counters("dropped", None, "What found no room in a queue.", dropped)?;
        let traps = self.by_word("result", |c| &c.traps);
        let help = "SNMP notifications, once for each destination.";
        out.counters("notifications", None, help, traps)
    }

    /// What the XDP program counted: the same for all groups.
    fn data_plane(&self, out: &mut Out<'_>) -> fmt::Result {
        let counters = self.status.groups.first().map(|g| &g.data_plane.counters);
        let series = counters.into_iter().flatten().map(|(w, count)| (label("event", w), *count));
        let help = "What the XDP program counted on this machine since its maps were made.";
        out.counters("data_plane_events", None, help, series)
    }
}

/// Every state an address can be in, 1 for the one it is in.
fn states(address: &Address) -> Vec<(Labels, u32)> {
    use AddressState::{Acquiring, Duplicate, Online, Releasing, Unserved};
    let all = [Unserved, Acquiring, Online, Releasing, Duplicate];
    let labels = |state: AddressState| {
        vec![("address", address.address.to_string()), ("state", state.word().to_owned())]
    };
    all.into_iter().map(|state| (labels(state), flag(state == address.state))).collect()
}

fn holders(address: &Address) -> Vec<(Labels, u32)> {
    let labels = |host: &std::net::IpAddr| {
        vec![("address", address.address.to_string()), ("host", host.to_string())]
    };
    address.holders.iter().map(|host| (labels(host), 1)).collect()
}

/// How many addresses of a zone are advertised, and how many withheld.
fn zone_lists(dns: &crate::status::Dns) -> [(Labels, u64); 2] {
    [
        (label("list", "advertised"), dns.advertised.len() as u64),
        (label("list", "withheld"), dns.withheld.len() as u64),
    ]
}
