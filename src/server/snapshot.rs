//! What a shard tells the API.

use super::shard::Shard;
use crate::formats::describe;
use crate::formats::flv::Tag;
use crate::formats::message::Kind;
use crate::stats::reason::DropReason;
use crate::stream::feed::Feed;
use crate::stream::origin::Origin;
use crate::stream::post::names;
use crate::stream::prelude::{Header, Prelude};
use crate::stream::wire::Wire;
use crate::web::api::ids::ClientId;
use crate::web::api::snapshot::{
    ClientSnapshot, FeedSnapshot, PublisherSnapshot, ShardCounters, ShardSnapshot, StreamSnapshot,
    VhostSnapshot, Wanted, WantedClients,
};
use bytes::Bytes;
use std::rc::Rc;

/// So many streams, feeds or clients are looked at in one step: 0.2 to 0.6 ms in a build without optimisation, where
/// a turn may take 2.
const STEP: usize = 128;

/// This shard's part of an answer; a task of its own, since ten thousand clients take longer than a turn may.
pub async fn of(shard: &Rc<Shard>, wanted: Wanted) -> ShardSnapshot {
    let _awake = shard.ctx.stay_awake();
    let mut snapshot =
        ShardSnapshot { shard: shard.ctx.me().0, counters: counters(shard), ..ShardSnapshot::default() };
    if wanted.streams {
        snapshot.vhosts = vhosts(shard);
        let mut next = Some(0);
        while let Some(slot) = next {
            next = streams(shard, slot, &mut snapshot.streams);
            shard.ctx.yield_if_needed().await;
        }
        next = Some(0);
        while let Some(slot) = next {
            next = feeds(shard, slot, &mut snapshot.feeds);
            shard.ctx.yield_if_needed().await;
        }
    }
    let mut ids: Vec<ClientId> = match wanted.clients {
        WantedClients::None => Vec::new(),
        WantedClients::One(id) => vec![id],
        WantedClients::All => shard.conns.borrow().keys().copied().collect(),
    };
    ids.sort_unstable(); // the asker merges sorted lists with less work
    for ids in ids.chunks(STEP) {
        clients(shard, ids, &mut snapshot.clients);
        shard.ctx.yield_if_needed().await;
    }
    snapshot
}

fn vhosts(shard: &Shard) -> Vec<VhostSnapshot> {
    let totals = shard.counters.borrow();
    let vhosts = totals.vhosts.iter().map(|(name, vhost)| VhostSnapshot {
        name: name.clone(),
        recv_bytes: vhost.total.0,
        send_bytes: vhost.total.1,
        recv_kbps_30s: vhost.rates.0.kbps_30s(),
        send_kbps_30s: vhost.rates.1.kbps_30s(),
    });
    vhosts.collect()
}

/// Adds a step of streams; says where the next one begins.
fn streams(shard: &Shard, slot: usize, out: &mut Vec<StreamSnapshot>) -> Option<usize> {
    let (hub, now_ms) = (shard.hub.borrow(), shard.now_ms());
    let mut from = hub.origins_from(slot);
    out.extend(from.by_ref().take(STEP).map(|(_, s)| stream(shard, s, now_ms)));
    from.next().map(|(slot, _)| slot)
}

/// Adds a step of feeds; says where the next one begins.
fn feeds(shard: &Shard, slot: usize, out: &mut Vec<FeedSnapshot>) -> Option<usize> {
    let hub = shard.hub.borrow();
    let mut from = hub.feeds_from(slot);
    // Of a retired feed there may be a successor, and one series stands but once.
    out.extend(from.by_ref().take(STEP).filter(|(_, f)| !f.is_retired()).map(|(_, f)| feed(f)));
    from.next().map(|(slot, _)| slot)
}

/// Adds those clients that are still here, and are clients.
fn clients(shard: &Shard, ids: &[ClientId], out: &mut Vec<ClientSnapshot>) {
    let (hub, clients) = (shard.hub.borrow(), shard.conns.borrow());
    out.extend(ids.iter().filter_map(|id| client(shard, &hub, clients.get(id)?)));
}

fn owned_names(key: &str) -> (String, String, String) {
    let (vhost, app, stream) = names(key);
    (vhost.to_owned(), app.to_owned(), stream.to_owned())
}

fn stream(shard: &Shard, stream: &Origin, now_ms: u64) -> StreamSnapshot {
    let (vhost, app, name) = owned_names(stream.key());
    let counters = stream.counters();
    let prelude = stream.prelude();
    let header = |kind| prelude.header(kind);
    let publisher = stream.publisher();
    let video = header(Kind::Video);
    let audio = header(Kind::Audio);
    StreamSnapshot {
        vhost,
        app,
        name,
        publisher: publisher.map(|p| PublisherSnapshot {
            client: ClientId(p.client),
            tc_url: tc_url(shard, ClientId(p.client)),
        }),
        frames: counters.video_frames,
        recv_bytes: counters.recv_bytes,
        past_send_bytes: stream.past_sent_bytes(),
        recv_kbps_30s: stream.rate().kbps_30s(),
        bitrate_kbps: stream.pace().kbps,
        fps: stream.pace().fps,
        gop_ms: counters.gop_ms.and_then(|ms| u32::try_from(ms).ok()).unwrap_or(0),
        keyframe_age_ms: stream.keyframe_age_ms(now_ms),
        since_ms: publisher.map_or(0, |p| now_ms.saturating_sub(p.since_ms)),
        codecs: codecs(prelude),
        video: describe_with(video, stream.first_coded(Kind::Video), describe::video),
        audio: describe_with(audio, stream.first_coded(Kind::Audio), describe::audio),
    }
}

/// By the header, else by the first coded payload: codecs such as MP3 have no header.
fn describe_with<T>(
    header: Option<&Header>,
    coded: Option<&(Tag, Bytes)>,
    describe: impl Fn(&Tag, &[u8]) -> Option<T>,
) -> Option<T> {
    match (header, coded) {
        (Some(header), _) => describe(&header.tag, &header.payload),
        (None, Some((tag, payload))) => describe(tag, payload),
        (None, None) => None,
    }
}

/// Codec strings of the main tracks, video first.
fn codecs(prelude: &Prelude) -> String {
    let headers = [Kind::Video, Kind::Audio].into_iter().filter_map(|kind| prelude.header(kind));
    let mut all: Vec<String> = headers.filter_map(|h| describe::codec_string(&h.tag, &h.payload)).collect();
    all.extend(prelude.mp3.as_ref().map(|mp3| describe::mp3_string(mp3).to_owned()));
    all.join(",")
}

/// The publisher's connection may be on another shard; its URL is then left out.
fn tc_url(shard: &Shard, id: ClientId) -> String {
    let clients = shard.conns.borrow();
    clients.get(&id).and_then(|client| client.about(|about| about.tc_url.clone())).unwrap_or_default()
}

fn feed<W: Wire>(feed: &Feed<W>) -> FeedSnapshot {
    let (vhost, app, stream) = owned_names(feed.key());
    FeedSnapshot {
        vhost,
        app,
        stream,
        format: feed.format(),
        viewers: feed.viewers().len() as u32,
        send_bytes: feed.counters().sent_bytes,
        send_kbps_30s: feed.rate().kbps_30s(),
        lag: feed.lag().clone(),
        drops: feed.counters().drops(),
    }
}

fn client(
    shard: &Shard,
    hub: &crate::stream::hub::Hub<Rc<super::conn::Conn>>,
    client: &super::conn::Conn,
) -> Option<ClientSnapshot> {
    let viewer = client.viewer();
    let feed = viewer.and_then(|id| hub.feed_of(id));
    let cursor = viewer.and_then(|id| hub.viewer(id));
    let (recv_kbps_30s, send_kbps_30s) = client.kbps_30s();
    let lag_ms = feed.zip(cursor).and_then(|(feed, cursor)| feed.lag_ms(cursor)).map(|ms| ms.max(0) as u64);
    let behind = feed.zip(cursor).map_or(0, |(feed, cursor)| feed.behind_bytes(cursor));
    client.about(|about| {
        let (vhost, app, stream) = names(&about.key);
        ClientSnapshot {
            id: client.id,
            vhost: vhost.to_owned(),
            app: app.to_owned(),
            stream: stream.to_owned(),
            ip: about.ip.to_canonical().to_string(),
            page_url: about.page_url.clone(),
            swf_url: about.swf_url.clone(),
            tc_url: about.tc_url.clone(),
            kind: about.kind,
            format: about.format,
            alive_ms: shard.now_ms().saturating_sub(client.since_ms()),
            send_bytes: client.sent_bytes(),
            recv_bytes: client.recv_bytes(),
            send_kbps_30s,
            recv_kbps_30s,
            lag_ms,
            queued_bytes: behind + client.tcp().unacked_bytes() as u64,
            drops: cursor.map_or(0, |viewer| viewer.counters.dropped_units),
            jumps: cursor.map_or(0, |viewer| u64::from(viewer.counters.jumps)),
        }
    })
}

/// In one step: who leaves between two would be counted twice or not at all, and a sum would go back.
fn counters(shard: &Shard) -> ShardCounters {
    let engine = shard.ctx.counters();
    let totals = shard.counters.borrow();
    let clients = shard.conns.borrow();
    let hub = shard.hub.borrow();
    let (mut known, mut recv_bytes, mut send_bytes) = (0, totals.recv_bytes, totals.sent_bytes);
    for client in clients.values() {
        known += u64::from(client.about(|_| ()).is_some());
        recv_bytes += client.recv_bytes();
        send_bytes += client.sent_bytes();
    }
    let feeds = hub.feed_counters();
    let mut drops = feeds.drops();
    drops.add_many(DropReason::ChannelFull, engine.mail_full.get());
    ShardCounters {
        connections: clients.len() as u64,
        connections_total: engine.accepted.get(),
        accept_errors: engine.accept_errors.get(),
        clients: known,
        clients_total: totals.clients + known,
        recv_bytes,
        send_bytes,
        recv_messages: totals.recv_messages,
        sends: feeds.sends,
        tick_ms: shard.tick_ms(),
        loop_stalls: engine.loop_stalls.get(),
        loop_stall_max_us: engine.longest_turn_us.get(),
        busy_permille: shard.busy_permille.get(),
        feed_bytes: hub.feeds().map(|feed| feed.log().bytes() as u64).sum(),
        panics: engine.panics.get() + hub.panics(),
        drops,
        closes: totals.closes.clone(),
        api_refusals: shard.api_refusals.counts(),
    }
}
