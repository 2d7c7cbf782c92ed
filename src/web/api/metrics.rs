//! `/metrics`: SRS 5's names first, then per shard and per stream what only we have.

use super::snapshot::{FeedSnapshot, ShardSnapshot};
use super::{ApiContext, merge};
use crate::hooks::Hook;
use crate::hooks::desk::{Counters, HookCounters};
use crate::stats::prometheus::{Exposition, Kind, Value};
use crate::stats::rates::LAG_BOUNDS_MS;
use crate::stats::reason::{DropReason, Reason, Tally};
use crate::stream::encode::Format;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Renders the text. `unanswered` shards are told, so that sums which lack them can be known as such.
pub(super) fn render(context: &ApiContext<'_>, shards: &[ShardSnapshot], unanswered: &[u16]) -> String {
    let mut out = Exposition::default();
    srs_families(&mut out, context, shards);
    out.family("srs_draining", Kind::Gauge, "Whether the server is on its way out: send it no more clients.")
        .sample(&[], u64::from(context.is_draining));
    out.family("srs_log_lines_dropped_total", Kind::Counter, "Lines that could not be written to the log.")
        .sample(&[], context.log_lines_dropped);
    let mut up: Vec<(u16, u64)> = shards.iter().map(|s| (s.shard, 1)).collect();
    up.extend(unanswered.iter().map(|&shard| (shard, 0)));
    up.sort_unstable();
    let mut family =
        out.family("srs_shard_up", Kind::Gauge, "Whether the shard answered this scrape in time.");
    for (shard, answered) in up {
        family.sample(&[("shard", &shard.to_string())], answered);
    }
    shard_families(&mut out, shards);
    stream_families(&mut out, shards);
    hook_families(&mut out, context.hooks);
    out.finish()
}

fn hook_families(out: &mut Exposition, counters: &Counters) {
    type Field = (&'static str, &'static str, fn(&HookCounters) -> &AtomicU64);
    let fields: [Field; 4] = [
        ("srs_hook_calls_total", "Requests to backends.", |of| &of.calls),
        ("srs_hook_accepted_total", "Decisions that were yes, events that were taken.", |of| &of.accepted),
        ("srs_hook_refused_total", "Answers that were no.", |of| &of.refused),
        ("srs_hook_failed_total", "No answer, or a backend in trouble.", |of| &of.failed),
    ];
    for (name, help, value) in fields {
        let mut family = out.family(name, Kind::Counter, help);
        for hook in Hook::ALL {
            family.sample(&[("hook", hook.as_str())], value(counters.of(hook)).load(Relaxed));
        }
    }
    out.family("srs_hook_events_pending", Kind::Gauge, "Events that a backend does not have yet.")
        .sample(&[], counters.pending.load(Relaxed));
    out.family(
        "srs_hook_events_lost_total",
        Kind::Counter,
        "Events that no backend will get: too many, or too old.",
    )
    .sample(&[], counters.lost.load(Relaxed));
}

fn srs_families(out: &mut Exposition, context: &ApiContext<'_>, shards: &[ShardSnapshot]) {
    let sum = |value: fn(&ShardSnapshot) -> u64| shards.iter().map(value).sum::<u64>();
    let process = context.process;
    let info: Vec<(&str, &str)> = process.uname.iter().map(|(name, value)| (*name, value.as_str())).collect();
    out.family(
        "srs_node_uname_info",
        Kind::Gauge,
        "Labeled system information as provided by the uname system call.",
    )
    .sample(&info, 1u64);
    let (pid, major) = (process.pid.to_string(), crate::SRS_VERSION.0.to_string());
    let version = crate::srs_version();
    let build = [
        ("server", context.server_id),
        ("service", context.service_id),
        ("pid", &pid),
        ("build_date", ""),
        ("major", &major),
        ("version", &version),
        ("code", crate::SIGNATURE),
    ];
    out.family(
        "srs_build_info",
        Kind::Gauge,
        "A metric with a constant '1' value labeled by build_date, version from which SRS was built.",
    )
    .sample(&build, 1u64);
    out.family("srs_cpu_percent", Kind::Gauge, "CPU of this process, 100 is one core.")
        .sample(&[], context.system.process_cpu() * 100.0);
    let resident = context.system.now.process.as_ref().map_or(0, |p| p.resident_kbytes());
    out.family("srs_memory", Kind::Gauge, "Resident memory of this process in KiB.").sample(&[], resident);
    out.family("srs_send_bytes_total", Kind::Counter, "Bytes sent.")
        .sample(&[], sum(|s| s.counters.send_bytes));
    out.family("srs_receive_bytes_total", Kind::Counter, "Bytes received.")
        .sample(&[], sum(|s| s.counters.recv_bytes));
    let published = |s: &ShardSnapshot| s.streams.iter().filter(|s| s.publisher.is_some()).count() as u64;
    out.family("srs_streams", Kind::Gauge, "Streams being published.").sample(&[], sum(published));
    out.family("srs_clients", Kind::Gauge, "Clients that play or publish now.")
        .sample(&[], sum(|s| s.counters.clients));
    out.family("srs_clients_total", Kind::Counter, "Clients that ever played or published.")
        .sample(&[], sum(|s| s.counters.clients_total));
    let errors =
        |s: &ShardSnapshot| s.counters.closes.iter().filter(|(r, _)| !r.is_ordinary()).map(|(_, n)| n).sum();
    out.family(
        "srs_clients_errs_total",
        Kind::Counter,
        "Connections, plays and publishes that ended for a reason that is not ordinary.",
    )
    .sample(&[], sum(errors));
}

fn shard_families(out: &mut Exposition, shards: &[ShardSnapshot]) {
    type Field = (&'static str, Kind, &'static str, fn(&ShardSnapshot) -> Value);
    let fields: [Field; 14] = [
        ("srs_shard_connections", Kind::Gauge, "Open connections.", |s| s.counters.connections.into()),
        ("srs_shard_connections_total", Kind::Counter, "Connections accepted.", |s| {
            s.counters.connections_total.into()
        }),
        ("srs_shard_accept_errors_total", Kind::Counter, "Failed attempts to accept a connection.", |s| {
            s.counters.accept_errors.into()
        }),
        ("srs_shard_clients", Kind::Gauge, "Clients that play or publish.", |s| s.counters.clients.into()),
        ("srs_shard_receive_bytes_total", Kind::Counter, "Bytes received.", |s| s.counters.recv_bytes.into()),
        ("srs_shard_send_bytes_total", Kind::Counter, "Bytes sent.", |s| s.counters.send_bytes.into()),
        ("srs_shard_receive_messages_total", Kind::Counter, "Media messages received.", |s| {
            s.counters.recv_messages.into()
        }),
        ("srs_shard_sends_total", Kind::Counter, "Writes to viewers, each of one or more messages.", |s| {
            s.counters.sends.into()
        }),
        ("srs_shard_tick_seconds", Kind::Gauge, "Step at which the pumps run, 0 is every turn.", |s| {
            seconds(s.counters.tick_ms.into()).into()
        }),
        (
            "srs_shard_loop_stalls_total",
            Kind::Counter,
            "Turns that took longer than they may, or came late.",
            |s| s.counters.loop_stalls.into(),
        ),
        (
            "srs_shard_loop_stall_max_seconds",
            Kind::Gauge,
            "The longest turn, or delay of one, since start.",
            |s| (s.counters.loop_stall_max_us as f64 / 1e6).into(),
        ),
        ("srs_shard_busy_ratio", Kind::Gauge, "Share of the last 250 ms at work.", |s| {
            (f64::from(s.counters.busy_permille) / 1000.0).into()
        }),
        ("srs_shard_feed_bytes", Kind::Gauge, "Bytes of media held for viewers.", |s| {
            s.counters.feed_bytes.into()
        }),
        ("srs_shard_panics_total", Kind::Counter, "Panics caught: each is a bug.", |s| {
            s.counters.panics.into()
        }),
    ];
    for (name, kind, help, value) in fields {
        let mut family = out.family(name, kind, help);
        for shard in shards {
            family.sample(&[("shard", &shard.shard.to_string())], value(shard));
        }
    }
    by_reason(out, "srs_shard_drops_total", "Media dropped.", shards, |s| &s.counters.drops);
    by_reason(
        out,
        "srs_shard_closes_total",
        "Connections, plays and publishes ended or refused.",
        shards,
        |s| &s.counters.closes,
    );
    by_reason(out, "srs_shard_api_refusals_total", "Calls of the HTTP API that were refused.", shards, |s| {
        &s.counters.api_refusals
    });
}

/// Zeros too: a rate needs the sample before the first event.
fn by_reason<R: Reason>(
    out: &mut Exposition,
    name: &'static str,
    help: &str,
    shards: &[ShardSnapshot],
    tally: fn(&ShardSnapshot) -> &Tally<R>,
) {
    let mut family = out.family(name, Kind::Counter, help);
    for shard in shards {
        let id = shard.shard.to_string();
        for (reason, count) in tally(shard).iter() {
            family.sample(&[("shard", &id), ("reason", reason.as_str())], count);
        }
    }
}

fn stream_families(out: &mut Exposition, shards: &[ShardSnapshot]) {
    let streams = merge::streams(shards);
    let owners: Vec<String> = streams.iter().map(|s| s.owner.to_string()).collect();
    let labels = |at: usize| {
        let s = streams.get(at).map(|s| s.stream);
        s.map(|s| [("vhost", s.vhost.as_str()), ("app", s.app.as_str()), ("stream", s.name.as_str())])
    };
    type Field = (&'static str, Kind, &'static str, fn(&merge::Stream<'_>) -> Option<Value>);
    let fields: [Field; 6] = [
        ("srs_stream_published", Kind::Gauge, "Whether the stream is being published.", |s| {
            Some(u64::from(s.stream.publisher.is_some()).into())
        }),
        ("srs_stream_receive_bytes_total", Kind::Counter, "Bytes received from its publishers.", |s| {
            Some(s.stream.recv_bytes.into())
        }),
        ("srs_stream_bitrate_bits", Kind::Gauge, "Bits per second of its media.", |s| {
            Some((u64::from(s.stream.bitrate_kbps) * 1000).into())
        }),
        ("srs_stream_fps", Kind::Gauge, "Video frames per second.", |s| Some(s.stream.fps.into())),
        ("srs_stream_gop_seconds", Kind::Gauge, "Length of its last group of pictures.", |s| {
            Some(seconds(s.stream.gop_ms.into()).into())
        }),
        ("srs_stream_keyframe_age_seconds", Kind::Gauge, "Time since its last keyframe.", |s| {
            s.stream.keyframe_age_ms.map(|ms| seconds(ms).into())
        }),
    ];
    for (name, kind, help, value) in fields {
        let mut family = out.family(name, kind, help);
        for (at, stream) in streams.iter().enumerate() {
            let (Some([vhost, app, name]), Some(value)) = (labels(at), value(stream)) else { continue };
            let owner = owners.get(at).map_or("", String::as_str);
            family.sample(&[vhost, app, name, ("owner", owner)], value);
        }
    }
    viewers_families(out, &streams);
}

/// What is counted where the viewers are, per shard and format and not summed up: a feed's counters go with its last
/// viewer, and a sum over the others would fall, which a counter must not.
fn viewers_families(out: &mut Exposition, streams: &[merge::Stream<'_>]) {
    let mut feeds = Vec::new();
    for stream in streams {
        feeds.extend(stream.feeds.iter().map(|(shard, feed)| FeedLabels::of(*shard, feed)));
    }
    let mut family = out.family("srs_stream_viewers", Kind::Gauge, "Viewers, per shard and format.");
    for of in &feeds {
        family.sample(&of.labels(None), of.feed.viewers);
    }
    let mut family = out.family("srs_stream_send_bytes_total", Kind::Counter, "Bytes sent to viewers.");
    for of in &feeds {
        family.sample(&of.labels(None), of.feed.send_bytes);
    }
    let mut family = out.family(
        "srs_stream_drops_total",
        Kind::Counter,
        "Media dropped, by reason; reasons that never were are left out.",
    );
    for of in &feeds {
        for (reason, count) in of.feed.drops.iter().filter(|(_, count)| *count > 0) {
            family.sample(&of.labels(Some(reason)), count);
        }
    }
    let mut family = out.family(
        "srs_stream_viewer_lag_seconds",
        Kind::Histogram,
        "How far viewers are behind live, observed regularly for each.",
    );
    for of in &feeds {
        let (bounds, lag) = (LAG_BOUNDS_MS.iter().map(|&ms| seconds(ms.into())), &of.feed.lag);
        family.histogram(&of.labels(None), bounds, lag.buckets(), seconds(lag.sum_ms()));
    }
}

/// A feed with those of its labels that have to be made.
struct FeedLabels<'a> {
    feed: &'a FeedSnapshot,
    shard: String,
    /// RTMP only: each chunk size is a feed of its own.
    chunk_size: Option<String>,
}

impl<'a> FeedLabels<'a> {
    fn of(shard: u16, feed: &'a FeedSnapshot) -> FeedLabels<'a> {
        let chunk_size = match feed.format {
            Format::Rtmp { chunk_bytes } => Some(chunk_bytes.to_string()),
            _ => None,
        };
        FeedLabels { feed, shard: shard.to_string(), chunk_size }
    }

    fn labels(&self, reason: Option<DropReason>) -> Vec<(&str, &str)> {
        let FeedSnapshot { vhost, app, stream, format, .. } = self.feed;
        let mut labels: Vec<(&str, &str)> = vec![
            ("vhost", vhost),
            ("app", app),
            ("stream", stream),
            ("shard", &self.shard),
            ("format", format.as_str()),
        ];
        labels.extend(self.chunk_size.as_deref().map(|size| ("chunk_size", size)));
        labels.extend(reason.map(|reason| ("reason", reason.as_str())));
        labels
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
