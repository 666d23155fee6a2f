//! The metrics of all links, as text for Prometheus.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::receivers::living;
use crate::report;
use crate::sampling::{self, Sample};

/// Reads all links.
///
/// # Errors
/// The folder cannot be read. A link that cannot be read is a metric.
pub(super) fn text(folder: &LinkFolder) -> Result<String, Failure> {
    let samples = sampling::sample_all(folder)?;
    of(samples.iter().map(|(name, found)| (name.as_str(), found.as_ref().ok())))
        .map_err(|error| Failure::new(format!("cannot write metrics: {error}")))
}

fn of<'a>(links: impl Iterator<Item = (&'a str, Option<&'a Sample>)>) -> prometheus::Result<String> {
    let metrics = Metrics::new()?;
    for (name, sample) in links {
        metrics.up.with_label_values(&[name]).set(sample.is_some().into());
        if let Some(sample) = sample {
            metrics.set(name, sample);
        }
    }
    TextEncoder::new().encode_to_string(&metrics.registry.gather())
}

/// All metrics, in a registry of their own: what is not set any more is not there.
struct Metrics {
    registry: Registry,
    up: IntGaugeVec,
    state: IntGaugeVec,
    published: IntCounterVec,
    backpressure: IntCounterVec,
    evicted: IntCounterVec,
    reaped: IntCounterVec,
    producers: IntCounterVec,
    takeovers: IntCounterVec,
    depth: IntGaugeVec,
    mtu: IntGaugeVec,
    credits: IntGaugeVec,
    occupancy: GaugeVec,
    consumers: IntGaugeVec,
    slots: IntGaugeVec,
    consumed: IntCounterVec,
    lost: IntCounterVec,
    overruns: IntCounterVec,
    lag: IntGaugeVec,
    alive: IntGaugeVec,
    holding: IntGaugeVec,
}

const LINK: [&str; 1] = ["link"];
const STATE: [&str; 2] = ["link", "state"];
const CONSUMER: [&str; 2] = ["link", "slot"];

impl Metrics {
    #[rustfmt::skip] // a line for each metric
    fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let occupancy = Opts::new("tango_link_occupancy_ratio", "How much of the ring waits for the slowest consumer, from 0 to 1");
        let occupancy = GaugeVec::new(occupancy, &LINK)?;
        registry.register(Box::new(occupancy.clone()))?;
        Ok(Self {
            up: gauge("tango_link_up", "Whether the link can be read: 0 if it is damaged, for example", &LINK)?,
            state: gauge("tango_link_state", "1, with the state of the producer: alive, closed, dead, none or stopped", &STATE)?,
            published: counter("tango_link_published_total", "Fragments published, by all producers of the link", &LINK)?,
            backpressure: counter("tango_link_backpressure_total", "Fragments that had to wait for a consumer", &LINK)?,
            evicted: counter("tango_link_evicted_consumers_total", "Consumers that were evicted", &LINK)?,
            reaped: counter("tango_link_reaped_consumers_total", "Consumers that died and were reaped", &LINK)?,
            producers: counter("tango_link_producers_total", "Producers that have attached", &LINK)?,
            takeovers: counter("tango_link_takeovers_total", "Producers that took over from one that died", &LINK)?,
            depth: gauge("tango_link_depth_fragments", "Capacity of the ring", &LINK)?,
            mtu: gauge("tango_link_mtu_bytes", "Largest fragment", &LINK)?,
            credits: gauge("tango_link_credits_fragments", "Fragments that may be published and not yet consumed", &LINK)?,
            consumers: gauge("tango_link_consumers", "Reliable consumers that live", &LINK)?,
            slots: gauge("tango_link_consumer_slots", "Slots for reliable consumers", &LINK)?,
            consumed: counter("tango_consumer_consumed_total", "Fragments that the consumer has finished with, since it took its slot", &CONSUMER)?,
            lost: counter("tango_consumer_lost_total", "Fragments that the consumer has missed, since it took its slot", &CONSUMER)?,
            overruns: counter("tango_consumer_overruns_total", "Times that the consumer has missed fragments, since it took its slot", &CONSUMER)?,
            lag: gauge("tango_consumer_lag_fragments", "Fragments that the consumer has yet to read", &CONSUMER)?,
            alive: gauge("tango_consumer_alive", "Whether the consumer lives", &CONSUMER)?,
            holding: gauge("tango_consumer_holding", "Whether the producer waits for the consumer", &CONSUMER)?,
            occupancy,
            registry,
        })
    }

    fn set(&self, name: &str, sample: &Sample) {
        let (geometry, status, link) = (&sample.geometry, &sample.status, &[name]);
        self.state.with_label_values(&[name, report::state(status)]).set(1);
        self.published.with_label_values(link).inc_by(sample.published());
        self.backpressure.with_label_values(link).inc_by(status.backpressure);
        self.evicted.with_label_values(link).inc_by(status.evicted);
        self.reaped.with_label_values(link).inc_by(status.reaped);
        self.producers.with_label_values(link).inc_by(status.producers);
        self.takeovers.with_label_values(link).inc_by(status.takeovers);
        self.depth.with_label_values(link).set(geometry.depth as i64);
        self.mtu.with_label_values(link).set(geometry.mtu as i64);
        self.credits.with_label_values(link).set(geometry.credits as i64);
        self.occupancy.with_label_values(link).set(sample.occupancy());
        self.consumers.with_label_values(link).set(living(status) as i64);
        self.slots.with_label_values(link).set(geometry.consumers as i64);
        for consumer in &status.consumers {
            let slot = consumer.slot.to_string();
            let labels = &[name, &slot];
            self.consumed.with_label_values(labels).inc_by(consumer.consumed);
            self.lost.with_label_values(labels).inc_by(consumer.lost);
            self.overruns.with_label_values(labels).inc_by(consumer.overruns);
            self.lag.with_label_values(labels).set(i64::try_from(consumer.lag).unwrap_or(i64::MAX));
            self.alive.with_label_values(labels).set(consumer.alive.into());
            self.holding.with_label_values(labels).set((status.held_by == Some(consumer.slot)).into());
        }
    }
}
