//! Vhosts, streams and clients as JSON objects: SRS's members first, then ours.

use super::ApiContext;
use super::ids::{ClientId, IdStyle, stream_id, vhost_id};
use super::json::{Json, Object};
use super::merge;
use super::snapshot::{AudioInfo, ClientSnapshot, ShardSnapshot, VideoInfo};
use crate::config::schema::DEFAULT_VHOST;

/// All vhosts that had traffic, or the one with this id.
pub(super) fn vhosts(
    context: &ApiContext<'_>,
    shards: &[ShardSnapshot],
    wanted: Option<&str>,
) -> Vec<Object> {
    let object = |(name, vhost): (&str, merge::Vhost)| {
        let id = vhost_id(name, context.id_style);
        if wanted.is_some_and(|wanted| wanted != id) {
            return None;
        }
        let config = context.vhosts.iter().find(|v| v.name == name);
        let traffic = &vhost.traffic;
        let object = Object::new()
            .with("id", id)
            .with("name", name)
            .with("enabled", config.is_some_and(|v| v.enabled))
            .with("clients", vhost.clients)
            .with("streams", vhost.streams)
            .with("send_bytes", traffic.send_bytes)
            .with("recv_bytes", traffic.recv_bytes)
            .with("kbps", kbps(traffic.recv_kbps_30s.into(), traffic.send_kbps_30s.into()))
            .with("hls", Object::new().with("enabled", false));
        Some(object)
    };
    merge::vhosts(shards).into_iter().filter_map(object).collect()
}

/// A stream.
pub(super) fn stream(context: &ApiContext<'_>, merged: &merge::Stream<'_>) -> Object {
    let stream = merged.stream;
    let publisher = stream.publisher.as_ref();
    let per_shard = merged.viewers_per_shard().into_iter();
    let per_shard: Vec<Object> =
        per_shard.map(|(shard, n)| Object::new().with("shard", shard).with("viewers", n)).collect();
    Object::new()
        .with("id", merged.id(context.id_style))
        .with("name", stream.name.as_str())
        .with("vhost", vhost_id(&stream.vhost, context.id_style))
        .with("app", stream.app.as_str())
        .with("tcUrl", publisher.map_or("", |p| p.tc_url.as_str()))
        .with("url", url(&stream.vhost, &stream.app, &stream.name))
        .with("live_ms", context.now_ms)
        .with("clients", merged.viewers() + u64::from(publisher.is_some()))
        .with("frames", stream.frames)
        .with("send_bytes", merged.send_bytes())
        .with("recv_bytes", stream.recv_bytes)
        .with("kbps", kbps(stream.recv_kbps_30s.into(), merged.send_kbps_30s()))
        .with("publish", publish(context.id_style, publisher.map(|p| p.client)))
        .with("video", stream.video.as_ref().map(video))
        .with("audio", stream.audio.as_ref().map(audio))
        .with("owner", merged.owner)
        .with("shards", per_shard)
        .with("bitrate_kbps", stream.bitrate_kbps)
        .with("fps", stream.fps)
        .with("gop_ms", stream.gop_ms)
        .with("keyframe_age_ms", stream.keyframe_age_ms)
}

/// A client of a shard.
pub(super) fn client(context: &ApiContext<'_>, shard: u16, c: &ClientSnapshot) -> Object {
    let style = context.id_style;
    Object::new()
        .with("id", c.id.to_text(style))
        .with("vhost", vhost_id(&c.vhost, style))
        .with("stream", stream_id(&c.vhost, &c.app, &c.stream, style))
        .with("ip", c.ip.as_str())
        .with("pageUrl", c.page_url.as_str())
        .with("swfUrl", c.swf_url.as_str())
        .with("tcUrl", c.tc_url.as_str())
        .with("url", url(&c.vhost, &c.app, &c.stream))
        .with("name", c.stream.as_str())
        .with("type", c.kind.as_str())
        .with("publish", c.kind.is_publish())
        .with("alive", c.alive_ms as f64 / 1000.0)
        .with("send_bytes", c.send_bytes)
        .with("recv_bytes", c.recv_bytes)
        .with("kbps", kbps(c.recv_kbps_30s.into(), c.send_kbps_30s.into()))
        .with("shard", shard)
        .with("format", c.format.map(|f| f.as_str()))
        .with("lag_ms", c.lag_ms)
        .with("queued_bytes", c.queued_bytes)
        .with("drops", c.drops)
        .with("jumps", c.jumps)
}

fn kbps(recv: u64, send: u64) -> Object {
    Object::new().with("recv_30s", recv).with("send_30s", send)
}

/// SRS 3 says an empty cid where there is none, 5 says nothing.
fn publish(style: IdStyle, client: Option<ClientId>) -> Object {
    let object = Object::new().with("active", client.is_some());
    match (client, style) {
        (Some(client), style) => object.with("cid", client.to_text(style)),
        (None, IdStyle::Numeric) => object.with("cid", ""),
        (None, IdStyle::String) => object,
    }
}

fn video(info: &VideoInfo) -> Json {
    let object = Object::new()
        .with("codec", info.codec)
        .with("profile", info.profile)
        .with("level", &*info.level)
        .with("width", info.width)
        .with("height", info.height);
    object.into()
}

fn audio(info: &AudioInfo) -> Json {
    let object = Object::new()
        .with("codec", info.codec)
        .with("sample_rate", info.sample_rate)
        .with("channel", u32::from(info.channel))
        .with("profile", info.profile);
    object.into()
}

/// SRS leaves the default vhost out.
fn url(vhost: &str, app: &str, stream: &str) -> String {
    let vhost = if vhost == DEFAULT_VHOST { "" } else { vhost };
    format!("{vhost}/{app}/{stream}")
}
