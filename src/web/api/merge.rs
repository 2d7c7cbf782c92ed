//! One view of many shards' snapshots, in an order that depends on names only.

use super::ids::{IdStyle, stream_id};
use super::snapshot::{ClientSnapshot, FeedSnapshot, ShardSnapshot, StreamSnapshot, VhostSnapshot};
use std::collections::BTreeMap;

/// A stream with its feeds on all shards.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    pub(super) owner: u16,
    pub(crate) stream: &'a StreamSnapshot,
    /// By shard.
    pub(super) feeds: Vec<(u16, &'a FeedSnapshot)>,
}

impl Stream<'_> {
    pub(super) fn id(&self, style: IdStyle) -> String {
        stream_id(&self.stream.vhost, &self.stream.app, &self.stream.name, style)
    }

    pub(crate) fn viewers(&self) -> u64 {
        self.feeds.iter().map(|(_, feed)| u64::from(feed.viewers)).sum()
    }

    pub(super) fn send_bytes(&self) -> u64 {
        self.stream.past_send_bytes + self.feeds.iter().map(|(_, feed)| feed.send_bytes).sum::<u64>()
    }

    pub(super) fn send_kbps_30s(&self) -> u64 {
        self.feeds.iter().map(|(_, feed)| u64::from(feed.send_kbps_30s)).sum()
    }

    /// Viewers on each shard that has any.
    pub(super) fn viewers_per_shard(&self) -> BTreeMap<u16, u64> {
        let mut shards = BTreeMap::new();
        for (shard, feed) in self.feeds.iter().filter(|(_, feed)| feed.viewers > 0) {
            *shards.entry(*shard).or_default() += u64::from(feed.viewers);
        }
        shards
    }
}

/// All streams by vhost, app and name. Feeds of a stream whose owner did not answer are left out with it.
pub(crate) fn streams(shards: &[ShardSnapshot]) -> Vec<Stream<'_>> {
    let mut all: BTreeMap<(&str, &str, &str), Stream<'_>> = BTreeMap::new();
    for shard in shards {
        for stream in &shard.streams {
            let merged = Stream { owner: shard.shard, stream, feeds: Vec::new() };
            all.entry((&stream.vhost, &stream.app, &stream.name)).or_insert(merged);
        }
    }
    for shard in shards {
        for feed in &shard.feeds {
            if let Some(stream) = all.get_mut(&(feed.vhost.as_str(), feed.app.as_str(), feed.stream.as_str()))
            {
                stream.feeds.push((shard.shard, feed));
            }
        }
    }
    all.into_values().collect()
}

/// A vhost's traffic over all shards, with its clients and published streams.
#[derive(Debug, Default)]
pub(super) struct Vhost {
    pub(super) traffic: VhostSnapshot,
    pub(super) clients: u64,
    pub(super) streams: u64,
}

/// All vhosts that had traffic, by name.
pub(super) fn vhosts(shards: &[ShardSnapshot]) -> BTreeMap<&str, Vhost> {
    let mut all: BTreeMap<&str, Vhost> = BTreeMap::new();
    for part in shards.iter().flat_map(|shard| &shard.vhosts) {
        let sum = &mut all.entry(&part.name).or_default().traffic;
        sum.send_bytes = sum.send_bytes.saturating_add(part.send_bytes);
        sum.recv_bytes = sum.recv_bytes.saturating_add(part.recv_bytes);
        sum.send_kbps_30s = sum.send_kbps_30s.saturating_add(part.send_kbps_30s);
        sum.recv_kbps_30s = sum.recv_kbps_30s.saturating_add(part.recv_kbps_30s);
    }
    for stream in streams(shards) {
        let vhost = all.entry(&stream.stream.vhost).or_default();
        let published = u64::from(stream.stream.publisher.is_some());
        vhost.streams += published;
        vhost.clients += published + stream.viewers();
    }
    all
}

/// All clients with their shards, oldest number first.
pub(super) fn clients(shards: &[ShardSnapshot]) -> Vec<(u16, &ClientSnapshot)> {
    let mut all: Vec<_> = shards.iter().flat_map(|s| s.clients.iter().map(|c| (s.shard, c))).collect();
    all.sort_by_key(|(_, client)| client.id);
    all
}
